/** Loss, moves and total rank over time: small panels that share the strip's time axis. */

import { perColumn } from "../model/columns.js";
import { largest, lastAtOrBefore } from "../model/model.js";
import { formatMean, formatNumber, niceCeiling } from "../model/format.js";
import { methodColour } from "../pen/palette.js";
import { percentage } from "./rank_share.js";

/** @import { Model } from "../model/model.js" */
/** @import { Palette } from "../pen/palette.js" */
/** @import { CanvasPen, Box, Style } from "../pen/draw.js" */
/** @import { TimeScale, Pinned } from "../model/scene.js" */

/** @typedef {{label: string, note?: string, terse?: string, weight: number, need?: number}} Told note: what the line is, in smaller print; terse: instead of the label where the note has no room; weight: share of the height; need: 0 = always there, where the height is short, larger ones go first */

/** @typedef {{value: (step: number) => string, otherValue?: (step: number) => string, aside?: (step: number) => string}} Words what stands beside the panel at the clock, of this run and of the pinned one, and a second line of it */

/** @typedef {(pen: CanvasPen, palette: Palette, box: Box, scale: TimeScale) => void} Draw */

/** @typedef {Told & Words & {draw: Draw}} Panel */

/** @typedef {{steps: ArrayLike<number>, values: ArrayLike<number>}} Series */

/** @typedef {Series & {ink: (palette: Palette) => string, top?: number, style: Style & {steps?: boolean}}} Line top: the value at the panel's top edge, where it is another than the panel's */

const FAR_APART = 5; // times the other's largest, beyond which both share a logarithmic scale
const MOST_APART = 1e5; // times: what is smaller stands at the bottom of that scale

/** @param {Model} model @param {Pinned | null} other a second run under the same clock @returns {Panel[]} only what the run has recorded */
export function panelsOf(model, other) {
  const panels = [];
  const second = other?.model.lossSteps.length ? other.model : undefined;
  if (model.lossSteps.length) panels.push(lossPanel(model, second), regularizerPanel(model, second));
  if (model.penalty) panels.push(penaltyPanel(model, model.penalty));
  const evaluation = evaluationPanel(model, other);
  if (evaluation) panels.push(evaluation);
  if (model.events.length || model.budgetCurve() || model.run.state === "running") panels.push(movesPanel(model));
  if (model.events.length) panels.push(netPanel(model));
  panels.push(totalRankPanel(model, other));
  return panels;
}

/** @param {ArrayLike<number>} values @param {(value: number) => number} place @returns {Float64Array} */
function mapped(values, place) {
  const found = new Float64Array(values.length);
  for (let i = 0; i < found.length; i += 1) found[i] = place(values[i]);
  return found;
}

/**
 * A panel of lines between `low` and `top`; what is counted has no line at its top.
 * @param {Told & Words & {top: number, low?: number, counted?: boolean, log?: boolean, lines: Line[]}} told log: the height is the logarithm, and what is below `low` stands at the bottom
 * @param {Draw} [further] draws on top
 * @returns {Panel}
 */
function linesPanel({ top, low = 0, counted = false, log = false, lines, ...told }, further) {
  return {
    ...told,
    draw: (pen, palette, box, scale) => {
      const share = (/** @type {number} */ value, /** @type {number} */ most) => (log ? Math.log(most / Math.max(low, value)) / Math.log(most / low) : (most - value) / (most - low));
      const y = (/** @type {number} */ value, most = top) => box.y + box.h * share(value, most);
      pen.line(box.x, y(0), box.x + box.w, y(0), { stroke: palette.line });
      if (log && box.h >= 20) pen.text(box.x - 6, box.y + box.h - 3, formatNumber(low), { fill: palette.muted, size: 11, align: "right" });
      if (!counted) pen.line(box.x, box.y, box.x + box.w, box.y, { stroke: palette.line, dash: [2, 3] });
      pen.text(box.x - 6, box.y + 4, formatNumber(top), { fill: palette.muted, size: 11, align: "right" });
      // The clock is the first run's: what the other logged beyond its end has no place on the axis.
      pen.clipped({ x: box.x, y: box.y - 2, w: box.w, h: box.h + 4 }, () => {
        for (const { steps, values, ink, top: own, style } of lines) {
          pen.path(...perColumn(mapped(steps, scale.x), mapped(values, (value) => y(value, own))), { ...style, stroke: ink(palette) });
        }
      });
      further?.(pen, palette, box, scale);
    },
  };
}

/** Both runs' lines: the colour of the method, the pinned one dashed. @param {Model} model @param {Series} own @param {Model} second @param {Series} theirs @param {boolean} [steps] each value holds until the next @returns {Line[]} */
function bothLines(model, own, second, theirs, steps = false) {
  return [
    { ...theirs, ink: (palette) => methodColour(palette, second.run.method), style: { width: 1.75, dash: [5, 3], steps } },
    { ...own, ink: (palette) => methodColour(palette, model.run.method), style: { width: 1.75, steps } },
  ];
}

