/** The regulariser's panel of pairs of runs, as drawn in a box: reads {player, pairs} as JSON, answers with what stands on its axis and how much of its height each line takes. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { player, pairs } = JSON.parse(readFileSync(0, "utf-8"));
const load = (name) => import(`${pathToFileURL(player)}/${name}.js`);
const [{ openPayload }, { Model }, { panelsOf }] = await Promise.all(["model/container", "model/model", "views/curves"].map(load));

const read = (path) => new Model(openPayload(new Uint8Array(readFileSync(path))));
const BOX = { x: 90, y: 100, w: 400, h: 100 };

function drawn(pair) {
  const [model, second] = pair.map(read);
  const panel = panelsOf(model, { model: second, name: "pinned", record: 0, missing: false }).find(({ label }) => label === "regulariser");
  const [texts, heights] = [[], []];
  const pen = { line: () => undefined, text: (_x, _y, string) => texts.push(string), clipped: (_box, draw) => draw(), path: (_xs, ys) => heights.push([Math.min(...ys), Math.max(...ys)].map((y) => (y - BOX.y) / BOX.h)) };
  panel.draw(pen, { text: "#000000", background: "#ffffff" }, BOX, { x: (step) => BOX.x + step });
  return { note: panel.note ?? null, terse: panel.terse ?? null, texts, heights };
}

process.stdout.write(JSON.stringify(pairs.map(drawn)));
