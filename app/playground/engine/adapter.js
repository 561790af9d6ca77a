/** s · P diag(λ) Q beside every matrix, in slots: an event changes no shape, and an empty slot is zero everywhere. */

import { Counter } from "./counter.js";

/** @import { Planted, Shape } from "./planted.js" */
/** @import { Settings } from "./settings.js" */

/** Rows of one matrix in a flat array: P transposed (slots, out), Q (slots, in), λ (slots). @typedef {{P: Float64Array, Q: Float64Array, lam: Float64Array}} Rows */

/** One adapted matrix. */
export class Matrix {
  /**
   * @param {number} place in module order
   * @param {Shape} shape
   * @param {number} slots as many as it can ever have
   * @param {Float64Array[]} flat values, gradients, and Adam's two moments, of this matrix alone
   */
  constructor(place, shape, slots, flat) {
    this.place = place;
    this.out = shape.out;
    this.in = shape.in;
    this.slots = slots;
    const [values, gradients, first, second] = flat.map((whole) => this.rows(whole));
    this.P = values.P;
    this.Q = values.Q;
    this.lam = values.lam;
    this.gradients = gradients;
    this.first = first;
    this.second = second;
    this.active = new Uint8Array(slots);
    /** Steps of the optimizer when a slot was filled; NaN for one that is as old as the run. */
    this.born = new Float64Array(slots).fill(NaN);
    /** Slots in use and empty ones below them: what has to be computed with. */
    this.used = 0;
    /** Directions. */
    this.rank = 0;
    /** Slots that the Python adapter has room for; it doubles them where a direction finds none. */
    this.room = 0;
  }

  /** @param {Float64Array} whole @returns {Rows} */
  rows(whole) {
    const { out, in: inside, slots } = this;
    const after = slots * (out + inside);
    return { P: whole.subarray(0, slots * out), Q: whole.subarray(slots * out, after), lam: whole.subarray(after, after + slots) };
  }

  /** Numbers of the slots in use, ascending. */
  filled() {
    const found = [];
    for (let slot = 0; slot < this.used; slot += 1) if (this.active[slot]) found.push(slot);
    return found;
  }

  /** λ of the directions as a log holds it, rounded to float32, in slot order. */
  logged() {
    return this.filled().map((slot) => Math.fround(this.lam[slot]));
  }

  /** Count the slots that Python has room for; true where it had to make more. @param {number} slot that is to be filled */
  reach(slot) {
    const grown = slot >= this.room;
    while (slot >= this.room) this.room = Math.min(2 * this.room, this.slots);
    return grown;
  }

  /** The lowest empty slot. */
  free() {
    return this.active.indexOf(0);
  }

  /** Put a direction into an empty slot; its moments begin at zero. @param {number} slot @param {Float64Array} p @param {number} lam @param {Float64Array} q */
  fill(slot, p, lam, q) {
    this.clear(slot);
    this.P.set(p, slot * this.out);
    this.Q.set(q, slot * this.in);
    this.lam[slot] = lam;
    this.active[slot] = 1;
    this.count();
  }

  /** Empty a slot, with its moments. @param {number} slot */
  empty(slot) {
    this.clear(slot);
    this.active[slot] = 0;
    this.born[slot] = NaN;
    this.count();
  }

  /** @param {number} slot */
  clear(slot) {
    for (const rows of [this, this.gradients, this.first, this.second]) {
      rows.P.fill(0, slot * this.out, (slot + 1) * this.out);
      rows.Q.fill(0, slot * this.in, (slot + 1) * this.in);
      rows.lam[slot] = 0;
    }
  }

  count() {
    this.used = this.active.lastIndexOf(1) + 1;
    this.rank = this.active.reduce((sum, one) => sum + one, 0);
  }
}

/** The adapted matrices of one training. */
export class Adapter {
  /**
   * @param {Planted} planted
   * @param {Settings} settings
   * @param {number[]} ranks of each matrix at the start
   */
  constructor(planted, settings, ranks) {
    this.scale = settings.alpha / settings.initial_rank;
    this.matrices = planted.shapes.map((shape, place) => {
      const slots = Math.min(shape.out, shape.in);
      const size = slots * (shape.out + shape.in + 1);
      const matrix = new Matrix(place, shape, slots, Array.from({ length: 4 }, () => new Float64Array(size)));
      matrix.room = Math.min(2 * settings.initial_rank, slots);
      matrix.reach(ranks[place] - 1);
      const counter = new Counter(settings.seed, "directions", 0, place);
      for (let slot = 0; slot < ranks[place]; slot += 1) {
        const p = counter.normal(shape.out, deviation(settings.initial_std, shape.out));
        matrix.fill(slot, p, 0, counter.normal(shape.in, deviation(settings.initial_std, shape.in)));
      }
      return matrix;
    });
  }

  ranks() {
    return this.matrices.map((matrix) => matrix.rank);
  }
}

/** Standard deviation of a vector's values. @param {number | null} std null = 1/√size, so that its norm is about 1 @param {number} size */
export const deviation = (std, size) => std ?? 1 / Math.sqrt(size);
