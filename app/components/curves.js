/** Loss, moves and total rank over time: small panels that share the strip's time axis. */

import { lastAtOrBefore } from "./model.js";
import { formatMean, formatNumber, niceCeiling } from "./format.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./palette.js").Palette} Palette */
/** @typedef {import("./draw.js").CanvasPen} CanvasPen */
/** @typedef {import("./draw.js").Box} Box */
/** @typedef {import("./scene.js").TimeScale} TimeScale */

/**
 * @typedef {object} Panel
 * @property {string} label
 * @property {string} [note] what the line is, in smaller print
 * @property {number} weight share of the height
 * @property {(pen: CanvasPen, palette: Palette, box: Box, scale: TimeScale) => void} draw
 * @property {(step: number) => string} value what stands beside the panel at the clock
 */

/** @param {Model} model @param {import("./scene.js").Pinned | null} _other a second run under the same clock @returns {Panel[]} only what the run has recorded */
export function panelsOf(model, _other) {
  const panels = [];
  if (model.lossSteps.length) panels.push(lossPanel(model));
  if (model.lossSteps.length) panels.push(regularizerPanel(model));
  if (model.penalty) panels.push(penaltyPanel(model, model.penalty));
  const evaluation = evaluationPanel(model);
  if (evaluation) panels.push(evaluation);
  if (model.events.length || model.budgetCurve() || model.run.state === "running") panels.push(movesPanel(model));
  panels.push(totalRankPanel(model));
  return panels;
}

/** @param {ArrayLike<number>} values @returns {number} */
function largest(values) {
  let top = 0;
  for (let i = 0; i < values.length; i += 1) if (values[i] > top) top = values[i];
  return top;
}

/** @param {ArrayLike<number>} values @param {number} window @returns {Float64Array} mean of the last values; NaN where one is missing */
export function trailingMean(values, window) {
  const means = new Float64Array(values.length);
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) {
    sum += values[i];
    if (i >= window) sum -= values[i - window];
    means[i] = sum / Math.min(i + 1, window);
  }
  return means;
}

/** @param {ArrayLike<number>} values @param {number} top @param {Box} box @returns {Float64Array} */
function heights(values, top, box) {
  return Float64Array.from(values, (value) => box.y + box.h * (1 - value / top));
}

/** @param {ArrayLike<number>} steps @param {TimeScale} scale @returns {Float64Array} */
function places(steps, scale) {
  return Float64Array.from(steps, (step) => scale.x(step));
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} box @param {string} top */
function frame(pen, palette, box, top) {
  pen.line(box.x, box.y + box.h, box.x + box.w, box.y + box.h, { stroke: palette.line });
  pen.line(box.x, box.y, box.x + box.w, box.y, { stroke: palette.line, dash: [2, 3] });
  pen.text(box.x - 6, box.y + 4, top, { fill: palette.muted, size: 9.5, align: "right" });
}

/** @param {Model} model @returns {Panel} */
function lossPanel(model) {
  const window = Math.max(1, Math.round(model.lossSteps.length / 40));
  const smooth = trailingMean(model.taskLoss, window);
  const top = niceCeiling(largest(model.taskLoss));
  return {
    label: "task loss",
    note: window > 1 ? `bold: mean of ${window}` : undefined,
    weight: 2.2,
    draw: (pen, palette, box, scale) => {
      frame(pen, palette, box, formatNumber(top));
      const xs = places(model.lossSteps, scale);
      pen.path(xs, heights(model.taskLoss, top, box), { stroke: palette.task, width: 1, alpha: window > 1 ? 0.35 : 1 });
      if (window > 1) pen.path(xs, heights(smooth, top, box), { stroke: palette.task, width: 1.75 });
    },
    value: (step) => formatNumber(smooth[lastAtOrBefore(model.lossSteps, step)]),
  };
}

/** @param {Model} model @returns {Panel} */
function regularizerPanel(model) {
  const top = niceCeiling(largest(model.regularizer));
  return {
    label: "regulariser",
    weight: 1.1,
    draw: (pen, palette, box, scale) => {
      frame(pen, palette, box, formatNumber(top));
      pen.path(places(model.lossSteps, scale), heights(model.regularizer, top, box), { stroke: palette.regularizer, width: 1.5 });
    },
    value: (step) => formatNumber(model.regularizer[lastAtOrBefore(model.lossSteps, step)]),
  };
}

/** The method's own term of the loss, as weighted. @param {Model} model @param {Float32Array} values @returns {Panel} */
function penaltyPanel(model, values) {
  const top = niceCeiling(largest(values));
  // A multiplier may turn it into a small reward.
  const low = -largest(values.map((value) => -value));
  const y = (/** @type {Box} */ box, /** @type {number} */ value) => box.y + (box.h * (top - value)) / (top - low);
  return {
    label: "penalty",
    note: "as weighted",
    weight: 0.9,
    draw: (pen, palette, box, scale) => {
      frame(pen, palette, box, formatNumber(top));
      if (low < 0) pen.line(box.x, y(box, 0), box.x + box.w, y(box, 0), { stroke: palette.line });
      pen.path(places(model.lossSteps, scale), Float64Array.from(values, (value) => y(box, value)), { stroke: palette.regularizer, width: 1.5 });
    },
    value: (step) => formatNumber(values[lastAtOrBefore(model.lossSteps, step)]),
  };
}

