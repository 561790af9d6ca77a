/** When it happened: time × matrix, painted once; rows in an order of `SORTS`. */

import { colourPlaces, colourTable, colourValue, energyShare, shownColour, stripColour } from "../pen/colour.js";
import { tableColour } from "../pen/palette.js";
import { groupsOf } from "../model/sorts.js";
import { drawRing } from "./tiles.js";

/** @import { Model } from "../model/model.js" */
/** @import { Palette, Colour } from "../pen/palette.js" */
/** @import { CanvasPen, Box } from "../pen/draw.js" */
/** @import { TimeScale } from "../model/scene.js" */

/**
 * @typedef {object} StripLayout
 * @property {Array<{m: number, y: number, h: number}>} rows
 * @property {Array<{label: string, count: number, y: number, h: number}>} groups
 * @property {Box} box
 */

const LABEL_APART = 12;

/** @param {Model} model @param {Box} box @param {string} sort key of `SORTS` @returns {StripLayout} */
export function layoutStrip(model, box, sort) {
  const wanted = groupsOf(model, sort);
  const gap = box.h / Math.max(1, model.M) > 1.5 && wanted.length <= 8 ? 2 : 0;
  const height = (box.h - gap * (wanted.length - 1)) / Math.max(1, model.M);
  const rows = [];
  const groups = [];
  let y = box.y;
  for (const { label, members } of wanted) {
    groups.push({ label, count: members.length, y, h: members.length * height });
    for (const m of members) {
      rows.push({ m, y, h: height });
      y += height;
    }
    y += gap;
  }
  return { rows, groups, box };
}

/**
 * One pixel row per matrix and one pixel column per screen column; stretched to the rows when drawn.
 * @param {Model} model @param {Palette} palette @param {Colour} colour @param {TimeScale} scale @param {number} ratio screen pixels per CSS pixel @param {number[]} order matrix of each row
 * @returns {HTMLCanvasElement}
 */
export function paintStrip(model, palette, colour, scale, ratio, order) {
  const shown = stripColour(model, colour);
  const placeAt = colourPlaces(model, shown);
  return paintRows(model, colourTable(model, palette, shown), palette.dark ? 90 : 190, scale, ratio, order.length, (t, row) => placeAt(t, order[row]));
}

/**
 * @param {Model} model @param {Uint8Array} table colours @param {number | null} hatch grey of the stripes where it is undefined, null = it is left clear @param {TimeScale} scale @param {number} ratio screen pixels per CSS pixel
 * @param {number} rows @param {(t: number, row: number) => number} placeAt place in the table, -1 where undefined
 * @returns {HTMLCanvasElement} one pixel row a row
 */
export function paintRows(model, table, hatch, scale, ratio, rows, placeAt) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round((scale.right - scale.left) * ratio));
  canvas.height = Math.max(1, rows);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const pixels = context.createImageData(canvas.width, canvas.height);
  fillRows(pixels, pixelsOf(table, 255), hatch, recordsOf(model, scale, ratio, canvas.width), rows, placeAt);
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Half a million pixels: what rows and columns share is found once. @param {ImageData} pixels @param {Uint32Array} table @param {number | null} hatch @param {Int32Array} records of the columns @param {number} rows @param {(t: number, row: number) => number} placeAt */
function fillRows(pixels, table, hatch, records, rows, placeAt) {
  const all = new Uint32Array(pixels.data.buffer);
  const grey = new Uint8Array(3).fill(hatch ?? 0);
  const [[striped], [clear]] = [pixelsOf(grey, hatch === null ? 0 : 255), pixelsOf(grey, 0)];
  for (let row = 0; row < rows; row += 1) {
    let [before, place] = [-1, -1];
    for (let column = 0, pixel = row * records.length; column < records.length; column += 1, pixel += 1) {
      if (records[column] < 0) continue;
      // Several columns show one record of a short run.
      if (records[column] !== before) place = placeAt(records[column], row);
      before = records[column];
      all[pixel] = place >= 0 ? table[place] : (column + row * 3) % 6 > 1 ? clear : striped;
    }
  }
}

