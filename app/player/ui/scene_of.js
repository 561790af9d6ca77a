/** What the views draw from, of a player as it stands. */

import { whyFits } from "../views/why_card.js";
import { pinnedAt } from "../views/pinned.js";
import { stageOf, STAGES } from "../model/stages.js";
import { toldAt } from "../film/choreography.js";
import { inFilm } from "./tell.js";

/** @import { Colour } from "../pen/palette.js" */
/** @import { Model } from "../model/model.js" */
/** @import { Scene } from "../model/scene.js" */

/** @param {any} player @param {[number, number]} size @returns {Scene} */
export function sceneOf(player, [width, height]) {
  const model = /** @type {Model} */ (player.model);
  const { record, step, time, stage, share } = player.clock;
  const event = model.events[model.eventAt(step)];
  model.scaleEntropy(player.chosen.entropy_scale);
  player.pinned?.model.countFrom(player.since);
  const told = toldAt(inFilm(player) && stage !== null ? stage + share : STAGES.length);
  return {
    model, width, height, time, record, step, event,
    palette: player.palette,
    selected: player.selected,
    hovered: player.hovered,
    hoverStep: player.hoverStep,
    colour: /** @type {Colour} */ (player.chosen.colour),
    sort: player.chosen.sort ?? "architecture",
    scale: player.chosen.scale ?? "matrix",
    since: player.since,
    slow: player.clock.slow,
    lambdaOnly: player.request?.lambda_only ?? false,
    prune: model.movesOf(told.prune ? event?.prune : []),
    extend: model.movesOf(told.extend ? event?.extend : []),
    other: player.pinned && pinnedAt(player.pinned.model, player.pinned.name, step),
    stage: stage === null ? null : stageOf(model, model.eventAt(time), stage, share),
    // The card is of one event and one matrix: another place waits for its own.
    card: player.why && whyFits(player.why, model, step, player.selected) ? player.why.card : null,
  };
}
