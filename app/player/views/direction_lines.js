/** The directions of the selected matrix over time: each a line of |λ|, from 0 where it was given to where it was taken. */

import { perColumn } from "../model/columns.js";
import { linesOf, linesTable, OPEN, placeIn, sizeAt, truthOf } from "../model/direction_lines.js";
import { formatNumber, matrixLabel, niceCeiling, niceTicks } from "../model/format.js";
import { isSoft } from "../model/model.js";
import { methodColour } from "../pen/palette.js";
import { drawLabel, labelsIn, spread } from "./labels.js";
import { percentage } from "./rank_share.js";
import { drawRing } from "./tiles.js";

/** @import { Model } from "../model/model.js" */
/** @import { Line, Lines } from "../model/direction_lines.js" */
/** @import { Palette } from "../pen/palette.js" */
/** @import { Scene, Pen, TimeScale } from "../model/scene.js" */
/** @import { Box } from "../pen/draw.js" */

/** @typedef {{sign: "minus" | "plus", step: number, y: number, soft: boolean}} Mark */

/**
 * @typedef {object} DirectionsLayout
 * @property {Box} box of the plot
 * @property {Box | null} key where there is room for one
 * @property {number} top of the scale, fixed over the run
 * @property {(size: number) => number} y
 * @property {Lines | null} lines null while λ is on its way
 * @property {Line | null} near the line under the pointer
 */

const KEY_HEIGHT = 16;
const ROOMY = 90; // pixels from which the key has room
const NEAR = 14; // pixels within which the pointer means a line
const MOST = 4; // σ/s may be far above |λ|: beyond so many times it is cut, so that λ stays visible
const VEIL = 0.62; // of what is still to come

/** @param {Scene} scene @param {Box} box @returns {DirectionsLayout} */
export function layoutDirections(scene, box) {
  const key = box.h >= ROOMY ? { ...box, y: box.y + 2, h: KEY_HEIGHT } : null;
  const above = key ? KEY_HEIGHT + 4 : 4;
  const inner = { ...box, y: box.y + above, h: box.h - above - 4 };
  const top = Math.max(...runsOf(scene).map(({ model, m }) => topOf(model, m)));
  const y = (/** @type {number} */ size) => inner.y + inner.h * (1 - size / top);
  return { box: inner, key, top, y, lines: null, near: null };
}

/** This run, and the pinned one where it has a matrix of the same name. @param {Pick<Scene, "model" | "selected" | "other">} scene */
function runsOf({ model, selected, other }) {
  const m = other?.model.indexOf.get(model.matrices[selected].name);
  return [{ model, m: selected }, ...(other && m !== undefined ? [{ model: other.model, m }] : [])];
}

/** @param {Model} model @param {number} m @returns {number} */
function topOf(model, m) {
  const [lam, truth] = [model.peak[m], model.truePeak[m] / model.scale];
  return niceCeiling(lam > 0 ? Math.min(Math.max(lam, truth), MOST * lam) : truth);
}

/** @param {Palette} palette @param {Line} line @returns {string} what was given has the colour of gains, for as long as it stays */
function lineColour(palette, { after }) {
  return after < 0 ? palette.muted : palette.extended;
}

/** @param {Model} model @param {number} m @returns {string} */
function waitingText(model, m) {
  return `λ of ${matrixLabel(model.matrices[m])} is on its way …`;
}

