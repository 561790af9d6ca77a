/** What a training has been through: its numbers at every step, λ of every direction, evaluations and events. */

/** @import { Event } from "./allocator.js" */

/** @typedef {{step: number, split: "validation" | "test", loss: number, distance: number}} Evaluation */

/** Numbers of one kind, one after another, in an array that grows. @template {Float32Array | Float64Array | Int32Array} Kind */
export class Growing {
  /** @param {new (size: number) => Kind} kind */
  constructor(kind) {
    this.kind = kind;
    this.held = new kind(256);
    this.length = 0;
  }

  /** @param {number} value */
  push(value) {
    if (this.length === this.held.length) {
      const larger = new this.kind(2 * this.length);
      larger.set(this.held);
      this.held = larger;
    }
    this.held[this.length] = value;
    this.length += 1;
  }

  /** A copy of what came from place `start` on. @param {number} [start] @returns {Kind} */
  from(start = 0) {
    return /** @type {Kind} */ (this.held.slice(start, this.length));
  }
}

export class History {
  constructor() {
    /** Of step t at place t − 1. */
    this.losses = new Growing(Float64Array);
    this.regularizers = new Growing(Float64Array);
    this.rates = new Growing(Float64Array);
    this.budgets = new Growing(Int32Array);
    /** λ of all directions of all matrices before the first step and after each, before its event. */
    this.values = new Growing(Float32Array);
    /** Ranks of all matrices at the same moments. */
    this.ranks = new Growing(Int32Array);
    /** True singular values at some of them: place of the moment, values as they lie in `values`. @type {{record: number, values: number[]}[]} */
    this.spectra = [];
    /** @type {Evaluation[]} */
    this.evaluations = [];
    /** @type {Event[]} */
    this.events = [];
    /** What was set anew while it trained: after which step, and to what. @type {{step: number, old: Record<string, any>, new: Record<string, any>}[]} */
    this.edits = [];
  }
}
