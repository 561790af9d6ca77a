/** Active parameters, and the fixed scales of what may colour a matrix. */

import { niceCeiling } from "./format.js";

/** @typedef {import("./model.js").Model} Model */

/** @type {WeakMap<Model, number>} */
const TOP_GAPS = new WeakMap();
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
  for (const t of model.turns) for (let m = 0; m < model.M; m += 1) top = Math.max(top, activeParameters(model, t, m) || 0);
  TOP_PARAMETERS.set(model, top);
  return top;
}

/** @param {Model} model @returns {number} above it, entropy of λ says little about ΔW */
export function gapLimit(model) {
  return model.run.gapLimit ?? 0.02;
}

/** @param {Model} model @returns {number} end of the scale of gaps, fixed over the run */
export function largestGap(model) {
  const kept = TOP_GAPS.get(model);
  if (kept !== undefined) return kept;
  let top = 0;
  for (const record of model.sigmaRecords) for (let m = 0; m < model.M; m += 1) if (model.gap(record, m) > top) top = model.gap(record, m);
  const end = Math.max(2.5 * gapLimit(model), top > 0 ? niceCeiling(top) : 0);
  TOP_GAPS.set(model, end);
  return end;
}

/** The widest scale of several runs for all of them. @param {Model[]} models */
export function equaliseScales(models) {
  const parameters = Math.max(...models.map(largestParameters));
  const gap = Math.max(...models.map(largestGap));
  for (const model of models) {
    TOP_PARAMETERS.set(model, parameters);
    TOP_GAPS.set(model, gap);
  }
}
