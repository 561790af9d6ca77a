/** What happened, in words. */

import { KINDS } from "../pictures/rank_map.js";

/** @import { Event } from "../engine/allocator.js" */

const NAMED = 3;

/** @param {number} matrix in module order @returns {string} as its row and column in a map say */
export function matrixName(matrix) {
  return `layer ${Math.floor(matrix / KINDS.length)} ${KINDS[matrix % KINDS.length]}`;
}

/** @param {string[]} names @returns {string} */
function listed(names) {
  if (names.length > NAMED) return `${names.slice(0, NAMED).join(", ")} and ${names.length - NAMED} more`;
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}` : names[0];
}

/** @param {number[]} matrices @param {string[]} names @returns {string[]} with how often, where that is more than once */
function counted(matrices, names) {
  return [...new Set(matrices)].map((matrix) => {
    const times = matrices.filter((other) => other === matrix).length;
    return times > 1 ? `${names[matrix]} (${times} times)` : names[matrix];
  });
}

/** @param {Event} event @param {string[]} names of the matrices @param {string} pruned which direction goes @returns {string} */
export function eventWords({ step, prune, extend }, names, pruned) {
  if (!prune.length && !extend.length) return `step ${step}: nothing moved`;
  const lost = counted(prune.map(({ matrix }) => matrix), names);
  const gained = counted(extend.map(({ matrix }) => matrix), names);
  const parts = [];
  if (lost.length) parts.push(`${listed(lost)} lost ${lost.length > 1 ? "their" : "its"} ${pruned}`);
  if (gained.length) parts.push(`${listed(gained)} gained one`);
  return `step ${step}: ${parts.join("; ")}`;
}
