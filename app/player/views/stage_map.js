/** The film in the map's place, and its five stills side by side. */

import { knowsSpectra, recordsOf } from "../film/cast.js";
import { STILL_SHARES } from "../film/choreography.js";
import { drawFilm, frameBox, shotOf } from "../film/draw.js";
import { drawKey } from "../film/draw_words.js";
import { drawRest } from "../film/rest.js";
import { filmLayout } from "../film/layout.js";
import { scoreText } from "../film/score_scale.js";
import { matrixLabel } from "../model/format.js";
import { sized } from "../model/remembered.js";
import { decisionOf, stageOf, STAGES } from "../model/stages.js";
import { neighbour } from "./rank_map.js";
import { AXES_HEIGHT, drawAxes } from "./small_maps.js";
import { cellAt, drawPanelHead, panelBoxes, panelGrid } from "./tiles.js";

/** @import { Scene, View, Pen } from "../model/scene.js" */
/** @import { Model } from "../model/model.js" */
/** @import { Decision } from "../model/stages.js" */

const CAPTION_LINES = 3;
const KEY_HEIGHT = 20;

/** @param {Model} model @param {Decision} decision @param {string} key @param {number} m @returns {string} one matrix in one stage, in words */
export function describeStage(model, decision, key, m) {
  const { scores, places, byDirection, before, after, prune, extend, refused } = decision;
  const name = `${matrixLabel(model.matrices[m])} · step ${decision.event.step}`;
  const defined = scores.filter((score) => !Number.isNaN(score)).length;
  const place = Number.isNaN(places[m]) ? "not in the order" : `place ${places[m]} of ${defined} from below`;
  const passed = refused.has(m) ? `, passed over: ${String(refused.get(m)).replace(/_/g, " ")}` : "";
  const gone = prune.get(m) ?? 0;
  const words = /** @type {Record<string, string>} */ ({
    score: `score ${scoreText(scores[m])}${byDirection ? " (mean of its directions)" : ""}`,
    order: byDirection ? `−${gone} +${extend.get(m) ?? 0}` : `${place}, score ${scoreText(scores[m])}${passed}`,
    prune: `rank ${before[m]}${gone ? ` → ${before[m] - gone}` : ""}`,
    extend: `rank ${before[m] - gone}${extend.has(m) ? ` → ${after[m]}` : ""}`,
    resume: `rank ${after[m]}${after[m] === before[m] ? "" : ` (was ${before[m]})`}`,
  });
  return `${name} · ${words[key]}`;
}

/** @param {import("../model/stages.js").Stage} stage @returns {number} the film's moment */
export function momentOf({ index, share }) {
  return index + Math.min(share, 0.9999);
}

/** The map in slow motion: the event's moment, or what grows between two events. @param {Pen} pen @param {Scene} scene */
export function drawStageMap(pen, scene) {
  if (scene.stage) drawFilm(pen, scene, momentOf(scene.stage));
  else drawRest(pen, scene);
}

/** Records whose λ of all matrices the film takes: those of its event; between two, first what the next one begins with. @param {Scene} scene @returns {number[]} */
export function filmRecords({ model, stage, record, step }) {
  if (stage) return recordsOf(model, stage.event);
  const next = model.eventBefore(step) + 1;
  const [first, ...growth] = next < model.events.length ? recordsOf(model, next) : [];
  return first === undefined ? [record] : [first, record, ...growth];
}

/** @param {Scene} scene @param {number} x @param {number} y @returns {number} matrix under the point, or -1 */
export function stageAt(scene, x, y) {
  if (!scene.stage) return cellAt(filmLayout(scene).map.cells, x, y, 1);
  const { layout, frame } = shotOf(scene, momentOf(scene.stage));
  return cellAt(layout.homes.map((_, m) => (layout.map.cells[m] ? frameBox(layout, frame, m) : { x: -9, y: -9, w: 0, h: 0 })), x, y);
}

/** The event whose stills are shown: the one at or before the clock, else the first. @param {Scene} scene */
function eventIndex({ model, step }) {
  return Math.max(0, model.eventBefore(step));
}

const stepLayout = sized((_model, width, height) => {
  const area = { x: 2, y: 2, w: width - 6, h: height - KEY_HEIGHT - AXES_HEIGHT - 6 };
  // The stills are wide: as large as they can be in a form of three to two.
  const panels = panelBoxes(area, STAGES.length, 14, (w, h) => Math.min(w / 3, Math.max(1, h - 50) / 2));
  const lines = panels[0].h > 170 ? CAPTION_LINES : 2;
  return { lines, panels, stills: panels.map((panel) => panelGrid(panel, lines)) };
});