/** @param {Pen} pen @param {Scene} scene @param {DirectionsLayout} layout @param {TimeScale} scale */
export function drawDirections(pen, scene, layout, scale) {
  const { model, palette, selected, other } = scene;
  const { box, key, top, y } = layout;
  layout.lines = linesOf(model, selected);
  for (const tick of niceTicks(0, top, Math.max(1, box.h / 34))) {
    pen.line(box.x, y(tick), box.x + box.w, y(tick), { stroke: palette.line, dash: tick ? [2, 3] : undefined });
    // A tick at the very top would stand in the title of the axis.
    if (y(tick) > box.y + 4 || !tick) pen.text(box.x - 6, y(tick), formatNumber(tick), { fill: palette.muted, size: 11, align: "right" });
  }
  const name = key ? { y: key.y + key.h / 2, room: box.x - 6 } : { y: box.y + box.h * 0.3, room: box.x - 38 };
  pen.text(2, name.y, matrixLabel(model.matrices[selected]), { fill: palette.text, size: 11, weight: 600, maxWidth: name.room });
  const { lines } = layout;
  if (!lines) {
    pen.text(box.x + box.w / 2, box.y + box.h / 2, waitingText(model, selected), { fill: palette.muted, size: 12, align: "center" });
    return;
  }
  pen.clipped({ x: box.x - 6, y: box.y - 6, w: box.w + 12, h: box.h + 12 }, () => {
    const [, second] = runsOf(scene);
    if (other && second) drawOther(pen, palette, second.model, second.m, layout, scale);
    drawTruth(pen, palette, model, selected, layout, scale, lines.constant);
    for (const line of lines.lines) drawLine(pen, model, line, layout, scale, lineColour(palette, line), lines.constant ? 1 : 1.75);
    for (const { sign, step, y: at, soft } of marksOf(model, selected, lines, layout)) drawRing(pen, palette, sign, scale.x(step), at, soft);
  });
}

/** @param {Model} model @param {Line} line @param {DirectionsLayout} layout @param {TimeScale} scale @param {(gate: number) => boolean} kept @returns {[ArrayLike<number>, ArrayLike<number>]} */
function pointsOf(model, { after, records, values, gates }, { y }, scale, kept) {
  const born = after >= model.domain[0] ? [after] : [];
  const xs = [...born, ...records.map((t) => model.steps[t])].map(scale.x);
  // A stretch ends at the first record where it no longer holds, so that no line is torn.
  const whole = (/** @type {number} */ i) => kept(gates[i]) || (i > 0 && kept(gates[i - 1]));
  const ys = [...(born.length ? [kept(gates[0]) ? y(0) : NaN] : []), ...values.map((value, i) => (whole(i) ? y(Math.abs(value)) : NaN))];
  return perColumn(xs, ys);
}

/** Off: dashed and faint. @param {Pen} pen @param {Model} model @param {Line} line @param {DirectionsLayout} layout @param {TimeScale} scale @param {string} stroke @param {number} width */
function drawLine(pen, model, line, layout, scale, stroke, width) {
  pen.path(...pointsOf(model, line, layout, scale, (gate) => gate > 0), { stroke, width });
  if (line.gates.some((gate) => gate === 0)) pen.path(...pointsOf(model, line, layout, scale, (gate) => gate === 0), { stroke, width: 1, dash: [3, 3], alpha: 0.55 });
}

/** σ/s of ΔW by size; where λ is no spectrum, they are what is known of it. @param {Pen} pen @param {Palette} palette @param {Model} model @param {number} m @param {DirectionsLayout} layout @param {TimeScale} scale @param {boolean} only */
function drawTruth(pen, palette, model, m, { y }, scale, only) {
  const truth = truthOf(model, m).filter(({ values }) => values.length);
  const sorted = truth.map(({ values }) => values.map((value) => value / model.scale).sort((a, b) => b - a));
  const xs = truth.map(({ step }) => scale.x(step));
  const count = sorted.reduce((most, { length }) => Math.max(most, length), 0);
  for (let place = 0; place < count; place += 1) {
    const ys = sorted.map((values) => (place < values.length ? y(values[place]) : NaN));
    if (only) pen.path(xs, ys, { stroke: palette.accent, width: 1.75 });
    else xs.forEach((x, i) => Number.isFinite(ys[i]) && pen.line(x - 2.5, ys[i], x + 2.5, ys[i], { stroke: palette.faint, width: 1.25 }));
  }
}

/** The same matrix of the pinned run. @param {Pen} pen @param {Palette} palette @param {Model} other @param {number} m @param {DirectionsLayout} layout @param {TimeScale} scale */
function drawOther(pen, palette, other, m, layout, scale) {
  const stroke = methodColour(palette, other.run.method);
  for (const line of linesOf(other, m)?.lines ?? []) pen.path(...pointsOf(other, line, layout, scale, () => true), { stroke, width: 1.25, dash: [6, 3], alpha: 0.7 });
}

