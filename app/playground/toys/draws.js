/** Gaussian numbers for the toys, the same at each visit. */

import { keyOf, normalRows } from "../engine/counter.js";

/** @param {number} seed @param {number} rows @param {number} columns @returns {number[][]} rows with a norm of about 1 */
export function gaussianRows(seed, rows, columns) {
  const all = normalRows(keyOf(seed, "directions"), 0, rows, columns);
  return Array.from({ length: rows }, (_, i) => Array.from(all.subarray(i * columns, (i + 1) * columns), (value) => value / Math.sqrt(columns)));
}
