/** The pictures that can stand beside the map: about the selected matrix. */

import { drawCard } from "./card_picture.js";
import { describeCell } from "./describe.js";
import { remembered } from "../model/remembered.js";
import { sideOf } from "../film/side.js";
import { describeDirection, drawSpectrum, spectrumScale, spectrumTable } from "./spectrum.js";
import { cardTable } from "./why_card.js";

/** @import { View } from "../model/scene.js" */

/** Fixed over the whole run. */
const scaleOf = remembered(spectrumScale);

/** @type {Record<string, View>} why is text on the page, which player.js shows; its picture is for files */
export const SIDES = {
  spectrum: {
    key: "spectrum",
    label: "Spectrum",
    hint: "λ and the true singular values of the selected matrix",
    draw: (pen, scene) =>
      drawSpectrum(pen, scene.model, scene.palette, scene.width, scene.height, { selected: scene.selected, scale: scaleOf(scene.model, scene.selected), lambdaOnly: scene.lambdaOnly, ...sideOf(scene) }),
    // λ may be on its way.
    sameAs: ({ model, record, selected, stage, lambdaOnly }) => (stage ? undefined : [record, selected, lambdaOnly, model.singularValues(record, selected)?.length, model.trueSingularValues(record, selected)?.step].join()),
    tip: (scene, x) => describeDirection(scene.model, sideOf(scene).directions, x, scene.width, scaleOf(scene.model, scene.selected)),
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
