/** The map while an event unfolds, and the same stages side by side as small maps. */

import { entropyShare, legendMarks, rankIndex } from "../pen/colour.js";
import { formatNumber, matrixLabel } from "../model/format.js";
import { tableColour } from "../pen/palette.js";
import { drawMargins, layoutMap, neighbour } from "./rank_map.js";
import { decisionOf, measureOf, scoreRange, stageOf, STAGES } from "../model/stages.js";
import { cellAt, drawFrames, drawPanelHead, drawScale, drawSignKey, drawTile, panelBoxes, panelGrid } from "./tiles.js";

/** @typedef {import("../model/scene.js").Scene} Scene */
/** @typedef {import("../model/scene.js").View} View */
/** @typedef {import("../model/scene.js").Pen} Pen */
/** @typedef {import("../model/model.js").Model} Model */
/** @typedef {import("../pen/palette.js").Palette} Palette */
/** @typedef {import("../pen/draw.js").Box} Box */
/** @typedef {import("../model/stages.js").Decision} Decision */
/** @typedef {import("./tiles.js").Tile} Tile */

/** @typedef {{label: string, bounded: boolean, log: boolean, low: number, high: number}} ScoreScale bounded: the ends are those of the measure, not of this run */

const WIDE_RANGE = 50; // largest over smallest score from which the scale is logarithmic
const CAPTION_LINES = 4;
const KEY_HEIGHT = 20;

/** @type {WeakMap<object, ScoreScale>} */
const SCORE_SCALES = new WeakMap();

/** One scale for all events of a run. @param {Model} model @returns {ScoreScale} */
export function scoreScale(model) {
  const kept = SCORE_SCALES.get(model);
  if (kept) return kept;
  const { label, range } = measureOf(model, model.events[0]);
  const [least, most] = range;
  const { low, high } = least === null || most === null ? scoreRange(model) : { low: least, high: most };
  const bounded = least !== null && most !== null;
  const scale = { label, bounded, log: !bounded && low > 0 && high / low > WIDE_RANGE, low, high };
  SCORE_SCALES.set(model, scale);
  return scale;
}

/** @param {ScoreScale} scale @param {number} score @returns {number} place in the colour table, -1 where undefined */
function scoreIndex({ bounded, log, low, high }, score) {
  if (Number.isNaN(score)) return -1;
  if (score === Infinity) return 255;
  // Where a measure has both ends, most of what happens lies high.
  if (bounded) return Math.round(255 * entropyShare(Math.max(0, Math.min(1, (score - low) / (high - low)))));
  const [from, to, at] = log ? [low, high, score].map(Math.log) : [low, high, score];
  return to > from ? Math.round(255 * Math.max(0, Math.min(1, (at - from) / (to - from)))) : 128;
}

/** @param {ScoreScale} scale */
function scoreMarks(scale) {
  const { bounded, log, low, high } = scale;
  if (bounded) return [0, 0.5, 0.7, 0.9, 1].map((share) => low + share * (high - low)).map((score) => ({ label: formatNumber(score), index: scoreIndex(scale, score) }));
  if (!Number.isFinite(low)) return [{ label: "–", index: 0 }];
  const scores = log ? [low, Math.sqrt(low * high), high] : [low, (low + high) / 2, high];
  return scores.map((score) => ({ label: formatNumber(score), index: scoreIndex(scale, score) }));
}

/** @param {Uint8Array} table @param {number} index */
function fillOf(table, index) {
  return index < 0 ? null : tableColour(table, index);
}

/** @param {number} score */
function scoreText(score) {
  return score === Infinity ? "first" : formatNumber(score);
}

/** A score with three digits, and with fewer for less room. @param {ScoreScale} scale @param {number} score @returns {string[]} */
function scoreTexts({ bounded }, score) {
  if (!Number.isFinite(score)) return [scoreText(score), "1st"].slice(0, score === Infinity ? 2 : 1);
  if (bounded) return [score.toFixed(3), score.toFixed(2).replace(/^0/, "")];
  const short = Math.abs(score) >= 0.01 && Math.abs(score) < 100 ? String(Number(score.toPrecision(2))) : score === 0 ? "0" : score.toExponential(0);
  return [formatNumber(score), short.replace(/^(-?)0\./, "$1.").replace(/-/g, "−")];
}

