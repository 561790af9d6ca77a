/** The directions of the selected matrix over time: which share of its energy Σλ² each of them holds. */

import { stayLines } from "../model/direction_lines.js";
import { formatNumber, matrixLabel } from "../model/format.js";
import { isSoft } from "../model/model.js";
import { tableColour } from "../pen/palette.js";
import { percentage } from "./rank_share.js";
import { drawRing, drawScale } from "./tiles.js";

/** @import { Model } from "../model/model.js" */
/** @import { Palette } from "../pen/palette.js" */
/** @import { Scene, Pen, TimeScale } from "../model/scene.js" */
/** @import { Box } from "../pen/draw.js" */

/**
 * @typedef {object} Directions of one matrix over the run
 * @property {number[]} slots ascending, from the bottom of the picture; where the log does not say, places
 * @property {boolean} named slots are storage slots
 * @property {number[]} records that are drawn: about one a pixel column
 * @property {Float64Array[]} edges for each slot and a last one: where its share begins, one value a drawn record; NaN where the energy is 0
 */

const KEY_HEIGHT = 17;
const RING = 6; // pixels that a mark at the upper edge takes
const [STRONGEST, PALEST] = [235, 55]; // places in the table of energy's colours

/** @typedef {{box: Box, directions: Directions | null}} EnergyLayout null while λ is on its way */

/** @type {WeakMap<Model, {m: number, columns: number, lam: Float32Array, directions: Directions}>} */
const DIRECTIONS = new WeakMap();

/** @param {Scene} scene @param {Box} box @returns {EnergyLayout} */
export function layoutEnergyShares(scene, box) {
  return { box: { ...box, y: box.y + KEY_HEIGHT + RING, h: box.h - KEY_HEIGHT - RING }, directions: null };
}

/** @param {Scene} scene @param {Box} box @returns {Directions | null} */
function directionsOf({ model, selected }, box) {
  const columns = Math.max(50, Math.floor(box.w));
  const lam = model.spectra.of(selected)?.lam;
  if (!lam) return null;
  const kept = DIRECTIONS.get(model);
  if (kept?.m === selected && kept.columns === columns && kept.lam === lam) return kept.directions;
  const directions = followDirections(model, selected, columns);
  DIRECTIONS.set(model, { m: selected, columns, lam, directions });
  return directions;
}

/** @param {Model} model @param {number} m @param {number} columns @returns {Directions} */
function followDirections(model, m, columns) {
  // A parcel of a long run may lack λ of some records.
  const records = drawnRecords(model, columns).filter((t) => model.singularValues(t, m).length === model.stored(t, m));
  const slotsAt = records.map((t) => model.slots(t, m));
  const named = slotsAt.every(Boolean);
  const places = records.map((t, i) => (named ? /** @type {number[]} */ (slotsAt[i]) : Array.from({ length: model.stored(t, m) }, (_, place) => place)));
  const slots = [...new Set(places.flat())].sort((a, b) => a - b);
  const rows = new Map(slots.map((slot, row) => [slot, row]));
  const edges = Array.from({ length: slots.length + 1 }, () => new Float64Array(records.length));
  records.forEach((t, i) => {
    const shares = new Float64Array(slots.length);
    model.energyShares(t, m).forEach((share, place) => (shares[/** @type {number} */ (rows.get(places[i][place]))] += share));
    let edge = shares.some(Number.isNaN) ? NaN : 0;
    shares.forEach((share, row) => {
      edges[row][i] = edge;
      edge += share;
    });
    edges[slots.length][i] = edge;
  });
  return { slots, named, records, edges };
}

/** @param {Model} model @param {number} columns @returns {number[]} an even selection, and every event with the record after it */
function drawnRecords(model, columns) {
  if (model.T <= columns) return Array.from({ length: model.T }, (_, t) => t);
  const kept = new Set([0, model.T - 1]);
  for (let i = 1; i < columns; i += 1) kept.add(Math.floor((i * model.T) / columns));
  for (const step of model.eventSteps) for (const t of [model.recordAt(step), model.recordAt(step) + 1]) if (t < model.T) kept.add(t);
  return [...kept].sort((a, b) => a - b);
}

/** One shade a slot, in the order of their numbers, as they stand on one another. @param {Directions} directions @param {number} row @returns {number} place in the table of energy's colours */
function shadeOf({ slots }, row) {
  return Math.round(STRONGEST - ((STRONGEST - PALEST) * row) / Math.max(1, slots.length - 1));
}

