/** What is known of one contestant so far: its snapshots, joined. */

import { distance } from "../engine/scores.js";

/** @import { Snapshot } from "../engine/training.js" */
/** @import { Event } from "../engine/allocator.js" */

export class Ledger {
  constructor() {
    /** @type {Snapshot | null} */
    this.last = null;
    /** Those at which rank could move. @type {Event[]} */
    this.events = [];
    /** Loss on the validation split over steps. @type {{steps: number[], losses: number[]}} */
    this.validation = { steps: [], losses: [] };
    /** Directions in the wrong place, after each event. @type {{steps: number[], misplaced: number[]}} */
    this.way = { steps: [], misplaced: [] };
  }

  /** @param {Snapshot} snapshot that begins where the last one ended */
  add(snapshot) {
    for (const { step, split, loss } of snapshot.evaluations) {
      if (split !== "validation") continue;
      this.validation.steps.push(step);
      this.validation.losses.push(loss);
    }
    const truth = [...snapshot.trueRanks];
    if (!this.last) this.note(0, snapshot.events.length ? [] : [...snapshot.ranks], truth);
    for (const event of snapshot.events) {
      if (event.budget) this.events.push(event);
      this.note(event.step, event.ranks, truth);
    }
    this.last = snapshot;
  }

  /** @param {number} step @param {number[]} ranks @param {number[]} truth */
  note(step, ranks, truth) {
    if (!ranks.length) return;
    this.way.steps.push(step);
    this.way.misplaced.push(misplaced(ranks, truth));
  }

  /** Step of the last event that moved something; null where none did. */
  get lastMove() {
    return this.events.filter(({ prune, extend }) => prune.length + extend.length).at(-1)?.step ?? null;
  }

  /** As `flexlora.tally` counts: one direction taken and one given are one move; where one kind is more, that counts. */
  get moves() {
    const [pruned, extended] = /** @type {const} */ (["prune", "extend"]).map((way) => this.events.reduce((sum, event) => sum + event[way].length, 0));
    return Math.max(pruned, extended);
  }
}

/** ½ · Σ|r − r*|: where both have as many, the directions that stand in another matrix than the truth's. @param {ArrayLike<number>} ranks @param {number[]} truth @returns {number} */
export function misplaced(ranks, truth) {
  return distance(ranks, truth) * truth.reduce((sum, rank) => sum + rank, 0);
}
