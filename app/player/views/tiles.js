/** Cells of a map that show something else than the moment of the clock, small maps side by side, and their scales. */

import { blend, inkOn, tableColour } from "../pen/palette.js";
import { wrapped } from "../pen/wrap.js";

/** @import { Palette } from "../pen/palette.js" */
/** @import { CanvasPen, Box } from "../pen/draw.js" */

/** @typedef {"minus" | "plus" | "down" | "up" | "bar"} Sign shape and colour of a mark: what goes or is low, what comes or is high, what was passed over */

/**
 * @typedef {object} Tile
 * @property {string | null} fill null = undefined
 * @property {string[]} texts the first one that has room is written
 * @property {Sign[]} marks
 * @property {string | null} [below] a second line, in smaller print
 * @property {number} [gauge] share that a bar at the right edge shows
 * @property {boolean} [open] its marks are outlines: it stood out, but did not move
 */

const SMALLEST = 11;
const TITLE_SIZE = 11.5;
const CAPTION_SIZE = SMALLEST;
const LINE_HEIGHT = 13;
const LETTER_HEIGHT = 0.75; // of the size of a text
const FRAME_STEP = 2.5; // from one mark's frame to the next one's

/** @param {Palette} palette @param {Sign} sign */
function signColour(palette, sign) {
  if (sign === "bar") return palette.muted;
  return sign === "minus" || sign === "down" ? palette.pruned : palette.extended;
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} cell @param {Tile} tile @param {number} [alpha] of what it shows; its number stays plain */
export function drawTile(pen, palette, cell, tile, alpha = 1) {
  const radius = cell.w > 16 && cell.h > 12 ? 3 : 0;
  const fill = tile.fill ? blend(tile.fill, palette.background, alpha) : palette.background;
  pen.rect(cell.x, cell.y, cell.w, cell.h, { fill, stroke: tile.fill ? undefined : palette.line, radius });
  if (!tile.fill) pen.hatch(cell, palette.faint);
  tile.marks.forEach((sign, i) => drawFrame(pen, palette, cell, sign, i, radius, { alpha, dash: tile.open ? [3, 3] : undefined }));
  const size = numberSize(cell, Boolean(tile.below));
  const ink = inkOn(fill);
  const style = { fill: ink, size, weight: 600, align: /** @type {const} */ ("center") };
  const badge = tile.marks.length && cell.w >= 22 && cell.h >= 10 ? Math.min(8, cell.h * 0.32, cell.w * 0.14) : 0;
  const taken = badge ? (2 * badge + 1) * tile.marks.length + 2 : 0;
  const frame = frameWidth(cell, tile.marks.length);
  const room = cell.w - 2 * frame - (tile.gauge === undefined ? 0 : 12);
  // Numbers say more than the sign beside them, which the frame tells too: it goes first where both have no room.
  const text = cell.h < size * LETTER_HEIGHT + 2 * frame + 1 ? undefined : tile.texts.find((wanted) => wanted && pen.measure(wanted, style) <= room);
  const both = badge && text && pen.measure(text, style) <= room - taken;
  const x = cell.x + cell.w / 2 + (both ? taken / 2 : 0);
  const y = cell.y + cell.h / 2;
  if (text) pen.text(x, y + 0.5 - (tile.below ? size * 0.42 : 0), text, style);
  if (tile.below) pen.text(x, y + size * 0.62, tile.below, { ...style, size: SMALLEST, weight: 400 });
  tile.marks.forEach((sign, i) => {
    if (both) drawSign(pen, palette, sign, cell.x + badge + 3 + i * (2 * badge + 1), y, badge, alpha);
    else if (!text) drawSign(pen, palette, sign, cell.x + cell.w / 2, cell.y + (cell.h * (i + 1)) / (tile.marks.length + 1), Math.max(2.5, Math.min(cell.w, cell.h, 12) * 0.4), alpha);
  });
  if (tile.gauge !== undefined) drawGauge(pen, cell, tile.gauge, ink);
}

/** A bar at the cell's right edge. @param {CanvasPen} pen @param {Box} cell @param {number} share @param {string} ink */
function drawGauge(pen, cell, share, ink) {
  const length = cell.h - 6;
  const x = cell.x + cell.w - 6;
  pen.rect(x, cell.y + 3, 3, length, { fill: ink, alpha: 0.16 });
  if (share > 0) pen.rect(x, cell.y + 3 + length * (1 - share), 3, length * share, { fill: ink, alpha: 0.8 });
}

/** @param {boolean} pruned @param {boolean} extended @returns {Sign[]} marks of a matrix that an event moves */
export function moveSigns(pruned, extended) {
  return [...(pruned ? /** @type {const} */ (["minus"]) : []), ...(extended ? /** @type {const} */ (["plus"]) : [])];
}

/** @param {Box} cell @param {boolean} two lines @returns {number} */
function numberSize(cell, two) {
  return Math.max(SMALLEST, Math.min(15, cell.h * (two ? 0.46 : 0.55), cell.w * 0.36));
}

