/** Maps without margins, side by side. */

import { layoutMap } from "./rank_map.js";
import { panelGrid } from "./tiles.js";

/** @import { Model } from "../model/model.js" */
/** @import { Box, CanvasPen } from "../pen/draw.js" */
/** @import { Palette } from "../pen/palette.js" */

/** Height of the line that names rows and columns. */
export const AXES_HEIGHT = 14;

/** Cells of a map without margins. @param {Model} model @param {Box} box @returns {Box[]} */
export function smallCells(model, box) {
  return layoutMap(model, box.w, box.h, false).cells.map((cell) => ({ ...cell, x: cell.x + box.x, y: cell.y + box.y }));
}

/** What stands in the rows and columns of maps that have no room for the names. @param {CanvasPen} pen @param {Palette} palette @param {Model} model @param {number} x @param {number} y its middle @param {number} width */
export function drawAxes(pen, palette, model, x, y, width) {
  const { columns, rows } = layoutMap(model, 100, 100, false);
  const told = (/** @type {Array<{label: string}>} */ own) => (/^L\d/.test(own[0]?.label) && own.length > 3 ? `${own[0].label} to ${own[own.length - 1].label}` : own.map(({ label }) => label).join(", "));
  pen.text(x, y, `rows: ${told(rows)} · columns: ${told(columns)}`, { fill: palette.muted, size: 11, maxWidth: width });
}

/** How much of the wanted size a panel of a small map leaves its cells. @param {Model} model @param {{w: number, h: number}} wanted @param {number} lines of the panel's caption @returns {(w: number, h: number) => number} */
export function cellFit(model, wanted, lines) {
  const { columns, rows } = layoutMap(model, 100, 100, false);
  return (w, h) => {
    const grid = panelGrid({ x: 0, y: 0, w, h }, lines);
    return Math.min(grid.w / columns.length / wanted.w, grid.h / rows.length / wanted.h);
  };
}
