/** Layers × time: each layer the mean of its matrices, in the map's colour. */

import { colourName, COLUMNS, isEntropy, placeOf, shownColour } from "../pen/colour.js";
import { layerLabel, matrixLabel } from "../model/format.js";
import { layersOf, layerValue } from "./layer_means.js";
import { remembered } from "../model/remembered.js";
import { valueText } from "../model/value_text.js";
import { drawColourKey } from "./colour_key.js";
import { paintRows } from "./entropy_strip.js";

/** @import { Model } from "../model/model.js" */
/** @import { Colour } from "../pen/palette.js" */
/** @import { Scene, Band, Pen, TimeScale } from "../model/scene.js" */
/** @import { Box } from "../pen/draw.js" */

/** @typedef {{box: Box, key: Box, rows: Box[]}} Layout rows: one a layer */

const KEY_HEIGHT = 22;
const LABEL_APART = 12;

/** A mean is no score that an event compares: on the scale of decisions it takes the run's range. @type {(model: Model) => Model} */
const meanModel = remembered((model) =>
  Object.create(model, {
    entropyScale: { get: () => (model.entropyScale === "decision" ? "range" : model.entropyScale) },
    base: { get: () => model.base },
  }),
);

/** @param {Scene} scene @returns {{model: Model, shown: Colour}} */
function shownOf(scene) {
  const model = meanModel(scene.model);
  return { model, shown: shownColour(model, scene.colour) };
}

/** @param {Scene} scene @param {Box} box @returns {Layout} */
function layoutLayers({ model }, box) {
  const own = { ...box, y: box.y + KEY_HEIGHT, h: box.h - KEY_HEIGHT };
  const count = layersOf(model).length;
  const gap = own.h / count >= 8 ? 1 : 0;
  const rows = Array.from({ length: count }, (_, i) => ({ ...own, y: own.y + (own.h * i) / count, h: own.h / count - gap }));
  return { box: own, key: { ...box, h: KEY_HEIGHT }, rows };
}

/** @typedef {{image: HTMLCanvasElement, gaps: Array<Array<[number, number]>>}} Painted gaps: of each row, where it is undefined, as x from and to */

/** @type {WeakMap<Model, Painted & {key: string}>} what was painted last for a run */
const PAINTED = new WeakMap();

/** @param {Scene} scene @param {TimeScale} scale @returns {Painted} */
function paintedOf(scene, scale) {
  const { palette, since } = scene;
  const { model, shown } = shownOf(scene);
  const ratio = window.devicePixelRatio || 1;
  const key = [palette.key, shown, model.entropyScale, since, scale.left, scale.right, ratio].join("|");
  const kept = PAINTED.get(scene.model);
  if (kept?.key === key) return kept;
  const layers = layersOf(scene.model);
  const placeAt = (/** @type {number} */ t, /** @type {number} */ row) => placeOf(model, shown, layerValue(model, shown, t, layers[row]).mean);
  const image = paintRows(model, palette.tables[shown], null, scale, ratio, layers.length, placeAt);
  const painted = { key, image, gaps: layers.map((_, row) => gapsOf(model, scale, (t) => placeAt(t, row) < 0)) };
  PAINTED.set(scene.model, painted);
  return painted;
}

/** @param {Model} model @param {TimeScale} scale @param {(t: number) => boolean} undefinedAt @returns {Array<[number, number]>} neighbouring records as one */
function gapsOf(model, scale, undefinedAt) {
  /** @type {Array<[number, number]>} */
  const gaps = [];
  let before = false;
  for (let t = 0; t < model.T; t += 1) {
    const here = undefinedAt(t);
    const end = scale.x(t + 1 < model.T ? model.steps[t + 1] : model.lastStep);
    if (here && before) gaps[gaps.length - 1][1] = end;
    else if (here) gaps.push([scale.x(model.steps[t]), end]);
    before = here;
  }
  return gaps;
}

/** @param {Pen} pen @param {Scene} scene @param {Layout} layout @param {TimeScale} scale */
function drawLayers(pen, scene, { box, rows }, scale) {
  const { model, palette, selected } = scene;
  const { image, gaps } = paintedOf(scene, scale);
  const layers = layersOf(model);
  rows.forEach((row, i) => pen.image(image, i, 1, { x: scale.left, y: row.y, w: scale.right - scale.left, h: row.h }));
  gaps.forEach((own, i) => own.forEach(([from, to]) => pen.hatch({ ...rows[i], x: from, w: to - from }, palette.faint)));
  for (const i of labelled(model, rows, selected)) {
    const own = layers[i].members.includes(selected);
    pen.text(scale.left - 8, rows[i].y + rows[i].h / 2, layerLabel(layers[i].layer), { fill: own ? palette.text : palette.muted, size: 11, weight: own ? 600 : 400, align: "right", maxWidth: box.x - 10 });
  }
  const chosen = rows[layers.findIndex(({ members }) => members.includes(selected))];
  if (!chosen) return;
  const pad = 1;
  pen.rect(scale.left - pad, chosen.y - pad, scale.right - scale.left + 2 * pad, chosen.h + 2 * pad, { stroke: palette.background, width: 3 });
  pen.rect(scale.left - pad, chosen.y - pad, scale.right - scale.left + 2 * pad, chosen.h + 2 * pad, { stroke: palette.text, width: 1.5 });
}