/** + where the run gave a direction, − where it took one. @param {Model} model @param {number} m @param {Lines} lines @param {DirectionsLayout} layout @returns {Mark[]} */
function marksOf(model, m, { lines, named }, { y, box }) {
  const { name } = model.matrices[m];
  const at = (/** @type {number} */ step, /** @type {number | undefined} */ slot) => {
    const record = model.recordAt(step);
    const line = lines.find((own) => named && own.slot === slot && placeIn(own, record) >= 0);
    return line ? y(Math.abs(line.values[placeIn(line, record)])) : NaN;
  };
  return model.events.flatMap((event) => {
    const own = (/** @type {"prune" | "extend"} */ half) => event[half].filter((move) => move.matrix === name);
    const mark = (/** @type {Mark["sign"]} */ sign, /** @type {import("../model/decode.js").Move} */ move, /** @type {number} */ size) => {
      const height = isSoft(move) || sign === "minus" ? at(event.step, move.slot) : y(0);
      return { sign, step: event.step, y: Math.max(box.y, Number.isFinite(height) ? height : y(size)), soft: isSoft(move) };
    };
    return [...own("prune").map((move) => mark("minus", move, Math.abs(move.singular_value ?? 0))), ...own("extend").map((move) => mark("plus", move, 0))];
  });
}

/** @param {Pen} pen @param {Scene} scene @param {Box} box @param {Lines} lines */
function drawKey(pen, { model, palette, selected, other }, box, { lines, constant }) {
  const y = box.y + box.h / 2;
  const sample = (/** @type {string} */ stroke, /** @type {Partial<import("../pen/draw.js").Style>} */ style = {}) => (/** @type {number} */ x) => pen.line(x, y, x + 14, y, { stroke, width: 2, ...style });
  const moves = (/** @type {"prune" | "extend"} */ half) => model.events.some((event) => event[half].some((move) => move.matrix === model.matrices[selected].name));
  const ring = (/** @type {"minus" | "plus"} */ sign) => (/** @type {number} */ x) => drawRing(pen, palette, sign, x + 8, y, model.anyOff);
  const truth = model.sigmaRecords.length > 0;
  /** @type {Array<[string, (x: number) => void, boolean]>} */
  const all = [
    [constant ? "λ: no spectrum here" : "there from the start", sample(palette.muted, constant ? { width: 1 } : {}), true],
    ["added later", sample(palette.extended), lines.some(({ after }) => after >= 0)],
    [model.words.extended, ring("plus"), moves("extend")],
    [model.words.pruned, ring("minus"), moves("prune")],
    ["while off", sample(palette.muted, { width: 1, dash: [3, 3] }), lines.some(({ gates }) => gates.includes(0))],
    [constant ? "σ/s of ΔW, by size" : "σ/s of ΔW", constant ? sample(palette.accent) : (x) => pen.line(x + 4, y, x + 10, y, { stroke: palette.faint, width: 1.5 }), truth],
    ["pinned run", sample(methodColour(palette, other?.model.run.method), { width: 1.25, dash: [6, 3] }), other !== null],
  ];
  let x = box.x + 4;
  const style = { fill: palette.muted, size: 11 };
  for (const [label, draw] of all.filter(([, , shown]) => shown)) {
    const w = pen.measure(label, style) + 34;
    if (x + w > box.x + box.w) return;
    pen.rect(x - 4, y - 8, w - 8, 16, { fill: palette.background });
    draw(x);
    pen.text(x + 19, y, label, style);
    x += w;
  }
}