/** A still as a scene of its own. @param {Scene} scene @param {number} i of the stage @returns {Scene} */
function stillScene(scene, i) {
  const { w, h } = stepLayout(scene).stills[i];
  return { ...scene, width: w, height: h, stage: stageOf(scene.model, eventIndex(scene), i, STILL_SHARES[i]) };
}

/** @param {Scene} scene @param {number} x @param {number} y @returns {[number, number]} stage and matrix under the point, or -1 */
function stillAt(scene, x, y) {
  const { stills } = stepLayout(scene);
  const i = stills.findIndex((box) => x >= box.x && x < box.x + box.w && y >= box.y && y < box.y + box.h);
  return [i, i < 0 ? -1 : stageAt(stillScene(scene, i), x - stills[i].x, y - stills[i].y)];
}

/** @type {View} */
export const STEPS_VIEW = {
  key: "stages",
  label: "Steps",
  hint: "the steps of the latest event side by side: score, order, prune, extend, resume",
  wide: true,
  possible: ({ model }) => model.events.length > 0,
  frames: (scene) => recordsOf(scene.model, eventIndex(scene)),
  draw: (pen, scene) => {
    const { model, palette, width, height } = scene;
    const { panels, lines, stills } = stepLayout(scene);
    STAGES.forEach(({ label }, i) => {
      const still = stillScene(scene, i);
      const stage = /** @type {import("../model/stages.js").Stage} */ (still.stage);
      drawPanelHead(pen, palette, panels[i], `${i + 1} ${label}`, stage.caption, lines);
      pen.shifted(stills[i].x, stills[i].y, () => drawFilm(pen, still, momentOf(stage)));
    });
    drawAxes(pen, palette, model, 2, height - KEY_HEIGHT - AXES_HEIGHT / 2, width - 6);
    const known = knowsSpectra(model, model.recordAt(model.events[eventIndex(scene)].step));
    drawKey(pen, palette, { x: 2, y: height - KEY_HEIGHT, w: width - 6, h: KEY_HEIGHT }, height - KEY_HEIGHT / 2, 0, [
      [known ? "a direction: |λ|, its share in the score" : "a direction", palette.muted],
      [model.words.pruned, palette.pruned],
      [model.words.extended, palette.extended],
    ]);
  },
  neighbour: (scene, dx, dy) => neighbour(filmLayout(stillScene(scene, 0)).map.cells, scene.selected, dx, dy),
  at: (scene, x, y) => stillAt(scene, x, y)[1],
  tip: (scene, x, y) => {
    const [i, m] = stillAt(scene, x, y);
    return m < 0 ? null : describeStage(scene.model, decisionOf(scene.model, eventIndex(scene)), STAGES[i].key, m);
  },
  describe: (scene) => {
    const index = eventIndex(scene);
    const told = STAGES.map(({ label }, i) => `${label}: ${stageOf(scene.model, index, i).caption}`);
    const words = describeStage(scene.model, decisionOf(scene.model, index), "resume", scene.selected);
    return `Steps of event ${index + 1} at step ${scene.model.events[index].step}. ${told.join(". ")}. Selected: ${words}`;
  },
  table: (scene) => stageTable(scene.model, eventIndex(scene)),
};

/** @param {Model} model @param {number} index of the event @returns {import("../model/scene.js").Table} one row a stage and matrix */
export function stageTable(model, index) {
  const { event, scores, places, before, after, prune, extend, refused } = decisionOf(model, index);
  const pruned = before.map((rank, m) => rank - (prune.get(m) ?? 0));
  const values = /** @type {Record<string, number[]>} */ ({ score: scores, order: places, prune: pruned, extend: after, resume: after });
  const moved = (/** @type {string} */ key, /** @type {string} */ stage, /** @type {Map<number, number>} */ own, /** @type {number} */ m) => (key === stage ? (own.get(m) ?? 0) : 0);
  return {
    head: ["step", "stage", "matrix", "layer", "module_type", "measure", "value", "pruned", "extended", "passed_over"],
    rows: STAGES.flatMap(({ key }) =>
      model.matrices.map(({ name, layer, type }, m) => [
        event.step, key, name, layer, type, event.measure, values[key][m], moved(key, "prune", prune, m), moved(key, "extend", extend, m), refused.get(m) ?? null,
      ]),
    ),
  };
}
