/** Trainings saved as files of the playground: reads {playground, runs: [{settings, steps, changes}]} as JSON, answers with their texts. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { playground, runs } = JSON.parse(readFileSync(0, "utf-8"));
const load = (name) => import(`${pathToFileURL(playground)}/${name}.js`);
const [{ Training }, { recordName, recordOf }] = await Promise.all(["engine/training", "record"].map(load));

const saved = ({ settings, steps = Infinity, changes = {} }) => {
  const training = new Training(settings);
  while (!training.finished && training.done < steps) {
    if (changes[training.done]) training.change(changes[training.done]);
    training.step();
  }
  return { name: recordName(training), text: recordOf(training) };
};

process.stdout.write(JSON.stringify(runs.map(saved)));
