/** Numbers of a matrix that a run does not hold as such: active parameters, and how far λ is from the spectrum of ΔW. */

import { lastAtOrBefore } from "./model.js";
import { niceCeiling } from "./format.js";

/** @typedef {import("./model.js").Model} Model */

/** @type {WeakMap<Model, {gaps: Float32Array, topGap: number}>} */
const GAPS = new WeakMap();
/** @type {WeakMap<Model, number>} */
const TOP_PARAMETERS = new WeakMap();

/** @param {Model} model @param {number} t @param {number} m @returns {number} r · (in + out + 1); NaN where the log does not say how large the matrix is */
export function activeParameters(model, t, m) {
  const { inFeatures, outFeatures } = model.matrices[m];
  return inFeatures && outFeatures ? model.rank(t, m) * (inFeatures + outFeatures + 1) : NaN;
}

/** @param {Model} model @returns {number} the most active parameters that a matrix ever has, at least 1 */
export function largestParameters(model) {
  const kept = TOP_PARAMETERS.get(model);
  if (kept !== undefined) return kept;
  let top = 1;
  for (let m = 0; m < model.M; m += 1) {
    let rank = 0;
    let at = 0;
    for (let t = 0; t < model.T; t += 1) if (model.rank(t, m) > rank) [rank, at] = [model.rank(t, m), t];
    if (rank > 0) top = Math.max(top, activeParameters(model, at, m) || 0);
  }
  TOP_PARAMETERS.set(model, top);
  return top;
}

/** @param {Model} model */
function gapsOf(model) {
  const kept = GAPS.get(model);
  if (kept) return kept;
  const gaps = new Float32Array(model.sigmaRecords.length * model.M);
  let top = 0;
  model.sigmaRecords.forEach((record, k) => {
    for (let m = 0; m < model.M; m += 1) {
      const gap = Math.abs(model.entropy(record, m) - model.trueEntropy(record, m));
      gaps[k * model.M + m] = gap;
      if (gap > top) top = gap;
    }
  });
  const found = { gaps, topGap: Math.max(2.5 * gapLimit(model), niceCeiling(top)) };
  GAPS.set(model, found);
  return found;
}

/** @param {Model} model @returns {number} above it, entropy of λ says little about ΔW */
export function gapLimit(model) {
  return model.run.gapLimit ?? 0.02;
}

/** @param {Model} model @returns {number} end of the scale of gaps, fixed over the run */
export function largestGap(model) {
  return gapsOf(model).topGap;
}

/** @param {Model} model @param {number} t @param {number} m @returns {number} |I(λ) − I(σ)| at the latest record with true singular values; NaN before the first and where either is undefined */
export function entropyGap(model, t, m) {
  const k = lastAtOrBefore(model.sigmaRecords, t);
  return k < 0 ? NaN : gapsOf(model).gaps[k * model.M + m];
}
