/** Draws a moment of the film through the pen. */

import { castOf, longestBar } from "./cast.js";
import { appeared, barsAt, fallen, frameOf, rankAt } from "./choreography.js";
import { filmLayout } from "./layout.js";
import { drawLine, drawPlaces, drawRowWords, drawScores } from "./draw_words.js";
import { scoreHeight, scoreScale, scoreTexts } from "./score_scale.js";

/** @import { Scene, Pen } from "../model/scene.js" */
/** @import { Palette } from "../pen/palette.js" */
/** @import { Box } from "../pen/draw.js" */
/** @import { Cast } from "./cast.js" */
/** @import { Frame, Drawn } from "./choreography.js" */
/** @import { FilmLayout } from "./layout.js" */

/** @typedef {{scene: Scene, layout: FilmLayout, cast: Cast, frame: Frame}} Shot */

const DIMMED = 0.3;
const FINE = 1; // pixels of a direction below which not each is drawn
const UNKNOWN_LENGTH = 0.8; // of a direction whose λ is not here: its rank can be counted all the same

/** @param {Scene} scene at an event in slow motion @param {number} τ @returns {Shot} */
export function shotOf(scene, τ) {
  const layout = filmLayout(scene);
  const cast = castOf(scene.model, /** @type {any} */ (scene.stage).event);
  return { scene, layout, cast, frame: frameOf(scene.model, layout, cast, τ) };
}

/** @param {Pen} pen @param {Scene} scene at an event in slow motion @param {number} τ */
export function drawFilm(pen, scene, τ) {
  const shot = shotOf(scene, τ);
  const { layout, frame } = shot;
  drawPlaces(pen, shot);
  if (frame.there > 0 && !frame.row.thin) drawScores(pen, shot);
  for (const m of frame.order) drawToken(pen, shot, m);
  drawFrames(pen, shot);
  drawRowWords(pen, shot);
  if (layout.roomy) drawLine(pen, shot);
}

/** Who has nothing to do with a stage steps back. @param {Cast} cast @param {number} m @param {number} τ @returns {number} */
export function presence({ decision, low, high, place, row }, m, τ) {
  const { prune, extend, scores } = decision;
  const within = (/** @type {number} */ from, /** @type {number} */ to) => Math.max(0, Math.min(1, (τ - from) / 0.1, (to - τ) / 0.1));
  const atEnd = !Number.isNaN(scores[m]) && (place[m] < low || place[m] >= row.length - high);
  const back = (/** @type {boolean} */ plays, /** @type {number} */ share) => (plays ? 1 : 1 - share * (1 - DIMMED));
  return Math.min(
    back(atEnd || prune.has(m) || extend.has(m), within(1.75, 2.1)),
    back(prune.has(m), within(2.4, 3.1)),
    back(extend.has(m), within(3.4, 4.1)),
  );
}

/** @param {Pen} pen @param {Shot} shot @param {number} m */
function drawToken(pen, { scene, layout, cast, frame }, m) {
  const { palette, model } = scene;
  const box = frame.boxes[m];
  const alpha = presence(cast, m, frame.τ);
  const solid = frame.row.thin ? frame.away : 0;
  if (solid > 0) drawColumn(pen, { scene, layout, cast, frame }, m, box, solid * alpha);
  if (solid < 1) {
    const bars = barsAt(cast.tokens[m], frame, longestBar(model), cast.ahead);
    drawStack(pen, palette, box, layout.most, layout.upright ? frame.away : 1, bars, alpha * (1 - solid), Number.isNaN(cast.decision.scores[m]) && frame.τ > 0.5 && frame.τ < 4.5);
  }
  if (layout.aside && frame.home > 0) drawNumbers(pen, { scene, layout, cast, frame }, m);
}

/**
 * Directions side by side, the largest left, or on one another, the largest below.
 * @param {Pen} pen @param {Palette} palette @param {Box} box of a full stack @param {number} most directions in it @param {number} lying 0 = side by side, 1 = on one another
 * @param {Drawn[]} bars @param {number} alpha @param {boolean} hatched its score is undefined
 */
