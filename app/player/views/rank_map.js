/** Where rank is now: layer × module type, the number in the cell, the current event's − and +. */

import { cellColour, colourValue, energyShare, isEntropy, shownColour } from "../pen/colour.js";
import { formatMean, layerLabel } from "../model/format.js";
import { valueTexts } from "../model/value_text.js";
import { drawColourKey } from "./colour_key.js";
import { cellAt, drawFrames, drawSignKey, drawTile, moveSigns } from "./tiles.js";

/** @import { Model } from "../model/model.js" */
/** @import { Palette, Colour } from "../pen/palette.js" */
/** @import { CanvasPen, Box } from "../pen/draw.js" */

/**
 * @typedef {object} MapLayout
 * @property {Box[]} cells one box per matrix, in matrix order
 * @property {boolean} sideways layers along x (many layers), else along y
 * @property {Array<{label: string, centre: number, size: number, total: number[]}>} columns
 * @property {Array<{label: string, centre: number, size: number, total: number[]}>} rows
 * @property {boolean} sums there is room for those of the columns
 * @property {Box} grid
 * @property {Box} legend
 */

/** @typedef {{record: number, step: number, selected: number, hovered: number, colour: Colour, prune: Map<number, number>, extend: Map<number, number>}} MapState prune, extend: matrix → directions that the current event moves */

const MANY_LAYERS = 20;
const LEGEND_HEIGHT = 26;
const NARROW = 590; // pixels below which the shapes' meaning has a line of its own
const SHORT = 240; // pixels of height below which the cells need that line, and the one of the columns' sums
const SHAPES_WIDTH = 215; // pixels that their meaning takes
const KEY_LEAST = { rank: 150, entropy: 270 }; // pixels that the colours' meaning needs
const KEY_LINE = 18;
const HEADER_HEIGHT = 18;

/**
 * @param {Model} model @param {number} width @param {number} height @param {boolean} [framed] with room for names, sums and the legend
 * @returns {MapLayout}
 */
export function layoutMap(model, width, height, framed = true) {
  const unplaced = model.matrices.some((matrix) => matrix.layer === null);
  const layers = unplaced ? [...model.header.layers, null] : model.header.layers;
  const types = model.header.types;
  const sideways = layers.length > MANY_LAYERS;
  const columnKeys = sideways ? layers : types;
  const rowKeys = sideways ? types : layers;
  const left = !framed ? 0 : sideways ? 74 : 32;
  const right = framed ? 34 : 0;
  const short = framed && height < SHORT;
  const sums = !sideways && !short;
  const bottom = sums ? 18 : 0;
  const legendHeight = LEGEND_HEIGHT + (width < NARROW && !short ? KEY_LINE : 0);
  const around = framed ? HEADER_HEIGHT + bottom + legendHeight : 0;
  const grid = {
    x: left,
    y: framed ? HEADER_HEIGHT : 0,
    w: Math.max(40, width - left - right),
    h: Math.max(20, height - around),
  };
  const columnWidth = grid.w / Math.max(1, columnKeys.length);
  const rowHeight = grid.h / Math.max(1, rowKeys.length);
  const gap = Math.min(columnWidth, rowHeight) > 14 ? 3 : 1;
  /** @type {Map<string, number[]>} */
  const sharing = new Map();
  model.matrices.forEach((matrix, m) => {
    const column = columnKeys.indexOf(sideways ? matrix.layer : matrix.type);
    const row = rowKeys.indexOf(sideways ? matrix.type : matrix.layer);
    const key = `${column},${row}`;
    const members = sharing.get(key) ?? [];
    sharing.set(key, members);
    members.push(m);
  });
  /** @type {Box[]} */
  const cells = new Array(model.M);
  for (const [key, members] of sharing) {
    const [column, row] = key.split(",").map(Number);
    const w = (columnWidth - gap) / members.length;
    members.forEach((m, i) => {
      cells[m] = { x: grid.x + column * columnWidth + i * w, y: grid.y + row * rowHeight, w, h: rowHeight - gap };
    });
  }
  const [ofLayers, ofTypes] = [membersOf(model, "layer"), membersOf(model, "type")];
  const describe = (/** @type {any} */ key, /** @type {number} */ i, /** @type {boolean} */ layer, /** @type {number} */ start, /** @type {number} */ size) => ({
    label: layer ? layerLabel(key) : String(key),
    centre: start + i * size + (size - gap) / 2,
    size,
    total: (layer ? ofLayers : ofTypes).get(key) ?? [],
  });
  return {
    cells,
    sideways,
    sums,
    columns: columnKeys.map((/** @type {any} */ key, /** @type {number} */ i) => describe(key, i, sideways, grid.x, columnWidth)),
    rows: rowKeys.map((/** @type {any} */ key, /** @type {number} */ i) => describe(key, i, !sideways, grid.y, rowHeight)),
    grid,
    legend: { x: left, y: height - legendHeight + 8, w: grid.w + right, h: legendHeight - 8 },
  };
}

