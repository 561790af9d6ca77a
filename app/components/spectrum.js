/** The selected matrix: its λ as trained, the true singular values of ΔW beside them, and the energy shares. */

import { formatNumber, niceCeiling } from "./format.js";
import { inkOn, tableColour } from "./palette.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./palette.js").Palette} Palette */
/** @typedef {import("./draw.js").CanvasPen} CanvasPen */
/** @typedef {import("./draw.js").Box} Box */

// σ/s may be far above |λ| where P and Q are far from orthonormal; beyond this the bars are cut, so that λ stays visible.
const MOST = 4;

/** @typedef {{value: number, slot: number | null, pruned: boolean, fresh: boolean}} Direction */

/**
 * The directions of a matrix, largest |λ| first, with what the event at (or before) the record did to them.
 * @param {Model} model @param {number} t @param {number} m
 * @returns {Direction[]}
 */
export function directionsAt(model, t, m) {
  const values = model.singularValues(t, m);
  const slots = model.slots(t, m);
  const name = model.matrices[m].name;
  const step = model.steps[t];
  const now = model.events[model.eventAt(step)];
  const before = model.events[model.eventBefore(step - 1)];
  const prunedSlots = (now?.prune ?? []).filter((move) => move.matrix === name).map((move) => move.slot);
  const freshSlots = (before?.extend ?? []).filter((move) => move.matrix === name).map((move) => move.slot);
  return Array.from(values, (value, i) => {
    const slot = slots ? slots[i] : null;
    return {
      value,
      slot,
      pruned: slot !== null && prunedSlots.includes(slot),
      fresh: slot !== null && freshSlots.includes(slot),
    };
  }).sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
}

/**
 * Scales of one matrix over the whole run, so that nothing is rescaled while the clock moves.
 * @param {Model} model @param {number} m
 * @returns {{top: number, count: number}}
 */
export function spectrumScale(model, m) {
  let top = 0;
  let truth = 0;
  let count = 1;
  for (let t = 0; t < model.T; t += 1) {
    count = Math.max(count, model.rank(t, m));
    for (const value of model.singularValues(t, m)) top = Math.max(top, Math.abs(value));
  }
  for (const t of model.sigmaRecords) for (const value of model.trueSingularValues(t, m)?.values ?? []) truth = Math.max(truth, value / model.scale);
  const extended = model.events.some((event) => event.extend.some((move) => move.matrix === model.matrices[m].name));
  return { top: niceCeiling(top > 0 ? Math.min(Math.max(top, truth), MOST * top) : truth), count: count + (extended ? 1 : 0) };
}

/**
 * @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {number} width @param {number} height
 * @param {{record: number, selected: number, scale: {top: number, count: number}}} state
 */
export function drawSpectrum(pen, model, palette, width, height, state) {
  const plot = { x: 46, y: 8, w: width - 54, h: height - 8 - 74 };
  const directions = directionsAt(model, state.record, state.selected);
  const name = model.matrices[state.selected].name;
  const event = model.events[model.eventAt(model.steps[state.record])];
  const arriving = (event?.extend ?? []).filter((move) => move.matrix === name).length;
  const truth = model.trueSingularValues(state.record, state.selected);
  const column = plot.w / state.scale.count;
  // λ as trained; the true singular values of ΔW hold the fixed scale s, which is taken out to compare.
  const truths = Float32Array.from(truth?.values ?? [], (value) => value / model.scale);
  const y = (/** @type {number} */ value) => plot.y + plot.h * (1 - Math.abs(value) / state.scale.top);
  drawAxis(pen, palette, plot, state.scale.top, y);
  drawTruth(pen, palette, plot, column, truths, y);
  directions.forEach((direction, i) => drawStem(pen, palette, plot, plot.x + (i + 0.5) * column, column, direction, y));
  for (let i = 0; i < arriving; i += 1) {
    const x = plot.x + (directions.length + i + 0.5) * column;
    pen.glyph("circle", x, y(0), 6.5, { stroke: palette.extended, width: 2, dash: [2, 2] });
    pen.text(x, y(0) - 14, "+1", { fill: palette.extended, size: 10, align: "center" });
  }
  drawShares(pen, palette, { x: plot.x, y: plot.y + plot.h + 20, w: plot.w, h: 18 }, directions);
  drawKey(pen, palette, plot.x, height - 9, width - plot.x, truth ? truth.step : null);
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} plot @param {number} top @param {(value: number) => number} y */
function drawAxis(pen, palette, plot, top, y) {
  for (const value of [0, top / 2, top]) {
    pen.line(plot.x, y(value), plot.x + plot.w, y(value), { stroke: palette.line });
    pen.text(plot.x - 6, y(value), formatNumber(value), { fill: palette.muted, size: 10, align: "right" });
  }
  pen.text(plot.x - 6, y(top * 0.75), "|λ|, σ/s", { fill: palette.muted, size: 10, align: "right" });
}

