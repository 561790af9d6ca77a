/** What the events of a run asked of an entropy: below one score a matrix loses a direction, above another it gains one. */

import { lastAtOrBefore } from "./model.js";
import { remembered } from "./remembered.js";
import { decisionOf } from "./stages.js";

/** @import { Model } from "./model.js" */

/** @typedef {{step: number, low: number, high: number}} Decided the highest score that was pruned and the lowest that was extended; NaN where there is none */

const FARTHEST = 0.95; // of all distances from a threshold: where the scale ends
const CODED = 2e-5; // entropies are sent in 16 bits

/** @type {(model: Model) => {events: Decided[], steps: number[], extent: number}} events: those that moved something; extent: the distance that has the strongest colour */
const decidedOf = remembered((model) => {
  const events = [];
  const distances = [];
  for (const [index, { step, prune: going, extend: coming }] of model.events.entries()) {
    if (!going.length && !coming.length) continue;
    const { scores, prune, extend } = decisionOf(model, index);
    const known = (/** @type {Map<number, number>} */ moves) => [...moves.keys()].map((m) => scores[m]).filter(Number.isFinite);
    const [gone, come] = [known(prune), known(extend)];
    const decided = { step, low: gone.length ? Math.max(...gone) : NaN, high: come.length ? Math.min(...come) : NaN };
    events.push(decided);
    for (const score of scores) {
      const distance = Number.isFinite(score) ? beyond(decided, score) : 0;
      if (distance) distances.push(Math.abs(distance));
    }
  }
  distances.sort((a, b) => a - b);
  return { events, steps: events.map(({ step }) => step), extent: Math.max(1e-4, distances[Math.floor(FARTHEST * (distances.length - 1))] ?? 0) };
});

/** @param {Decided} decided @param {number} value @returns {number} how far it is below the lower threshold, negative, or above the upper one; 0 between them */
function beyond({ low, high }, value) {
  if (value <= low + CODED) return Math.min(-CODED, value - low);
  if (value >= high - CODED) return Math.max(CODED, value - high);
  return 0;
}

/** The latest event at or before a step that moved something; before the first, the first. @param {Model} model @param {number} step @returns {Decided | undefined} */
export function decidedAt(model, step) {
  const { events, steps } = decidedOf(model);
  return events[Math.max(0, lastAtOrBefore(steps, step))];
}

/** @param {Model} model @returns {Array<Decided | undefined>} the same of each record */
export function decidedByRecord(model) {
  return Array.from(model.steps, (step) => decidedAt(model, step));
}

/** @param {Model} model @param {Decided | undefined} decided @param {number} value @returns {number} in [−1, 1]: what would be pruned is negative, extended positive, neither 0 */
export function standing(model, decided, value) {
  const distance = decided ? beyond(decided, value) : 0;
  return Math.max(-1, Math.min(1, distance / decidedOf(model).extent));
}

/** @param {Model} model @returns {number} distance from a threshold at which the colour is strongest */
export function farthest(model) {
  return decidedOf(model).extent;
}
