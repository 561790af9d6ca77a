/** The directions of an event's film as λ of its records comes in: reads {player, whole, narrow, event, frames} as JSON, answers with those of the whole payload, and after no frame, each further one. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { player, whole, narrow, event, frames } = JSON.parse(readFileSync(0, "utf-8"));
const load = (name) => import(`${pathToFileURL(player)}/${name}.js`);
const [{ openPayload }, { Model }, { castOf, recordsOf }, { restingBars, drawnRecord }] = await Promise.all(["model/container", "model/model", "film/cast", "film/rest"].map(load));

const read = (path) => openPayload(new Uint8Array(readFileSync(path)));
function told(model) {
  const { known, tokens } = castOf(model, event);
  const [record, after] = recordsOf(model, event);
  const rest = model.matrices.map((_, m) => restingBars(model, after, m, new Set(), drawnRecord(model, after)));
  return { known, bars: tokens.map(({ bars }) => bars), rest, record };
}

const model = new Model(read(narrow));
const stages = [told(model)];
for (const [step, path] of frames) {
  if (!model.spectra.acceptFrame(read(path), step)) throw new Error(`${path} was refused`);
  stages.push(told(model));
}
process.stdout.write(JSON.stringify({ onDemand: model.spectra.onDemand, whole: told(new Model(read(whole))), stages, records: recordsOf(model, event).map((t) => model.steps[t]) }));
