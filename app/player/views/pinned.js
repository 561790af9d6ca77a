/** A second run under the same clock: where it stands, and scales that hold for both. */

import { colourValue } from "../pen/colour.js";
import { niceCeiling } from "../model/format.js";
import { largestGap, largestParameters } from "../model/quantity.js";
import { isWhole } from "../model/value_text.js";

/** @import { Model } from "../model/model.js" */
/** @import { Colour } from "../pen/palette.js" */
/** @import { Pinned } from "../model/scene.js" */

/**
 * The clock belongs to the first run. Where the second has no record, its latest prior one stands in; before its first
 * record, the first one.
 * @param {Model} model of the second run @param {string} name @param {number} step @returns {Pinned}
 */
export function pinnedAt(model, name, step) {
  return { model, name, record: model.recordAt(step), missing: step > model.lastStep || step < model.firstStep };
}

/** @typedef {{mine: Model, theirs: Model, matching: number[], limits: Map<Colour, number>}} Both matching: matrix of the first run → that of the second of the same name, -1 = none */

/** @type {WeakMap<object, WeakMap<object, Both>>} */
const BOTH = new WeakMap();

/** Both runs with the scales of both. @param {Model} model @param {Model} other @returns {Both} */
export function bothOf(model, other) {
  const known = BOTH.get(model) ?? new WeakMap();
  BOTH.set(model, known);
  const kept = known.get(other);
  // A pinned time moves the scale of change.
  if (kept && kept.mine.base === model.base) return kept;
  const shared = {
    minRank: Math.min(model.minRank, other.minRank),
    maxRank: Math.max(model.maxRank, other.maxRank),
    maxEnergy: Math.max(model.maxEnergy, other.maxEnergy),
    maxChange: Math.max(model.maxChange, other.maxChange),
    scales: { parameters: Math.max(largestParameters(model), largestParameters(other)), gap: Math.max(largestGap(model), largestGap(other)) },
    base: model.base,
    // Two runs' events do not share thresholds.
    get entropyScale() {
      return model.entropyScale === "decision" ? "range" : model.entropyScale;
    },
  };
  const entropies = sharedEntropies(model, other);
  const both = {
    mine: Object.create(model, descriptors(shared, { run: { ...model.run, ...entropies } })),
    theirs: Object.create(other, descriptors(shared, { base: other.base, run: { ...other.run, ...entropies } })),
    matching: model.matrices.map(({ name }) => other.indexOf.get(name) ?? -1),
    limits: new Map(),
  };
  known.set(other, both);
  return both;
}

/** @param {object} shared @param {object} own @returns {PropertyDescriptorMap} */
function descriptors(shared, own) {
  return { ...Object.getOwnPropertyDescriptors(shared), ...Object.getOwnPropertyDescriptors(own) };
}

/** What differs must be one quantity: the entropy of σ for both where λ is no spectrum in either. @param {Model} model @param {Model} other */
function sharedEntropies({ run }, { run: theirs }) {
  const both = (/** @type {"entropy" | "true_entropy"} */ key) => {
    const ends = [run.entropyRange[key], theirs.entropyRange[key]];
    return [Math.min(...ends.map(([low]) => low)), Math.max(...ends.map(([, high]) => high))];
  };
  return {
    entropyShown: [run.entropyShown, theirs.entropyShown].includes("true_entropy") ? "true_entropy" : "entropy",
    entropyRange: { entropy: both("entropy"), true_entropy: both("true_entropy") },
  };
}

/** @param {Both} both @param {Colour} colour @param {number} record @param {number} otherRecord @param {number} m @returns {number} this − pinned; NaN where either is undefined or there is no match */
export function difference({ mine, theirs, matching }, colour, record, otherRecord, m) {
  return matching[m] < 0 ? NaN : colourValue(mine, colour, record, m) - colourValue(theirs, colour, otherRecord, matching[m]);
}

/** The largest difference at any record of the first run, so that its scale stays. @param {Both} both @param {Colour} colour @returns {number} */
export function largestDifference(both, colour) {
  const kept = both.limits.get(colour);
  if (kept !== undefined) return kept;
  let most = 0;
  for (let t = 0; t < both.mine.T; t += 1) {
    const record = both.theirs.recordAt(both.mine.steps[t]);
    for (let m = 0; m < both.mine.M; m += 1) {
      const size = Math.abs(difference(both, colour, t, record, m));
      if (size > most) most = size;
    }
  }
  const limit = isWhole(colour) ? Math.max(1, most) : niceCeiling(most);
  both.limits.set(colour, limit);
  return limit;
}
