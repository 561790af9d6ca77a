/** This run, the pinned one, and their difference: maps side by side on the same scales. */

import { cellColour, colourName, colourValue, COLUMNS, shownColour } from "../pen/colour.js";
import { matrixLabel } from "../model/format.js";
import { isWhole, valueText, valueTexts } from "../model/value_text.js";
import { drawColourKey } from "./colour_key.js";
import { tableColour } from "../pen/palette.js";
import { bothOf, difference, largestDifference } from "./pinned.js";
import { remembered } from "../model/remembered.js";
import { neighbour } from "./rank_map.js";
import { AXES_HEIGHT, cellFit, drawAxes, smallCells } from "./small_maps.js";
import { cellAt, drawFrames, drawPanelHead, drawScale, drawTile, panelBoxes, panelGrid } from "./tiles.js";

/** @import { Scene, View, Pinned } from "../model/scene.js" */
/** @import { Model } from "../model/model.js" */

const PAIR_KEY_HEIGHT = 40;
const DIMMED = 0.4;

const pairLayoutOf = remembered((/** @type {import("./pinned.js").Both} */ { mine, theirs }, /** @type {number} */ width, /** @type {number} */ height) => {
  const panels = panelBoxes({ x: 2, y: 2, w: width - 6, h: height - PAIR_KEY_HEIGHT - AXES_HEIGHT - 6 }, 3, 14, cellFit(mine, { w: 24, h: 14 }, 1));
  return { panels, cells: panels.map((panel, i) => smallCells(i === 1 ? theirs : mine, panelGrid(panel, 1))) };
});

/** @param {Scene} scene */
function pairLayout({ model, other, width, height }) {
  return pairLayoutOf(bothOf(model, /** @type {Pinned} */ (other).model), width, height);
}

/** @param {number} value @param {number} limit */
function differenceIndex(value, limit) {
  return Math.round(127.5 + 127.5 * Math.max(-1, Math.min(1, value / limit)));
}

/** @param {import("../model/scene.js").Pen} pen @param {Scene} scene @param {Pinned} other */
function drawPair(pen, scene, other) {
  const { model, palette, record, hovered, selected } = scene;
  const { panels, cells } = pairLayout(scene);
  const both = bothOf(model, other.model);
  const colour = shownColour(both.mine, scene.colour);
  const limit = largestDifference(both, colour);
  const alpha = other.missing ? DIMMED : 1;
  const held = other.model.steps[other.record];
  const theirs = other.missing ? `no record here: step ${held} stands in` : `step ${held}`;
  drawPanelHead(pen, palette, panels[0], model.run.name ?? "this run", `step ${scene.step} · total rank ${model.totalRank[record]}`, 1);
  drawPanelHead(pen, palette, panels[1], other.name, `${theirs} · total rank ${other.model.totalRank[other.record]}`, 1);
  drawPanelHead(pen, palette, panels[2], "difference", "this − pinned, matched by name", 1);
  const tile = (/** @type {Model} */ run, /** @type {number} */ at, /** @type {number} */ m) => ({
    fill: cellColour(run, palette, colour, at, m),
    texts: valueTexts(colour, colourValue(run, colour, at, m), false),
    marks: [],
  });
  cells[0].forEach((cell, m) => cell && drawTile(pen, palette, cell, tile(both.mine, record, m)));
  cells[1].forEach((cell, m) => cell && drawTile(pen, palette, cell, tile(both.theirs, other.record, m), alpha));
  cells[2].forEach((cell, m) => {
    const value = difference(both, colour, record, other.record, m);
    const fill = Number.isNaN(value) ? null : tableColour(palette.tables.change, differenceIndex(value, limit));
    if (cell) drawTile(pen, palette, cell, { fill, texts: both.matching[m] < 0 ? [] : valueTexts(colour, value, true), marks: [] }, alpha);
  });
  const second = (/** @type {number} */ m) => (m < 0 ? -1 : both.matching[m]);
  for (const i of [0, 2]) drawFrames(pen, palette, cells[i], hovered, selected);
  drawFrames(pen, palette, cells[1], second(hovered), second(selected));
  drawPairKey(pen, scene, both, limit);
}

