/** What can leave the page: the pictures that are shown, and the numbers behind each. */

import { curvesTable } from "../views/curves_table.js";
import { CanvasPen } from "../pen/draw.js";
import { matrixLabel } from "../model/format.js";
import { lightPalette } from "../pen/palette.js";
import { SvgPen } from "../pen/svg_pen.js";
import { Timeline } from "./timeline.js";

/** @import { Scene, Table } from "../model/scene.js" */
/** @import { CanvasPen as Pen } from "../pen/draw.js" */
/** @typedef {[number, number]} Size */

const MARGIN = 12;
const CAPTION = 22;
const GAP = 18;
const PNG_RATIO = 2;

/**
 * @typedef {object} Picture
 * @property {string} key
 * @property {(player: any) => string} label
 * @property {(player: any) => Size} size CSS pixels, as on screen
 * @property {(pen: Pen, player: any, sceneOf: (size: Size) => Scene) => void} draw
 * @property {(player: any, scene: Scene) => string} describe
 * @property {string[]} tables keys of `SHEETS`
 */

/** Of the view that stands in a place. @param {"map" | "side"} key @returns {Picture} */
function placePicture(key) {
  const [view, size] = [`${key}View`, `${key}Size`];
  return {
    key,
    label: (player) => player[view].label,
    size: (player) => player[size],
    draw: (pen, player, sceneOf) => player[view].draw(pen, sceneOf(player[size])),
    describe: (player, scene) => player[view].describe(scene),
    tables: [key],
  };
}

/** @type {Record<string, Picture>} */
export const PICTURES = {
  map: placePicture("map"),
  side: placePicture("side"),
  time: {
    key: "time",
    label: (player) => `${player.timeline.band.label}${player.timeline.band.alone ? "" : " and curves"}`,
    size: (player) => player.timeSize,
    draw: drawTime,
    describe: (player, scene) => `${player.timeline.band.describe(scene)}; curves below`,
    tables: ["band", "curves"],
  },
  all: {
    key: "all",
    label: () => "All of it",
    size: ({ mapSize, sideSize, timeSize }) => [Math.max(timeSize[0], mapSize[0] + GAP + sideSize[0]), Math.max(mapSize[1], sideSize[1]) + GAP + timeSize[1]],
    draw: (pen, player, sceneOf) => {
      const { mapSize, sideSize } = player;
      PICTURES.map.draw(pen, player, sceneOf);
      pen.shifted(mapSize[0] + GAP, 0, () => PICTURES.side.draw(pen, player, sceneOf));
      pen.shifted(0, Math.max(mapSize[1], sideSize[1]) + GAP, () => drawTime(pen, player, sceneOf));
    },
    describe: (player, scene) => [PICTURES.map, PICTURES.side, PICTURES.time].map((picture) => picture.describe(player, scene)).join(". "),
    tables: ["map", "side", "band", "curves"],
  },
};

/** @type {Record<string, {label: (player: any) => string, table: (player: any) => Table}>} */
export const SHEETS = {
  map: { label: (player) => player.mapView.label, table: (player) => player.mapView.table(player.scene(player.mapSize)) },
  side: { label: (player) => player.sideView.label, table: (player) => player.sideView.table(player.scene(player.sideSize)) },
  band: { label: (player) => player.timeline.band.label, table: (player) => player.timeline.band.table(player.scene(player.timeSize)) },
  curves: { label: () => "Curves", table: (player) => curvesTable(player.model) },
};

/** @param {any} player @param {string[]} keys @returns {string[]} those that show something of their own */
export function tableKeys(player, keys = Object.keys(SHEETS)) {
  return keys.filter((key) => key !== "curves" || !player.timeline.band.alone);
}

/** @param {Pen} pen @param {any} player @param {(size: Size) => Scene} sceneOf */
function drawTime(pen, player, sceneOf) {
  // Its own layout: what is on screen stays as it is.
  const timeline = new Timeline();
  const scene = sceneOf(player.timeSize);
  timeline.band = player.timeline.band;
  timeline.layout(scene);
  timeline.drawStill(pen, scene);
  timeline.drawMoving(pen, scene);
}

/** @param {Picture} picture @param {any} player @returns {Size} with its margin and its caption */
function outerSize(picture, player) {
  const [width, height] = picture.size(player);
  return [Math.ceil(width + 2 * MARGIN), Math.ceil(height + 2 * MARGIN + CAPTION)];
}

/** @param {any} player @returns {string} */
export function captionOf(player) {
  const { clock, model, selected, since } = player;
  const counted = player.chosen.colour === "change" && since !== null ? ` · change since step ${since}` : "";
  const other = player.pinned ? ` · with ${player.pinned.name}` : "";
  return `${model.run.name ?? player.request.run} · step ${clock.step} of ${model.domain[1]} · ${matrixLabel(model.matrices[selected])} (${model.matrices[selected].name})${counted}${other}`;
}

/** @param {Pen} pen @param {Picture} picture @param {any} player @param {boolean} asOnScreen */
function drawPicture(pen, picture, player, asOnScreen) {
  const palette = asOnScreen ? player.palette : lightPalette(player.palette);
  const sceneOf = (/** @type {Size} */ size) => ({ ...player.scene(size), palette, hovered: -1, hoverStep: null });
  const [width, height] = outerSize(picture, player);
  pen.rect(0, 0, width, height, { fill: palette.background });
  pen.shifted(MARGIN, MARGIN, () => picture.draw(pen, player, sceneOf));
  pen.text(MARGIN, height - MARGIN - 2, captionOf(player), { fill: palette.muted, size: 12, maxWidth: width - 2 * MARGIN });
}

/** @param {Picture} picture @param {any} player @param {boolean} asOnScreen @returns {string} a file of its own */
export function svgOf(picture, player, asOnScreen) {
  const ruler = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  const pen = new SvgPen(ruler, player.palette.font);
  drawPicture(pen, picture, player, asOnScreen);
  return pen.document(...outerSize(picture, player), captionOf(player), picture.describe(player, player.scene(player.mapSize)));
}

/** @param {Picture} picture @param {any} player @param {boolean} asOnScreen @returns {Promise<Blob | null>} twice as fine as CSS pixels */
export function pngOf(picture, player, asOnScreen) {
  const [width, height] = outerSize(picture, player);
  const canvas = document.createElement("canvas");
  canvas.width = PNG_RATIO * width;
  canvas.height = PNG_RATIO * height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(PNG_RATIO, PNG_RATIO);
  drawPicture(new CanvasPen(context, player.palette.font), picture, player, asOnScreen);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
