/** A matrix at a moment, in words. */

import { colourValue, shownColour } from "../pen/colour.js";
import { formatChange, formatEntropy, formatMean, formatNumber, matrixLabel } from "../model/format.js";

/** @import { Model } from "../model/model.js" */

/** What is said of every matrix anyway needs no mention as the colour. @type {Record<string, (value: number) => string>} */
const FURTHER = {
  parameters: (value) => ` · ${Number.isFinite(value) ? `${value.toLocaleString("en")} active parameters` : "parameters unknown"}`,
  true_entropy: (value) => ` · entropy of σ ${formatEntropy(value)}`,
  gap: (value) => ` · |I(λ) − I(σ)| ${Number.isFinite(value) ? formatNumber(value) : "unknown"}`,
};

/** @param {Model} model @param {number} t @param {number} m @param {import("../pen/palette.js").Colour} [colour] whose value is told too @returns {string} */
export function describeCell(model, t, m, colour) {
  const shown = colour && shownColour(model, colour);
  const further = shown && FURTHER[shown] ? FURTHER[shown](colourValue(model, shown, t, m)) : "";
  const change = model.change(t, m);
  const since = model.base > 0 ? `step ${model.steps[model.base]}` : "the start";
  const delta = change === 0 ? "" : ` (${formatChange(change)} since ${since})`;
  const rank = `rank ${model.rank(t, m)}${delta}${describeSoft(model, t, m, " used a step")}`;
  return `${matrixLabel(model.matrices[m])} · step ${model.steps[t]} · ${rank} · entropy ${formatEntropy(model.entropy(t, m))} · energy ${energyText(model, t, m)}${further}`;
}

/** @param {Model} model @param {number} t @param {number} m @returns {string} */
export function energyText(model, t, m) {
  return `${model.roughEnergy ? "≈ " : ""}${formatNumber(model.energy(t, m))}`;
}

/** What rank alone does not say: directions that may come back, and how many a step uses. @param {Model} model @param {number} t @param {number} m @param {string} [unit] @returns {string} */
export function describeSoft(model, t, m, unit = "") {
  const off = model.stored(t, m) - model.rank(t, m);
  const mean = model.expectedRank(t, m);
  return `${off ? `, ${off} off` : ""}${mean === null ? "" : `, ≈ ${formatMean(mean)}${unit}`}`;
}