/** What is to come is veiled; each direction has its value at the clock. @param {Pen} pen @param {Scene} scene @param {DirectionsLayout} layout @param {TimeScale} scale */
export function drawDirectionsNow(pen, scene, layout, scale) {
  const { model, palette, time, hoverStep } = scene;
  const { box, key, y, lines, near } = layout;
  if (!lines) return;
  // Above the clock's line, which would cross its words.
  if (key) drawKey(pen, scene, key, lines);
  const x = scale.x(time);
  pen.rect(x + 1.5, box.y - 6, Math.max(0, scale.right + 6 - x - 1.5), box.h + 12, { fill: palette.background, alpha: VEIL });
  if (near && hoverStep !== null) {
    pen.clipped({ x: box.x, y: box.y - 3, w: box.w, h: box.h + 6 }, () => drawLine(pen, model, near, layout, scale, palette.accent, 3));
  }
  const here = lines.lines.map((line) => ({ line, size: sizeAt(model, line, time) })).filter(({ size }) => Number.isFinite(size));
  for (const { line, size } of here) pen.glyph("circle", x, Math.max(box.y, y(size)), 3, { fill: lineColour(palette, line), stroke: palette.background, width: 1 });
  drawValues(pen, scene, layout, scale);
}

/** @param {Pen} pen @param {Scene} scene @param {DirectionsLayout} layout @param {TimeScale} scale */
function drawValues(pen, scene, layout, scale) {
  const { palette } = scene;
  const { box } = layout;
  const lines = /** @type {Lines} */ (layout.lines);
  const found = lines.constant ? trueValues(scene, layout) : directionValues(scene, lines, layout);
  const most = labelsIn({ ...box, h: box.h + 8 });
  const shown = found.length > most ? found.slice(0, most - 1) : found;
  const labels = spread(shown, { ...box, y: box.y - 4, h: box.h + 8 - (shown.length < found.length ? 12 : 0) });
  for (const label of labels) drawLabel(pen, scale.right, label, label.text, { fill: label.fill, weight: label.moved ? 700 : 400, room: scale.aside + 8 });
  if (shown.length < found.length) pen.text(scale.right + 15, box.y + box.h, `+${found.length - shown.length} more`, { fill: palette.muted, size: 11, maxWidth: scale.aside - 6 });
}

/** @typedef {{y: number, text: string, fill: string, moved: boolean}} Value */

/** What moves at the clock, then the largest. @param {Scene} scene @param {Lines} lines @param {DirectionsLayout} layout @returns {Value[]} */
function directionValues({ model, palette, record, step, selected, event }, { lines, named }, { y, box }) {
  const { name } = model.matrices[selected];
  const going = new Set(event?.prune.flatMap((move) => (move.matrix === name && named ? [move.slot] : [])));
  const latest = model.events[model.eventBefore(step - 1)]?.step;
  return lines
    .flatMap((line) => {
      const i = placeIn(line, record);
      if (i < 0) return [];
      const [size, taken, fresh] = [Math.abs(line.values[i]), going.has(line.slot), line.after >= 0 && line.after === latest];
      const fill = taken ? palette.pruned : line.gates[i] === 0 ? palette.muted : line.after >= 0 ? palette.extended : palette.text;
      const text = `${line.slot < 0 ? "" : `${line.slot}: `}${line.gates[i] === 0 ? "off" : formatNumber(size)}`;
      return [{ size, moved: taken || fresh, fill, text, y: Math.max(box.y, y(size)) }];
    })
    .sort((a, b) => Number(b.moved) - Number(a.moved) || b.size - a.size);
}

/** @param {Scene} scene @param {DirectionsLayout} layout @returns {Value[]} σ/s at the latest record that has them, largest first */
function trueValues({ model, palette, record, selected }, { y, box }) {
  const values = Array.from(model.trueSingularValues(record, selected)?.values ?? []).sort((a, b) => b - a);
  return values.map((value, i) => ({ y: Math.max(box.y, y(value / model.scale)), text: `σ${i + 1} ${formatNumber(value / model.scale)}`, fill: palette.accent, moved: false }));
}

