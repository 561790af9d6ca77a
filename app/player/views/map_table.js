/** The numbers of a map at one step; the columns are those of analysis.tables. */

import { colourValue, COLOURS } from "../pen/colour.js";

/** @typedef {import("../model/model.js").Model} Model */

const FIRST = ["step", "record_step", "matrix", "layer", "module_type"];
const LAST = ["stored_directions", "directions_used_per_step", "pruned", "extended"];

/** @param {Model} model @param {number[]} steps @returns {import("../model/scene.js").Table} one row a matrix at each step */
export function mapTable(model, steps) {
  return { head: [...FIRST, ...COLOURS.map(({ column }) => column), ...LAST], rows: steps.flatMap((step) => rowsAt(model, step)) };
}

/** @param {Model} model @param {number} step */
function rowsAt(model, step) {
  const t = model.recordAt(step);
  const event = model.events[model.eventAt(step)];
  const [prune, extend] = [model.movesOf(event?.prune), model.movesOf(event?.extend)];
  return model.matrices.map(({ name, layer, type }, m) => [
    step, model.steps[t], name, layer, type,
    ...COLOURS.map(({ key }) => colourValue(model, key, t, m)),
    model.stored(t, m), model.spectra.used(t, m), prune.get(m) ?? 0, extend.get(m) ?? 0,
  ]);
}