/** @param {Model} model @param {"layer" | "type"} what @returns {Map<any, number[]>} matrices of each layer or type */
function membersOf(model, what) {
  const groups = new Map();
  model.matrices.forEach((matrix, m) => {
    const members = groups.get(matrix[what]) ?? [];
    groups.set(matrix[what], members);
    members.push(m);
  });
  return groups;
}

/**
 * @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {MapLayout} layout @param {MapState} state
 */
export function drawMap(pen, model, palette, layout, state) {
  drawMargins(pen, model, palette, layout, state);
  layout.cells.forEach((cell, m) => cell && drawCell(pen, model, palette, cell, m, state));
  drawFrames(pen, palette, layout.cells, state.hovered, state.selected);
  drawLegend(pen, model, palette, layout.legend, state);
}

/** Names of rows and columns, and how much rank each holds now. @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {MapLayout} layout @param {{record: number}} state */
export function drawMargins(pen, model, palette, layout, state) {
  const sum = (/** @type {number[]} */ members) => members.reduce((total, m) => total + model.rank(state.record, m), 0);
  let lastEnd = -Infinity;
  for (const column of layout.columns) {
    const width = pen.measure(column.label, { size: 11 });
    const crowded = layout.sideways && column.centre - width / 2 < lastEnd + 6;
    if (!crowded) {
      pen.text(column.centre, 7, column.label, { fill: palette.muted, size: 11, align: "center", maxWidth: layout.sideways ? 40 : column.size - 4 });
      lastEnd = column.centre + width / 2;
    }
    if (layout.sums) {
      const y = layout.grid.y + layout.grid.h + 6;
      pen.text(column.centre, y, `Σ ${sum(column.total)}`, { fill: palette.muted, size: 11, align: "center" });
    }
  }
  for (const row of layout.rows) {
    if (row.size < 9) continue;
    pen.text(layout.grid.x - 8, row.centre, row.label, { fill: palette.muted, size: 11, align: "right", maxWidth: layout.grid.x - 10 });
    pen.text(layout.grid.x + layout.grid.w + 4, row.centre, `Σ ${sum(row.total)}`, { fill: palette.muted, size: 11 });
  }
}

/** @param {Box} cell @returns {boolean} there is room for a number and a gauge */
function isRoomy(cell) {
  return cell.w >= 22 && cell.h >= 12;
}

/** @param {MapLayout} layout @returns {boolean} cells show more than ranks */
export function hasGauges(layout) {
  return layout.cells.some((cell) => cell && isRoomy(cell));
}

/** @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {Box} cell @param {number} m @param {MapState} state */
function drawCell(pen, model, palette, cell, m, state) {
  const { colour, record, prune, extend } = state;
  const tile = { fill: cellColour(model, palette, colour, record, m), texts: [], marks: moveSigns(prune.has(m), extend.has(m)) };
  drawTile(pen, palette, cell, isRoomy(cell) ? { ...tile, ...numbersOf(model, cell, m, state) } : tile);
}

