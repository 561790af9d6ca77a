/** Everything of the film that is not a stack: cells, names, scores above the row, brackets, sums. */

import { layerLabel, matrixLabel } from "../model/format.js";
import { drawSign } from "../views/tiles.js";
import { growthAt, laterRecord, rankAt } from "./choreography.js";
import { WORD_HEIGHT } from "./layout.js";
import { scoreHeight, scoreScale, scoreText } from "./score_scale.js";
import { balanceWords, endWords, lineWords, passedOver, passedWords } from "./words.js";

/** @import { Pen } from "../model/scene.js" */
/** @import { Shot } from "./draw.js" */

const SIZE = 11;
const MARKED = [0.75]; // shares of a scale that are marked between its ends
const RIGHT = 30; // of the map, for sums
const CELL = 0.055; // alpha of what lies behind a stack

/** The map that the stacks leave and come back to. @param {Pen} pen @param {Shot} shot */
export function drawPlaces(pen, { scene: { palette }, layout, cast, frame }) {
  const alpha = CELL * (1 - frame.away);
  if (alpha > 0.002) for (const cell of layout.map.cells) if (cell) pen.rect(cell.x, cell.y, cell.w, cell.h, { fill: palette.text, alpha });
  if (!layout.roomy || frame.home <= 0) return;
  drawNames(pen, palette, layout.map, (m) => rankAt(cast, m, frame.τ), frame.home);
}

/** Names of rows and columns, and the rank that each holds. @param {Pen} pen @param {import("../pen/palette.js").Palette} palette @param {import("../views/rank_map.js").MapLayout} map @param {(m: number) => number} rank @param {number} alpha */
export function drawNames(pen, palette, map, rank, alpha) {
  const { columns, rows, grid, sideways, sums } = map;
  const style = { fill: palette.muted, size: SIZE, alpha };
  const sum = (/** @type {number[]} */ members) => members.reduce((total, m) => total + rank(m), 0);
  let end = -Infinity;
  for (const { label, centre, size, total } of columns) {
    const half = pen.measure(label, style) / 2;
    if (sideways && centre - half < end + 6) continue;
    pen.text(centre, 7, label, { ...style, align: "center", maxWidth: sideways ? 40 : size - 4 });
    end = centre + half;
    if (sums) pen.text(centre, grid.y + grid.h + 6, `Σ ${sum(total)}`, { ...style, align: "center" });
  }
  for (const { label, centre, size, total } of rows) {
    if (size < 12) continue;
    pen.text(grid.x - 8, centre, typeof label === "string" ? label : layerLabel(label), { ...style, align: "right", maxWidth: grid.x - 10 });
    const [long, short] = [`Σ ${sum(total)}`, String(sum(total))];
    const right = grid.x + grid.w + 4;
    pen.text(right, centre, pen.measure(long, style) <= RIGHT ? long : short, { ...style, maxWidth: RIGHT });
  }
}

/** A mark as high as the score above each stack of the row. @param {Pen} pen @param {Shot} shot */
export function drawScores(pen, { scene: { palette, model }, cast, frame }) {
  const { lane, slots, column } = frame.row;
  const scale = scoreScale(model);
  const alpha = frame.there;
  pen.rect(lane.x, lane.y + lane.h, lane.w, 1, { fill: palette.line, alpha });
  for (const m of cast.row) {
    const h = lane.h * scoreHeight(scale, cast.decision.scores[m]);
    const x = slots[m] + column / 2;
    const told = frame.τ > 1.84;
    const fill = told && cast.decision.prune.has(m) ? palette.pruned : told && cast.decision.extend.has(m) ? palette.extended : palette.muted;
    pen.rect(x - 0.75, lane.y + lane.h - h, 1.5, h, { fill, alpha: alpha * 0.5 });
    pen.glyph("circle", x, lane.y + lane.h - h, Math.min(3, column * 0.2), { fill, alpha });
  }
}

/** @param {Pen} pen @param {Shot} shot */
export function drawRowWords(pen, shot) {
  const { scene, layout, frame } = shot;
  if (frame.there <= 0) return;
  if (layout.roomy) drawAxis(pen, shot);
  drawBrackets(pen, shot);
  const { palette, selected, model } = scene;
  if (layout.roomy && layout.map.cells[selected]) {
    const text = `selected: ${matrixLabel(model.matrices[selected])}`;
    pen.text(layout.width - 8, 8, text, { fill: palette.text, size: SIZE, align: "right", alpha: frame.there, maxWidth: layout.width * 0.4 });
  }
}

/** @param {Pen} pen @param {Shot} shot */
function drawAxis(pen, { scene: { palette, model }, layout, cast, frame }) {
  const { lane } = frame.row;
  const scale = scoreScale(model);
  const style = { fill: palette.muted, size: SIZE, alpha: frame.there };
  const what = cast.decision.byDirection ? `mean ${scale.label} of the directions` : scale.label;
  pen.text(4, 8, what, { ...style, maxWidth: layout.width * 0.5 });
  if (!Number.isFinite(scale.low)) return;
  pen.text(lane.x - 6, lane.y + 4, scoreText(scale.high), { ...style, align: "right", maxWidth: lane.x - 8 });
  // Not linear where a measure has both ends: what lies between says so.
  for (const share of scale.bounded && lane.h >= 44 ? MARKED : []) {
    const score = scale.low + share * (scale.high - scale.low);
    const y = lane.y + lane.h * (1 - scoreHeight(scale, score));
    pen.line(lane.x, y, lane.x + lane.w, y, { stroke: palette.line, dash: [2, 3], alpha: frame.there });
    pen.text(lane.x - 6, y, scoreText(score), { ...style, align: "right", maxWidth: lane.x - 8 });
  }
  if (lane.h >= 26) pen.text(lane.x - 6, lane.y + lane.h - 4, scoreText(scale.low), { ...style, align: "right", maxWidth: lane.x - 8 });
  if (frame.row.thin) pen.rect(lane.x, lane.y + lane.h, lane.w, 1, { fill: palette.faint, alpha: frame.there });
}