/** @param {Uint8Array} table three bytes a colour @param {number} alpha @returns {Uint32Array} as they lie in an image, whatever the order of bytes */
function pixelsOf(table, alpha) {
  const bytes = new Uint8Array((table.length / 3) * 4).fill(alpha);
  for (let i = 0; i < table.length; i += 1) bytes[i + Math.floor(i / 3)] = table[i];
  return new Uint32Array(bytes.buffer);
}

/** @param {Model} model @param {TimeScale} scale @param {number} ratio @param {number} width @returns {Int32Array} the record of each pixel column, -1 before the first and after the last */
function recordsOf(model, scale, ratio, width) {
  return Int32Array.from({ length: width }, (_, column) => {
    const step = scale.step(scale.left + (column + 0.5) / ratio);
    return step < model.firstStep || step > model.lastStep ? -1 : model.recordAt(step);
  });
}

/**
 * @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {StripLayout} layout @param {HTMLCanvasElement} image
 * @param {TimeScale} scale @param {number} selected
 */
export function drawStrip(pen, model, palette, layout, image, scale, selected) {
  let row = 0;
  let labelled = layout.box.y + 5 - LABEL_APART;
  for (const group of layout.groups) {
    pen.image(image, row, group.count, { x: scale.left, y: group.y, w: scale.right - scale.left, h: group.h });
    row += group.count;
    const middle = group.y + group.h / 2;
    if (middle - labelled < LABEL_APART) continue;
    pen.text(scale.left - 8, middle, group.label, { fill: palette.muted, size: 11, align: "right", maxWidth: scale.left - 10 });
    labelled = middle;
  }
  const chosen = layout.rows.find((entry) => entry.m === selected);
  if (chosen) drawSelectedRow(pen, model, palette, chosen, scale);
}

/** The selected matrix: framed, with its own − and +. @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {{m: number, y: number, h: number}} row @param {TimeScale} scale */
function drawSelectedRow(pen, model, palette, row, scale) {
  const pad = 1.5;
  const width = scale.right - scale.left;
  pen.rect(scale.left - pad, row.y - pad, width + 2 * pad, row.h + 2 * pad, { stroke: palette.background, width: 3.5 });
  pen.rect(scale.left - pad, row.y - pad, width + 2 * pad, row.h + 2 * pad, { stroke: palette.text, width: 1.5 });
  const name = model.matrices[row.m].name;
  for (const event of model.events) {
    const pruned = event.prune.some((move) => move.matrix === name);
    const extended = event.extend.some((move) => move.matrix === name);
    const x = scale.x(event.step);
    if (pruned) drawRing(pen, palette, "minus", x, row.y + row.h / 2);
    if (extended) drawRing(pen, palette, "plus", x, row.y + row.h / 2);
  }
}

/** Beside each row, what the strip does not colour, at the clock: energy, or entropy where energy is the colour. @param {CanvasPen} pen @param {Model} model @param {Palette} palette @param {StripLayout} layout @param {Colour} colour @param {number} record @param {number} left @param {number} width */
export function drawRowBars(pen, model, palette, layout, colour, record, left, width) {
  const other = stripColour(model, colour) === "energy" ? "entropy" : "energy";
  const fill = other === "energy" ? tableColour(palette.tables.energy, 170) : tableColour(palette.tables.entropy, palette.dark ? 190 : 110);
  for (const row of layout.rows) {
    const share = other === "energy" ? energyShare(model, model.energy(record, row.m)) : colourValue(model, shownColour(model, "entropy"), record, row.m);
    if (share > 0) pen.rect(left, row.y, Math.max(0.5, share * width), Math.max(0.75, row.h - (row.h > 2 ? 0.75 : 0)), { fill });
  }
}

/** @param {StripLayout} layout @param {number} y @returns {number} matrix at this height, or -1 */
export function stripMatrixAt(layout, y) {
  return layout.rows.find((row) => y >= row.y && y < row.y + row.h)?.m ?? -1;
}
