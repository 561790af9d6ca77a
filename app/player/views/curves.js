/** Loss, moves and total rank over time: small panels that share the strip's time axis. */

import { perColumn } from "../model/columns.js";
import { largest, lastAtOrBefore } from "../model/model.js";
import { netPanel } from "./net_panel.js";
import { formatMean, formatNumber, niceCeiling } from "../model/format.js";
import { methodColour } from "../pen/palette.js";

/** @typedef {import("../model/model.js").Model} Model */
/** @typedef {import("../pen/palette.js").Palette} Palette */
/** @typedef {import("../pen/draw.js").CanvasPen} CanvasPen */
/** @typedef {import("../pen/draw.js").Box} Box */
/** @typedef {import("../model/scene.js").TimeScale} TimeScale */

/**
 * @typedef {object} Panel
 * @property {string} label
 * @property {string} [note] what the line is, in smaller print
 * @property {number} weight share of the height
 * @property {(pen: CanvasPen, palette: Palette, box: Box, scale: TimeScale) => void} draw
 * @property {(step: number) => string} value what stands beside the panel at the clock
 * @property {(step: number) => string} [otherValue] the same of the pinned run
 * @property {(step: number) => string} [aside] a second line of it, in smaller print
 * @property {number} [need] 0 = always there; where the height is short, larger ones go first
 */

/** @typedef {import("../model/scene.js").Pinned} Pinned */

/** @param {Model} model @param {Pinned | null} other a second run under the same clock @returns {Panel[]} only what the run has recorded */
export function panelsOf(model, other) {
  const panels = [];
  if (model.lossSteps.length) panels.push(lossPanel(model, other));
  if (model.lossSteps.length) panels.push(regularizerPanel(model, other));
  if (model.penalty) panels.push(penaltyPanel(model, model.penalty));
  const evaluation = evaluationPanel(model, other);
  if (evaluation) panels.push(evaluation);
  if (model.events.length || model.budgetCurve() || model.run.state === "running") panels.push(movesPanel(model));
  if (model.events.length) panels.push(netPanel(model));
  panels.push(totalRankPanel(model, other));
  return panels;
}

/** @param {ArrayLike<number>} values @param {number} top @param {Box} box @returns {Float64Array} */
function heights(values, top, box) {
  const ys = new Float64Array(values.length);
  for (let i = 0; i < ys.length; i += 1) ys[i] = box.y + box.h * (1 - values[i] / top);
  return ys;
}

/** @param {ArrayLike<number>} steps @param {TimeScale} scale @returns {Float64Array} */
function places(steps, scale) {
  const xs = new Float64Array(steps.length);
  for (let i = 0; i < xs.length; i += 1) xs[i] = scale.x(steps[i]);
  return xs;
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} box @param {string} top */
function frame(pen, palette, box, top) {
  pen.line(box.x, box.y + box.h, box.x + box.w, box.y + box.h, { stroke: palette.line });
  pen.line(box.x, box.y, box.x + box.w, box.y, { stroke: palette.line, dash: [2, 3] });
  pen.text(box.x - 6, box.y + 4, top, { fill: palette.muted, size: 10.5, align: "right" });
}

/**
 * Both runs' lines: the colour of the method, the pinned one dashed.
 * @param {CanvasPen} pen @param {Palette} palette @param {Box} box @param {TimeScale} scale @param {Model} model @param {ArrayLike<number>} steps @param {Float64Array} ys @param {{dashed?: boolean, steps?: boolean}} [how]
 */
function drawRun(pen, palette, box, scale, model, steps, ys, { dashed = false, steps: held = false } = {}) {
  // The clock is the first run's: what the other logged beyond its end has no place on the axis.
  pen.clipped({ x: box.x, y: box.y - 2, w: box.w, h: box.h + 4 }, () =>
    pen.path(...perColumn(places(steps, scale), ys), { stroke: methodColour(palette, model.run.method), width: 1.75, dash: dashed ? [5, 3] : undefined, steps: held }),
  );
}