/**
 * A curve; where the pinned run has one too, both in the colours of their methods.
 * @param {Model} model @param {Series} own @param {Model | undefined} second the pinned run @param {Series | null | undefined} theirs
 * @param {Told & {top: number, low?: number, log?: boolean, aside?: Words["aside"]}} told @param {Line[]} alone where there is no other @param {Draw} [further]
 * @returns {Panel}
 */
function curvePanel(model, own, second, theirs, told, alone, further) {
  const valueOf = (/** @type {Series} */ { steps, values }) => (/** @type {number} */ step) => formatNumber(values[lastAtOrBefore(steps, step)]);
  const lines = second && theirs ? bothLines(model, own, second, theirs) : alone;
  return linesPanel({ ...told, lines, value: valueOf(own), ...(theirs ? { otherValue: valueOf(theirs) } : {}) }, further);
}

/** @param {Model} model @param {Model | undefined} second @returns {Panel} */
function lossPanel(model, second) {
  const window = model.header.lossWindow;
  const top = niceCeiling(Math.max(largest(model.taskLoss), largest(second?.taskLoss ?? [])));
  const own = { steps: model.lossSteps, values: model.taskLossMean };
  const theirs = second && { steps: second.lossSteps, values: second.taskLossMean };
  const ink = (/** @type {Palette} */ { task }) => task;
  const alone = [{ ...own, values: model.taskLoss, ink, style: { width: 1, alpha: window > 1 ? 0.35 : 1 } }];
  if (window > 1) alone.push({ ...own, ink, style: { width: 1.75, alpha: 1 } });
  return curvePanel(model, own, second, theirs, { label: "task loss", note: window > 1 ? `mean of ${window}` : undefined, weight: 2.2, top }, alone);
}

/** @param {number} floor above 0 @param {ArrayLike<number>[]} series @returns {number} the least value from the floor on, the floor where there is none */
function leastAbove(floor, ...series) {
  const known = series.flatMap((values) => Array.from(values)).filter((value) => value >= floor);
  return known.reduce((least, value) => Math.min(least, value), known[0] ?? floor);
}

/** @param {Model} model @param {Model | undefined} second @returns {Panel} */
function regularizerPanel(model, second) {
  const tops = [model, ...(second ? [second] : [])].map(({ regularizer }) => largest(regularizer));
  const top = niceCeiling(Math.max(...tops));
  const own = { steps: model.lossSteps, values: model.regularizer };
  const theirs = second && { steps: second.lossSteps, values: second.regularizer };
  // A method that does not keep P and Q orthonormal has a hundred times as much: the other's curve would be flat.
  const apart = Math.min(...tops) > 0 && Math.max(...tops) > FAR_APART * Math.min(...tops);
  const low = 10 ** Math.floor(Math.log10(leastAbove(top / MOST_APART, own.values, theirs?.values ?? [])));
  const scale = apart ? { log: true, low, note: "log scale", terse: "log regul.", weight: 1.5 } : { weight: 1.1 };
  return curvePanel(model, own, second, theirs, { label: "regulariser", need: 4, top, ...scale }, [{ ...own, ink: ({ regularizer }) => regularizer, style: { width: 1.5 } }]);
}

/** The method's own term of the loss, as weighted: a multiplier may turn it into a small reward. @param {Model} model @param {Float32Array} values @returns {Panel} */
function penaltyPanel(model, values) {
  const own = { steps: model.lossSteps, values };
  const told = { label: "penalty", need: 5, note: "as weighted", weight: 0.9, top: niceCeiling(largest(values)), low: -largest(values.map((value) => -value)) };
  return curvePanel(model, own, undefined, null, told, [{ ...own, ink: ({ regularizer }) => regularizer, style: { width: 1.5 } }]);
}