/** @param {Palette} palette @param {Directions} directions @param {number} row @returns {string} the same for a slot however long it lives */
function slotColour(palette, directions, row) {
  return tableColour(palette.tables.energy, shadeOf(directions, row));
}

/** @param {Pen} pen @param {Palette} palette @param {Directions} directions @param {Box} box of the picture */
function drawKey(pen, palette, directions, box) {
  const marks = directions.slots.map((slot, row) => ({ label: String(slot), index: shadeOf(directions, row) }));
  const title = `share of the energy Σλ², from the bottom: ${directions.named ? "slots" : "directions"} in the order of their numbers`;
  // The clock's line would cross its words.
  pen.rect(box.x - 2, box.y - KEY_HEIGHT - RING, box.w + 4, KEY_HEIGHT - 1, { fill: palette.background });
  if (marks.length) drawScale(pen, palette, palette.tables.energy, marks, { x: box.x, y: box.y - KEY_HEIGHT - RING, w: box.w, h: KEY_HEIGHT }, title, true);
}

/** @param {Pen} pen @param {Scene} scene @param {EnergyLayout} layout @param {TimeScale} scale */
export function drawEnergyShares(pen, scene, layout, scale) {
  const { model, palette, selected } = scene;
  const { box } = layout;
  layout.directions = directionsOf(scene, box);
  for (const share of [0, 0.5, 1]) pen.text(box.x - 6, box.y + box.h * (1 - share), `${100 * share} %`, { fill: palette.muted, size: 11, align: "right" });
  pen.text(2, box.y + box.h * 0.25, matrixLabel(model.matrices[selected]), { fill: palette.text, size: 11, weight: 600, maxWidth: box.x - 40 });
  const { directions } = layout;
  if (!directions) {
    pen.text(box.x + box.w / 2, box.y + box.h / 2, `λ of ${matrixLabel(model.matrices[selected])} is on its way …`, { fill: palette.muted, size: 12, align: "center" });
    return;
  }
  pen.rect(box.x, box.y, box.w, box.h, { stroke: palette.line });
  if (directions.edges[0].some(Number.isNaN)) hatchUndefined(pen, scene, box, directions, scale);
  const xs = directions.records.map((t) => scale.x(model.steps[t]));
  const y = (/** @type {number} */ share) => box.y + box.h * (1 - share);
  directions.slots.forEach((_, row) => {
    for (const [start, end] of stretches(directions, row)) {
      const x = xs.slice(start, end);
      const high = Array.from(directions.edges[row + 1].subarray(start, end), y);
      const low = Array.from(directions.edges[row].subarray(start, end), y);
      pen.path([...x, ...x.reverse()], [...high, ...low.reverse()], { fill: slotColour(palette, directions, row), stroke: palette.background, width: 0.75 });
    }
  });
  drawEnds(pen, scene, box, directions, scale);
}

/** Where the energy is 0, shares are undefined. @param {Pen} pen @param {Scene} scene @param {Box} box @param {Directions} directions @param {TimeScale} scale */
function hatchUndefined(pen, { model, palette }, box, { records, edges }, scale) {
  const first = edges[0].findIndex((edge) => !Number.isNaN(edge));
  const end = scale.x(model.steps[records[first < 0 ? records.length - 1 : first]]);
  pen.hatch({ ...box, w: Math.max(0, end - box.x) }, palette.faint);
}

/** @param {Directions} directions @param {number} row @returns {Array<[number, number]>} drawn records from which to which the direction has energy, and one more on either side to close the shape */
function stretches({ edges }, row) {
  /** @type {Array<[number, number]>} */
  const found = [];
  let start = -1;
  for (let i = 0; i <= edges[row].length; i += 1) {
    const on = i < edges[row].length && edges[row + 1][i] - edges[row][i] > 0;
    if (on && start < 0) start = i;
    if (!on && start >= 0) {
      found.push([start, i]);
      start = -1;
    }
  }
  return found;
}

