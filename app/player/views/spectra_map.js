/** All spectra at once: in the map's grid each cell holds |λ| of its directions, the largest first. */

import { describeCell } from "./describe.js";
import { formatNumber, matrixLabel } from "../model/format.js";
import { isSoft, largest } from "../model/model.js";
import { remembered, sized } from "../model/remembered.js";
import { tableColour } from "../pen/palette.js";
import { drawMargins, layoutMap, matrixAt, neighbour } from "./rank_map.js";
import { drawFrames, drawSignKey } from "./tiles.js";
import { gapLimit } from "../model/quantity.js";

/** @import { Model } from "../model/model.js" */
/** @import { MapLayout } from "./rank_map.js" */
/** @import { Frame } from "../model/run_spectra.js" */
/** @import { Palette } from "../pen/palette.js" */
/** @import { Scene, Pen, View } from "../model/scene.js" */
/** @import { Box } from "../pen/draw.js" */

/** @typedef {"on" | "off" | "pruned" | "fresh"} Kind of a bar */
/** @typedef {{value: number, gate: number, slot: number, kind: Kind}} Bar */

const GAP_FROM = 3; // pixels of a bar from which bars stand apart
const THICKEST = 14;
const NARROW = 14; // pixels of a cell below which lengths cannot be told: shades instead
const SHADES = 12;

/** @type {Array<{key: string, label: string, hint: string}>} the first is the default */
export const SCALES = [
  { key: "matrix", label: "Own scale", hint: "bars of each matrix up to its own largest |λ| of the run: how even its spectrum is" },
  { key: "run", label: "One scale", hint: "bars of all matrices up to the largest |λ| of the run: how large they are" },
];

const layoutOf = sized(layoutMap);

/** Fixed over the run, so that nothing is rescaled while the clock moves. */
const scaleOf = remembered((/** @type {Model} */ model) => ({ top: largest(model.peak), widest: largest(model.spectra.stored) + 1 }));

/** @param {Scene} scene @param {number} m @returns {number} the |λ| of a whole bar */
function topOf({ model, scale }, m) {
  return (scale === "run" ? scaleOf(model).top : model.peak[m]) || 1;
}

/** What the event at a step takes, and what the one before it gave. @param {Model} model @param {number} step @returns {Map<number, Map<number | undefined, Kind>>} matrix → slot → kind */
function kindsAt(model, step) {
  /** @type {Map<number, Map<number | undefined, Kind>>} */
  const found = new Map();
  const mark = (/** @type {import("../model/decode.js").Move[] | undefined} */ moves, /** @type {Kind} */ kind) => {
    for (const { matrix, slot } of moves ?? []) {
      const m = model.indexOf.get(matrix) ?? -1;
      found.set(m, (found.get(m) ?? new Map()).set(slot, kind));
    }
  };
  const now = model.events[model.eventAt(step)];
  mark(model.events[model.eventBefore(step - 1)]?.extend, "fresh");
  mark(now?.extend.filter(isSoft), "fresh");
  mark(now?.prune, "pruned");
  return found;
}

/** @param {Frame} frame @param {number} m @param {Map<number | undefined, Kind> | undefined} kinds @returns {Bar[]} those that are on first, then the largest */
function barsOf({ lam, gates, slots, starts }, m, kinds) {
  const bars = [];
  for (let i = starts[m]; i < starts[m + 1]; i += 1) {
    const gate = gates ? gates[i] / 255 : 1;
    bars.push({ value: lam[i], gate, slot: slots[i], kind: kinds?.get(slots[i]) ?? /** @type {Kind} */ (gate > 0 ? "on" : "off") });
  }
  return bars.sort((a, b) => Number(b.gate > 0) - Number(a.gate > 0) || (Math.abs(b.value) || 0) - (Math.abs(a.value) || 0));
}

/** The same of a matrix in which nothing moves nor is off, with no more than it takes: there may be hundreds a frame. @param {Frame} frame @param {number} m @returns {Float32Array} |λ|, the largest first */
function sizesOf({ lam, starts }, m) {
  return lam.slice(starts[m], starts[m + 1]).map((value) => Math.abs(value) || 0).sort().reverse();
}