/** What a cell shows in each stage. @type {Record<string, (model: Model, palette: Palette, decision: Decision, m: number) => Tile>} */
const TILES = {
  score: (model, palette, { scores }, m) => ({
    fill: fillOf(palette.tables.entropy, scoreIndex(scoreScale(model), scores[m])),
    texts: scoreTexts(scoreScale(model), scores[m]),
    marks: [],
  }),
  order: (model, palette, decision, m) => {
    const { scores, places, low, high, prune, extend, refused, byDirection } = decision;
    // Where directions are scored, the matrix's mean has no place in their order: how many crossed the line is told instead.
    const moves = [prune.get(m), extend.get(m)].filter(Boolean).join(", ");
    const own = byDirection ? moves : Number.isNaN(places[m]) ? "–" : String(places[m]);
    return {
      fill: fillOf(palette.tables.entropy, scoreIndex(scoreScale(model), scores[m])),
      texts: [own],
      marks: [...(low.has(m) ? /** @type {const} */ (["down"]) : []), ...(high.has(m) ? /** @type {const} */ (["up"]) : []), ...(refused.has(m) ? /** @type {const} */ (["bar"]) : [])],
      open: !prune.has(m) && !extend.has(m),
    };
  },
  prune: (model, palette, { before, prune }, m) => rankTile(model, palette, before[m], -(prune.get(m) ?? 0), "minus"),
  extend: (model, palette, { before, prune, extend }, m) => rankTile(model, palette, before[m] - (prune.get(m) ?? 0), extend.get(m) ?? 0, "plus"),
  resume: (model, palette, { after }, m) => rankTile(model, palette, after[m], 0, "plus"),
};

/** @param {Model} model @param {Palette} palette @param {number} rank @param {number} change @param {"minus" | "plus"} sign @returns {Tile} */
function rankTile(model, palette, rank, change, sign) {
  const after = String(rank + change);
  const index = Math.max(0, Math.min(255, rankIndex(model, rank + change)));
  return { fill: tableColour(palette.tables.rank, index), texts: change ? [`${rank} → ${after}`, `${rank}→${after}`, after] : [after], marks: change ? [sign] : [] };
}

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

/** Both ends of the order, or both sides of a threshold. @param {Model} model @returns {Array<[import("./tiles.js").Sign, string]>} */
function lineKey(model) {
  const threshold = model.events.some((event) => Number.isFinite(event.threshold));
  const gives = model.events.some((event) => event.extend.length);
  return [["down", threshold ? "at or below" : "lowest"], ...(gives ? /** @type {Array<[import("./tiles.js").Sign, string]>} */ ([["up", threshold ? "above" : "highest"]]) : [])];
}

/** Key of a stage: its scale, and its marks at the right. @param {Pen} pen @param {Model} model @param {Palette} palette @param {Box} box @param {string} key */
function drawStageKey(pen, model, palette, box, key) {
  const y = box.y + box.h / 2;
  const items = /** @type {Record<string, Array<[import("./tiles.js").Sign, string]>>} */ ({
    order: lineKey(model),
    prune: [["minus", model.words.pruned]],
    extend: [["plus", model.words.extended]],
    all: [...lineKey(model), ["minus", model.words.pruned], ["plus", model.words.extended]],
  });
  const right = drawSignKey(pen, palette, items[key] ?? [], box.x + box.w, y);
  const room = { ...box, w: right - box.x - 14 };
  if (key === "score" || key === "order") return drawScoreKey(pen, model, palette, room);
  const end = key === "all" ? drawScoreKey(pen, model, palette, { ...room, w: room.w * 0.55 }) + 18 : box.x;
  return drawScale(pen, palette, palette.tables.rank, legendMarks(model, "rank"), { ...room, x: end, w: right - end - 14 }, "rank", true);
}

/** @param {Pen} pen @param {Model} model @param {Palette} palette @param {Box} box */
function drawScoreKey(pen, model, palette, box) {
  const scale = scoreScale(model);
  return drawScale(pen, palette, palette.tables.entropy, scoreMarks(scale), box, scale.label, false);
}