/** The budget, closing in from both ends. @param {Pen} pen @param {Shot} shot */
function drawBrackets(pen, { scene: { palette }, layout, cast, frame }) {
  const { slots, column, bracket, words } = frame.row;
  const { row, low, high } = cast;
  if (frame.closing <= 0) return;
  const half = (layout.width - slots[row[0]] - 8) / 2 - 8;
  const told = Math.max(0, Math.min(1, (frame.closing - 0.8) / 0.2)) * frame.there;
  for (const end of /** @type {const} */ (["low", "high"])) {
    const said = endWords(cast, end);
    if (!said) continue;
    const count = end === "low" ? low : high;
    const colour = end === "low" ? palette.pruned : palette.extended;
    const ends = end === "low" ? [slots[row[0]], slots[row[count - 1]] + column] : [slots[row[row.length - 1]] + column, slots[row[row.length - count]]];
    const inner = ends[0] + (ends[1] - ends[0]) * frame.closing;
    for (const x of [ends[0], inner]) pen.line(x, bracket - 5, x, bracket, { stroke: colour, width: 2, alpha: frame.there });
    pen.line(ends[0], bracket, inner, bracket, { stroke: colour, width: 2, alpha: frame.there });
    const [x, align] = [ends[0], end === "low" ? /** @type {const} */ ("left") : /** @type {const} */ ("right")];
    const style = { fill: colour, size: layout.roomy ? 12.5 : SIZE, weight: 600, align, alpha: told, maxWidth: half };
    pen.text(x, words + WORD_HEIGHT / 2, pen.measure(said.title, style) <= half ? said.title : said.which, style);
    if (layout.roomy) pen.text(x, words + WORD_HEIGHT * 1.5, said.names, { fill: palette.text, size: SIZE, align, alpha: told, maxWidth: half });
  }
  drawPassed(pen, { palette, layout, cast, frame }, told);
}

/** @param {Pen} pen @param {{palette: import("../pen/palette.js").Palette} & Omit<Shot, "scene">} shot @param {number} alpha */
function drawPassed(pen, { palette, layout, cast, frame }, alpha) {
  const { boxes, words, column, thin, slots } = frame.row;
  const { row } = cast;
  if (!thin && alpha > 0) for (const { m } of passedOver(cast)) drawSign(pen, palette, "bar", boxes[m].x + boxes[m].w / 2, boxes[m].y - 2, Math.min(5, column * 0.3), alpha);
  const told = [lineWords(cast), passedWords(cast), cast.aside.length && layout.roomy ? `aside: ${cast.aside.length} undefined` : ""].filter(Boolean).join("; ");
  if (layout.roomy || cast.decision.byDirection) pen.text(slots[row[0]] || 6, words + WORD_HEIGHT * (layout.roomy && !cast.decision.byDirection ? 2.5 : 0.5), told, { fill: palette.muted, size: SIZE, alpha, maxWidth: layout.width - (slots[row[0]] || 6) - 8 });
}

/** What the numbers add up to, and what the colours mean. @param {Pen} pen @param {Shot} shot */
export function drawLine(pen, { scene: { palette, model }, layout: { line }, cast, frame }) {
  const y = line.y + line.h / 2 + 2;
  const later = growthAt(frame.τ) > 0 ? ` at step ${model.steps[laterRecord(cast, frame.τ)]}` : "";
  const balance = balanceWords(cast, frame.τ);
  const bold = { fill: palette.text, size: 12.5, weight: 600 };
  pen.text(line.x, y, balance, { ...bold, maxWidth: line.w });
  drawKey(pen, palette, line, y, pen.measure(balance, bold) + 16, [
    [!cast.known ? "a direction" : frame.morph > 0.5 ? "direction: its share of λ²" : `direction: |λ|${later}, √`, palette.muted],
    [model.words.pruned, palette.pruned],
    [model.words.extended === "extended" ? "new" : model.words.extended, palette.extended],
  ]);
}

/** From the right, as many as have room. @param {Pen} pen @param {import("../pen/palette.js").Palette} palette @param {import("../pen/draw.js").Box} line @param {number} y @param {number} taken at the left @param {Array<[string, string]>} items */
export function drawKey(pen, palette, line, y, taken, items) {
  let x = line.x + line.w;
  for (const [label, fill] of [...items].reverse()) {
    const w = pen.measure(label, { size: SIZE }) + 18;
    if (x - w < line.x + taken) return;
    pen.rect(x - w, y - 2.5, 13, 5, { fill });
    pen.text(x - w + 17, y, label, { fill: palette.muted, size: SIZE });
    x -= w + 14;
  }
}
