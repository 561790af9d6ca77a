/** One sentence about the clock's place, made from the data. */

import { toldAt } from "../film/choreography.js";
import { formatMean } from "../model/format.js";

/** @import { Model } from "../model/model.js" */

/** @param {Model} model @param {number} step @param {import("../model/stages.js").Stage | null} [stage] in slow motion: what it has not shown yet is not told @returns {string} */
export function sentenceAt(model, step, stage = null) {
  const event = model.eventAt(step);
  if (stage && !toldAt(stage.index + stage.share).extend) return `Event ${event + 1} of ${model.events.length}, step ${step}: total rank ${model.totalRank[model.recordAt(step)]} over ${model.M} matrices; what will move?`;
  if (event >= 0) return `Event ${event + 1} of ${model.events.length}, ${model.header.sentences[event]}`;
  const record = model.recordAt(step);
  const mean = model.expectedTotalRank(record);
  const used = mean === null ? "" : `, of which a training step uses ${formatMean(mean)} on average`;
  const here = `Step ${step}: total rank ${model.totalRank[record]} over ${model.M} matrices${used}`;
  if (model.run.ranksOnly) return `${here}; this log tells ranks only: nothing is known of λ, entropy, energy or why ranks changed.`;
  if (!model.events.length) return `${here}; ${noEvent(model).rest}`;
  const past = model.eventBefore(step);
  const next = model.events[past + 1];
  if (past < 0) return `${here}; the first event comes at step ${next.step}.`;
  if (!next) return `${here}; ${model.run.state === "running" ? "the latest" : "the last"} event was at step ${model.events[past].step}.`;
  return `${here}; between event ${past + 1} (step ${model.events[past].step}) and event ${past + 2} (step ${next.step}).`;
}

/** A run of which no event is logged, in the words of three places: while it trains, the first may still come. @param {Model} model @returns {{readout: string, rest: string, whole: string}} */
export function noEvent({ run: { state, firstEvent: due } }) {
  if (state !== "running" || due === 0) return { readout: "no events", rest: "this run moves no rank.", whole: "This run has no events: its ranks stay as they are." };
  if (!due) return { readout: "no event yet", rest: "no event so far.", whole: "No event so far." };
  return { readout: `no event yet, first at ${due}`, rest: `no event yet: the first is due at step ${due}.`, whole: `No event yet: the first is due at step ${due}.` };
}
