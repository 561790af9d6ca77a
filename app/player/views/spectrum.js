/** The selected matrix: its λ as trained, the true singular values of ΔW beside them, and the energy shares. */

import { formatNumber, niceCeiling } from "../model/format.js";
import { isSoft } from "../model/model.js";
import { inkOn, tableColour } from "../pen/palette.js";

/** @import { Model } from "../model/model.js" */
/** @import { Palette } from "../pen/palette.js" */
/** @import { CanvasPen, Box } from "../pen/draw.js" */

// σ/s may be far above |λ| where P and Q are far from orthonormal; beyond this the bars are cut, so that λ stays visible.
const MOST = 4;
const KEY_ROW = 15;
const LABELLED = 15; // pixels of a column that has room for its label

/**
 * @typedef {object} Direction
 * @property {number} value λ as trained
 * @property {number} gate 0 = off, may come back; else the share of training steps that use it
 * @property {number | null} slot
 * @property {number} share in the matrix's energy; NaN where off or undefined
 * @property {string} state what the event at this record did to it, or the one before: kept, off, pruned, "goes off", "comes back", new or back
 */

/** @typedef {{top: number, count: number}} SpectrumScale */

/**
 * The directions of a matrix, those that are on first, largest |λ| first, with what the event at (or before) the record did to them.
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
  /** @type {Map<number | undefined, string>} */
  const states = new Map();
  const mark = (/** @type {import("../model/decode.js").Move[] | undefined} */ moves, /** @type {string | null} */ hard, /** @type {string} */ soft) => {
    for (const move of moves ?? []) {
      const state = isSoft(move) ? soft : hard;
      if (state && move.matrix === name) states.set(move.slot, state);
    }
  };
  mark(before?.extend, "new", "back");
  mark(now?.extend, null, "comes back");
  mark(now?.prune, "pruned", "goes off");
  const shares = model.energyShares(t, m);
  return Array.from(values, (value, i) => {
    const slot = slots ? slots[i] : null;
    const gate = model.spectra.gate(t, m, i);
    return { value, gate, slot, share: gate > 0 ? shares[i] : NaN, state: (slot === null ? undefined : states.get(slot)) ?? (gate > 0 ? "kept" : "off") };
  }).sort((a, b) => Number(b.gate > 0) - Number(a.gate > 0) || (Math.abs(b.value) || 0) - (Math.abs(a.value) || 0));
}

/** @param {Direction} direction @returns {boolean} the event takes it */
function isGoing({ state }) {
  return state === "pruned" || state === "goes off";
}

/** @param {Direction} direction @returns {boolean} the event at this record or the one before gave it */
function isFresh({ state }) {
  return state === "new" || state === "back" || state === "comes back";
}

/** @param {Model} model @param {number} t @param {number} m @returns {number} new directions that the event at this record adds; they have a λ from the next record on */
export function arriving(model, t, m) {
  const event = model.events[model.eventAt(model.steps[t])];
  return (event?.extend ?? []).filter((move) => move.matrix === model.matrices[m].name && !isSoft(move)).length;
}

/** @param {Model} model @param {number} t @param {number} m @returns {Array<{value: number, over: number}>} true singular values, largest first; over: without the fixed scale s, to compare with λ */
export function truthAt(model, t, m) {
  const truth = Array.from(model.trueSingularValues(t, m)?.values ?? []);
  return truth.sort((a, b) => b - a).map((value) => ({ value, over: value / model.scale }));
}

/** @param {Model} model @param {number} t @param {number} m @returns {import("../model/scene.js").Table} one row a direction, one that arrives, or a true singular value; the columns are those of analysis.tables */
export function spectrumTable(model, t, m) {
  const { name, layer, type } = model.matrices[m];
  const row = (/** @type {number | undefined} */ step, /** @type {string} */ kind, /** @type {Array<string | number | null>} */ rest) => [step ?? NaN, name, layer, type, kind, ...rest];
  const step = model.steps[t];
  const directions = directionsAt(model, t, m);
  const own = directions.map(({ slot, value, gate, share, state }, i) => row(step, "direction", [i + 1, slot, value, NaN, gate, share, state]));
  const coming = Array.from({ length: arriving(model, t, m) }, (_, i) => row(step, "arriving", [directions.length + i + 1, NaN, NaN, NaN, NaN, NaN, "arriving"]));
  const truth = truthAt(model, t, m).map(({ value, over }, i) => row(model.trueSingularValues(t, m)?.step, "true", [i + 1, NaN, value, over, NaN, NaN, null]));
  return { head: ["record_step", "matrix", "layer", "module_type", "kind", "place", "slot", "singular_value", "over_scale", "gate", "energy_share", "state"], rows: [...own, ...coming, ...truth] };
}