/** The first metric of the validation split. @param {Model} model @returns {Panel | null} */
function evaluationPanel(model) {
  const found = model.evaluationSeries();
  if (!found) return null;
  const top = found.values.every((value) => value <= 1) ? 1 : niceCeiling(largest(found.values));
  return {
    label: found.metric,
    note: found.split,
    weight: 1.4,
    draw: (pen, palette, box, scale) => {
      frame(pen, palette, box, formatNumber(top));
      const xs = places(found.steps, scale);
      const ys = heights(found.values, top, box);
      pen.path(xs, ys, { stroke: palette.evaluation, width: 1.5 });
      xs.forEach((x, i) => pen.glyph("circle", x, ys[i], 2.5, { fill: palette.evaluation }));
    },
    value: (step) => formatNumber(found.values[lastAtOrBefore(found.steps, step)]),
  };
}

/** Extended above, pruned below, b(t) as the cap on both where the method has one. @param {Model} model @returns {Panel} */
function movesPanel(model) {
  const curve = model.budgetCurve();
  const most = Math.max(1, largest(curve?.values ?? []), ...model.events.map((event) => Math.max(event.prune.length, event.extend.length)));
  return {
    label: "moves",
    note: curve ? "line: b(t)" : undefined,
    weight: 1.6,
    draw: (pen, palette, box, scale) => {
      const middle = box.y + box.h / 2;
      const unit = box.h / 2 / most;
      const xs = places(curve?.steps ?? [], scale);
      for (const sign of [-1, 1]) {
        const ys = Float64Array.from(curve?.values ?? [], (value) => middle + sign * unit * value);
        pen.path(xs, ys, { stroke: palette.muted, width: 1, alpha: 0.8, steps: true });
      }
      pen.line(box.x, middle, box.x + box.w, middle, { stroke: palette.line });
      const thick = Math.max(1, Math.min(7, (box.w / Math.max(1, model.domain[1])) * 3));
      for (const event of model.events) {
        const x = scale.x(event.step) - thick / 2;
        pen.rect(x, middle - unit * event.extend.length, thick, unit * event.extend.length, { fill: palette.extended });
        pen.rect(x, middle, thick, unit * event.prune.length, { fill: palette.pruned });
      }
      pen.text(box.x - 6, box.y + 4, `+${most}`, { fill: palette.muted, size: 9.5, align: "right" });
      if (box.h >= 22) pen.text(box.x - 6, box.y + box.h - 3, `−${most}`, { fill: palette.muted, size: 9.5, align: "right" });
    },
    value: (step) => {
      const event = model.events[model.eventAt(step)];
      const budget = curve?.values[lastAtOrBefore(curve.steps, step)];
      const cap = budget === undefined || !Number.isFinite(budget) ? "" : `b = ${budget}`;
      return [event ? `−${event.prune.length} +${event.extend.length}` : "", cap].filter(Boolean).join(", ");
    },
  };
}

/** With the total that the schedule asks for, and what a training step uses, where these are told. @param {Model} model @returns {Panel} */
function totalRankPanel(model) {
  const { targetRank, expectedTotal, shares } = model;
  const top = Math.max(1, largest(model.totalRank), largest(targetRank ?? []));
  const notes = [targetRank ? "-- target" : "", shares ? "— used" : ""].filter(Boolean).join(" ");
  return {
    label: "total rank",
    note: notes || undefined,
    weight: notes ? 2 : 0.8,
    draw: (pen, palette, box, scale) => {
      const inner = { ...box, y: box.y + 3, h: box.h - 3 };
      pen.line(box.x, box.y + box.h, box.x + box.w, box.y + box.h, { stroke: palette.line });
      if (shares && expectedTotal) pen.path(places(model.steps, scale), heights(expectedTotal, top, inner), { stroke: palette.accent, width: 1, steps: true });
      pen.path(places(model.steps, scale), heights(model.totalRank, top, inner), { stroke: palette.text, width: 1.5, steps: true });
      if (targetRank) pen.path(places(model.lossSteps, scale), heights(targetRank, top, inner), { stroke: palette.regularizer, width: 1.25, dash: [4, 3] });
      pen.text(box.x - 6, box.y + 5, String(top), { fill: palette.muted, size: 9.5, align: "right" });
    },
    value: (step) => {
      const mean = model.expectedTotalRank(model.recordAt(step));
      return `${model.totalRank[model.recordAt(step)] ?? "–"}${mean === null ? "" : ` ≈ ${formatMean(mean)}`}`;
    },
  };
}
