/** A quantity of a layer: the mean of its matrices in which it is defined. */

import { colourValue } from "../pen/colour.js";
import { remembered } from "../model/remembered.js";

/** @import { Model } from "../model/model.js" */
/** @import { Colour } from "../pen/palette.js" */

/** @typedef {{layer: number | null, members: number[]}} Layer members: its matrices; null: those of no layer */

/** @typedef {{mean: number, least: number, greatest: number, defined: number}} LayerValue NaN where none of its matrices has a value; defined: how many have one */

/** @type {(model: Model) => Layer[]} ascending, what is in no layer last, as in the map */
export const layersOf = remembered((model) => {
  const groups = new Map(model.header.layers.map((/** @type {number} */ layer) => [layer, []]));
  model.matrices.forEach(({ layer }, m) => {
    if (!groups.has(layer)) groups.set(layer, []);
    groups.get(layer).push(m);
  });
  return Array.from(groups, ([layer, members]) => ({ layer, members }));
});

/** @param {Model} model @param {Colour} shown @param {number} t @param {Layer} layer @returns {LayerValue} */
export function layerValue(model, shown, t, { members }) {
  let [sum, least, greatest, defined] = [0, Infinity, -Infinity, 0];
  for (const m of members) {
    const value = colourValue(model, shown, t, m);
    if (Number.isNaN(value)) continue;
    sum += value;
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
    defined += 1;
  }
  return defined ? { mean: sum / defined, least, greatest, defined } : { mean: NaN, least: NaN, greatest: NaN, defined };
}
