/** A new direction beside what is there already: how it starts, its gradients, and steps that it takes. */

import { difference, dot, squaredNorm, unitBeside, update } from "./small_matrix.js";

/** @import { Matrix } from "./small_matrix.js" */
/** @typedef {{p: number[], lam: number, q: number[]}} Direction */

const SMALL_VALUE = 1e-3; // flexlora.initializers.SMALL_VALUE

/**
 * `NEW_DIRECTIONS` of flexlora.initializers: what is drawn is passed, p and q Gaussian with a norm of about 1.
 * @type {Record<string, {label: string, hint: string, start: (p: number[], q: number[], P: Matrix, Q: Matrix) => Direction}>}
 */
export const WAYS = {
  zero_impact: { label: "No effect at first", hint: "p and q random, λ = 0", start: (p, q) => ({ p, lam: 0, q }) },
  small_value: { label: "A tiny effect", hint: "p and q random, λ = 0.001", start: (p, q) => ({ p, lam: SMALL_VALUE, q }) },
  all_zero: { label: "All zero", hint: "p, λ and q all 0", start: (p, q) => ({ p: p.map(() => 0), lam: 0, q: q.map(() => 0) }) },
  gram_schmidt: { label: "At right angles", hint: "p and q unit vectors at right angles to those that are there, λ = 0", start: (p, q, P, Q) => ({ p: unitBeside(p, P), lam: 0, q: unitBeside(q, Q) }) },
};

/** @param {Direction} direction @returns {Matrix} λ p qᵀ */
export function matrixOf({ p, lam, q }) {
  return update([p], [lam], [q]);
}

/** @param {Matrix} wanted what is still missing @param {Direction} direction @returns {number} ½ ‖λ p qᵀ − wanted‖² */
export function lossOf(wanted, direction) {
  return squaredNorm(difference(matrixOf(direction), wanted)) / 2;
}

/** @param {Matrix} wanted @param {Direction} direction @returns {Direction} ∂loss by p, λ and q */
export function gradientOf(wanted, direction) {
  const { p, lam, q } = direction;
  const error = difference(matrixOf(direction), wanted);
  const along = error.map((row) => dot(row, q)); // E q
  const across = q.map((_, j) => error.reduce((sum, row, i) => sum + row[j] * p[i], 0)); // Eᵀ p
  return { p: along.map((value) => lam * value), lam: dot(p, along), q: across.map((value) => lam * value) };
}

/** A step of plain gradient descent. @param {Matrix} wanted @param {Direction} direction @param {number} rate @returns {Direction} */
export function stepped(wanted, direction, rate) {
  const slope = gradientOf(wanted, direction);
  const moved = (/** @type {number[]} */ vector, /** @type {number[]} */ by) => vector.map((value, i) => value - rate * by[i]);
  return { p: moved(direction.p, slope.p), lam: direction.lam - rate * slope.lam, q: moved(direction.q, slope.q) };
}
