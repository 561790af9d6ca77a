/** One line a matrix over time: a few that moved most in colour, the others grey, so that the few can be told. */

import { perColumn } from "../model/columns.js";
import { describeCell } from "./describe.js";
import { colourValue, shownColour } from "../pen/colour.js";
import { formatEntropy, matrixLabel, niceTicks } from "../model/format.js";
import { remembered } from "../model/remembered.js";
import { drawLabel, LABEL_HEIGHT, labelsIn, spread } from "./labels.js";

/** @import { Model } from "../model/model.js" */
/** @import { Palette } from "../pen/palette.js" */
/** @import { Scene, Pen, TimeScale } from "../model/scene.js" */
/** @import { Box } from "../pen/draw.js" */

/**
 * @typedef {object} Shown what the lines show
 * @property {boolean} steps holds until the next record
 * @property {number} jitter sets lines apart that lie on the same value
 * @property {(model: Model) => [number, number]} domain fixed over the run
 * @property {(model: Model, t: number, m: number) => number} value
 * @property {(value: number) => string} format
 */

/** @type {Record<string, Shown>} */
const SHOWN = {
  rank: {
    steps: true,
    jitter: 0.3,
    domain: (model) => [Math.max(0, model.minRank - 1), model.maxRank + 0.5],
    value: (model, t, m) => model.rank(t, m),
    format: String,
  },
  entropy: {
    steps: false,
    jitter: 0,
    domain: (model) => [Math.floor(10 * Math.min(0.9, lowestEntropy(model))) / 10, 1],
    value: (model, t, m) => colourValue(model, shownColour(model, "entropy"), t, m),
    format: formatEntropy,
  },
};

const NEAR = 12; // pixels within which the pointer means a line

/** Places of the matrices in the order of the architecture. */
const rowsOf = remembered((/** @type {Model} */ model) => {
  const rows = new Int32Array(model.M);
  model.order.forEach((m, place) => (rows[m] = place));
  return rows;
});

/** @param {Model} model */
function lowestEntropy(model) {
  let low = 1;
  for (let t = 0; t < model.T; t += 1) for (let m = 0; m < model.M; m += 1) {
    const value = SHOWN.entropy.value(model, t, m);
    if (value < low) low = value;
  }
  return low;
}

/** Records of a matrix that a stepped line needs: where its rank changes. */
export const changesOf = remembered((/** @type {Model} */ model, /** @type {number} */ m) => {
  const found = [];
  for (let t = 0; t < model.T; t += 1) if (t === 0 || t === model.T - 1 || model.rank(t, m) !== model.rank(t - 1, m)) found.push(t);
  return found;
});

/**
 * @typedef {object} LinesLayout
 * @property {Shown} shown
 * @property {Box} box
 * @property {number} low
 * @property {number} high
 * @property {(value: number, m: number) => number} y
 */

/** @param {Scene} scene @param {Box} box @param {string} of key of `SHOWN` @returns {LinesLayout} */
export function layoutLines({ model }, box, of) {
  const shown = SHOWN[of];
  const [low, high] = shown.domain(model);
  const rows = rowsOf(model);
  const inner = { ...box, y: box.y + 3, h: box.h - 3 };
  const apart = (/** @type {number} */ m) => shown.jitter * ((rows[m] + 0.5) / Math.max(1, model.M) - 0.5);
  return { shown, box: inner, low, high, y: (value, m) => inner.y + inner.h * (1 - (value - apart(m) - low) / (high - low)) };
}

/** @param {Model} model @param {LinesLayout} layout @param {TimeScale} scale @param {number} m @returns {[ArrayLike<number>, ArrayLike<number>]} */
function lineOf(model, layout, scale, m) {
  const { shown } = layout;
  const records = shown.steps ? changesOf(model, m) : Array.from(model.steps, (_, t) => t);
  const xs = Float64Array.from(records, (t) => scale.x(model.steps[t]));
  return perColumn(xs, Float64Array.from(records, (t) => layout.y(shown.value(model, t, m), m)));
}

/** @param {Palette} palette @param {number} net @returns {string} what was gained in the colour of gains, what was lost in that of losses */
export function netColour(palette, net) {
  return net > 0 ? palette.extended : net < 0 ? palette.pruned : palette.regularizer;
}

/** @param {Model} model @param {Palette} palette @param {number} m @returns {string} */
function lineColour(model, palette, m) {
  return netColour(palette, model.finalRanks[m] - model.rank(0, m));
}

