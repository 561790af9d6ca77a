/** A training as a file that the Lab imports as a run (`analysis.importers.playground`): what it was through, and nothing worked out. */

/** @import { Move } from "./engine/allocator.js" */
/** @import { Training } from "./engine/training.js" */

/** Of what stands in the file; an importer knows which it reads. */
export const VERSION = 1;

/** What the file is called by default. @param {Training} training */
export const recordName = ({ begun }) => `planted-${begun.policy ?? begun.importance}-s${begun.seed}.flexlora.json`;

/** The file's text, of as many steps as are finished. @param {Training} training @returns {string} JSON */
export function recordOf({ begun, done, history, planted }) {
  const named = (/** @type {Move} */ { matrix, slot, singularValue, rules }) => ({ matrix: planted.names[matrix], slot, ...(singularValue === null ? {} : { singular_value: singularValue }), rules });
  return JSON.stringify({
    flexlora_playground: VERSION,
    settings: begun,
    done,
    losses: encoded(history.losses.from()),
    regularizers: encoded(history.regularizers.from()),
    rates: encoded(history.rates.from()),
    budgets: encoded(history.budgets.from()),
    ranks: encoded(Uint8Array.from(history.ranks.from())),
    values: encoded(history.values.from()),
    true_values: history.spectra.map(({ record, values }) => [record, encoded(Float32Array.from(values))]),
    evaluations: history.evaluations,
    edits: history.edits.map((edit) => ({ step: edit.step, changes: edit.new })),
    events: history.events.map((event) => ({
      step: event.step,
      budget: event.budget,
      measure: event.measure,
      importances: event.importances,
      sensitivities: event.sensitivities,
      // JSON has no infinity.
      decided: event.decided.map((value) => (value === Infinity ? "first" : value)),
      prune: event.prune.map(named),
      extend: event.extend.map(named),
      refused: event.refused.map(([matrix, reason]) => [planted.names[matrix], reason]),
      rules: event.rules,
      adaptive: event.adaptive,
    })),
  });
}

/** The bytes of an array, in base64. @param {Float64Array | Float32Array | Int32Array | Uint8Array} array */
function encoded(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x4000) text += String.fromCharCode(...bytes.subarray(start, start + 0x4000));
  return btoa(text);
}