/** Where some numbers have no room none is written: a map with a part of them would mislead. @param {CanvasPen} pen @param {Box} cell @param {string[][]} texts of cells as large as this one @returns {boolean} */
export function holdsNumbers(pen, cell, texts) {
  const size = numberSize(cell, false);
  const frame = frameWidth(cell, 1);
  if (cell.h < size * LETTER_HEIGHT + 2 * frame + 1) return false;
  return texts.every((own) => !own.length || own.some((text) => pen.measure(text, { size, weight: 600 }) <= cell.w - 2 * frame));
}

/** @param {Box} cell @param {number} marks @returns {number} what their frames take at each edge, with what keeps them off the number */
function frameWidth(cell, marks) {
  const { inset, width } = frameStroke(cell);
  return marks ? inset + FRAME_STEP * (marks - 1) + width : 1;
}

/** @param {Box} cell @returns {{inset: number, width: number}} of a mark's frame; as wide again is what keeps it off the number */
function frameStroke({ w, h }) {
  return w > 16 && h > 18 ? { inset: 1, width: 2.5 } : { inset: 0.75, width: 1.5 };
}

/** Inside the frames of the marks before. @param {CanvasPen} pen @param {Palette} palette @param {Box} cell @param {Sign} sign @param {number} before how many @param {number} radius 0 in a small cell @param {import("../pen/draw.js").Style} [style] */
function drawFrame(pen, palette, cell, sign, before, radius, { alpha, dash } = {}) {
  const { inset: first, width } = frameStroke(cell);
  const inset = first + FRAME_STEP * before;
  const frame = /** @type {const} */ ([cell.x + inset, cell.y + inset, cell.w - 2 * inset, cell.h - 2 * inset]);
  pen.rect(...frame, { stroke: palette.background, width: 2 * width, radius, alpha });
  pen.rect(...frame, { stroke: signColour(palette, sign), width, radius, alpha, dash });
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Sign} sign @param {number} x @param {number} y @param {number} size @param {number} [alpha] */
export function drawSign(pen, palette, sign, x, y, size, alpha = 1) {
  const colour = signColour(palette, sign);
  pen.glyph("circle", x, y, size, { fill: colour, stroke: palette.background, width: 1, alpha });
  const inner = { minus: 0.55, plus: 0.55, bar: 0.55, down: 0.5, up: 0.5 }[sign];
  const ink = inkOn(colour);
  pen.glyph(sign, x, y, size * inner, sign === "down" || sign === "up" ? { fill: ink, alpha } : { stroke: ink, width: 1.75, alpha });
}

/** A sign over time. @param {CanvasPen} pen @param {Palette} palette @param {"minus" | "plus"} sign @param {number} x @param {number} y @param {boolean} [soft] the direction stays stored */
export function drawRing(pen, palette, sign, x, y, soft = false) {
  const stroke = signColour(palette, sign);
  pen.glyph("circle", x, y, 5, { fill: palette.background, stroke, width: 1.5, dash: soft ? [2, 2] : [] });
  pen.glyph(sign, x, y, 2.8, { stroke, width: 1.75 });
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box[]} cells @param {number} hovered @param {number} selected */
export function drawFrames(pen, palette, cells, hovered, selected) {
  for (const m of [hovered, selected]) {
    const cell = cells[m];
    if (!cell) continue;
    const chosen = m === selected;
    const out = chosen ? 1.5 : 1;
    pen.rect(cell.x - out, cell.y - out, cell.w + 2 * out, cell.h + 2 * out, { stroke: chosen ? palette.text : palette.muted, width: chosen ? 2 : 1.25, radius: Math.min(4, cell.h / 4) });
  }
}

/** @param {Box[]} cells @param {number} x @param {number} y @param {number} [near] pixels around a cell that count as it @returns {number} -1 = none */
export function cellAt(cells, x, y, near = 0) {
  return cells.findIndex((cell) => cell && x >= cell.x - near && x <= cell.x + cell.w + 2 * near && y >= cell.y - near && y <= cell.y + cell.h + 2 * near);
}

/**
 * Boxes of equal size in as many columns as serve them best.
 * @param {Box} area @param {number} count @param {number} gap @param {(w: number, h: number) => number} fit how well a box of this size serves; the largest wins
 * @returns {Box[]}
 */
export function panelBoxes(area, count, gap, fit) {
  const sizes = Array.from({ length: count }, (_, i) => {
    const columns = i + 1;
    const rows = Math.ceil(count / columns);
    return { columns, w: Math.max(1, (area.w - gap * (columns - 1)) / columns), h: Math.max(1, (area.h - gap * (rows - 1)) / rows) };
  });
  const { columns, w, h } = sizes.reduce((best, size) => (fit(size.w, size.h) > fit(best.w, best.h) ? size : best));
  return Array.from({ length: count }, (_, i) => ({ x: area.x + (i % columns) * (w + gap), y: area.y + Math.floor(i / columns) * (h + gap), w, h }));
}

