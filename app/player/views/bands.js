/** The pictures over time that can stand above the curves. */

import { colourName, colourValue, isEntropy, shownColour, stripColour } from "../pen/colour.js";
import { drawColourKey } from "./colour_key.js";
import { curvesTable } from "./curves_table.js";
import { DIRECTIONS_BAND } from "./direction_lines.js";
import { describeEnergyAt, describeEnergyShares, drawEnergyNow, drawEnergyShares, energySharesTable, layoutEnergyShares } from "./energy_shares.js";
import { drawRowBars, drawStrip, layoutStrip, paintStrip, stripMatrixAt } from "./entropy_strip.js";
import { LAYERS_BAND } from "./layer_strip.js";
import { describeLines, drawLines, drawLinesAt, layoutLines, lineAt, linesTable } from "./lines.js";
import { describeShare, describeShares, drawShareBands, drawSharesNow, largestInShare, layoutShares, sharesTable } from "./rank_share.js";
import { groupsOf, SORTS } from "../model/sorts.js";

/** @import { Scene, Band, TimeScale } from "../model/scene.js" */

/** Where the gutter is too narrow for the whole name. @type {Record<string, string>} */
const STRIP_TITLES = { energy: "energy", change: "rank change" };

const KEY_HEIGHT = 17;

/** @type {WeakMap<object, {key: string, image: HTMLCanvasElement}>} what was painted last for a run */
const PAINTED = new WeakMap();

/** @param {Scene} scene @param {number[]} order rows @param {TimeScale} scale @returns {HTMLCanvasElement} */
function stripImage(scene, order, scale) {
  const { model, palette, colour, since } = scene;
  const ratio = window.devicePixelRatio || 1;
  const key = [palette.key, stripColour(model, colour), model.entropyScale, since, order.join(), scale.left, scale.right, ratio].join("|");
  const kept = PAINTED.get(model);
  if (kept?.key === key) return kept.image;
  const image = paintStrip(model, palette, colour, scale, ratio, order);
  PAINTED.set(model, { key, image });
  return image;
}

/** @param {string} of measure of the lines @param {string} key @param {string} label @param {string} hint @returns {Band} */
function linesBand(of, key, label, hint) {
  return {
    key,
    label,
    hint,
    layout: (scene, box) => layoutLines(scene, box, of),
    titles: ({ model }) => [of === "entropy" ? colourName(model, of) : of, "at the end"],
    still: drawLines,
    moving: drawLinesAt,
    at: lineAt,
    describe: (scene) => describeLines(scene, of),
    table: (scene) => linesTable(scene, of),
  };
}

/** @param {"type" | "layer"} by @param {string} label @param {string} hint @returns {Band} */
function sharesBand(by, label, hint) {
  return {
    key: `share_${by}`,
    label,
    hint,
    layout: (scene, box) => layoutShares(scene, box, by),
    titles: () => ["rank share", ""],
    still: drawShareBands,
    moving: drawSharesNow,
    at: largestInShare,
    tip: describeShare,
    describe: (scene) => describeShares(scene, by),
    table: (scene) => sharesTable(scene, by),
  };
}

/** @param {Scene} scene @returns {boolean} the strip has a key of its own: the map's does not tell of entropy, or stands on the other side of the page */
function hasKey({ model, colour }) {
  return isEntropy(stripColour(model, colour));
}

/** @type {Record<string, Band>} */
export const BANDS = {
  directions: DIRECTIONS_BAND,
  strip: {
    key: "strip",
    label: "Strip",
    hint: "time × matrix, in the map's colour",
    layout: (scene, box) => layoutStrip(scene.model, hasKey(scene) ? { ...box, y: box.y + KEY_HEIGHT, h: box.h - KEY_HEIGHT } : box, scene.sort),
    titles: ({ model, colour }) => {
      const shown = stripColour(model, colour);
      return [STRIP_TITLES[shown] ?? colourName(model, shown), model.run.ranksOnly ? "" : shown === "energy" ? "entropy now" : "energy now"];
    },
    still: (pen, scene, layout, scale) => {
      const image = stripImage(scene, layout.rows.map((/** @type {{m: number}} */ row) => row.m), scale);
      drawStrip(pen, scene.model, scene.palette, layout, image, scale, scene.selected);
    },
    moving: (pen, scene, layout, scale) => {
      const { model, palette, step, colour } = scene;
      // The thresholds of a decision go with the clock.
      if (hasKey(scene)) {
        const box = { x: scale.left, y: layout.box.y - KEY_HEIGHT, w: scale.right - scale.left, h: KEY_HEIGHT };
        pen.rect(box.x - 2, box.y, box.w + 4, box.h - 1, { fill: palette.background });
        drawColourKey(pen, { model, palette, step }, stripColour(model, colour), box);
      }
      drawRowBars(pen, scene.model, scene.palette, layout, scene.colour, scene.record, scale.right + 8, scale.aside);
    },
    at: (_scene, layout, _scale, x, y) => (x < 0 ? -1 : stripMatrixAt(layout, y)),
    describe: ({ model, colour, sort }) => `${colourName(model, stripColour(model, colour))} of ${model.M} matrices over ${model.T} records, rows ${SORTS[sort]?.label ?? SORTS.architecture.label}`,
    table: ({ model, colour, sort }) => {
      const rows = groupsOf(model, sort).flatMap(({ members }) => members);
      const shown = stripColour(model, colour);
      return {
        head: ["step", ...rows.map((m) => model.matrices[m].name)],
        rows: Array.from(model.steps, (step, t) => [step, ...rows.map((m) => colourValue(model, shown, t, m))]),
      };
    },
  },
  layers: LAYERS_BAND,
  trajectories: linesBand("rank", "trajectories", "Ranks", "one line a matrix: what gained and what lost, over the others in grey"),
  entropies: linesBand("entropy", "entropies", "Entropies", "entropy of each matrix; in colour those whose rank moved most"),
  share_type: sharesBand("type", "Share by type", "how the total rank is shared among module types"),
  share_layer: sharesBand("layer", "Share by layer", "how the total rank is shared among layers"),
  energy_shares: {
    key: "energy_shares",
    label: "Energy shares",
    hint: "share of each direction of the selected matrix in its energy Σλ²",
    layout: layoutEnergyShares,
    titles: () => ["energy share", "slot: share"],
    still: drawEnergyShares,
    moving: drawEnergyNow,
    at: (scene, { box }, scale, x, y) => (x >= scale.left && y >= box.y && y <= box.y + box.h ? scene.selected : -1),
    tip: describeEnergyAt,
    describe: describeEnergyShares,
    table: energySharesTable,
  },
  curves: {
    key: "curves",
    label: "Only curves",
    hint: "the curves in all of the height",
    alone: true,
    layout: () => null,
    titles: () => ["", ""],
    still: () => undefined,
    moving: () => undefined,
    at: () => -1,
    describe: ({ model }) => `Curves over ${model.domain[1]} steps`,
    table: ({ model }) => curvesTable(model),
  },
};

/** The map or the strip is coloured by it. @param {any} model @param {Band} band @param {any} colour @returns {boolean} */
export function seesEntropy(model, band, colour) {
  return Boolean(model) && isEntropy(band === BANDS.strip ? stripColour(model, colour) : shownColour(model, colour));
}