/** Hollow bars behind the stems. @param {CanvasPen} pen @param {Palette} palette @param {Box} plot @param {number} column @param {Float32Array} values @param {(value: number) => number} y */
function drawTruth(pen, palette, plot, column, values, y) {
  const width = Math.max(1.5, Math.min(column * 0.62, 26));
  [...values].sort((a, b) => b - a).forEach((value, i) => {
    if (!Number.isFinite(value)) return;
    const x = plot.x + (i + 0.5) * column - width / 2;
    const cut = y(value) < plot.y;
    const top = Math.max(plot.y, Math.min(y(value), y(0) - 0.5));
    pen.rect(x, top, width, y(0) - top, { fill: palette.muted, alpha: 0.13 });
    pen.line(x, top, x + width, top, { stroke: palette.muted, width: 1.5, dash: cut ? [2, 2] : [] });
    if (cut && column > 26) pen.text(x + width / 2, top + 8, `↑${formatNumber(value)}`, { fill: palette.muted, size: 10, align: "center" });
  });
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} plot @param {number} x @param {number} column @param {Direction} direction @param {(value: number) => number} y */
function drawStem(pen, palette, plot, x, column, direction, y) {
  const colour = direction.pruned ? palette.pruned : direction.fresh ? palette.extended : palette.accent;
  const size = Math.max(1.5, Math.min(5, column * 0.28));
  const at = y(direction.value);
  pen.line(x, y(0), x, at, { stroke: colour, width: Math.max(1, Math.min(2.5, column * 0.2)), dash: direction.pruned ? [3, 3] : [] });
  pen.glyph(direction.value < 0 ? "down" : "circle", x, at, size, {
    fill: direction.pruned ? palette.background : colour,
    stroke: colour,
    width: 1.75,
  });
  if (direction.fresh) pen.glyph("circle", x, at, size + 3.5, { stroke: colour, width: 1.5 });
  if (column < 15) return;
  const label = direction.pruned ? (column < 44 ? "−" : "pruned") : direction.fresh ? "new" : direction.slot === null ? "" : String(direction.slot);
  const fill = direction.pruned || direction.fresh ? colour : palette.muted;
  pen.text(x, plot.y + plot.h + 11, label, { fill, size: 10, align: "center", weight: direction.pruned || direction.fresh ? 600 : 400 });
}

/** λ² of each direction as a share of the energy: even pieces are entropy 1. @param {CanvasPen} pen @param {Palette} palette @param {Box} box @param {Direction[]} directions */
function drawShares(pen, palette, box, directions) {
  pen.text(box.x - 6, box.y + box.h / 2, "share", { fill: palette.muted, size: 10, align: "right" });
  const total = directions.reduce((sum, direction) => sum + direction.value ** 2, 0);
  if (!(total > 0)) {
    pen.rect(box.x, box.y, box.w, box.h, { stroke: palette.line });
    pen.hatch(box, palette.faint);
    return;
  }
  let x = box.x;
  directions.forEach((direction, i) => {
    const share = direction.value ** 2 / total;
    const w = share * box.w;
    const fill = tableColour(palette.tables.energy, Math.round(palette.dark ? 215 - (130 * i) / directions.length : 200 - (150 * i) / directions.length));
    pen.rect(x, box.y, Math.max(0, w - 1), box.h, { fill });
    if (w > 30) pen.text(x + w / 2, box.y + box.h / 2 + 0.5, `${Math.round(share * 100)} %`, { fill: inkOn(fill), size: 10, align: "center" });
    x += w;
  });
}

/** @param {CanvasPen} pen @param {Palette} palette @param {number} x @param {number} y @param {number} width @param {number | null} truthStep */
function drawKey(pen, palette, x, y, width, truthStep) {
  const style = { fill: palette.muted, size: 10.5 };
  const items = /** @type {Array<[string, (x: number) => void]>} */ ([
    ["λ > 0", (at) => pen.glyph("circle", at + 5, y, 4, { fill: palette.accent })],
    ["λ < 0", (at) => pen.glyph("down", at + 5, y, 4, { fill: palette.accent })],
    [truthStep === null ? "σ: not recorded" : `σ/s of ΔW (${truthStep})`, (at) => {
      pen.rect(at, y - 5, 10, 10, { fill: palette.muted, alpha: 0.2 });
      pen.line(at, y - 5, at + 10, y - 5, { stroke: palette.muted, width: 1.5 });
    }],
    ["pruned", (at) => pen.glyph("circle", at + 5, y, 4, { fill: palette.background, stroke: palette.pruned, width: 1.75 })],
    ["new", (at) => pen.glyph("circle", at + 5, y, 5, { stroke: palette.extended, width: 1.75 })],
  ]);
  let at = x;
  for (const [label, draw] of items) {
    const w = pen.measure(label, style) + 28;
    if (at + w - 14 > x + width) return;
    draw(at);
    pen.text(at + 14, y, label, style);
    at += w;
  }
}