/** The first metric of the validation split. @param {Model} model @param {Pinned | null} other @returns {Panel | null} */
function evaluationPanel(model, other) {
  const own = model.evaluationSeries();
  if (!own) return null;
  const second = other?.model.evaluationSeries();
  const theirs = second?.metric === own.metric && second.split === own.split ? second : null;
  const top = [...own.values, ...(theirs?.values ?? [])].every((value) => value <= 1) ? 1 : niceCeiling(Math.max(largest(own.values), largest(theirs?.values ?? [])));
  const alone = [{ ...own, ink: (/** @type {Palette} */ { evaluation }) => evaluation, style: { width: 1.5 } }];
  const aside = (/** @type {number} */ step) => `at step ${own.steps[lastAtOrBefore(own.steps, step)] ?? "–"}`;
  return curvePanel(model, own, other?.model, theirs, { label: own.metric, aside, note: own.split, need: 2, weight: 1.4, top }, alone, (pen, palette, box, scale) => {
    const fill = theirs ? methodColour(palette, model.run.method) : palette.evaluation;
    own.steps.forEach((step, i) => pen.glyph("circle", scale.x(step), box.y + box.h * (1 - own.values[i] / top), 2.5, { fill }));
  });
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
      const xs = mapped(curve?.steps ?? [], scale.x);
      for (const sign of [-1, 1]) {
        pen.path(...perColumn(xs, mapped(curve?.values ?? [], (value) => middle + sign * unit * value)), { stroke: palette.muted, width: 1, alpha: 0.8, steps: true });
      }
      pen.line(box.x, middle, box.x + box.w, middle, { stroke: palette.line });
      const thick = Math.max(1, Math.min(7, (box.w / Math.max(1, model.domain[1])) * 3));
      for (const event of model.events) {
        const x = scale.x(event.step) - thick / 2;
        pen.rect(x, middle - unit * event.extend.length, thick, unit * event.extend.length, { fill: palette.extended });
        pen.rect(x, middle, thick, unit * event.prune.length, { fill: palette.pruned });
      }
      pen.text(box.x - 6, box.y + 4, `+${most}`, { fill: palette.muted, size: 11, align: "right" });
      if (box.h >= 22) pen.text(box.x - 6, box.y + box.h - 3, `−${most}`, { fill: palette.muted, size: 11, align: "right" });
    },
    value: (step) => {
      const event = model.events[model.eventAt(step)];
      const budget = curve?.values[lastAtOrBefore(curve.steps, step)];
      const cap = budget === undefined || !Number.isFinite(budget) ? "" : `b = ${budget}`;
      return [event ? `−${event.prune.length} +${event.extend.length}` : "", cap].filter(Boolean).join(", ");
    },
  };
}

/** Cumulative gross moves above, net moves below; churn is told beside. @param {Model} model @returns {Panel} */
function netPanel(model) {
  const moved = Array.from(model.steps, (_, t) => model.moved(t));
  const line = (/** @type {"gross" | "net" | "churn"} */ key) => ({ steps: model.steps, values: moved.map((own) => own[key]) });
  const at = (/** @type {number} */ step) => model.moved(model.recordAt(step));
  return linesPanel({
    label: "net of gross",
    note: "bold: net",
    weight: 1.3,
    need: 3,
    top: moved.reduce((most, { gross, net }) => Math.max(most, gross, net), (model.held && model.run.allowedMoves) || 1),
    counted: true,
    lines: [
      { ...line("churn"), top: 1, ink: ({ evaluation }) => evaluation, style: { width: 1, dash: [2, 2], steps: true } },
      { ...line("gross"), ink: ({ muted }) => muted, style: { width: 1.25, steps: true } },
      { ...line("net"), ink: ({ text }) => text, style: { width: 2, steps: true } },
    ],
    value: (step) => `${at(step).net} of ${at(step).gross}`,
    aside: (step) => (Number.isFinite(at(step).churn) ? `churn ${percentage(at(step).churn)}` : ""),
  });
}

/** With the total that the schedule asks for, and what a training step uses, where these are told. @param {Model} model @param {Pinned | null} other @returns {Panel} */
function totalRankPanel(model, other) {
  const { steps, totalRank: values, lossSteps, targetRank, expectedTotal, shares } = model;
  const theirs = other?.model;
  const notes = [targetRank ? "-- target" : "", shares ? "— used" : ""].filter(Boolean).join(" ");
  /** @type {Line[]} */
  const lines = theirs
    ? bothLines(model, { steps, values }, theirs, { steps: theirs.steps, values: theirs.totalRank }, true)
    : [{ steps, values, ink: ({ text }) => text, style: { width: 1.5, steps: true } }];
  if (shares && expectedTotal) lines.unshift({ steps, values: expectedTotal, ink: ({ accent }) => accent, style: { width: 1, steps: true } });
  if (targetRank) lines.push({ steps: lossSteps, values: targetRank, ink: ({ regularizer }) => regularizer, style: { width: 1.25, dash: [4, 3] } });
  return linesPanel({
    label: "total rank",
    note: notes || undefined,
    weight: notes ? 2 : theirs ? 1.1 : 0.8,
    top: Math.max(1, largest(values), largest(targetRank ?? []), largest(theirs?.totalRank ?? [])),
    counted: true,
    lines,
    value: (step) => {
      const mean = model.expectedTotalRank(model.recordAt(step));
      return `${values[model.recordAt(step)] ?? "–"}${mean === null ? "" : ` ≈ ${formatMean(mean)}`}`;
    },
    ...(theirs ? { otherValue: (/** @type {number} */ step) => String(theirs.totalRank[theirs.recordAt(step)] ?? "–") } : {}),
  });
}