/** The number of the colour and, where it has room, the rank: at an event with the rank that follows, else with how many directions a step uses on average. Energy at the edge, or entropy where energy is the colour. @param {Model} model @param {Box} cell @param {number} m @param {MapState} state */
function numbersOf(model, cell, m, { colour, record, prune, extend }) {
  const shown = shownColour(model, colour);
  const gauge = colour === "energy" ? colourValue(model, shownColour(model, "entropy"), record, m) : energyShare(model, model.energy(record, m));
  const rank = model.rank(record, m);
  const after = rank + (extend.get(m) ?? 0) - (prune.get(m) ?? 0);
  const moved = after === rank ? "" : `${rank} → ${after}`;
  // The frames of an event take their share of the height.
  const frames = Number(prune.has(m)) + Number(extend.has(m));
  const below = cell.h >= 27 + 8 * frames && cell.w >= 36;
  if (shown !== "rank") {
    const told = cell.w < 60 ? `r ${rank}` : moved || `rank ${rank}`;
    return { texts: valueTexts(shown, colourValue(model, shown, record, m)), gauge, below: below ? told : null };
  }
  const mean = model.expectedRank(record, m);
  return { texts: moved ? [moved, moved.replaceAll(" ", ""), String(rank)] : [String(rank)], gauge, below: mean === null || !below ? null : `≈ ${formatMean(mean)}` };
}

/** Colours, then shapes: under each other where there is little width, the colours alone where there is little height too. @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {Box} box @param {MapState} state */
function drawLegend(pen, model, palette, box, { colour, step }) {
  const lines = box.h > KEY_LINE + 4 ? 2 : 1;
  const line = (/** @type {number} */ i) => ({ ...box, y: box.y + (i * box.h) / lines, h: box.h / lines });
  const shapes = line(lines - 1);
  const least = isEntropy(shownColour(model, colour)) ? KEY_LEAST.entropy : KEY_LEAST.rank;
  if (lines === 1 && box.w < least + SHAPES_WIDTH) {
    drawColourKey(pen, { model, palette, step }, colour, box);
    return;
  }
  const start = legendGlyphs(pen, model, palette, shapes, shapes.y + shapes.h / 2, colour);
  drawColourKey(pen, { model, palette, step }, colour, lines === 1 ? { ...box, w: start - 12 - box.x } : line(0));
}

/** The shapes' meaning, right-aligned. @returns {number} where it begins @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {Box} box @param {number} y @param {Colour} colour */
function legendGlyphs(pen, model, palette, box, y, colour) {
  if (model.run.ranksOnly) return box.x + box.w; // none of them can be in the picture
  const items = /** @type {import("./tiles.js").KeyItem[]} */ ([
    ...(model.shares ? [[(/** @type {number} */ x) => pen.text(x + 3, y, "≈", { fill: palette.muted, size: 12 }), "used a step"]] : []),
    ["minus", model.words.pruned],
    ["plus", model.words.extended],
    [(/** @type {number} */ x) => pen.rect(x + 3, y - 7, 3, 14, { fill: palette.muted }), colour === "energy" ? "entropy" : "energy (√)"],
  ]);
  return drawSignKey(pen, palette, items, box.x + box.w, y);
}

/** @param {MapLayout} layout @param {number} x @param {number} y @returns {number} matrix under the point, or -1 */
export function matrixAt(layout, x, y) {
  return cellAt(layout.cells, x, y, 1);
}

/**
 * The neighbour in the grid, for the arrow keys.
 * @param {Box[]} cells @param {number} m @param {number} dx @param {number} dy
 * @returns {number}
 */
export function neighbour(cells, m, dx, dy) {
  const from = cells[m];
  if (!from) return cells.findIndex(Boolean);
  let best = m;
  let bestDistance = Infinity;
  cells.forEach((cell, other) => {
    if (!cell || other === m) return;
    const x = cell.x + cell.w / 2 - (from.x + from.w / 2);
    const y = cell.y + cell.h / 2 - (from.y + from.h / 2);
    const along = dx ? x * dx : y * dy;
    const across = Math.abs(dx ? y : x);
    if (along <= 1 || across > Math.min(from.w, from.h) / 2) return;
    if (along < bestDistance) [best, bestDistance] = [other, along];
  });
  return best;
}
