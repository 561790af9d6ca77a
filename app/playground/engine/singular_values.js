/** The singular values of P diag(λ) Q itself, to hold against λ. */

/** @import { Matrix } from "./adapter.js" */

/**
 * Singular values of s · P diag(λ) Q of one matrix, descending: those of the small core of two thin QR.
 * @param {Matrix} matrix
 * @param {number} scale
 * @returns {number[]} one a direction
 */
export function trueSingularValues(matrix, scale) {
  const slots = matrix.filled();
  const left = triangle(slots.map((slot) => matrix.P.slice(slot * matrix.out, (slot + 1) * matrix.out)));
  const right = triangle(slots.map((slot) => matrix.Q.slice(slot * matrix.in, (slot + 1) * matrix.in)));
  const count = slots.length;
  /** Columns of R diag(λ) Sᵀ. @type {Float64Array[]} */
  const columns = [];
  for (let j = 0; j < count; j += 1) {
    const column = new Float64Array(count);
    // R and S are triangles: vector p is made of the first p + 1 of its basis.
    for (let p = j; p < count; p += 1) {
      const own = matrix.lam[slots[p]] * right[p][j];
      for (let i = 0; i <= p; i += 1) column[i] += left[p][i] * own;
    }
    columns.push(column);
  }
  return jacobi(columns).map((value) => Math.abs(scale) * value);
}

/** R of the QR of vectors: column p is what vector p is made of. @param {Float64Array[]} vectors they are changed */
function triangle(vectors) {
  return vectors.map((vector, place) => {
    const parts = new Float64Array(vectors.length);
    for (let again = 0; again < 2; again += 1) {
      for (let before = 0; before < place; before += 1) {
        const own = inner(vectors[before], vector);
        parts[before] += own;
        for (let i = 0; i < vector.length; i += 1) vector[i] -= own * vectors[before][i];
      }
    }
    parts[place] = Math.sqrt(inner(vector, vector));
    if (parts[place]) for (let i = 0; i < vector.length; i += 1) vector[i] /= parts[place];
    return parts;
  });
}

/** @param {Float64Array} x @param {Float64Array} y */
function inner(x, y) {
  let sum = 0;
  for (let i = 0; i < x.length; i += 1) sum += x[i] * y[i];
  return sum;
}

/** Singular values of a matrix by rotations of its columns until they are orthogonal. @param {Float64Array[]} columns @returns {number[]} descending */
export function jacobi(columns) {
  for (let sweep = 0, turned = true; turned && sweep < 60; sweep += 1) {
    turned = false;
    for (let a = 0; a < columns.length; a += 1) {
      for (let b = a + 1; b < columns.length; b += 1) turned = rotate(columns[a], columns[b]) || turned;
    }
  }
  return columns.map((column) => Math.sqrt(inner(column, column))).sort((a, b) => b - a);
}

/** Make two columns orthogonal. @param {Float64Array} x @param {Float64Array} y @returns {boolean} false = they were */
function rotate(x, y) {
  const xx = inner(x, x);
  const yy = inner(y, y);
  const xy = inner(x, y);
  if (Math.abs(xy) <= 1e-15 * Math.sqrt(xx * yy)) return false;
  const zeta = (yy - xx) / (2 * xy);
  const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
  const c = 1 / Math.sqrt(1 + t * t);
  for (let i = 0; i < x.length; i += 1) {
    const own = x[i];
    x[i] = c * (own - t * y[i]);
    y[i] = c * (t * own + y[i]);
  }
  return true;
}