/**
 * Scales of one matrix over the whole run, so that nothing is rescaled while the clock moves.
 * @param {Model} model @param {number} m
 * @returns {SpectrumScale}
 */
export function spectrumScale(model, m) {
  const top = model.peak[m];
  const truth = model.truePeak[m] / model.scale;
  let count = 1;
  for (let t = 0; t < model.T; t += 1) count = Math.max(count, model.stored(t, m));
  const extended = model.events.some((event) => event.extend.some((move) => move.matrix === model.matrices[m].name && !isSoft(move)));
  return { top: niceCeiling(top > 0 ? Math.min(Math.max(top, truth), MOST * top) : truth), count: count + (extended ? 1 : 0) };
}

/** @param {Model} model @param {number} width @param {number} height @returns {Box} room above for shares of steps, below for a second row of the key, in runs that have them */
function plotBox(model, width, height) {
  const y = model.shares ? 22 : 8;
  return { x: 46, y, w: width - 54, h: height - y - (model.gates ? 74 + KEY_ROW : 74) };
}

/**
 * What is under the pointer, in words.
 * @param {Model} model @param {Direction[]} directions @param {number} x @param {number} width @param {SpectrumScale} scale
 * @returns {string | null}
 */
export function describeDirection(model, directions, x, width, scale) {
  const plot = plotBox(model, width, 0);
  const direction = directions[Math.floor(((x - plot.x) / plot.w) * scale.count)];
  if (!direction) return null;
  const share = Number.isFinite(direction.share) ? `${Math.round(100 * direction.share)} % of the energy` : "";
  const use = direction.gate === 0 ? "off, may revive" : direction.gate < 1 ? `used in ${percent(direction.gate)} of steps` : "";
  return [direction.slot === null ? "" : `slot ${direction.slot}`, `λ ${formatNumber(direction.value)}`, share, use].filter(Boolean).join(" · ");
}

/** @param {number} share @returns {string} */
function percent(share) {
  return `${Math.round(100 * share)} %`;
}

/**
 * @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {number} width @param {number} height
 * @param {{record: number, selected: number, scale: SpectrumScale, directions: Direction[], coming: number, lambdaOnly?: boolean}} state coming: new directions that have no λ yet; lambdaOnly: no true singular values behind them
 */
