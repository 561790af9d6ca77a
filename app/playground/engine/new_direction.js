/** How a new direction starts: `flexlora.initializers`. */

import { deviation } from "./adapter.js";
import { dot, orthonormal } from "./planted.js";

/** @import { Matrix } from "./adapter.js" */
/** @import { Counter } from "./counter.js" */

/** @typedef {{p: Float64Array, lam: number, q: Float64Array}} Direction */

/** @param {Matrix} matrix @param {number | null} std @param {Counter} counter @param {number} lam @returns {Direction} */
function gaussian(matrix, std, counter, lam) {
  const p = counter.normal(matrix.out, deviation(std, matrix.out));
  return { p, lam, q: counter.normal(matrix.in, deviation(std, matrix.in)) };
}

/** A unit vector orthogonal to the rows of the directions. @param {Float64Array} vector @param {Float64Array} rows @param {number[]} slots */
function orthogonal(vector, rows, slots) {
  const width = vector.length;
  const own = slots.map((slot) => rows.subarray(slot * width, (slot + 1) * width)).filter((row) => dot(row, row) > 0);
  const basis = new Float64Array(own.length * width);
  own.forEach((row, place) => basis.set(row, place * width));
  const all = new Float64Array(basis.length + width);
  all.set(basis);
  all.set(vector, basis.length);
  return orthonormal(all, width).slice(basis.length);
}

/** Strategy → f(matrix, deviation of new vectors or null, generator) → the direction. @type {Record<string, (matrix: Matrix, std: number | null, counter: Counter) => Direction>} */
export const STARTS = {
  zero_impact: (matrix, std, counter) => gaussian(matrix, std, counter, 0),
  small_value: (matrix, std, counter) => gaussian(matrix, std, counter, 1e-3),
  all_zero: (matrix) => ({ p: new Float64Array(matrix.out), lam: 0, q: new Float64Array(matrix.in) }),
  gram_schmidt: (matrix, std, counter) => {
    const { p, q } = gaussian(matrix, std, counter, 0);
    const slots = matrix.filled();
    return { p: orthogonal(p, matrix.P, slots), lam: 0, q: orthogonal(q, matrix.Q, slots) };
  },
};