/** @typedef {{box: Box, upright: boolean, unit: number, number: boolean, shaded: boolean}} Plot of a cell: upright bars stand side by side, others lie on top of each other; number: there is room for the rank beside it; shaded: all bars are whole, their shade tells |λ| */

/** @param {Box} cell @param {number} widest @returns {Plot} */
function plotOf(cell, widest) {
  const upright = cell.w >= 1.2 * cell.h;
  const number = upright ? cell.w >= 48 && cell.h >= 13 : cell.h >= 40 && cell.w >= 15;
  const box = { x: cell.x + 2, y: cell.y + 2, w: Math.max(1, cell.w - 4 - (number && upright ? 20 : 0)), h: Math.max(1, cell.h - 4 - (number && !upright ? 13 : 0)) };
  return { box, upright, unit: Math.min(THICKEST, (upright ? box.w : box.h) / widest), number, shaded: (upright ? box.h : box.w) < NARROW };
}

/** @param {Plot} plot @param {number} i place of the bar @param {number} share of the scale @returns {Box} */
function barBox({ box, upright, unit }, i, share) {
  const thick = unit - (unit >= GAP_FROM ? 1 : 0);
  const long = Math.max(0.75, Math.min(1, share) * (upright ? box.h : box.w));
  return upright ? { x: box.x + i * unit, y: box.y + box.h - long, w: thick, h: long } : { x: box.x, y: box.y + i * unit, w: long, h: thick };
}

/** One shape for all bars of a colour: thousands of them a frame. */
class Shape {
  /** @type {number[]} */
  xs = [];
  /** @type {number[]} */
  ys = [];

  /** @param {Box} box */
  add({ x, y, w, h }) {
    this.xs.push(x, x + w, x + w, x, NaN);
    this.ys.push(y, y, y + h, y + h, NaN);
  }
}

/** @param {Palette} palette @param {number} shade 1 to SHADES @returns {string} */
function shadeColour({ tables, dark }, shade) {
  // The lightest of the table would be lost on the cell.
  return tableColour(tables.energy, Math.round((dark ? 40 : 30) + ((dark ? 215 : 225) * shade) / SHADES));
}

/** @param {Palette} palette @returns {Record<Kind, import("../pen/draw.js").Style>} */
function stylesOf(palette) {
  return { on: { fill: palette.accent }, off: { fill: palette.muted, alpha: 0.4 }, pruned: { fill: palette.pruned }, fresh: { fill: palette.extended } };
}

/** @param {Pen} pen @param {Scene} scene */
function drawSpectra(pen, scene) {
  const { model, palette, record, hovered, selected } = scene;
  const layout = layoutOf(scene);
  const frame = model.spectra.frameAt(record);
  drawMargins(pen, model, palette, layout, scene);
  for (const cell of layout.cells) if (cell) pen.rect(cell.x, cell.y, cell.w, cell.h, { fill: palette.line, alpha: 0.4 });
  if (frame) drawBars(pen, scene, layout.cells, frame);
  else pen.text(layout.grid.x + layout.grid.w / 2, layout.grid.y + layout.grid.h / 2, "spectra on their way …", { fill: palette.text, size: 12, align: "center" });
  drawFrames(pen, palette, layout.cells, hovered, selected);
  drawKey(pen, scene, layout, frame);
}