/** The selected matrix's layer, then as many as have room. @param {Model} model @param {Box[]} rows @param {number} selected @returns {number[]} */
function labelled(model, rows, selected) {
  const layers = layersOf(model);
  const own = layers.findIndex(({ members }) => members.includes(selected));
  const found = own < 0 ? [] : [own];
  const middle = (/** @type {number} */ i) => rows[i].y + rows[i].h / 2;
  rows.forEach((_, i) => {
    if (found.every((other) => Math.abs(middle(i) - middle(other)) >= LABEL_APART - 0.5)) found.push(i);
  });
  return found;
}

/** What each layer has at the clock, and the key. @param {Pen} pen @param {Scene} scene @param {Layout} layout @param {TimeScale} scale */
function drawLayersNow(pen, scene, { key, rows }, scale) {
  const { palette, record, selected, step } = scene;
  const { model, shown } = shownOf(scene);
  const layers = layersOf(scene.model);
  // The clock's line would cross its words.
  pen.rect(key.x - 2, key.y, key.w + 4, key.h - 1, { fill: palette.background });
  drawColourKey(pen, { model, palette, step }, scene.colour, key, titleOf(model, scene.colour));
  for (const i of labelled(scene.model, rows, selected)) {
    const own = layers[i].members.includes(selected);
    pen.text(scale.right + 8, rows[i].y + rows[i].h / 2, meanText(shown, layerValue(model, shown, record, layers[i]).mean), { fill: own ? palette.text : palette.muted, size: 11, weight: own ? 600 : 400, maxWidth: scale.aside });
  }
}

/** @param {Model} model @param {Colour} colour @returns {string} */
function titleOf(model, colour) {
  return `mean ${colourName(model, colour)} of a layer`;
}

/** @param {Colour} shown @param {number} mean @returns {string} */
function meanText(shown, mean) {
  if (Number.isNaN(mean)) return "–";
  if (isEntropy(shown)) return mean.toFixed(3);
  if (shown === "rank") return mean.toFixed(2);
  if (shown === "change") return `${mean > 0 ? "+" : ""}${mean.toFixed(2).replace("-", "−")}`;
  return valueText(shown, mean);
}

/** @param {Layout} layout @param {number} y @returns {number} row at this height, or -1 */
function rowAt({ box, rows }, y) {
  return y < box.y || y >= box.y + box.h ? -1 : Math.min(rows.length - 1, Math.floor(((y - box.y) / box.h) * rows.length));
}

/** @param {Scene} scene @param {Layout} layout @param {TimeScale} scale @param {number} x @param {number} y @returns {string | null} */
function describeAt(scene, layout, scale, x, y) {
  const row = rowAt(layout, y);
  if (row < 0 || x < scale.left) return null;
  const { model } = scene;
  const t = x > scale.right ? scene.record : model.recordAt(Math.min(scale.step(x), model.lastStep));
  return describeLayer(scene, t, row);
}

/** @param {Scene} scene @param {number} t @param {number} row @returns {string} */
function describeLayer(scene, t, row) {
  const { model, shown } = shownOf(scene);
  const layer = layersOf(scene.model)[row];
  const { mean, least, greatest, defined } = layerValue(model, shown, t, layer);
  const count = layer.members.length;
  const of = defined === count ? `of ${count} matrices` : `of ${defined} of ${count} matrices, undefined in the others`;
  const start = `${layer.layer === null ? "outside the layers" : `layer ${layer.layer}`} · step ${model.steps[t]} · ${colourName(model, shown)}`;
  if (!defined) return `${start} undefined in all of its ${count} matrices`;
  return `${start}: mean ${meanText(shown, mean)} ${of}, ${valueText(shown, least)} to ${valueText(shown, greatest)}`;
}

/** @param {Scene} scene @param {Layout} layout @param {number} y @returns {number} in the layer at this height, the matrix that stands where the selected one does in its own */
function matrixIn({ model, selected }, layout, y) {
  const members = layersOf(model)[rowAt(layout, y)]?.members;
  if (!members) return -1;
  const { type } = model.matrices[selected];
  return members.find((m) => model.matrices[m].type === type) ?? members[0];
}

/** @type {Band} */
export const LAYERS_BAND = {
  key: "layers",
  label: "Layers",
  hint: "time × layer: the mean of its matrices, in the map's colour",
  layout: layoutLayers,
  titles: () => ["layer", "mean now"],
  still: drawLayers,
  moving: drawLayersNow,
  at: (scene, layout, _scale, x, y) => (x < 0 ? -1 : matrixIn(scene, layout, y)),
  tip: describeAt,
  describe: (scene) => {
    const { model, shown } = shownOf(scene);
    const own = layersOf(scene.model).findIndex(({ members }) => members.includes(scene.selected));
    return `Mean ${colourName(model, shown)} of ${layersOf(scene.model).length} layers over ${model.T} records. Selected: ${matrixLabel(model.matrices[scene.selected])}, ${describeLayer(scene, scene.record, own)}`;
  },
  table: (scene) => {
    const { model, shown } = shownOf(scene);
    const row = (/** @type {number} */ t, /** @type {import("./layer_means.js").Layer} */ layer) => {
      const { mean, least, greatest, defined } = layerValue(model, shown, t, layer);
      return [model.steps[t], layer.layer, COLUMNS[shown], mean, least, greatest, defined];
    };
    return {
      head: ["step", "layer", "quantity", "mean", "least", "greatest", "defined"],
      rows: Array.from(model.steps, (_, t) => t).flatMap((t) => layersOf(scene.model).map((layer) => row(t, layer))),
    };
  },
};