/** @param {import("../model/scene.js").Pen} pen @param {Scene} scene @param {import("./pinned.js").Both} both @param {number} limit */
function drawPairKey(pen, { palette, colour: asked, step, width, height }, both, limit) {
  const colour = shownColour(both.mine, asked);
  const row = PAIR_KEY_HEIGHT / 2;
  drawAxes(pen, palette, both.mine, 2, height - PAIR_KEY_HEIGHT - AXES_HEIGHT / 2, width - 8);
  const box = (/** @type {number} */ i) => ({ x: 2, y: height - PAIR_KEY_HEIGHT + i * row, w: width - 8, h: row });
  drawColourKey(pen, { model: both.mine, palette, step }, colour, box(0), `${colourName(both.mine, colour)}, both`);
  const steps = isWhole(colour) ? Array.from({ length: 2 * limit + 1 }, (_, i) => i - limit) : [-1, -0.5, 0, 0.5, 1].map((share) => share * limit);
  const marks = steps.map((value) => ({ label: valueText(colour, value, true), index: differenceIndex(value, limit) }));
  const title = `difference, this − pinned (over the run: ±${valueText(colour === "change" ? "rank" : colour, limit)})`;
  const unmatched = both.matching.filter((m) => m < 0).length;
  drawScale(pen, palette, palette.tables.change, marks, box(1), unmatched ? `${title}; hatched: ${unmatched} without a match` : title, isWhole(colour));
}

/** @type {View} */
export const PAIR_VIEW = {
  key: "pair",
  label: "Pair",
  hint: "this run, the pinned run and their difference",
  wide: true,
  possible: ({ other }) => other !== null,
  draw: (pen, scene) => {
    if (scene.other) drawPair(pen, scene, scene.other);
  },
  neighbour: (scene, dx, dy) => neighbour(pairLayout(scene).cells[0], scene.selected, dx, dy),
  at: (scene, x, y) => {
    const { cells } = pairLayout(scene);
    const theirs = cellAt(cells[1], x, y);
    if (theirs < 0) return Math.max(cellAt(cells[0], x, y), cellAt(cells[2], x, y));
    return bothOf(scene.model, /** @type {Pinned} */ (scene.other).model).matching.indexOf(theirs);
  },
  tip: (scene, x, y) => {
    const m = PAIR_VIEW.at?.(scene, x, y) ?? -1;
    return m < 0 ? null : describePair(scene, m);
  },
  describe: (scene) => (scene.other ? `This run and ${scene.other.name} at step ${scene.step}. Selected: ${describePair(scene, scene.selected)}` : "No second run is pinned."),
  table: (scene) => {
    const { model, record, step, other } = scene;
    if (!other) return { head: [], rows: [] };
    const both = bothOf(model, other.model);
    const colour = shownColour(both.mine, scene.colour);
    const column = COLUMNS[colour];
    const row = (/** @type {import("../model/decode.js").Matrix} */ { name, layer, type }, /** @type {number} */ mine, /** @type {number} */ theirs, /** @type {number} */ apart) => [step, name, layer, type, column, mine, theirs, apart];
    const value = (/** @type {Model} */ run, /** @type {number} */ t, /** @type {number} */ m) => (m < 0 ? NaN : colourValue(run, colour, t, m));
    return {
      head: ["step", "matrix", "layer", "module_type", "quantity", "value", "other_value", "difference"],
      rows: [
        ...model.matrices.map((matrix, m) => row(matrix, value(model, record, m), value(other.model, other.record, both.matching[m]), difference(both, colour, record, other.record, m))),
        ...other.model.matrices.flatMap((matrix, m) => (model.indexOf.has(matrix.name) ? [] : [row(matrix, NaN, value(other.model, other.record, m), NaN)])),
      ],
    };
  },
};

/** @param {Scene} scene @param {number} m @returns {string} */
function describePair({ model, colour: asked, record, other }, m) {
  const pinned = /** @type {Pinned} */ (other);
  const both = bothOf(model, pinned.model);
  const colour = shownColour(both.mine, asked);
  const mine = valueText(colour, colourValue(model, colour, record, m), false);
  if (both.matching[m] < 0) return `${matrixLabel(model.matrices[m])} · ${colourName(both.mine, colour)} ${mine} · the pinned run has no such matrix`;
  const theirs = valueText(colour, colourValue(pinned.model, colour, pinned.record, both.matching[m]), false);
  return `${matrixLabel(model.matrices[m])} · ${colourName(both.mine, colour)} ${mine} here, ${theirs} pinned, difference ${valueText(colour, difference(both, colour, record, pinned.record, m), true)}`;
}
