/** Where a run's strip puts its cells on the entropy scale: reads payloads and a scale as JSON, answers with places of each. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { player, payloads, scale } = JSON.parse(readFileSync(0, "utf-8"));
const load = (name) => import(`${pathToFileURL(player)}/${name}.js`);
const [{ openPayload }, { Model }, { colourPlaces, stripColour }] = await Promise.all(["model/container", "model/model", "pen/colour"].map(load));

function placesOf(path) {
  const model = new Model(openPayload(new Uint8Array(readFileSync(path))));
  model.scaleEntropy(scale);
  const at = colourPlaces(model, stripColour(model, "rank"));
  return { scale: model.entropyScale, places: Array.from(model.steps, (_, t) => model.matrices.map((_, m) => at(t, m))), ranks: Array.from(model.ranks) };
}

process.stdout.write(JSON.stringify(payloads.map(placesOf)));
