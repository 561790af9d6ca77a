/** Where the film's things stand: every matrix at home in the map, and in the row that an event sorts. */

import { mostBars } from "./cast.js";
import { layoutMap } from "../views/rank_map.js";
import { sized } from "../model/remembered.js";
import { scoreHeight, scoreScale } from "./score_scale.js";

/** @import { Model } from "../model/model.js" */
/** @import { Box } from "../pen/draw.js" */
/** @import { Cast } from "./cast.js" */

/**
 * @typedef {object} FilmLayout
 * @property {number} width
 * @property {number} height
 * @property {import("../views/rank_map.js").MapLayout} map
 * @property {Box[]} homes of the stacks, one a matrix
 * @property {number} aside width beside a stack for its numbers; 0 = no room
 * @property {boolean} upright at home directions stand side by side, as columns; else they lie on one another, as in the row
 * @property {number} most directions that a stack has room for
 * @property {boolean} roomy there is room for words around the row
 * @property {Box} line what the numbers add up to
 */

/**
 * @typedef {object} RowLayout
 * @property {Box[]} boxes of the stacks, one a matrix
 * @property {number[]} slots left edge of each matrix's column
 * @property {number} column width of a column
 * @property {boolean} thin a column shows its score only
 * @property {Box} lane of the scores
 * @property {number} bracket where the brackets lie
 * @property {number} words where the words below them begin
 */

const LINE_HEIGHT = 22;
export const WORD_HEIGHT = 15;
const TOP_WORDS = 17;
const PAD = 4;
const NUMBERS = { wide: 42, narrow: 30 };

/** @param {Model} model @param {number} width @param {number} height @returns {FilmLayout} */
export function layoutFilm(model, width, height) {
  const roomy = width >= 330 && height >= 200;
  const map = layoutMap(model, width, height, roomy);
  const cells = map.cells.filter(Boolean);
  const [w, h] = [Math.min(...cells.map((cell) => cell.w)), Math.min(...cells.map((cell) => cell.h))];
  const aside = h < 20 ? 0 : w >= 92 ? NUMBERS.wide : w >= 58 ? NUMBERS.narrow : 0;
  const most = mostBars(model);
  const pad = Math.min(PAD, w * 0.08, h * 0.08);
  const [across, up] = [w - 2 * pad - aside, h - 2 * pad];
  const upright = across > up;
  const [wide, tall] = upright ? [whole(across, most), up] : [across, whole(up, most)];
  const homes = map.cells.map((cell) => {
    if (!cell) return { x: 0, y: 0, w: 0, h: 0 };
    const below = Math.round(cell.y + cell.h - pad);
    return { x: Math.round(cell.x + pad), y: below - tall, w: Math.max(1, wide), h: tall };
  });
  const line = { x: roomy ? map.grid.x : 2, y: height - LINE_HEIGHT, w: width - (roomy ? map.grid.x : 2) - 4, h: LINE_HEIGHT };
  return { width, height, map, homes, aside, upright, most, roomy, line };
}

/** Room for a number of directions, each on whole pixels where they have two or more. @param {number} room @param {number} count @returns {number} */
function whole(room, count) {
  return room / count >= 2 ? Math.min(10, Math.floor(room / count)) * count : room;
}

/** Made once for each size. @type {(scene: {model: Model, width: number, height: number}) => FilmLayout} */
export const filmLayout = sized(layoutFilm);

/** @param {Model} model @param {FilmLayout} layout @param {Cast} cast @returns {RowLayout} */
export function layoutRow(model, layout, cast) {
  const { width, height, roomy, most } = layout;
  const [left, right] = roomy ? [44, width - 8] : [4, width - 4];
  const gap = cast.aside.length && cast.row.length ? 1.5 : 0; // columns between the row and those aside
  const count = cast.row.length + cast.aside.length + gap;
  const wide = (right - left) / Math.max(1, count);
  const column = Math.min(wide, 64);
  const thin = column < 8;
  const start = left + Math.max(0, (right - left - column * count) / 2);
  const top = roomy ? TOP_WORDS + 6 : 3;
  const lines = !roomy || cast.decision.byDirection ? 1 : cast.aside.length || cast.over ? 3 : 2;
  const words = height - LINE_HEIGHT - (lines * WORD_HEIGHT + 3);
  const bracket = words - 7;
  const bottom = bracket - 9;
  const share = thin ? 1 : 0.27;
  const lane = { x: left, y: top, w: right - left, h: Math.max(8, (bottom - top) * share) };
  const between = column > 16 ? 5 : column > 4 ? 1 : 0;
  const below = { y: thin ? top : top + lane.h + 10, h: 0 };
  below.h = thin ? bottom - top : whole(bottom - below.y, most);
  const stackTop = bottom - below.h;
  const slots = new Array(model.M).fill(0);
  cast.row.forEach((m, i) => (slots[m] = start + i * column));
  cast.aside.forEach((m, i) => (slots[m] = start + (cast.row.length + gap + i) * column));
  const boxes = slots.map((x) => ({ x: x + between / 2, y: stackTop, w: column - between, h: below.h }));
  if (thin) cast.decision.scores.forEach((score, m) => Object.assign(boxes[m], columnOf(model, score, lane)));
  return { boxes, slots, column, thin, lane: thin ? lane : { ...lane, h: stackTop - 10 - top }, bracket, words };
}

/** @param {Model} model @param {number} score @param {Box} lane @returns {{y: number, h: number}} of a column whose height is the score */
function columnOf(model, score, lane) {
  const h = Math.max(1.5, lane.h * (scoreHeight(scoreScale(model), score) || 0));
  return { y: lane.y + lane.h - h, h };
}