/** @param {Pen} pen @param {Scene} scene @param {Box[]} cells @param {Frame} frame */
function drawBars(pen, scene, cells, frame) {
  const { model, palette, record, event } = scene;
  const { widest } = scaleOf(model);
  const given = model.movesOf(frame.record === record ? event?.extend.filter((move) => !isSoft(move)) : []);
  const kinds = kindsAt(model, frame.step);
  /** @type {Map<Kind | number, Shape>} a shade is a number */
  const shapes = new Map();
  const shapeOf = (/** @type {Kind | number} */ key) => shapes.get(key) ?? shapes.set(key, new Shape()).get(key);
  cells.forEach((cell, m) => {
    if (!cell) return;
    const plot = plotOf(cell, widest);
    const top = topOf(scene, m);
    const own = kinds.get(m);
    const add = (/** @type {number} */ size, /** @type {Kind} */ kind, /** @type {number} */ i) => {
      const share = Math.min(1, size / top);
      if (plot.shaded) shapeOf(kind === "on" ? Math.ceil(SHADES * share) || 1 : kind)?.add(barBox(plot, i, 1));
      else shapeOf(kind)?.add(barBox(plot, i, share));
      if (kind === "pruned" && !plot.shaded) drawPlace(pen, palette.pruned, plot, i);
    };
    if (own || frame.gates) barsOf(frame, m, own).forEach(({ value, kind }, i) => add(Math.abs(value) || 0, kind, i));
    else sizesOf(frame, m).forEach((size, i) => add(size, "on", i));
    // What the event at this step gives has no λ yet: an empty place.
    const stored = frame.starts[m + 1] - frame.starts[m];
    for (let i = stored; i < stored + (given.get(m) ?? 0); i += 1) drawPlace(pen, palette.extended, plot, i);
    if (plot.number) drawRank(pen, scene, cell, m, plot);
  });
  const styles = stylesOf(palette);
  for (const [key, { xs, ys }] of shapes) pen.path(xs, ys, typeof key === "number" ? { fill: shadeColour(palette, key) } : styles[key]);
}

/** Of a direction that goes, or has not come: where it stands, however small its λ. @param {Pen} pen @param {string} stroke @param {Plot} plot @param {number} i */
function drawPlace(pen, stroke, plot, i) {
  const { x, y, w, h } = barBox(plot, i, 1);
  pen.rect(x, y, Math.max(1.5, w), Math.max(1.5, h), plot.shaded ? { fill: stroke } : { stroke, width: 1.25, dash: [2, 2] });
}

/** Beside or above the bars. @param {Pen} pen @param {Scene} scene @param {Box} cell @param {number} m @param {Plot} plot */
function drawRank(pen, { model, palette, record, prune, extend }, cell, m, { upright }) {
  const change = (extend.get(m) ?? 0) - (prune.get(m) ?? 0);
  const fill = change > 0 ? palette.extended : change < 0 ? palette.pruned : palette.text;
  const [x, y] = upright ? [cell.x + cell.w - 3, cell.y + cell.h / 2] : [cell.x + cell.w / 2, cell.y + cell.h - 7];
  pen.text(x, y, String(model.rank(record, m)), { fill, size: 11, weight: 600, align: upright ? "right" : "center" });
}

/** @param {Pen} pen @param {Scene} scene @param {MapLayout} layout @param {Frame | null} frame */
function drawKey(pen, { model, palette, step, scale }, { cells, legend: box }, frame) {
  const y = box.y + box.h / 2;
  const styles = stylesOf(palette);
  const sample = (/** @type {Kind} */ kind) => (/** @type {number} */ x) => pen.rect(x + 2, y - 5, 6, 10, styles[kind]);
  const items = /** @type {import("./tiles.js").KeyItem[]} */ ([
    ...(model.events.length ? [[sample("pruned"), model.words.pruned], [sample("fresh"), model.words.extended]] : []),
    ...(model.anyOff ? [[sample("off"), "off"]] : []),
  ]);
  const right = items.length ? drawSignKey(pen, palette, items, box.x + box.w, y) : box.x + box.w;
  const { top, widest } = scaleOf(model);
  const shaded = cells.some((cell) => cell && plotOf(cell, widest).shaded);
  let x = box.x;
  if (shaded) {
    for (let shade = 1; shade <= SHADES; shade += 1) pen.rect(x + 4 * shade, y - 5, 4, 10, { fill: shadeColour(palette, shade) });
    x += 4 * SHADES + 10;
  }
  const most = scale === "run" ? formatNumber(top) : "each one's largest";
  const late = frame && frame.step !== step ? `; spectra of step ${frame.step}` : "";
  const none = (model.run.gap ?? 0) > gapLimit(model) ? "; λ is no spectrum here" : "";
  pen.text(x, y, `|λ| up to ${most}${none}${late}`, { fill: palette.muted, size: 11, maxWidth: right - x - 10 });
}