/** − where the run took a direction, + where it gave one. @param {Pen} pen @param {Scene} scene @param {Box} box @param {Directions} directions @param {TimeScale} scale */
function drawEnds(pen, { model, palette, selected }, box, directions, scale) {
  const name = model.matrices[selected].name;
  const { slots, edges, records } = directions;
  const middle = (/** @type {number | undefined} */ slot, /** @type {number} */ step, /** @type {number} */ offset) => {
    const row = directions.named ? slots.indexOf(slot ?? -1) : -1;
    const i = records.indexOf(model.recordAt(step) + offset);
    const share = row < 0 || i < 0 ? NaN : (edges[row][i] + edges[row + 1][i]) / 2;
    return box.y + box.h * (1 - (Number.isFinite(share) ? share : 0.5));
  };
  for (const event of model.events) {
    const x = scale.x(event.step);
    for (const move of event.prune) if (move.matrix === name) drawRing(pen, palette, "minus", x, middle(move.slot, event.step, 0), isSoft(move));
    for (const move of event.extend) if (move.matrix === name) drawRing(pen, palette, "plus", x, middle(move.slot, event.step, 1), isSoft(move));
  }
}

/** The shares at the clock. @param {Pen} pen @param {Scene} scene @param {EnergyLayout} layout @param {TimeScale} scale */
export function drawEnergyNow(pen, scene, { box, directions }, scale) {
  const i = drawnAt(directions, scene.record);
  if (!directions || i < 0) return;
  const { palette } = scene;
  drawKey(pen, palette, directions, box);
  directions.slots.forEach((slot, row) => {
    const h = (directions.edges[row + 1][i] - directions.edges[row][i]) * box.h;
    if (!(h > 0)) return;
    const y = box.y + box.h * (1 - directions.edges[row + 1][i]);
    pen.rect(scale.right + 8, y, 12, Math.max(0.5, h - 0.75), { fill: slotColour(palette, directions, row) });
    if (h >= 12) pen.text(scale.right + 26, y + h / 2, `${directions.named ? `${slot}: ` : ""}${percentage(h / box.h)}`, { fill: palette.text, size: 11, maxWidth: scale.aside - 18 });
  });
}

/** @param {Directions | null} directions @param {number} record @returns {number} the drawn record at or before a record, or -1 */
function drawnAt(directions, record) {
  if (!directions) return -1;
  let i = directions.records.length - 1;
  while (i > 0 && directions.records[i] > record) i -= 1;
  return i;
}

/** @param {Scene} scene @param {EnergyLayout} layout @param {TimeScale} scale @param {number} x @param {number} y @returns {string | null} */
export function describeEnergyAt(scene, { box, directions }, scale, x, y) {
  const { model, selected } = scene;
  const record = x > scale.right ? scene.record : model.recordAt(scale.step(x));
  const i = drawnAt(directions, record);
  const share = 1 - (y - box.y) / box.h;
  if (!directions || i < 0 || share < 0 || share > 1 || x < scale.left) return null;
  const row = directions.slots.findIndex((_, at) => share >= directions.edges[at][i] && share < directions.edges[at + 1][i]);
  if (row < 0) return `${matrixLabel(model.matrices[selected])} · step ${model.steps[record]} · no energy: shares are undefined`;
  const own = directions.edges[row + 1][i] - directions.edges[row][i];
  const t = directions.records[i];
  const place = directions.named ? model.slots(t, selected)?.indexOf(directions.slots[row]) ?? -1 : row;
  return `${matrixLabel(model.matrices[selected])} · step ${model.steps[t]} · ${directions.named ? "slot" : "direction"} ${directions.slots[row]} · ${percentage(own)} of the energy · λ ${formatNumber(model.singularValues(t, selected)[place])}`;
}

/** @param {Scene} scene @returns {string} */
export function describeEnergyShares({ model, selected, record }) {
  const most = Math.max(...model.energyShares(record, selected));
  const waiting = model.spectra.of(selected) ? "" : "; λ is on its way";
  const largest = most > 0 ? `; the largest holds ${percentage(most)} at the clock` : "";
  return `Energy shares of the directions of ${matrixLabel(model.matrices[selected])} over time${largest}${waiting}`;
}

/** @param {Scene} scene @returns {import("../model/scene.js").Table} one row a record and stay of a direction in a slot, stays in the order in which they begin */
export function energySharesTable({ model, selected: m }) {
  const { name, layer, type } = model.matrices[m];
  const rows = stayLines(model, m).flatMap((line, stay) => line.records.map((t, i) => [model.steps[t], name, layer, type, stay, line.slot, line.values[i], line.gates[i], line.shares[i]]));
  return { head: ["step", "matrix", "layer", "module_type", "stay", "slot", "singular_value", "gate", "energy_share"], rows };
}
