/** The pictures that can stand beside the map: about the selected matrix. */

import { drawCard } from "./card_picture.js";
import { describeCell } from "./describe.js";
import { describeDirection, drawSpectrum, spectrumScale, spectrumTable } from "./spectrum.js";
import { cardTable } from "./why_card.js";

/** @typedef {import("../model/scene.js").Scene} Scene */
/** @typedef {import("../model/scene.js").View} View */

/** @type {WeakMap<object, Map<number, import("./spectrum.js").SpectrumScale>>} */
const SPECTRUM_SCALES = new WeakMap();

/** @param {Scene} scene @returns {import("./spectrum.js").SpectrumScale} fixed over the whole run */
function scaleOf({ model, selected }) {
  const kept = SPECTRUM_SCALES.get(model) ?? new Map();
  SPECTRUM_SCALES.set(model, kept);
  if (!kept.has(selected)) kept.set(selected, spectrumScale(model, selected));
  return kept.get(selected);
}

/** @type {Record<string, View>} why is text on the page, which player.js shows; its picture is for files */
export const SIDES = {
  spectrum: {
    key: "spectrum",
    label: "Spectrum",
    hint: "λ and the true singular values of the selected matrix",
    draw: (pen, scene) =>
      drawSpectrum(pen, scene.model, scene.palette, scene.width, scene.height, { record: scene.record, selected: scene.selected, scale: scaleOf(scene) }),
    tip: (scene, x) => describeDirection(scene.model, scene.record, scene.selected, x, scene.width, scaleOf(scene)),
    describe: ({ model, record, selected }) => `Spectrum of ${describeCell(model, record, selected)}`,
    table: ({ model, record, selected }) => spectrumTable(model, record, selected),
  },
  why: {
    key: "why",
    label: "Why?",
    hint: "why the latest event did what it did with the selected matrix",
    draw: drawCard,
    describe: ({ card }) => /** @type {any} */ (card)?.headline ?? "No event yet.",
    table: ({ card }) => cardTable(/** @type {any} */ (card)),
  },
};
