/** Active parameters, and the fixed scales of what may colour a matrix. */

import { niceCeiling } from "./format.js";

/** @import { Model } from "./model.js" */

/** @param {Model} model @param {number} t @param {number} m @returns {number} r · (in + out + 1); NaN where the log does not say how large the matrix is */
export function activeParameters(model, t, m) {
  const { inFeatures, outFeatures } = model.matrices[m];
  return inFeatures && outFeatures ? model.rank(t, m) * (inFeatures + outFeatures + 1) : NaN;
}

/** @param {Model} model @returns {number} the most active parameters that a matrix ever has, at least 1 */
export function largestParameters(model) {
  if (model.scales.parameters) return model.scales.parameters;
  let top = 1;
  for (const t of model.turns) for (let m = 0; m < model.M; m += 1) top = Math.max(top, activeParameters(model, t, m) || 0);
  return (model.scales.parameters = top);
}

/** @param {Model} model @returns {number} above it, entropy of λ says little about ΔW */
export function gapLimit(model) {
  return model.run.gapLimit ?? 0.02;
}

/** @param {Model} model @returns {number} end of the scale of gaps, fixed over the run */
export function largestGap(model) {
  if (model.scales.gap) return model.scales.gap;
  let top = 0;
  for (const record of model.sigmaRecords) for (let m = 0; m < model.M; m += 1) if (model.gap(record, m) > top) top = model.gap(record, m);
  return (model.scales.gap = Math.max(2.5 * gapLimit(model), top > 0 ? niceCeiling(top) : 0));
}
