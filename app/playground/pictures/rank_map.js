/** A map of ranks, layers by mix, up and down: the painted truth, or what a contestant has. */

import { inkOn, tableColour } from "../../player/pen/palette.js";

/** @import { CanvasPen } from "../../player/pen/draw.js" */
/** @import { Palette } from "../../player/pen/palette.js" */

export const KINDS = /** @type {const} */ (["mix", "up", "down"]);
const MARGIN = { left: 58, top: 20 };
const [NARROW, NARROW_LEFT, NARROW_CELL] = [250, 26, 52];
/** A cell takes a score beside its rank from this width on, below it from this height on. */
const [BESIDE, BELOW] = [74, 24];
const GAP = 3;
const GLYPH = 5;

/**
 * @typedef {object} RankMapInput
 * @property {ArrayLike<number>} ranks in module order, three a layer
 * @property {number} most rank of the strongest colour
 * @property {ArrayLike<number>} [truth] what each needs, written after what it has; one that has as many gets a frame
 * @property {ArrayLike<number>} [sizes] bars at the feet, as shares of 1
 * @property {{pruned: Set<number>, extended: Set<number>, share: number}} [moves] of an event that has just been; share of its glow that is left
 * @property {number} [chosen] matrix that is looked at
 * @property {string[]} [scores] what decided, written small
 */

/** @param {number} width @returns {number} room for the names of the layers */
function leftOf(width) {
  return width < NARROW ? NARROW_LEFT : MARGIN.left;
}

/** @param {number} width @param {number} height @param {number} layers @returns {{x: (place: number) => number, y: (place: number) => number, w: number, h: number}} */
export function cellsOf(width, height, layers) {
  const left = leftOf(width);
  const w = (width - left) / KINDS.length;
  const h = (height - MARGIN.top) / layers;
  return { x: (place) => left + (place % KINDS.length) * w, y: (place) => MARGIN.top + Math.floor(place / KINDS.length) * h, w, h };
}

/** @param {number} x @param {number} y in the picture @param {number} width @param {number} height @param {number} layers @returns {number} matrix there, −1 = none */
export function matrixAt(x, y, width, height, layers) {
  const { w, h } = cellsOf(width, height, layers);
  const [column, row] = [Math.floor((x - leftOf(width)) / w), Math.floor((y - MARGIN.top) / h)];
  return column >= 0 && column < KINDS.length && row >= 0 && row < layers ? row * KINDS.length + column : -1;
}

/** @param {Palette} palette @param {number} rank @param {number} most @returns {string} */
export function rankColour(palette, rank, most) {
  return tableColour(palette.tables.rank, Math.round((235 * Math.min(rank, most)) / Math.max(1, most)));
}

/** @param {CanvasPen} pen @param {Palette} palette @param {number} width @param {number} height @param {RankMapInput} input */
export function drawRankMap(pen, palette, width, height, input) {
  const layers = input.ranks.length / KINDS.length;
  const { x, y, w, h } = cellsOf(width, height, layers);
  KINDS.forEach((kind, column) => pen.text(x(column) + w / 2, 9, kind, { fill: palette.muted, align: "center", size: 12 }));
  for (let place = 0; place < input.ranks.length; place += 1) {
    const rank = input.ranks[place];
    const [left, top] = [x(place) + GAP, y(place) + GAP];
    const [across, down] = [w - 2 * GAP, h - 2 * GAP];
    const fill = rankColour(palette, rank, input.most);
    const ink = inkOn(fill);
    if (place % KINDS.length === 0) pen.text(leftOf(width) - 6, y(place) + h / 2, `${width < NARROW ? "L" : "layer "}${place / KINDS.length}`, { fill: palette.muted, align: "right", size: 12 });
    pen.rect(left, top, across, down, { fill, radius: 4 });
    const right = input.truth && input.truth[place] === rank;
    if (right) pen.rect(left + 1, top + 1, across - 2, down - 2, { stroke: palette.evaluation, width: 2.5, radius: 4 });
    if (input.chosen === place) pen.rect(left - 2, top - 2, across + 4, down + 4, { stroke: palette.text, width: 2, radius: 6 });
    if (input.sizes) pen.rect(left + 5, top + down - 5, Math.max(1, (across - 10) * Math.min(1, input.sizes[place])), 2.5, { fill: ink });
    const style = /** @type {const} */ ({ fill: ink, size: h < 30 ? 12 : 14, weight: 600 });
    const needed = input.truth ? `/${input.truth[place]}` : "";
    const all = pen.measure(String(rank), style) + pen.measure(needed, { size: 11 });
    const score = input.scores?.[place];
    const [beside, below] = [score && across >= BESIDE, score && across < BESIDE && down >= BELOW];
    // In a small cell a sign needs the right half.
    const start = across < NARROW_CELL && needed ? left + 4 : left + (across - all) * (beside ? 0.58 : 0.5);
    const middle = top + down / 2 - (below ? 6 : input.sizes ? 1 : 0);
    pen.text(start, middle, String(rank), style);
    if (needed) pen.text(start + all, middle + 1, needed, { fill: ink, size: 11, align: "right" });
    if (score && beside) pen.text(left + 6, top + down / 2 + 1, score, { fill: ink, size: 11 });
    if (score && below) pen.text(start, top + down - 7, score, { fill: ink, size: 11 });
    drawMove(pen, input, place, left + across - Math.min(13, across * 0.14), top + down / 2, ink);
  }
}

/** @param {CanvasPen} pen @param {RankMapInput} input @param {number} place @param {number} x @param {number} y @param {string} ink */
function drawMove(pen, { moves }, place, x, y, ink) {
  if (!moves || moves.share <= 0) return;
  const kind = moves.extended.has(place) ? "plus" : moves.pruned.has(place) ? "minus" : null;
  if (kind) pen.glyph(kind, x, y, GLYPH, { stroke: ink, width: 2.5, alpha: Math.min(1, moves.share * 1.6) });
}