/** @param {Scene} scene @param {DirectionsLayout} layout @param {TimeScale} scale @param {number} x @param {number} y @returns {string | null} */
export function describeDirectionAt(scene, layout, scale, x, y) {
  const { model, selected } = scene;
  layout.near = null;
  if (!layout.lines || x < scale.left) return null;
  const record = x > scale.right ? scene.record : model.recordAt(scale.step(x));
  const away = (/** @type {Line} */ line) => Math.abs(layout.y(Math.abs(line.values[placeIn(line, record)])) - y);
  if (layout.lines.constant) return describeTruth(scene, layout, record, y);
  const there = layout.lines.lines.filter((line) => placeIn(line, record) >= 0);
  const nearest = there.reduce((/** @type {Line | null} */ best, line) => (best && away(best) <= away(line) ? best : line), null);
  if (!nearest || away(nearest) > NEAR) return null;
  layout.near = nearest;
  return `${matrixLabel(model.matrices[selected])} · step ${model.steps[record]} · ${describeLine(nearest, placeIn(nearest, record), layout.lines.named)}`;
}

/** @param {Scene} scene @param {DirectionsLayout} layout @param {number} record @param {number} y @returns {string | null} the true singular value under the pointer */
function describeTruth({ model, selected }, layout, record, y) {
  const found = model.trueSingularValues(record, selected);
  const values = Array.from(found?.values ?? []).sort((a, b) => b - a);
  const away = values.map((value) => Math.abs(layout.y(value / model.scale) - y));
  const nearest = away.indexOf(Math.min(...away));
  if (!found || !(away[nearest] <= NEAR)) return null;
  return `${matrixLabel(model.matrices[selected])} · step ${found.step} · σ${nearest + 1} ${formatNumber(values[nearest])} · over s ${formatNumber(values[nearest] / model.scale)} · λ is no spectrum here`;
}

/** @param {Line} line @param {number} i place of a record in it @param {boolean} named @returns {string} */
function describeLine({ slot, after, until, values, gates, shares }, i, named) {
  const gate = gates[i] === 0 ? "off, may come back" : gates[i] < 1 ? `used in ${percentage(gates[i])} of steps` : "";
  return [
    named ? (slot < 0 ? "" : `slot ${slot}`) : `no. ${slot + 1} by size`,
    `λ ${formatNumber(values[i])}`,
    Number.isFinite(shares[i]) && gates[i] > 0 ? `${percentage(shares[i])} of the energy` : "",
    gate,
    after < 0 ? "" : `extended at step ${after}`,
    until === OPEN ? "" : `pruned at step ${until}`,
  ].filter(Boolean).join(" · ");
}

/** @param {Scene} scene @returns {string} */
export function describeDirections({ model, selected, record }) {
  const found = linesOf(model, selected);
  const label = matrixLabel(model.matrices[selected]);
  if (!found) return waitingText(model, selected);
  const here = found.lines.flatMap((line) => (placeIn(line, record) < 0 ? [] : [{ line, i: placeIn(line, record) }]));
  const largest = here.sort((a, b) => Math.abs(b.line.values[b.i]) - Math.abs(a.line.values[a.i]))[0];
  const given = found.lines.filter(({ after }) => after >= 0).length;
  const taken = found.lines.filter(({ until }) => until !== OPEN).length;
  const most = largest ? `; the largest: ${describeLine(largest.line, largest.i, found.named)}` : "";
  return `|λ| of the directions of ${label} over time: ${here.length} at the clock${most}; ${given} extended and ${taken} pruned over the run`;
}

/** @type {import("../model/scene.js").Band} */
export const DIRECTIONS_BAND = {
  key: "directions",
  label: "Directions",
  hint: "|λ| of each direction of the selected matrix: extended at 0, growing, pruned",
  possible: ({ model }) => !model.run.ranksOnly,
  layout: layoutDirections,
  panels: 0.5,
  titles: ({ model, selected }) => (linesOf(model, selected)?.constant ? ["σ/s", "σ/s"] : ["|λ|", "slot: |λ|"]),
  still: drawDirections,
  moving: drawDirectionsNow,
  at: (scene, { box }, scale, x, y) => (x >= scale.left && y >= box.y - 6 && y <= box.y + box.h + 6 ? scene.selected : -1),
  tip: describeDirectionAt,
  describe: describeDirections,
  table: ({ model, selected }) => linesTable(model, selected),
};
