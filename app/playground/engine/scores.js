/** Scores of a run against the truth, as `flexlora.planted.scores` has them. */

/** @import { Event } from "./allocator.js" */

/** ½ · Σ|r − r*| / Σ r*: the share of the truth's directions that stand in another matrix; 0 = the truth. @param {ArrayLike<number>} ranks @param {number[]} truth */
export function distance(ranks, truth) {
  let [off, all] = [0, 0];
  truth.forEach((wanted, matrix) => {
    off += Math.abs(ranks[matrix] - wanted);
    all += wanted;
  });
  return off / (2 * all);
}

/**
 * @typedef {object} Way how a run moved towards the truth
 * @property {number} first distance at the start
 * @property {number} last distance after the last event
 * @property {number | null} halfwayStep the first event after which at most half of the first distance was left
 * @property {number} towards share of the changes of rank that brought their matrix nearer to its true rank; NaN without any
 * @property {number} nearer changes of rank that did so
 * @property {number} changes of rank by one: directions pruned plus directions extended
 */

/** Follows the events of a run, one after another. */
export class WayThere {
  /** @param {number[]} ranks at the start @param {number[]} truth */
  constructor(ranks, truth) {
    this.ranks = [...ranks];
    this.truth = truth;
    /** @type {Way} */
    this.way = { first: distance(ranks, truth), last: distance(ranks, truth), halfwayStep: null, towards: NaN, nearer: 0, changes: 0 };
  }

  /** @param {Event} event */
  follow(event) {
    const { way, ranks, truth } = this;
    for (const [moves, change] of /** @type {const} */ ([[event.prune, -1], [event.extend, 1]])) {
      for (const { matrix } of moves) {
        if ((truth[matrix] - ranks[matrix]) * change > 0) way.nearer += 1;
        ranks[matrix] += change;
        way.changes += 1;
      }
    }
    way.last = distance(ranks, truth);
    if (way.halfwayStep === null && way.first > 0 && way.last <= way.first / 2) way.halfwayStep = event.step;
    if (way.changes) way.towards = way.nearer / way.changes;
  }
}

/** (loss − oracle) / (uniform − oracle): 0 = as good as the true ranks, 1 = as good as one rank for all. @param {number} loss @param {number} uniform @param {number} oracle */
export const relativeLoss = (loss, uniform, oracle) => (uniform === oracle ? NaN : (loss - oracle) / (uniform - oracle));
