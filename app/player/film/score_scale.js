/** How high a score stands: one scale for all events of a run. */

import { entropyShare } from "../pen/colour.js";
import { formatNumber } from "../model/format.js";
import { remembered } from "../model/remembered.js";
import { measureOf, scoreRange } from "../model/stages.js";

/** @import { Model } from "../model/model.js" */

/** @typedef {{label: string, bounded: boolean, log: boolean, low: number, high: number}} ScoreScale bounded: the ends are those of the measure, not of this run */

const WIDE_RANGE = 50; // largest over smallest score from which the scale is logarithmic

/** @type {(model: Model) => ScoreScale} */
export const scoreScale = remembered((model) => {
  const { label, range } = measureOf(model, model.events[0]);
  const [least, most] = range;
  const { low, high } = least === null || most === null ? scoreRange(model) : { low: least, high: most };
  const bounded = least !== null && most !== null;
  return { label, bounded, log: !bounded && low > 0 && high / low > WIDE_RANGE, low, high };
});

/** @param {ScoreScale} scale @param {number} score @returns {number} in [0, 1]; NaN where undefined */
export function scoreHeight({ bounded, log, low, high }, score) {
  if (Number.isNaN(score)) return NaN;
  if (score === Infinity) return 1;
  // Where a measure has both ends, most of what happens lies high.
  if (bounded) return entropyShare(Math.max(0, Math.min(1, (score - low) / (high - low))));
  const [from, to, at] = log ? [low, high, score].map(Math.log) : [low, high, score];
  return to > from ? Math.max(0, Math.min(1, (at - from) / (to - from))) : 0.5;
}

/** @param {number} score */
export function scoreText(score) {
  return score === Infinity ? "first" : formatNumber(score);
}

/** A score with three digits, and with fewer for less room. @param {ScoreScale} scale @param {number} score @returns {string[]} */
export function scoreTexts({ bounded }, score) {
  if (!Number.isFinite(score)) return [scoreText(score), "1st"].slice(0, score === Infinity ? 2 : 1);
  if (bounded) return [score.toFixed(3), score.toFixed(2).replace(/^0/, "")];
  const short = Math.abs(score) >= 0.01 && Math.abs(score) < 100 ? String(Number(score.toPrecision(2))) : score === 0 ? "0" : score.toExponential(0);
  return [formatNumber(score), short.replace(/^(-?)0\./, "$1.").replace(/-/g, "−")];
}
