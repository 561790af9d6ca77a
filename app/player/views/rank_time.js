/** Rank over time of all matrices at once: in the map's grid each cell holds a line of its own, all on one scale. */

import { describeCell } from "./describe.js";
import { sized } from "../model/remembered.js";
import { changesOf, linesTable, netColour } from "./lines.js";
import { drawMargins, layoutMap, matrixAt, neighbour } from "./rank_map.js";
import { drawFrames, drawSignKey } from "./tiles.js";

/** @import { Model } from "../model/model.js" */
/** @import { MapLayout } from "./rank_map.js" */
/** @import { Scene, Pen, View } from "../model/scene.js" */
/** @import { Box } from "../pen/draw.js" */

/** @typedef {{xs: number[], ys: number[]}} Points */
/** @typedef {{net: number, line: Points, area: Points}} Group matrices that gained, lost or neither, by the sign of their net change: one path for all */
/** @typedef {{map: MapLayout, plots: Box[], groups: Group[], starts: Points}} Layout starts: the rank that each had at first */

const VEIL = 0.62; // of what is still to come
const NARROW = 14; // pixels of a cell below which the clock has no room in it

const layoutOf = sized((model, width, height) => {
  const map = layoutMap(model, width, height);
  const plots = map.cells.map((cell) => cell && { x: cell.x + 1, y: cell.y + 2, w: Math.max(1, cell.w - 2), h: Math.max(1, cell.h - 3) });
  const shown = model.matrices.flatMap((_, m) => (plots[m] ? [{ m, box: plots[m], line: stepsOf(model, m, plots[m]) }] : []));
  const groups = [-1, 0, 1].map((net) => {
    const own = shown.filter(({ m }) => Math.sign(model.finalRanks[m] - model.rank(0, m)) === net);
    return { net, line: joinedPoints(own.map(({ line }) => line)), area: joinedPoints(own.map(({ line, box }) => closed(line, box.y + box.h))) };
  });
  const starts = shown.map(({ m, box }) => ({ xs: [box.x, box.x + box.w], ys: Array(2).fill(yOf(model, box, model.rank(0, m))) }));
  return /** @type {Layout} */ ({ map, plots, groups, starts: joinedPoints(starts) });
});

/** @param {Model} model @param {Box} box @param {number} step */
function xOf({ domain: [from, to] }, box, step) {
  return box.x + (box.w * (step - from)) / (to - from);
}

/** From 0, so that twice the height is twice the rank. @param {Model} model @param {Box} box @param {number} rank */
function yOf({ maxRank }, box, rank) {
  return box.y + box.h * (1 - rank / maxRank);
}

/** @param {Model} model @param {number} m @param {Box} box @returns {Points} */
function stepsOf(model, m, box) {
  /** @type {Points} */
  const points = { xs: [], ys: [] };
  let before = NaN;
  for (const t of model.T ? changesOf(model, m) : []) {
    const [x, y] = [xOf(model, box, model.steps[t]), yOf(model, box, model.rank(t, m))];
    if (Number.isFinite(before)) {
      points.xs.push(x);
      points.ys.push(before);
    }
    points.xs.push(x);
    points.ys.push(y);
    before = y;
  }
  return points;
}

/** @param {Points} line @param {number} bottom @returns {Points} */
function closed({ xs, ys }, bottom) {
  return { xs: [...xs, xs[xs.length - 1], xs[0]], ys: [...ys, bottom, bottom] };
}

/** @param {Points[]} parts @returns {Points} one path with gaps between the parts */
function joinedPoints(parts) {
  return { xs: parts.flatMap(({ xs }) => [...xs, NaN]), ys: parts.flatMap(({ ys }) => [...ys, NaN]) };
}

/** @param {Pen} pen @param {Scene} scene */
function drawRanks(pen, scene) {
  const { model, palette, hovered, selected } = scene;
  const { map, plots, groups, starts } = layoutOf(scene);
  drawMargins(pen, model, palette, map, scene);
  for (const cell of map.cells) if (cell) pen.rect(cell.x, cell.y, cell.w, cell.h, { fill: palette.line, alpha: 0.4 });
  for (const { net, line, area } of groups) {
    const colour = netColour(palette, net);
    pen.path(area.xs, area.ys, { fill: colour, alpha: 0.3 });
    pen.path(line.xs, line.ys, { stroke: colour, width: 1.25 });
  }
  const withClock = plots.some((box) => box?.w >= NARROW);
  if (withClock) drawClock(pen, scene, plots, starts);
  plots.forEach((box, m) => box && drawNumber(pen, scene, box, m));
  drawFrames(pen, palette, map.cells, hovered, selected);
  drawKey(pen, scene, map.legend, withClock);
}