/** @param {Pen} pen @param {Scene} scene @param {LinesLayout} layout @param {TimeScale} scale */
export function drawLines(pen, scene, layout, scale) {
  const { model, palette, selected } = scene;
  const { box, shown, low, high } = layout;
  const whole = shown.steps ? Math.max(1, Math.round((high - low) / Math.max(2, box.h / 22))) : 0;
  const ticks = whole ? niceTicks(Math.ceil(low), Math.floor(high), (Math.floor(high) - Math.ceil(low)) / whole).filter(Number.isInteger) : niceTicks(low, high, box.h / 28);
  for (const tick of ticks) {
    const y = box.y + box.h * (1 - (tick - low) / (high - low));
    pen.line(box.x, y, box.x + box.w, y, { stroke: palette.line, dash: [2, 3] });
    if (y < box.y + box.h - 6) pen.text(box.x - 6, y, String(Math.round(100 * tick) / 100), { fill: palette.muted, size: 11, align: "right" });
  }
  const { highlighted } = model.header;
  const above = new Set([...highlighted, selected]);
  // A light grey, not a faint black: hundreds on top of each other stay grey.
  const style = { stroke: palette.faint, width: 1, alpha: model.M > 100 ? 0.25 : 0.45, steps: shown.steps };
  for (let m = 0; m < model.M; m += 1) if (!above.has(m)) pen.path(...lineOf(model, layout, scale, m), style);
  for (const m of highlighted) if (m !== selected) pen.path(...lineOf(model, layout, scale, m), { stroke: lineColour(model, palette, m), width: 1.5, alpha: 0.85, steps: shown.steps });
  drawOnTop(pen, scene, layout, scale, selected, palette.text);
  for (const label of endLabels(scene, layout)) {
    const fill = label.m === selected ? palette.text : lineColour(model, palette, label.m);
    drawLabel(pen, scale.right, label, matrixLabel(model.matrices[label.m]), { fill, weight: label.m === selected ? 700 : 500, room: scale.aside + 8 });
  }
}

/** @param {Pen} pen @param {Scene} scene @param {LinesLayout} layout @param {TimeScale} scale @param {number} m @param {string} stroke */
function drawOnTop(pen, { model, palette }, layout, scale, m, stroke) {
  const line = lineOf(model, layout, scale, m);
  pen.path(...line, { stroke: palette.background, width: 5, steps: layout.shown.steps });
  pen.path(...line, { stroke, width: 2.25, steps: layout.shown.steps });
}

/** The line under the pointer, and where the selected one stands at the clock. @param {Pen} pen @param {Scene} scene @param {LinesLayout} layout @param {TimeScale} scale */
export function drawLinesAt(pen, scene, layout, scale) {
  const { model, palette, hovered, selected, record } = scene;
  if (hovered >= 0 && hovered !== selected) drawOnTop(pen, scene, layout, scale, hovered, palette.accent);
  for (const m of new Set([selected, hovered])) {
    const y = m < 0 ? NaN : layout.y(layout.shown.value(model, record, m), m);
    if (Number.isFinite(y)) pen.glyph("circle", scale.x(scene.step), y, 3.5, { fill: m === selected ? palette.text : palette.accent, stroke: palette.background, width: 1.5 });
  }
}

/** Names at the right end, moved apart until none covers another. @param {Scene} scene @param {LinesLayout} layout @returns {Array<{m: number, y: number, at: number}>} */
function endLabels({ model, selected }, layout) {
  const { box } = layout;
  const named = [...new Set([selected, ...model.header.highlighted])].slice(0, labelsIn(box));
  const last = (/** @type {number} */ m) => layout.y(layout.shown.value(model, model.T - 1, m), m);
  return spread(named.map((m) => ({ m, y: last(m) })).filter(({ y }) => Number.isFinite(y)), box);
}

/** @param {Scene} scene @param {LinesLayout} layout @param {TimeScale} scale @param {number} x @param {number} y @returns {number} the nearest line, or -1; those in colour are easier to meet */
export function lineAt(scene, layout, scale, x, y) {
  const { model } = scene;
  const { box } = layout;
  if (y < box.y - 4 || y > box.y + box.h + 4 || x < box.x - 4) return -1;
  if (x > scale.right + 4) return endLabels(scene, layout).find((label) => Math.abs(label.at - y) <= LABEL_HEIGHT / 2)?.m ?? -1;
  const t = model.recordAt(scale.step(x));
  const above = new Set(model.header.highlighted);
  let best = -1;
  let distance = NEAR;
  for (let m = 0; m < model.M; m += 1) {
    const away = Math.abs(layout.y(layout.shown.value(model, t, m), m) - y) - (above.has(m) ? 1.5 : 0);
    if (away < distance) [best, distance] = [m, away];
  }
  return best;
}

/** @param {Scene} scene @param {string} of @returns {string} */
export function describeLines({ model, record, selected }, of) {
  const { highlighted } = model.header;
  const named = highlighted.map((/** @type {number} */ m) => matrixLabel(model.matrices[m])).join(", ");
  return `${of} of ${model.M} matrices over ${model.T} records${named ? `; in colour ${named}` : ""}. Selected: ${describeCell(model, record, selected)}`;
}

/** @param {Scene} scene @param {string} of @returns {import("../model/scene.js").Table} */
export function linesTable({ model }, of) {
  const { value } = SHOWN[of];
  return { head: ["step", ...model.matrices.map(({ name }) => name)], rows: Array.from(model.steps, (step, t) => [step, ...model.matrices.map((_, m) => value(model, t, m))]) };
}