export function drawStack(pen, palette, box, most, lying, bars, alpha, hatched) {
  const bottom = box.y + box.h;
  pen.rect(box.x, bottom, box.w, 1, { fill: palette.faint, alpha });
  if (hatched) {
    const { at, count } = bars[bars.length - 1] ?? { at: 0, count: 1 };
    const own = barBox(box, most, lying, { at: at + count - 1, length: 1, fall: 0 });
    pen.hatch({ x: box.x, y: Math.min(own.y, bottom - 8), w: Math.max(own.x + own.w - box.x, 8), h: Math.max(8, bottom - own.y) }, palette.faint, 4);
  }
  const rest = (lying > 0.5 ? box.h : box.w) / most < FINE ? drawFine(pen, palette, box, most, lying, bars, alpha) : bars;
  for (const bar of rest) {
    const { look } = bar;
    const length = Number.isNaN(bar.length) ? UNKNOWN_LENGTH : bar.length;
    const all = look === "gap" ? 1 : look === "pruned" ? Math.max(length, 0.6 * Math.min(1, bar.fall * 8)) : length;
    const own = barBox(box, most, lying, { at: bar.at, length: all, fall: bar.fall });
    if (bar.count > 1 && box.h / most < 2) drawBar(pen, palette, bar, blockOf(own, barBox(box, most, lying, { at: bar.at + bar.count - 1, length: all, fall: 0 })), alpha);
    else for (let i = 0; i < bar.count; i += 1) drawBar(pen, palette, bar, i ? barBox(box, most, lying, { at: bar.at + i, length: all, fall: 0 }) : own, alpha);
  }
}

/** Hundreds of stacks whose directions are narrower than a pixel: those that only stand there are a bar a pixel, and on the way one block. @param {Pen} pen @param {Palette} palette @param {Box} box @param {number} most @param {number} lying @param {Drawn[]} bars @param {number} alpha @returns {Drawn[]} what is left */
function drawFine(pen, palette, box, most, lying, bars, alpha) {
  const stands = bars.filter(({ look, count, length }) => look === "plain" && count === 1 && !Number.isNaN(length));
  if (!stands.length) return bars;
  if (lying > 0) {
    const [first, last] = [stands[0], stands[stands.length - 1]].map((bar) => barBox(box, most, lying, bar));
    const { x, y, w, h } = blockOf(first, last);
    pen.rect(x, y, w, h, { fill: palette.muted, alpha });
  } else {
    let pixel = -1;
    for (const bar of stands) {
      const at = Math.floor((bar.at * box.w) / most);
      const own = Math.max(1, box.h * bar.length);
      // The largest comes first.
      if (at > pixel) pen.rect(box.x + at, box.y + box.h - own, 1, own, { fill: palette.muted, alpha });
      pixel = at;
    }
  }
  return bars.filter(({ look, count, length }) => look !== "plain" || count > 1 || Number.isNaN(length));
}

/** @param {Box} first @param {Box} last @returns {Box} around both */
function blockOf(first, last) {
  const [x, y] = [Math.min(first.x, last.x), Math.min(first.y, last.y)];
  return { x, y, w: Math.max(first.x + first.w, last.x + last.w) - x, h: Math.max(first.y + first.h, last.y + last.h) - y };
}

/** @param {Box} box of a full stack @param {number} most @param {number} lying @param {{at: number, length: number, fall: number}} bar @returns {Box} */
export function barBox(box, most, lying, { at, length, fall }) {
  const side = lying > 0.5 ? box.h / most : box.w / most;
  const gap = side < 2 ? Math.max(0, side - 1.2) * 1.25 : 1 + Math.min(1, (side - 2) * 0.15);
  const bottom = box.y + box.h;
  const [column, row] = [box.w / most, box.h / most];
  const up = Math.max(1, box.h * length);
  const stood = { x: box.x + at * column + gap / 2, y: bottom - up, w: Math.max(0.75, column - gap), h: up };
  const lain = { x: box.x, y: bottom - (at + 1) * row + gap / 2 + fall * ((at + 1) * row + 6), w: Math.max(1, box.w * length), h: Math.max(0.75, row - gap) };
  if (lying >= 1) return lain;
  if (lying <= 0) return stood;
  // On the way each is a small square, so that at any moment they can be told apart and counted.
  const [early, late] = [Math.max(0, 1 - 2 * lying), Math.max(0, 2 * lying - 1)];
  const mix = (/** @type {number} */ a, /** @type {number} */ b) => a + (b - a) * lying;
  const [thin, flat] = [Math.min(stood.w, stood.h), Math.min(lain.w, lain.h)];
  const w = lying < 0.5 ? mix(stood.w, flat) : flat + (lain.w - flat) * late;
  const h = lying > 0.5 ? mix(thin, lain.h) : thin + (stood.h - thin) * early;
  return { x: mix(stood.x, lain.x), y: mix(stood.y + stood.h, lain.y + lain.h) - h, w, h };
}

