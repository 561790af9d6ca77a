/** Matrices small enough to be arrays of rows, and what the toys compute with them. */

import { jacobi } from "../engine/singular_values.js";

/** @typedef {number[][]} Matrix rows */

/** @param {Matrix} matrix @returns {Matrix} */
export function transposed(matrix) {
  return matrix[0].map((_, column) => matrix.map((row) => row[column]));
}

/** @param {Matrix} left @param {Matrix} right @returns {Matrix} */
export function product(left, right) {
  const columns = transposed(right);
  return left.map((row) => columns.map((column) => dot(row, column)));
}

/** @param {number[]} a @param {number[]} b @returns {number} */
export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}

/** @param {Matrix} matrix @returns {number} ‖·‖²_F */
export function squaredNorm(matrix) {
  return matrix.reduce((sum, row) => sum + dot(row, row), 0);
}

/** @param {Matrix} a @param {Matrix} b @returns {Matrix} a − b */
export function difference(a, b) {
  return a.map((row, i) => row.map((value, j) => value - b[i][j]));
}

/** Σ λᵢ pᵢ qᵢᵀ. @param {Matrix} P one direction a row @param {number[]} lam @param {Matrix} Q one direction a row @returns {Matrix} (out, in) */
export function update(P, lam, Q) {
  const scaled = Q.map((row, i) => row.map((value) => lam[i] * value));
  return product(transposed(P), scaled);
}

/** @param {Matrix} matrix @returns {number[]} descending */
export function singularValues(matrix) {
  const columns = matrix.length >= matrix[0].length ? transposed(matrix) : matrix;
  return jacobi(columns.map((column) => Float64Array.from(column)));
}

/** The singular values of P diag(λ) Q itself, which λ holds only where P and Q are orthonormal; `flexlora.spectra`. @param {Matrix} P @param {number[]} lam @param {Matrix} Q @returns {number[]} as many as λ, descending */
export function trueSingularValues(P, lam, Q) {
  const found = singularValues(update(P, lam, Q)).slice(0, lam.length);
  return [...found, ...Array.from({ length: lam.length - found.length }, () => 0)];
}

/** ‖FFᵀ − I‖²_F of a factor with one direction a row; `flexlora.regularization`. @param {Matrix} factor @returns {number} */
export function orthogonality(factor) {
  return squaredNorm(residual(factor));
}

/** Its gradient, 4 (FFᵀ − I) F. @param {Matrix} factor @returns {Matrix} */
export function orthogonalityGradient(factor) {
  return product(residual(factor), factor).map((row) => row.map((value) => 4 * value));
}

/** @param {Matrix} factor @returns {Matrix} FFᵀ − I */
function residual(factor) {
  return factor.map((row, i) => factor.map((other, j) => dot(row, other) - (i === j ? 1 : 0)));
}

/** Rows made orthonormal one after another, each projected twice. @param {Matrix} rows @returns {Matrix} */
export function orthonormal(rows) {
  /** @type {Matrix} */
  const found = [];
  for (const row of rows) found.push(unitBeside(row, found));
  return found;
}

/** @param {number[]} vector @param {Matrix} basis orthonormal rows @returns {number[]} the unit vector of what is orthogonal to all of them */
export function unitBeside(vector, basis) {
  let rest = [...vector];
  for (let pass = 0; pass < 2; pass += 1) {
    for (const other of basis) {
      const share = dot(rest, other);
      rest = rest.map((value, i) => value - share * other[i]);
    }
  }
  const length = Math.sqrt(dot(rest, rest));
  return rest.map((value) => value / length);
}
