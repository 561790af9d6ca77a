/** The pictures that can stand in the map's place. */

import { describeCell } from "./describe.js";
import { colourName } from "../pen/colour.js";
import { EVENTS_VIEW } from "./event_maps.js";
import { mapTable } from "./map_table.js";
import { PAIR_VIEW } from "./pair_map.js";
import { RANK_TIME_VIEW } from "./rank_time.js";
import { SPECTRA_VIEW } from "./spectra_map.js";
import { describeStage, drawStageMap, filmRecords, stageAt, stageTable, STEPS_VIEW } from "./stage_map.js";
import { sized } from "../model/remembered.js";
import { decisionOf } from "../model/stages.js";
import { drawMap, hasGauges, layoutMap, matrixAt, neighbour } from "./rank_map.js";

/** @import { View } from "../model/scene.js" */

const RANK_COLOURS = ["rank", "change", "parameters"];

const mapLayout = sized(layoutMap);

/** @type {Record<string, View>} */
export const MAPS = {
  map: {
    key: "map",
    label: "Map",
    hint: "where rank is now: layer × module type",
    draw: (pen, scene) => {
      if (scene.stage || scene.slow) drawStageMap(pen, scene);
      else drawMap(pen, scene.model, scene.palette, mapLayout(scene), scene);
    },
    frames: (scene) => (scene.slow ? filmRecords(scene) : []),
    // Between events ranks stand still; gauges and entropies do not.
    sameAs: (scene) => {
      const { model, record, selected, hovered, colour, since, event, stage, slow } = scene;
      if (stage || slow || !RANK_COLOURS.includes(colour) || hasGauges(mapLayout(scene))) return undefined;
      return [model.rankVersion(record), selected, hovered, colour, since, event?.step].join();
    },
    tip: (scene, x, y) => {
      const m = scene.stage ? stageAt(scene, x, y) : -1;
      return scene.stage && m >= 0 ? describeStage(scene.model, decisionOf(scene.model, scene.stage.event), scene.stage.key, m) : null;
    },
    at: (scene, x, y) => (scene.slow ? stageAt(scene, x, y) : matrixAt(mapLayout(scene), x, y)),
    neighbour: (scene, dx, dy) => neighbour(mapLayout(scene).cells, scene.selected, dx, dy),
    describe: ({ model, record, selected, step, stage, colour }) =>
      stage
        ? `Rank map, step ${step}, ${stage.key}: ${stage.caption}. Selected: ${describeStage(model, decisionOf(model, stage.event), stage.key, selected)}`
        : `Rank map at step ${step}, coloured by ${colourName(model, colour)}. Selected: ${describeCell(model, record, selected, colour)}`,
    table: ({ model, step, stage }) => (stage ? stageTable(model, stage.event) : mapTable(model, [step])),
  },
  spectra: SPECTRA_VIEW,
  rank_time: RANK_TIME_VIEW,
  stages: STEPS_VIEW,
  events: EVENTS_VIEW,
  pair: PAIR_VIEW,
};
