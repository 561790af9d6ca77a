/** Maps without margins, side by side. */

import { layoutMap } from "./rank_map.js";
import { panelGrid } from "./tiles.js";

/** @import { Model } from "../model/model.js" */
/** @import { Box } from "../pen/draw.js" */

/** Cells of a map without margins. @param {Model} model @param {Box} box @returns {Box[]} */
export function smallCells(model, box) {
  return layoutMap(model, box.w, box.h, false).cells.map((cell) => ({ ...cell, x: cell.x + box.x, y: cell.y + box.y }));
}

/** How much of the wanted size a panel of a small map leaves its cells. @param {Model} model @param {{w: number, h: number}} wanted @param {number} lines of the panel's caption @returns {(w: number, h: number) => number} */
export function cellFit(model, wanted, lines) {
  const { columns, rows } = layoutMap(model, 100, 100, false);
  return (w, h) => {
    const grid = panelGrid({ x: 0, y: 0, w, h }, lines);
    return Math.min(grid.w / columns.length / wanted.w, grid.h / rows.length / wanted.h);
  };
}