/** The map in the stage of slow motion; the cells stand where they always stand. @param {Pen} pen @param {Scene} scene @param {import("./rank_map.js").MapLayout} layout */
export function drawStageMap(pen, scene, layout) {
  const { model, palette, stage, hovered, selected } = scene;
  if (!stage) return;
  const decision = decisionOf(model, stage.event);
  const ranks = { prune: decision.before.map((rank, m) => rank - (decision.prune.get(m) ?? 0)), extend: decision.after, resume: decision.after }[stage.key] ?? decision.before;
  const staged = Object.assign(Object.create(model), { rank: (/** @type {number} */ _t, /** @type {number} */ m) => ranks[m] });
  drawMargins(pen, staged, palette, layout, { record: decision.record });
  layout.cells.forEach((cell, m) => cell && drawTile(pen, palette, cell, TILES[stage.key](model, palette, decision, m)));
  drawFrames(pen, palette, layout.cells, hovered, selected);
  drawStageKey(pen, model, palette, layout.legend, stage.key);
}

/** The event that the small maps show: the one at or before the clock, else the first. @param {Scene} scene */
function eventIndex({ model, step }) {
  return Math.max(0, model.eventBefore(step));
}

/** @type {WeakMap<object, {width: number, height: number, panels: Box[], cells: Box[][], lines: number}>} */
const STEP_LAYOUTS = new WeakMap();

/** @param {Scene} scene */
function stepLayout({ model, width, height }) {
  const kept = STEP_LAYOUTS.get(model);
  if (kept?.width === width && kept.height === height) return kept;
  const panels = panelBoxes({ x: 2, y: 2, w: width - 6, h: height - KEY_HEIGHT - 6 }, STAGES.length, 12, cellFit(model, { w: 26, h: 13 }, 2));
  const lines = panels[0].h > 150 ? CAPTION_LINES : 2;
  const layout = { width, height, panels, lines, cells: panels.map((panel) => smallCells(model, panelGrid(panel, lines))) };
  STEP_LAYOUTS.set(model, layout);
  return layout;
}

/** Cells of a map without margins. @param {Model} model @param {Box} box @returns {Box[]} */
export function smallCells(model, box) {
  return layoutMap(model, box.w, box.h, false).cells.map((cell) => ({ ...cell, x: cell.x + box.x, y: cell.y + box.y }));
}

/** How much of the wanted size a panel of a small map leaves its cells. @param {Model} model @param {{w: number, h: number}} wanted @param {number} lines of the panel's caption @returns {(w: number, h: number) => number} */
export function cellFit(model, wanted, lines) {
  const { columns, rows } = layoutMap(model, 100, 100, false);
  return (w, h) => {
    const grid = panelGrid({ x: 0, y: 0, w, h }, lines);
    return Math.min(grid.w / columns.length / wanted.w, grid.h / rows.length / wanted.h);
  };
}

/** @type {View} */
export const STEPS_VIEW = {
  key: "stages",
  label: "Steps",
  hint: "the steps of the latest event side by side: score, order, prune, extend, resume",
  wide: true,
  possible: ({ model }) => model.events.length > 0,
  draw: (pen, scene) => {
    const { model, palette, hovered, selected, width, height } = scene;
    const index = eventIndex(scene);
    const decision = decisionOf(model, index);
    const { panels, cells, lines } = stepLayout(scene);
    STAGES.forEach(({ key, label }, i) => {
      drawPanelHead(pen, palette, panels[i], `${i + 1} ${label}`, stageOf(model, index, i).caption, lines);
      cells[i].forEach((cell, m) => cell && drawTile(pen, palette, cell, TILES[key](model, palette, decision, m)));
      drawFrames(pen, palette, cells[i], hovered, selected);
    });
    drawStageKey(pen, model, palette, { x: 2, y: height - KEY_HEIGHT, w: width - 6, h: KEY_HEIGHT }, "all");
  },
  neighbour: (scene, dx, dy) => neighbour(stepLayout(scene).cells[0], scene.selected, dx, dy),
  at: (scene, x, y) => Math.max(-1, ...stepLayout(scene).cells.map((cells) => cellAt(cells, x, y))),
  tip: (scene, x, y) => {
    const { cells } = stepLayout(scene);
    const i = cells.findIndex((own) => cellAt(own, x, y) >= 0);
    return i < 0 ? null : describeStage(scene.model, decisionOf(scene.model, eventIndex(scene)), STAGES[i].key, cellAt(cells[i], x, y));
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
