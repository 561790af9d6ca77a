/** Trainings of the playground's engine: reads {engine, runs: [{settings, changes}]} as JSON, answers with what each was through, and with the table of settings. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { engine, runs } = JSON.parse(readFileSync(0, "utf-8"));
const load = (name) => import(`${pathToFileURL(engine)}/${name}.js`);
const [{ Training }, { commandOf, SETTINGS, PRESETS, completed }] = await Promise.all(["training", "settings"].map(load));

function through({ settings, changes = {} }) {
  try {
    const training = new Training(settings);
    while (!training.finished) {
      if (changes[training.done]) training.change(changes[training.done]);
      training.step();
    }
    const { losses, regularizers, evaluations, events } = training.history;
    const bare = ({ matrix, slot, rules }) => ({ matrix, slot, rules });
    return {
      settings: training.settings,
      command: commandOf(training.settings),
      losses: [...losses.from()],
      regularizers: [...regularizers.from()],
      evaluations,
      // JSON has no infinity.
      events: events.map(({ prune, extend, decided, ...own }) => ({ ...own, decided: decided.map((value) => (value === Infinity ? "first" : value)), prune: prune.map(bare), extend: extend.map(bare) })),
      way: training.way.way,
      trueRanks: training.planted.truth.ranks,
    };
  } catch (error) {
    return { error: error.message };
  }
}

process.stdout.write(JSON.stringify({ runs: runs.map(through), settings: SETTINGS, presets: PRESETS, defaults: completed() }));