/** @param {Model} model @param {Pinned | null} other @returns {Panel} */
function lossPanel(model, other) {
  const window = model.header.lossWindow;
  const smooth = model.taskLossMean;
  const theirs = other?.model.lossSteps.length ? other.model : null;
  const their = theirs?.taskLossMean;
  const top = niceCeiling(Math.max(largest(model.taskLoss), largest(theirs?.taskLoss ?? [])));
  return {
    label: "task loss",
    note: window > 1 ? `mean of ${window}` : undefined,
    weight: 2.2,
    draw: (pen, palette, box, scale) => {
      frame(pen, palette, box, formatNumber(top));
      const xs = places(model.lossSteps, scale);
      if (theirs && their) {
        drawRun(pen, palette, box, scale, theirs, theirs.lossSteps, heights(their, top, box), { dashed: true });
        drawRun(pen, palette, box, scale, model, model.lossSteps, heights(smooth, top, box));
        return;
      }
      pen.path(...perColumn(xs, heights(model.taskLoss, top, box)), { stroke: palette.task, width: 1, alpha: window > 1 ? 0.35 : 1 });
      if (window > 1) pen.path(...perColumn(xs, heights(smooth, top, box)), { stroke: palette.task, width: 1.75 });
    },
    value: (step) => formatNumber(smooth[lastAtOrBefore(model.lossSteps, step)]),
    ...(theirs && their ? { otherValue: (/** @type {number} */ step) => formatNumber(their[lastAtOrBefore(theirs.lossSteps, step)]) } : {}),
  };
}

/** @param {Model} model @param {Pinned | null} other @returns {Panel} */
function regularizerPanel(model, other) {
  const theirs = other?.model.lossSteps.length ? other.model : null;
  const top = niceCeiling(Math.max(largest(model.regularizer), largest(theirs?.regularizer ?? [])));
  return {
    label: "regulariser",
    need: 4,
    weight: 1.1,
    draw: (pen, palette, box, scale) => {
      frame(pen, palette, box, formatNumber(top));
      if (theirs) {
        drawRun(pen, palette, box, scale, theirs, theirs.lossSteps, heights(theirs.regularizer, top, box), { dashed: true });
        drawRun(pen, palette, box, scale, model, model.lossSteps, heights(model.regularizer, top, box));
        return;
      }
      pen.path(...perColumn(places(model.lossSteps, scale), heights(model.regularizer, top, box)), { stroke: palette.regularizer, width: 1.5 });
    },
    value: (step) => formatNumber(model.regularizer[lastAtOrBefore(model.lossSteps, step)]),
    ...(theirs ? { otherValue: (/** @type {number} */ step) => formatNumber(theirs.regularizer[lastAtOrBefore(theirs.lossSteps, step)]) } : {}),
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
    need: 5,
    note: "as weighted",
    weight: 0.9,
    draw: (pen, palette, box, scale) => {
      frame(pen, palette, box, formatNumber(top));
      if (low < 0) pen.line(box.x, y(box, 0), box.x + box.w, y(box, 0), { stroke: palette.line });
      pen.path(...perColumn(places(model.lossSteps, scale), Float64Array.from(values, (value) => y(box, value))), { stroke: palette.regularizer, width: 1.5 });
    },
    value: (step) => formatNumber(values[lastAtOrBefore(model.lossSteps, step)]),
  };
}

/** The first metric of the validation split. @param {Model} model @param {Pinned | null} other @returns {Panel | null} */
function evaluationPanel(model, other) {
  const found = model.evaluationSeries();
  if (!found) return null;
  const second = other?.model.evaluationSeries();
  const theirs = other && second?.metric === found.metric && second.split === found.split ? second : null;
  const top = [...found.values, ...(theirs?.values ?? [])].every((value) => value <= 1) ? 1 : niceCeiling(Math.max(largest(found.values), largest(theirs?.values ?? [])));
  return {
    label: found.metric,
    note: found.split,
    need: 2,
    weight: 1.4,
    draw: (pen, palette, box, scale) => {
      frame(pen, palette, box, formatNumber(top));
      const xs = places(found.steps, scale);
      const ys = heights(found.values, top, box);
      if (other && theirs) {
        drawRun(pen, palette, box, scale, other.model, theirs.steps, heights(theirs.values, top, box), { dashed: true });
        drawRun(pen, palette, box, scale, model, found.steps, ys);
      } else pen.path(xs, ys, { stroke: palette.evaluation, width: 1.5 });
      xs.forEach((x, i) => pen.glyph("circle", x, ys[i], 2.5, { fill: theirs ? methodColour(palette, model.run.method) : palette.evaluation }));
    },
    value: (step) => formatNumber(found.values[lastAtOrBefore(found.steps, step)]),
    ...(theirs ? { otherValue: (/** @type {number} */ step) => formatNumber(theirs.values[lastAtOrBefore(theirs.steps, step)]) } : {}),
  };
}

