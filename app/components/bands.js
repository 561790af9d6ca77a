/** The pictures over time that can stand above the curves. */

import { stripColour } from "./colour.js";
import { drawRowBars, drawStrip, layoutStrip, paintStrip, stripMatrixAt } from "./entropy_strip.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./scene.js").Band} Band */
/** @typedef {import("./scene.js").TimeScale} TimeScale */

/** @type {WeakMap<object, {key: string, image: HTMLCanvasElement}>} what was painted last for a run */
const PAINTED = new WeakMap();

/** @param {Scene} scene @param {number[]} order rows @param {TimeScale} scale @returns {HTMLCanvasElement} */
function stripImage(scene, order, scale) {
  const { model, palette, colour, since } = scene;
  const ratio = window.devicePixelRatio || 1;
  const key = [palette.key, stripColour(colour), since, order.join(), scale.left, scale.right, ratio].join("|");
  const kept = PAINTED.get(model);
  if (kept?.key === key) return kept.image;
  const image = paintStrip(model, palette, colour, scale, ratio, order);
  PAINTED.set(model, { key, image });
  return image;
}

/** @type {Record<string, Band>} */
export const BANDS = {
  strip: {
    key: "strip",
    label: "Strip",
    hint: "time × matrix, in the map's colour",
    layout: (scene, box) => layoutStrip(scene.model, box),
    titles: ({ colour }) => {
      const shown = stripColour(colour);
      return [shown === "change" ? "rank change" : shown, shown === "energy" ? "entropy now" : "energy now"];
    },
    still: (pen, scene, layout, scale) => {
      const image = stripImage(scene, layout.rows.map((/** @type {{m: number}} */ row) => row.m), scale);
      drawStrip(pen, scene.model, scene.palette, layout, image, scale, scene.selected);
    },
    moving: (pen, scene, layout, scale) =>
      drawRowBars(pen, scene.model, scene.palette, layout, scene.colour, scene.record, scale.right + 8, scale.aside),
    at: (_scene, layout, _scale, x, y) => (x < 0 ? -1 : stripMatrixAt(layout, y)),
    stillKey: () => "",
    describe: ({ model, colour }) => `${stripColour(colour)} of ${model.M} matrices over ${model.T} records`,
    table: ({ model }) => ({
      head: ["step", ...model.matrices.map(({ name }) => name)],
      rows: Array.from(model.steps, (step, t) => [step, ...model.matrices.map((_, m) => model.entropy(t, m))]),
    }),
  },
};