export function drawSpectrum(pen, model, palette, width, height, state) {
  const { directions, coming } = state;
  const plot = plotBox(model, width, height);
  const truth = model.trueSingularValues(state.record, state.selected);
  const column = plot.w / state.scale.count;
  const y = (/** @type {number} */ value) => plot.y + plot.h * (1 - Math.abs(value) / state.scale.top);
  drawAxis(pen, palette, plot, state.scale.top, y, state.lambdaOnly ? "|λ|" : "|λ|, σ/s");
  if (!model.spectra.of(state.selected)) {
    pen.text(plot.x + plot.w / 2, plot.y + plot.h / 2, "spectrum on its way", { fill: palette.muted, size: 12, align: "center" });
    return;
  }
  if (!state.lambdaOnly) drawTruth(pen, palette, plot, column, truthAt(model, state.record, state.selected).map(({ over }) => over), y);
  directions.forEach((direction, i) => drawStem(pen, palette, plot, plot.x + (i + 0.5) * column, column, direction, y));
  if (column >= LABELLED && directions.some(({ slot }) => slot !== null)) pen.text(plot.x - 6, plot.y + plot.h + 11, "slot", { fill: palette.muted, size: 11, align: "right" });
  for (let i = 0; i < coming; i += 1) {
    const x = plot.x + (directions.length + i + 0.5) * column;
    pen.glyph("circle", x, y(0), 6.5, { stroke: palette.extended, width: 2, dash: [2, 2] });
    pen.text(x, y(0) - 14, "+1", { fill: palette.extended, size: 11, align: "center" });
  }
  drawShares(pen, palette, { x: plot.x, y: plot.y + plot.h + 20, w: plot.w, h: 18 }, directions);
  const items = keyItems(pen, model, palette, state.lambdaOnly ? undefined : truth ? truth.step : null);
  drawKey(pen, palette, { x: plot.x, y: height - 9 - (model.gates ? KEY_ROW : 0), w: width - plot.x, h: height }, items);
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} plot @param {number} top @param {(value: number) => number} y @param {string} name */
function drawAxis(pen, palette, plot, top, y, name) {
  for (const value of [0, top / 2, top]) {
    pen.line(plot.x, y(value), plot.x + plot.w, y(value), { stroke: palette.line });
    pen.text(plot.x - 6, y(value), formatNumber(value), { fill: palette.muted, size: 11, align: "right" });
  }
  if (plot.h >= 64) pen.text(plot.x - 6, y(top * 0.75), name, { fill: palette.muted, size: 11, align: "right" });
}

/** Hollow bars behind the stems. @param {CanvasPen} pen @param {Palette} palette @param {Box} plot @param {number} column @param {number[]} values largest first @param {(value: number) => number} y */
function drawTruth(pen, palette, plot, column, values, y) {
  const width = Math.max(1.5, Math.min(column * 0.62, 26));
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) return;
    const x = plot.x + (i + 0.5) * column - width / 2;
    const cut = y(value) < plot.y;
    const top = Math.max(plot.y, Math.min(y(value), y(0) - 0.5));
    pen.rect(x, top, width, y(0) - top, { fill: palette.muted, alpha: 0.13 });
    pen.line(x, top, x + width, top, { stroke: palette.muted, width: 1.5, dash: cut ? [2, 2] : [] });
    if (cut && column > 26) pen.text(x + width / 2, top + 8, `↑${formatNumber(value)}`, { fill: palette.muted, size: 11, align: "center" });
  });
}

/** Off: hollow, grey and dashed. Used in part of the steps: the head is filled to that share. @param {CanvasPen} pen @param {Palette} palette @param {Box} plot @param {number} x @param {number} column @param {Direction} direction @param {(value: number) => number} y */
function drawStem(pen, palette, plot, x, column, direction, y) {
  const off = direction.gate === 0;
  const [going, fresh] = [isGoing(direction), isFresh(direction)];
  const colour = going ? palette.pruned : fresh ? palette.extended : off ? palette.muted : palette.accent;
  const partly = direction.gate > 0 && direction.gate < 1;
  const size = Math.max(1.5, Math.min(partly ? 7 : 5, column * 0.28));
  const at = y(direction.value);
  const shape = direction.value < 0 ? "down" : "circle";
  pen.line(x, y(0), x, at, { stroke: colour, width: Math.max(1, Math.min(2.5, column * 0.2)), dash: going || off ? [3, 3] : [] });
  const hollow = going || off;
  pen.glyph(shape, x, at, size, { fill: hollow || partly ? palette.background : colour, stroke: colour, width: 1.75, dash: off ? [2.5, 2] : [] });
  if (partly && !hollow) {
    const level = 2 * size * direction.gate;
    pen.clipped({ x: x - size, y: at + size - level, w: 2 * size, h: level }, () => pen.glyph(shape, x, at, size, { fill: colour }));
  }
  if (fresh) pen.glyph("circle", x, at, size + 3.5, { stroke: colour, width: 1.5 });
  if (partly && column >= 28) pen.text(x, at - size - 7, percent(direction.gate), { fill: palette.muted, size: 11, align: "center" });
  if (column < LABELLED) return;
  const label = stemLabel(direction, column);
  const fill = going || fresh ? colour : palette.muted;
  // Clear of the ring around one that has just begun at 0.
  pen.text(x, plot.y + plot.h + 13, label, { fill, size: 11, align: "center", weight: going || fresh ? 600 : 400 });
}

