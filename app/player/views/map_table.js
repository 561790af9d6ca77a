/** The numbers of a map at one step; the columns are those of analysis.tables. */

import { colourValue, COLUMNS } from "../pen/colour.js";

/** @import { Model } from "../model/model.js" */

const FIRST = ["step", "record_step", "matrix", "layer", "module_type"];
const LAST = ["stored_directions", "directions_used_per_step", "pruned", "extended"];
const QUANTITIES = /** @type {import("../pen/palette.js").Colour[]} */ (Object.keys(COLUMNS));

/** @param {Model} model @param {number[]} steps @returns {import("../model/scene.js").Table} one row a matrix at each step */
export function mapTable(model, steps) {
  return { head: [...FIRST, ...Object.values(COLUMNS), ...LAST], rows: steps.flatMap((step) => rowsAt(model, step)) };
}

/** @param {Model} model @param {number} step */
function rowsAt(model, step) {
  const t = model.recordAt(step);
  const event = model.events[model.eventAt(step)];
  const [prune, extend] = [model.movesOf(event?.prune), model.movesOf(event?.extend)];
  return model.matrices.map(({ name, layer, type }, m) => [
    step, model.steps[t], name, layer, type,
    ...QUANTITIES.map((key) => colourValue(model, key, t, m)),
    model.stored(t, m), model.spectra.used(t, m), prune.get(m) ?? 0, extend.get(m) ?? 0,
  ]);
}
