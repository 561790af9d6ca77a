/** The map at up to nine events over the run, side by side; a click goes there. */

import { cellColour, colourValue, shownColour } from "../pen/colour.js";
import { drawColourKey } from "./colour_key.js";
import { valueTexts } from "../model/value_text.js";
import { mapTable } from "./map_table.js";
import { sized } from "../model/remembered.js";
import { neighbour } from "./rank_map.js";
import { AXES_HEIGHT, cellFit, drawAxes, smallCells } from "./small_maps.js";
import { cellAt, drawFrames, drawPanelHead, drawSignKey, drawTile, holdsNumbers, moveSigns, panelBoxes, panelGrid } from "./tiles.js";

/** @import { View } from "../model/scene.js" */
/** @import { Model } from "../model/model.js" */

const EVENT_KEY_HEIGHT = 20;
const TITLE_WIDTH = 150; // pixels that the event, its step and its moves take in one line

/** Evenly chosen ones; the clock's takes the place of its neighbour. @param {Model} model @param {number} step @returns {number[]} indices of events */
export function eventsShown(model, step) {
  const chosen = [...model.header.grid];
  const current = model.eventBefore(step);
  if (current < 0 || chosen.includes(current)) return chosen;
  const nearest = chosen.reduce((best, index, i) => (Math.abs(index - current) < Math.abs(chosen[best] - current) ? i : best), 0);
  chosen[nearest] = current;
  return chosen;
}

const eventLayout = sized((model, width, height) => {
  const area = { x: 4, y: 4, w: width - 8, h: height - EVENT_KEY_HEIGHT - AXES_HEIGHT - 10 };
  const boxes = (/** @type {number} */ lines) => panelBoxes(area, model.header.grid.length, 14, cellFit(model, { w: 20, h: 14 }, lines));
  const lines = boxes(0)[0].w < TITLE_WIDTH ? 1 : 0;
  const panels = boxes(lines);
  return { lines, panels, cells: panels.map((panel) => smallCells(model, panelGrid(panel, lines))) };
});

/** @type {View} */
export const EVENTS_VIEW = {
  key: "events",
  label: "Events",
  hint: "the map at up to nine events over the run; a click goes there",
  wide: true,
  possible: ({ model }) => model.header.grid.length > 0,
  draw: (pen, scene) => {
    const { model, palette, colour, hovered, selected, step, width, height } = scene;
    const { lines, panels, cells } = eventLayout(scene);
    const current = model.eventBefore(step);
    const shown = shownColour(model, colour);
    eventsShown(model, step).forEach((index, i) => {
      const event = model.events[index];
      const record = model.recordAt(event.step);
      const box = panels[i];
      if (index === current) pen.rect(box.x - 4, box.y - 3, box.w + 8, box.h + 7, { stroke: palette.accent, width: 2, radius: 6, dash: event.step === step ? undefined : [4, 3] });
      const moves = `−${event.prune.length} +${event.extend.length}`;
      drawPanelHead(pen, palette, box, `${index + 1} · step ${event.step}${lines ? "" : `  ${moves}`}`, moves, lines);
      const prune = model.movesOf(event.prune);
      const extend = model.movesOf(event.extend);
      const numbers = model.matrices.map((_, m) => valueTexts(shown, colourValue(model, shown, record, m)));
      const told = holdsNumbers(pen, cells[i].find(Boolean) ?? box, numbers);
      cells[i].forEach((cell, m) => {
        const fill = cellColour(model, palette, colour, record, m);
        if (cell) drawTile(pen, palette, cell, { fill, texts: told ? numbers[m] : [], marks: moveSigns(prune.has(m), extend.has(m)) });
      });
      drawFrames(pen, palette, cells[i], hovered, selected);
    });
    drawAxes(pen, palette, model, 4, height - EVENT_KEY_HEIGHT - AXES_HEIGHT / 2, width - 8);
    const right = drawSignKey(pen, palette, [["minus", model.words.pruned], ["plus", model.words.extended]], width - 4, height - EVENT_KEY_HEIGHT / 2);
    const key = { x: 4, y: height - EVENT_KEY_HEIGHT, w: right - 18, h: EVENT_KEY_HEIGHT };
    drawColourKey(pen, scene, colour, key);
  },
  neighbour: (scene, dx, dy) => neighbour(eventLayout(scene).cells[0], scene.selected, dx, dy),
  at: (scene, x, y) => Math.max(-1, ...eventLayout(scene).cells.map((cells) => cellAt(cells, x, y))),
  stepAt: (scene, x, y) => {
    const panel = cellAt(eventLayout(scene).panels, x, y);
    return panel < 0 ? null : scene.model.events[eventsShown(scene.model, scene.step)[panel]]?.step ?? null;
  },
  describe: ({ model, step, selected }) => {
    const told = eventsShown(model, step).map((index) => `step ${model.events[index].step}: ${model.rank(model.recordAt(model.events[index].step), selected)}`);
    return `The map at ${told.length} of ${model.events.length} events. Rank of ${model.matrices[selected].name} at each: ${told.join(", ")}`;
  },
  table: ({ model, step }) => mapTable(model, eventsShown(model, step).map((index) => model.events[index].step)),
};
