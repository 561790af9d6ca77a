/** What happened, in words. */

import { formatNumber } from "../../player/model/format.js";
import { KINDS } from "../pictures/rank_map.js";
import { OWN } from "./choices.js";

/** @import { Event } from "../engine/allocator.js" */

const NAMED = 3;

/** @param {number} matrix in module order @returns {string} as its row and column in a map say */
export function matrixName(matrix) {
  return `layer ${Math.floor(matrix / KINDS.length)} ${KINDS[matrix % KINDS.length]}`;
}

/** How far ranks are from the true ones: moves can mend it only where both have as many directions. @param {number} wrong ½ · Σ |has − needs| @param {boolean} even as many as are needed, in all @returns {string} */
export function wrongWords(wrong, even) {
  return even ? `${formatNumber(wrong)} directions misplaced` : `${formatNumber(2 * wrong)} directions too many or too few`;
}

/** @param {ArrayLike<number>} ranks @param {ArrayLike<number>} truth @returns {boolean} as many directions in all */
export function evenly(ranks, truth) {
  const [has, needs] = [ranks, truth].map((own) => Array.from(own).reduce((sum, rank) => sum + rank, 0));
  return has === needs;
}

/** What one contestant has otherwise than the other, where both follow one rule. @param {Record<string, unknown>} own settings @param {Record<string, unknown>} other @returns {string} */
export function ownWords(own, other) {
  const keys = OWN.filter((key) => !["policy", "preset"].includes(key) && JSON.stringify(own[key]) !== JSON.stringify(other[key]));
  return keys.map((key) => `${key.replaceAll("_", " ")}: ${String(own[key] ?? "–").replaceAll("_", " ")}`).join(", ");
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