/** Extended above, pruned below, b(t) as the cap on both where the method has one. @param {Model} model @returns {Panel} */
function movesPanel(model) {
  const curve = model.budgetCurve();
  const most = Math.max(1, largest(curve?.values ?? []), ...model.events.map((event) => Math.max(event.prune.length, event.extend.length)));
  return {
    label: "moves",
    note: curve ? "line: b(t)" : undefined,
    need: 1,
    weight: 1.6,
    draw: (pen, palette, box, scale) => {
      const middle = box.y + box.h / 2;
      const unit = box.h / 2 / most;
      const xs = places(curve?.steps ?? [], scale);
      for (const sign of [-1, 1]) {
        const ys = Float64Array.from(curve?.values ?? [], (value) => middle + sign * unit * value);
        pen.path(...perColumn(xs, ys), { stroke: palette.muted, width: 1, alpha: 0.8, steps: true });
      }
      pen.line(box.x, middle, box.x + box.w, middle, { stroke: palette.line });
      const thick = Math.max(1, Math.min(7, (box.w / Math.max(1, model.domain[1])) * 3));
      for (const event of model.events) {
        const x = scale.x(event.step) - thick / 2;
        pen.rect(x, middle - unit * event.extend.length, thick, unit * event.extend.length, { fill: palette.extended });
        pen.rect(x, middle, thick, unit * event.prune.length, { fill: palette.pruned });
      }
      pen.text(box.x - 6, box.y + 4, `+${most}`, { fill: palette.muted, size: 10.5, align: "right" });
      if (box.h >= 22) pen.text(box.x - 6, box.y + box.h - 3, `−${most}`, { fill: palette.muted, size: 10.5, align: "right" });
    },
    value: (step) => {
      const event = model.events[model.eventAt(step)];
      const budget = curve?.values[lastAtOrBefore(curve.steps, step)];
      const cap = budget === undefined || !Number.isFinite(budget) ? "" : `b = ${budget}`;
      return [event ? `−${event.prune.length} +${event.extend.length}` : "", cap].filter(Boolean).join(", ");
    },
  };
}

/** With the total that the schedule asks for, and what a training step uses, where these are told. @param {Model} model @param {Pinned | null} other @returns {Panel} */
function totalRankPanel(model, other) {
  const { targetRank, expectedTotal, shares } = model;
  const theirs = other?.model;
  const top = Math.max(1, largest(model.totalRank), largest(targetRank ?? []), largest(theirs?.totalRank ?? []));
  const notes = [targetRank ? "-- target" : "", shares ? "— used" : ""].filter(Boolean).join(" ");
  return {
    label: "total rank",
    note: notes || undefined,
    weight: notes ? 2 : theirs ? 1.1 : 0.8,
    draw: (pen, palette, box, scale) => {
      const inner = { ...box, y: box.y + 3, h: box.h - 3 };
      pen.line(box.x, box.y + box.h, box.x + box.w, box.y + box.h, { stroke: palette.line });
      if (shares && expectedTotal) pen.path(...perColumn(places(model.steps, scale), heights(expectedTotal, top, inner)), { stroke: palette.accent, width: 1, steps: true });
      if (theirs) {
        drawRun(pen, palette, box, scale, theirs, theirs.steps, heights(theirs.totalRank, top, inner), { dashed: true, steps: true });
        drawRun(pen, palette, box, scale, model, model.steps, heights(model.totalRank, top, inner), { steps: true });
      } else pen.path(...perColumn(places(model.steps, scale), heights(model.totalRank, top, inner)), { stroke: palette.text, width: 1.5, steps: true });
      if (targetRank) pen.path(...perColumn(places(model.lossSteps, scale), heights(targetRank, top, inner)), { stroke: palette.regularizer, width: 1.25, dash: [4, 3] });
      pen.text(box.x - 6, box.y + 5, String(top), { fill: palette.muted, size: 10.5, align: "right" });
    },
    value: (step) => {
      const mean = model.expectedTotalRank(model.recordAt(step));
      return `${model.totalRank[model.recordAt(step)] ?? "–"}${mean === null ? "" : ` ≈ ${formatMean(mean)}`}`;
    },
    ...(theirs ? { otherValue: (/** @type {number} */ step) => String(theirs.totalRank[theirs.recordAt(step)] ?? "–") } : {}),
  };
}