/** @param {Pen} pen @param {Palette} palette @param {Drawn} bar @param {Box} box @param {number} alpha */
function drawBar(pen, palette, { look, alpha: own }, { x, y, w, h }, alpha) {
  if (look === "plain") pen.rect(x, y, w, h, { fill: palette.muted, alpha });
  else if (look === "off") pen.rect(x, y, w, h, { fill: palette.faint, alpha: alpha * 0.7 });
  else if (look === "gap" || look === "frame") {
    const stroke = look === "gap" ? palette.pruned : palette.extended;
    if (Math.min(w, h) >= 3) pen.rect(x + 0.5, y + 0.5, w - 1, h - 1, { stroke, width: 1, alpha: alpha * own });
    else pen.rect(x, y, w, h, { fill: stroke, alpha: alpha * own * 0.4 });
  } else pen.rect(x, y, w, h, { fill: look === "pruned" ? palette.pruned : palette.extended, alpha: alpha * own });
}

/** Where hundreds stand in the row, each is a column as high as its score. @param {Pen} pen @param {Shot} shot @param {number} m @param {Box} box @param {number} alpha */
function drawColumn(pen, { scene: { palette }, cast, frame }, m, box, alpha) {
  const { decision, tokens } = cast;
  const { τ } = frame;
  const drop = fallen(tokens[m], τ);
  const chosen = τ > 1.84 && decision.prune.has(m) ? palette.pruned : τ > 1.84 && decision.extend.has(m) ? palette.extended : palette.muted;
  pen.rect(box.x, box.y, Math.max(0.6, box.w), box.h, { fill: chosen, alpha: alpha * (Number.isNaN(decision.scores[m]) || (drop > 0 && drop < 1) ? 0.4 : 1) });
  if (drop > 0 && drop < 1) pen.rect(box.x, box.y - 4 + drop ** 2 * (box.h + 10), box.w, 4, { fill: palette.pruned, alpha: 1 - drop ** 3 });
  if (appeared(tokens[m], τ) > 0 && τ < 4.4) pen.rect(box.x, box.y - 6, box.w, 4, { fill: palette.extended, alpha });
}

/** Beside the stack at home: its rank, and its score while that is told. @param {Pen} pen @param {Shot} shot @param {number} m */
function drawNumbers(pen, { scene, layout, cast, frame }, m) {
  const { palette, model } = scene;
  const cell = layout.map.cells[m];
  const home = layout.homes[m];
  const x = cell.x + cell.w - 5;
  const rank = rankAt(cast, m, frame.τ);
  const change = rank - cast.decision.before[m];
  const fill = change < 0 ? palette.pruned : change > 0 ? palette.extended : palette.text;
  const two = cell.h >= 31;
  const score = frame.numbers > 0;
  if (two || !score) pen.text(x, cell.y + (two ? cell.h / 2 - 7 : cell.h / 2), String(rank), { fill, size: 13, weight: 600, align: "right", alpha: frame.home });
  if (!score) return;
  const room = cell.x + cell.w - 2 - (home.x + home.w);
  const scale = scoreScale(model);
  const style = { fill: palette.text, size: 11, align: /** @type {const} */ ("right"), alpha: frame.numbers * frame.home };
  const text = scoreTexts(scale, cast.decision.scores[m]).find((wanted) => pen.measure(wanted, style) <= room);
  if (text) pen.text(x, cell.y + (two ? cell.h / 2 + 8 : cell.h / 2), text, style);
}

/** The selected matrix keeps its frame wherever it goes. @param {Pen} pen @param {Shot} shot */
function drawFrames(pen, { scene: { palette, selected, hovered }, layout, frame }) {
  for (const m of [hovered, selected]) {
    const cell = layout.map.cells[m];
    if (!cell) continue;
    const box = frameBox(layout, frame, m);
    pen.rect(box.x, box.y, box.w, box.h, { stroke: m === selected ? palette.text : palette.muted, width: m === selected ? 2 : 1.25, radius: Math.min(4, box.w / 4) });
  }
}

/** What is drawn of a matrix, or framed: at home its cell. @param {FilmLayout} layout @param {Frame} frame @param {number} m @returns {Box} */
export function frameBox(layout, frame, m) {
  const [cell, home, box] = [layout.map.cells[m], layout.homes[m], frame.boxes[m]];
  const share = home.w > 0 ? Math.max(0, Math.min(1, frame.away)) : 0;
  const out = 1 + share;
  const mix = (/** @type {number} */ a, /** @type {number} */ b) => a * (1 - share) + b * share;
  const edge = { left: mix(home.x - cell.x, out), right: mix(cell.x + cell.w - home.x - home.w, out), top: mix(home.y - cell.y, out), bottom: mix(cell.y + cell.h - home.y - home.h, out) };
  return { x: box.x - edge.left, y: box.y - edge.top, w: box.w + edge.left + edge.right, h: box.h + edge.top + edge.bottom };
}

/** @param {import("../model/model.js").Model} model @param {number} score */
export function laneHeight(model, score) {
  return scoreHeight(scoreScale(model), score);
}
