/** Orders of the strip's rows, and how they are grouped. analysis.order computes them. */

import { layerLabel } from "./format.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./decode.js").Matrix} Matrix */
/** @typedef {{label: string, members: number[]}} Group matrices that stand together */

/**
 * @typedef {object} Sort
 * @property {string} key
 * @property {string} label
 * @property {string} hint
 * @property {(matrix: Matrix) => string} [group] neighbours of the same one stand together under its name
 */

/** @type {Record<string, Sort>} */
export const SORTS = {
  architecture: { key: "architecture", label: "by type", hint: "module type, then layer", group: ({ type }) => type },
  layer: { key: "layer", label: "by layer", hint: "layer, then module type; what is outside the layers first", group: ({ layer }) => layerLabel(layer) },
  final_rank: { key: "final_rank", label: "by final rank", hint: "largest rank at the end first" },
  change: { key: "change", label: "by change", hint: "largest net gain of rank first, largest loss last" },
  similarity: { key: "similarity", label: "by similarity", hint: "matrices whose entropy goes the same way stand together" },
};

/** @param {Model} model @param {string} sort @returns {Group[]} from the top */
export function groupsOf(model, sort) {
  // A clustering of the whole run comes when it is asked for; until then the first order stands in.
  const order = /** @type {number[]} */ (sort === "similarity" ? (model.similar ?? model.order) : Array.from(model.derived[`order:${sort}`] ?? model.order));
  const { group } = SORTS[sort] ?? SORTS.architecture;
  if (!group) return [{ label: "", members: order }];
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const m of order) {
    const label = group(model.matrices[m]);
    if (!groups.has(label)) groups.set(label, { label, members: [] });
    groups.get(label)?.members.push(m);
  }
  return [...groups.values()];
}
