/** Between two events in slow motion: the same stacks at home, growing with each record. */

import { lengthOf, longestBar } from "./cast.js";
import { drawStack } from "./draw.js";
import { drawKey, drawNames } from "./draw_words.js";
import { filmLayout } from "./layout.js";
import { isSoft } from "../model/model.js";
import { drawFrames } from "../views/tiles.js";

/** @import { Scene, Pen } from "../model/scene.js" */
/** @import { Model } from "../model/model.js" */
/** @import { Drawn } from "./choreography.js" */

const CELL = 0.055;
const NOTHING = { values: new Float32Array(), slots: null, gates: null };

/** @param {Model} model @param {number} record @returns {Set<string>} "matrix slot" of what the event before it gave */
function newcomers(model, record) {
  const event = model.events[model.eventBefore(model.steps[record] - 1)];
  return new Set((event?.extend ?? []).filter((move) => !isSoft(move)).map((move) => `${model.indexOf.get(move.matrix)} ${move.slot}`));
}

/** The record whose λ is drawn: where that of all matrices is on its way, the latest before it with the same ranks. @param {Model} model @param {number} record @returns {number} -1 = none */
export function drawnRecord(model, record) {
  if (model.run.ranksOnly || !model.spectra.onDemand) return model.run.ranksOnly ? -1 : record;
  const t = model.spectra.frameAt(record)?.record ?? -1;
  return t >= 0 && model.rankVersion(t) === model.rankVersion(record) ? t : -1;
}

/** @param {Model} model @param {number} record @param {number} m @param {Set<string>} fresh @param {number} drawn see `drawnRecord` @returns {Drawn[]} */
export function restingBars(model, record, m, fresh, drawn) {
  const plain = { count: 1, fall: 0, alpha: 1 };
  const { values, slots, gates } = drawn < 0 ? NOTHING : model.spectra.ofRecord(drawn, m);
  if (!values.length) return [{ ...plain, at: 0, count: model.rank(record, m), length: NaN, look: "plain" }];
  const longest = longestBar(model);
  const found = Array.from(values, (value, i) => {
    const off = gates?.[i] === 0;
    const look = /** @type {Drawn["look"]} */ (off ? "off" : slots && fresh.has(`${m} ${slots[i]}`) ? "new" : "plain");
    return { ...plain, at: 0, length: lengthOf(Math.abs(value) || 0, longest), look };
  });
  // A newcomer stays on top until the next event, where it was seen to come.
  const late = (/** @type {Drawn} */ { look }) => (look === "off" ? 2 : look === "new" ? 1 : 0);
  found.sort((a, b) => late(a) - late(b) || b.length - a.length);
  found.forEach((bar, i) => (bar.at = i));
  return found;
}

/** @param {Pen} pen @param {Scene} scene between events */
export function drawRest(pen, scene) {
  const { model, palette, record, hovered, selected } = scene;
  const layout = filmLayout(scene);
  const { map, homes, most, line } = layout;
  const drawn = drawnRecord(model, record);
  const fresh = newcomers(model, record);
  for (const cell of map.cells) if (cell) pen.rect(cell.x, cell.y, cell.w, cell.h, { fill: palette.text, alpha: CELL });
  if (layout.roomy) drawNames(pen, palette, map, (m) => model.rank(record, m), 1);
  map.cells.forEach((cell, m) => {
    if (!cell) return;
    drawStack(pen, palette, homes[m], most, layout.upright ? 0 : 1, restingBars(model, record, m, fresh, drawn), 1, false);
    if (layout.aside) pen.text(cell.x + cell.w - 5, cell.y + cell.h / 2 - (cell.h >= 31 ? 7 : 0), String(model.rank(record, m)), { fill: palette.text, size: 13, weight: 600, align: "right" });
  });
  drawFrames(pen, palette, map.cells, hovered, selected);
  if (!layout.roomy) return;
  const text = `total rank ${model.totalRank[record]}`;
  const bold = { fill: palette.text, size: 12.5, weight: 600 };
  const y = line.y + line.h / 2 + 2;
  pen.text(line.x, y, text, bold);
  drawKey(pen, palette, line, y, pen.measure(text, bold) + 16, [["direction: |λ|, √", palette.muted], ["new", palette.extended]]);
}
