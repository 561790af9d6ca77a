/** What "take out → CSV" gives for pictures of the player, without a browser: reads what is asked for as JSON, answers with CSV texts. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { player, payload, other, parcels, frames, order, scenes } = JSON.parse(readFileSync(0, "utf-8"));
const load = (name) => import(`${pathToFileURL(player)}/${name}.js`);
const [{ openPayload }, { Model }, { csvOf }, { pinnedAt }, { stageOf }, { CHOICES }] = await Promise.all(
  ["model/container", "model/model", "model/csv", "views/pinned", "model/stages", "ui/view_state"].map(load),
);
const [{ MAPS }, { SIDES }, { BANDS }] = await Promise.all(["views/maps", "views/sides", "views/bands"].map(load));
const REGISTRIES = { map: MAPS, side: SIDES, band: BANDS };

const open = (path) => new Model(openPayload(new Uint8Array(readFileSync(path))));
const model = open(payload);
const second = other && open(other);
for (const parcel of parcels) if (!model.spectra.accept(openPayload(new Uint8Array(readFileSync(parcel))))) throw new Error(`${parcel} was refused`);
for (const [step, path] of Object.entries(frames)) if (!model.spectra.acceptFrame(openPayload(new Uint8Array(readFileSync(path))), Number(step))) throw new Error(`${path} was refused`);
model.similar = order;

function tableOf({ place, key, step, matrix, since, colour, sort, entropy_scale, stages, card }) {
  model.countFrom(since);
  model.scaleEntropy(entropy_scale);
  second?.countFrom(since);
  const stage = stages ? stageOf(model, model.eventAt(step), 0) : null;
  const pinned = second && pinnedAt(second, "other", step);
  const scene = { model, step, time: step, record: model.recordAt(step), selected: model.indexOf.get(matrix), since, colour, sort, stage, card, other: pinned };
  const view = REGISTRIES[place][key];
  return (view.possible?.(scene) ?? true) ? csvOf(view.table(scene)) : null;
}

process.stdout.write(JSON.stringify({ choices: CHOICES, tables: scenes.map(tableOf) }));