/** @param {Box} box @param {number} lines of its caption @returns {Box} what is left under a panel's title and caption */
export function panelGrid(box, lines) {
  const head = LINE_HEIGHT + 3 + lines * LINE_HEIGHT;
  return { x: box.x, y: box.y + head, w: box.w, h: Math.max(10, box.h - head) };
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} box @param {string} title @param {string} [caption] @param {number} [lines] it may take */
export function drawPanelHead(pen, palette, box, title, caption = "", lines = 0) {
  pen.text(box.x, box.y + LINE_HEIGHT / 2, title, { fill: palette.text, size: TITLE_SIZE, weight: 600, maxWidth: box.w });
  wrapped(pen, caption, { size: CAPTION_SIZE }, box.w, lines).forEach((line, i) => {
    pen.text(box.x, box.y + LINE_HEIGHT * (i + 1.5) + 1, line, { fill: palette.muted, size: CAPTION_SIZE, maxWidth: box.w });
  });
}

/** @typedef {{label: string, index: number, limit?: boolean}} ScaleMark index: place in a colour table of 256; a limit is told before the ends of the scale are */

/** A title, then the scale. @param {CanvasPen} pen @param {Palette} palette @param {Uint8Array} table @param {ScaleMark[]} marks ascending @param {Box} box @param {string} title @param {boolean} discrete @returns {number} where it ends */
export function drawScale(pen, palette, table, marks, box, title, discrete) {
  const style = { fill: palette.muted, size: 11 };
  const y = box.y + box.h / 2;
  pen.text(box.x, y, title, style);
  const x = box.x + pen.measure(title, style) + 8;
  const room = Math.max(20, box.x + box.w - x);
  return discrete ? drawSwatches(pen, palette, table, marks, x, y, room) : drawRamp(pen, palette, table, marks, x, y, Math.min(180, room));
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Uint8Array} table @param {ScaleMark[]} marks @param {number} x @param {number} y @param {number} room */
function drawSwatches(pen, palette, table, marks, x, y, room) {
  const small = { fill: palette.muted, size: SMALLEST };
  const narrow = room / marks.length < Math.max(...marks.map(({ label }) => pen.measure(label, small))) + 4;
  const [first, final] = [marks[0].label, marks[marks.length - 1].label];
  const ends = narrow ? pen.measure(first, small) + pen.measure(final, small) + 8 : 0;
  const size = Math.min(20, (room - ends) / marks.length);
  let at = x;
  if (narrow) {
    pen.text(at, y, first, small);
    at += pen.measure(first, small) + 4;
  }
  for (const mark of marks) {
    const fill = tableColour(table, mark.index);
    pen.rect(at, y - 7, size - (narrow ? 0 : 1), 14, { fill, radius: narrow ? 0 : 2 });
    if (!narrow) pen.text(at + (size - 1) / 2, y + 0.5, mark.label, { fill: inkOn(fill), size: 11, align: "center" });
    at += size;
  }
  if (narrow) pen.text(at + 4, y, final, small);
  return at + (narrow ? pen.measure(final, small) + 4 : 0);
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Uint8Array} table @param {ScaleMark[]} marks @param {number} x @param {number} y @param {number} w */
function drawRamp(pen, palette, table, marks, x, y, w) {
  for (let i = 0; i < w; i += 1) pen.rect(x + i, y - 7, 1.5, 6, { fill: tableColour(table, Math.round((255 * i) / Math.max(1, w - 1))) });
  /** @type {Array<[number, number]>} */
  const taken = [];
  for (const { label, index, limit } of [...marks].sort((a, b) => Number(b.limit ?? false) - Number(a.limit ?? false))) {
    const half = pen.measure(label, { size: 11 }) / 2;
    const at = x + (index / 255) * w;
    const middle = Math.max(x + half, Math.min(x + w - half, at));
    if (limit) pen.line(at, y - 9, at, y + 1, { stroke: palette.text, width: 1.5 });
    if (taken.some(([start, end]) => middle - half < end + 3 && middle + half > start - 3)) continue;
    pen.text(middle, y + 6, label, { fill: palette.muted, size: 11, align: "center" });
    taken.push([middle - half, middle + half]);
  }
  return Math.max(x + w, ...taken.map(([, end]) => end));
}

/** @typedef {[Sign | ((x: number) => void), string]} KeyItem what stands before a label */

/** @param {CanvasPen} pen @param {Palette} palette @param {KeyItem[]} items @param {number} right @param {number} y @returns {number} where they begin */
export function drawSignKey(pen, palette, items, right, y) {
  const style = { fill: palette.muted, size: 11 };
  let x = right - items.reduce((width, [, label]) => width + pen.measure(label, style) + 24, 0) + 6;
  const start = x;
  for (const [sign, label] of items) {
    if (typeof sign === "function") sign(x);
    else drawSign(pen, palette, sign, x + 5, y, 6);
    pen.text(x + 14, y, label, style);
    x += pen.measure(label, style) + 24;
  }
  return start;
}