/** @param {Direction} direction @param {number} column @returns {string} what the last event did to it, else its slot */
function stemLabel(direction, column) {
  const { state } = direction;
  if (isGoing(direction)) return column < 44 ? "−" : state;
  if (isFresh(direction)) return state === "comes back" && column < 44 ? "+" : state;
  return direction.slot === null ? "" : String(direction.slot);
}

/** λ² of each direction as a share of the energy: even pieces are entropy 1. @param {CanvasPen} pen @param {Palette} palette @param {Box} box @param {Direction[]} directions */
function drawShares(pen, palette, box, directions) {
  pen.text(box.x - 6, box.y + box.h / 2, "share", { fill: palette.muted, size: 11, align: "right" });
  if (!directions.some(({ share }) => share > 0)) {
    pen.rect(box.x, box.y, box.w, box.h, { stroke: palette.line });
    pen.hatch(box, palette.faint);
    return;
  }
  let x = box.x;
  directions.forEach((direction, i) => {
    const share = direction.share || 0;
    const w = share * box.w;
    const fill = tableColour(palette.tables.energy, Math.round(palette.dark ? 215 - (130 * i) / directions.length : 200 - (150 * i) / directions.length));
    pen.rect(x, box.y, Math.max(0, w - 1), box.h, { fill });
    if (w > 30) pen.text(x + w / 2, box.y + box.h / 2 + 0.5, `${Math.round(share * 100)} %`, { fill: inkOn(fill), size: 11, align: "center" });
    x += w;
  });
}

/** @typedef {[string, (x: number, y: number) => void]} KeyItem */

/** @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {number | null | undefined} truthStep undefined = not shown @returns {KeyItem[]} */
function keyItems(pen, model, palette, truthStep) {
  const hollow = { fill: palette.background, width: 1.75 };
  /** @type {KeyItem[]} */
  const soft = [];
  if (model.anyOff) soft.push(["off, may revive", (x, y) => pen.glyph("circle", x + 5, y, 4.5, { ...hollow, stroke: palette.muted, dash: [2.5, 2] })]);
  if (model.shares) soft.push(["filled: share of steps that use it", (x, y) => {
    pen.glyph("circle", x + 5, y, 4.5, { ...hollow, stroke: palette.accent });
    pen.clipped({ x, y: y + 0.5, w: 10, h: 5 }, () => pen.glyph("circle", x + 5, y, 4.5, { fill: palette.accent }));
  }]);
  /** @type {KeyItem} */
  const truth = [truthStep === null ? "σ: not recorded" : `σ/s of ΔW (${truthStep})`, (x, y) => {
    pen.rect(x, y - 5, 10, 10, { fill: palette.muted, alpha: 0.2 });
    pen.line(x, y - 5, x + 10, y - 5, { stroke: palette.muted, width: 1.5 });
  }];
  return [
    ["λ > 0", (x, y) => pen.glyph("circle", x + 5, y, 4, { fill: palette.accent })],
    ["λ < 0", (x, y) => pen.glyph("down", x + 5, y, 4, { fill: palette.accent })],
    ...(truthStep === undefined ? [] : [truth]),
    ...soft,
    [model.gates ? model.words.pruned : "pruned", (x, y) => pen.glyph("circle", x + 5, y, 4, { ...hollow, stroke: palette.pruned })],
    [model.gates ? model.words.extended : "new", (x, y) => pen.glyph("circle", x + 5, y, 5, { stroke: palette.extended, width: 1.75 })],
  ];
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} box x, y and width; as many rows as fit above its h @param {KeyItem[]} items */
function drawKey(pen, palette, box, items) {
  const style = { fill: palette.muted, size: 11 };
  let x = box.x;
  let y = box.y;
  for (const [label, draw] of items) {
    const w = pen.measure(label, style) + 28;
    if (x + w - 14 > box.x + box.w) {
      x = box.x;
      y += KEY_ROW;
    }
    if (y > box.h) return;
    draw(x, y);
    pen.text(x + 14, y, label, style);
    x += w;
  }
}
