/** Which experiment a race is, whatever the order in which its choices were read. */

import { EXPERIMENTS } from "./experiments.js";

/** @import { Choices } from "./choices.js" */
/** @import { Experiment } from "./experiments.js" */

/** @param {Choices} choices @returns {Experiment | undefined} that has exactly these */
export function experimentOf(choices) {
  return EXPERIMENTS.find((experiment) => told(experiment.choices) === told(choices));
}

/** The same whatever the order of its keys. @param {any} value @returns {string} */
function told(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${key}:${told(value[key])}`).join()}}`;
}