/** @param {Scene} scene @param {number} x @param {number} y @returns {string | null} the direction under the pointer, or the matrix */
function tipAt(scene, x, y) {
  const { model, record } = scene;
  const layout = layoutOf(scene);
  const m = matrixAt(layout, x, y);
  const frame = model.spectra.frameAt(record);
  if (m < 0 || !frame) return null;
  const plot = plotOf(layout.cells[m], scaleOf(model).widest);
  const place = Math.floor((plot.upright ? x - plot.box.x : y - plot.box.y) / plot.unit);
  return describeBar(model, frame, m, place);
}

/** @param {Model} model @param {Frame} frame @param {number} m @param {number} place @returns {string} */
function describeBar(model, frame, m, place) {
  const bars = barsOf(frame, m, kindsAt(model, frame.step).get(m));
  const bar = bars[place];
  if (!bar) return describeCell(model, frame.record, m);
  const energy = bars.reduce((sum, { value, gate }) => sum + (gate > 0 ? value ** 2 : 0), 0);
  const share = energy > 0 && bar.gate > 0 ? `${Math.round((1000 * bar.value ** 2) / energy) / 10} % of the energy` : "";
  const use = bar.gate === 0 ? "off, may come back" : bar.gate < 1 ? `used in ${Math.round(100 * bar.gate)} % of steps` : "";
  const kind = { on: "", off: "", pruned: `${model.words.pruned} by this event`, fresh: `${model.words.extended} by the event before` }[bar.kind];
  const parts = [matrixLabel(model.matrices[m]), `step ${frame.step}`, `no. ${place + 1} of ${bars.length}`, bar.slot < 0 ? "" : `slot ${bar.slot}`, `λ ${formatNumber(bar.value)}`, share, use, kind];
  return parts.filter(Boolean).join(" · ");
}

/** @type {View} */
export const SPECTRA_VIEW = {
  key: "spectra",
  label: "Spectra",
  hint: "|λ| of every direction of every matrix at the clock",
  roomy: true,
  spectra: true,
  frames: ({ record }) => [record],
  possible: ({ model }) => !model.run.ranksOnly,
  draw: drawSpectra,
  sameAs: ({ model, record, hovered, selected, scale }) => [record, model.spectra.frameAt(record)?.record, hovered, selected, scale].join(),
  tip: tipAt,
  at: (scene, x, y) => matrixAt(layoutOf(scene), x, y),
  neighbour: (scene, dx, dy) => neighbour(layoutOf(scene).cells, scene.selected, dx, dy),
  describe: ({ model, record, selected }) => {
    const frame = model.spectra.frameAt(record);
    const bars = frame ? barsOf(frame, selected, undefined) : [];
    const told = bars.slice(0, 5).map(({ value }) => formatNumber(Math.abs(value))).join(", ");
    return `Spectra of ${model.M} matrices at step ${frame?.step ?? model.steps[record]}${frame ? "" : ", on their way"}. Selected: ${matrixLabel(model.matrices[selected])}, rank ${model.rank(record, selected)}${told ? `, largest |λ| ${told}` : ""}`;
  },
  table: ({ model, record }) => {
    const frame = model.spectra.frameAt(record);
    const rows = (/** @type {Frame} */ at) =>
      model.matrices.flatMap(({ name, layer, type }, m) =>
        barsOf(at, m, undefined).map(({ value, gate, slot }, i) => [at.step, name, layer, type, model.rank(at.record, m), i + 1, slot < 0 ? NaN : slot, value, gate]),
      );
    return { head: ["record_step", "matrix", "layer", "module_type", "rank", "place", "slot", "singular_value", "gate"], rows: frame ? rows(frame) : [] };
  },
};