/** @param {Pen} pen @param {Scene} scene @param {Box[]} plots @param {Points} starts */
function drawClock(pen, { model, palette, time }, plots, starts) {
  pen.path(starts.xs, starts.ys, { stroke: palette.muted, width: 1, dash: [2, 2], alpha: 0.6 });
  /** @type {Points} */
  const now = { xs: [], ys: [] };
  for (const box of plots) {
    if (!box) continue;
    const x = xOf(model, box, time);
    pen.rect(x, box.y - 1, box.x + box.w - x, box.h + 2, { fill: palette.background, alpha: VEIL });
    now.xs.push(x, x, NaN);
    now.ys.push(box.y - 2, box.y + box.h + 1, NaN);
  }
  pen.path(now.xs, now.ys, { stroke: palette.text, width: 1 });
}

/** The rank at the clock, where there is room. @param {Pen} pen @param {Scene} scene @param {Box} box @param {number} m */
function drawNumber(pen, { model, palette, record }, box, m) {
  if (box.w < 34 || box.h < 13) return;
  const text = String(model.rank(record, m));
  const style = { size: 11, weight: 600 };
  const w = pen.measure(text, style) + 4;
  pen.rect(box.x + 1, box.y, w, 12, { fill: palette.background, alpha: 0.75 });
  pen.text(box.x + 3, box.y + 6.5, text, { ...style, fill: palette.text });
}

/** @param {Pen} pen @param {Scene} scene @param {Box} box @param {boolean} dashed the ranks at first are drawn */
function drawKey(pen, { model, palette }, box, dashed) {
  const y = box.y + box.h / 2;
  const sample = (/** @type {string} */ fill) => (/** @type {number} */ x) => {
    pen.rect(x, y - 4, 10, 8, { fill, alpha: 0.3 });
    pen.line(x, y - 4, x + 10, y - 4, { stroke: fill, width: 1.5 });
  };
  const items = /** @type {import("./tiles.js").KeyItem[]} */ ([[sample(palette.pruned), "ends lower"], [sample(palette.regularizer), "as before"], [sample(palette.extended), "ends higher"]]);
  const right = drawSignKey(pen, palette, items, box.x + box.w, y);
  const [from, to] = model.domain;
  pen.text(box.x, y, `rank 0 to ${model.maxRank} over steps ${from} to ${to}${dashed ? "; dashed: at first" : ""}`, { fill: palette.muted, size: 11, maxWidth: right - box.x - 10 });
}

/** @param {Scene} scene @param {number} x @param {number} y @returns {string | null} */
function tipAt(scene, x, y) {
  const { model } = scene;
  const { map, plots } = layoutOf(scene);
  const m = matrixAt(map, x, y);
  if (m < 0) return null;
  const [from, to] = model.domain;
  const step = from + ((x - plots[m].x) / plots[m].w) * (to - from);
  return describeCell(model, model.recordAt(Math.min(step, model.lastStep)), m);
}

/** @type {View} */
export const RANK_TIME_VIEW = {
  key: "rank_time",
  label: "Rank × time",
  hint: "rank of every matrix over time, on one scale",
  roomy: true,
  draw: drawRanks,
  tip: tipAt,
  at: (scene, x, y) => matrixAt(layoutOf(scene).map, x, y),
  neighbour: (scene, dx, dy) => neighbour(layoutOf(scene).map.cells, scene.selected, dx, dy),
  describe: ({ model, record, selected }) => {
    const change = (/** @type {number} */ m) => Math.sign(model.finalRanks[m] - model.rank(0, m));
    const count = (/** @type {number} */ sign) => model.matrices.filter((_, m) => change(m) === sign).length;
    return `Rank of ${model.M} matrices over time, on one scale from 0 to ${model.maxRank}: ${count(1)} gained, ${count(-1)} lost, ${count(0)} end as they began. Selected: ${describeCell(model, record, selected)}`;
  },
  table: (scene) => linesTable(scene, "rank"),
};
