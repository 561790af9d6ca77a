/** One sentence about the clock's place, made from the data. */

import { formatMean } from "../model/format.js";

/** @typedef {import("../model/model.js").Model} Model */

/** @param {Model} model @param {number} step @returns {string} */
export function sentenceAt(model, step) {
  const event = model.eventAt(step);
  if (event >= 0) return `Event ${event + 1} of ${model.events.length}, ${model.header.sentences[event]}`;
  const record = model.recordAt(step);
  const mean = model.expectedTotalRank(record);
  const used = mean === null ? "" : `, of which a training step uses ${formatMean(mean)} on average`;
  const here = `Step ${step}: total rank ${model.totalRank[record]} over ${model.M} matrices${used}`;
  if (model.run.ranksOnly) return `${here}; this log tells ranks only: nothing is known of λ, entropy, energy or why ranks changed.`;
  if (!model.events.length) return model.run.state === "running" ? `${here}; no event so far.` : `${here}; this run moves no rank.`;
  const past = model.eventBefore(step);
  const next = model.events[past + 1];
  if (past < 0) return `${here}; the first event comes at step ${next.step}.`;
  if (!next) return `${here}; ${model.run.state === "running" ? "the latest" : "the last"} event was at step ${model.events[past].step}.`;
  return `${here}; between event ${past + 1} (step ${model.events[past].step}) and event ${past + 2} (step ${next.step}).`;
}
