/** Orders of the strip's rows, and how they are grouped. The same names as in analysis.order. */

import { finalRanks, netChange } from "./dynamics.js";
import { layerLabel } from "./format.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {{label: string, members: number[]}} Group matrices that stand together */

/**
 * @typedef {object} Sort
 * @property {string} key
 * @property {string} label
 * @property {string} hint
 * @property {(model: Model) => boolean} [possible]
 * @property {(model: Model) => Group[]} groups
 */

/** @type {Record<string, Sort>} */
export const SORTS = {
  architecture: {
    key: "architecture",
    label: "by type",
    hint: "module type, then layer",
    groups: (model) => grouped(model.order, (m) => model.matrices[m].type),
  },
  layer: {
    key: "layer",
    label: "by layer",
    hint: "layer, then module type; what is outside the layers first",
    groups: (model) => {
      const layer = (/** @type {number} */ m) => model.matrices[m].layer ?? -1;
      return grouped([...model.order].sort((a, b) => layer(a) - layer(b)), (m) => layerLabel(model.matrices[m].layer));
    },
  },
  final_rank: {
    key: "final_rank",
    label: "by final rank",
    hint: "largest rank at the end first",
    groups: (model) => descending(model, finalRanks(model)),
  },
  change: {
    key: "change",
    label: "by change",
    hint: "largest net gain of rank first, largest loss last",
    groups: (model) => descending(model, netChange(model)),
  },
  similarity: {
    key: "similarity",
    label: "by similarity",
    hint: "matrices whose entropy goes the same way stand together",
    // A clustering of the whole run, which comes when it is asked for; until then the first order stands in.
    groups: (model) => [{ label: "", members: model.similar ?? model.order }],
  },
};

/** @param {Model} model @param {string} sort @returns {Group[]} from the top; the first of `SORTS` where the run has nothing for it */
export function groupsOf(model, sort) {
  const wanted = SORTS[sort];
  return (wanted && (wanted.possible?.(model) ?? true) ? wanted : SORTS.architecture).groups(model);
}

/** @param {number[]} order @param {(m: number) => string} label @returns {Group[]} */
function grouped(order, label) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const m of order) {
    const name = label(m);
    const group = groups.get(name) ?? { label: name, members: [] };
    group.members.push(m);
    groups.set(name, group);
  }
  return [...groups.values()];
}

/** @param {Model} model @param {Int32Array} values @returns {Group[]} ties in the order of the architecture */
function descending(model, values) {
  return [{ label: "", members: [...model.order].sort((a, b) => values[b] - values[a]) }];
}
