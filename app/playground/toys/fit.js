/** A small matrix that P diag(λ) Q learns, with the regulariser as strong as one likes: Adam on ½‖P diag(λ) Q − W‖² / size + γ · (‖PᵀP − I‖² + ‖QQᵀ − I‖²). */

import { difference, orthogonality, orthogonalityGradient, product, squaredNorm, transposed, update } from "./small_matrix.js";

/** @import { Matrix } from "./small_matrix.js" */

const [KEPT_MEAN, KEPT_SQUARE, EPSILON] = [0.9, 0.999, 1e-8];

export class Fit {
  /** @param {Matrix} wanted (out, in) @param {Matrix} P (r, out) one direction a row @param {Matrix} Q (r, in) @param {number} weight γ @param {number} rate */
  constructor(wanted, P, Q, weight, rate) {
    this.wanted = wanted;
    this.P = P.map((row) => [...row]);
    this.Q = Q.map((row) => [...row]);
    this.lam = P.map(() => 0);
    this.weight = weight;
    this.rate = rate;
    this.steps = 0;
    this.moments = [this.P, this.Q, [this.lam]].map((part) => part.map((row) => row.map(() => [0, 0])));
  }

  /** @returns {number} what is to be learned: half the squared error over the number of entries */
  get loss() {
    return squaredNorm(difference(update(this.P, this.lam, this.Q), this.wanted)) / 2 / this.size;
  }

  get size() {
    return this.wanted.length * this.wanted[0].length;
  }

  /** @returns {number} ‖PᵀP − I‖²_F + ‖QQᵀ − I‖²_F */
  get departure() {
    return orthogonality(this.P) + orthogonality(this.Q);
  }

  /** @returns {[Matrix, Matrix, Matrix]} by P, Q and λ (one row) */
  gradients() {
    const { P, Q, lam, weight, size } = this;
    const error = difference(update(P, lam, Q), this.wanted).map((row) => row.map((value) => value / size));
    const left = product(Q, transposed(error)); // row i: E qᵢ
    const right = product(P, error); // row i: Eᵀ pᵢ
    const [pullP, pullQ] = [orthogonalityGradient(P), orthogonalityGradient(Q)];
    const joined = (/** @type {Matrix} */ own, /** @type {Matrix} */ pull) => own.map((row, i) => row.map((value, j) => lam[i] * value + weight * pull[i][j]));
    return [joined(left, pullP), joined(right, pullQ), [P.map((row, i) => row.reduce((sum, value, j) => sum + value * left[i][j], 0))]];
  }

  step() {
    this.steps += 1;
    const [mean, square] = [1 - KEPT_MEAN ** this.steps, 1 - KEPT_SQUARE ** this.steps];
    const parts = [this.P, this.Q, [this.lam]];
    this.gradients().forEach((gradient, part) => {
      gradient.forEach((row, i) => row.forEach((slope, j) => {
        const moment = this.moments[part][i][j];
        moment[0] = KEPT_MEAN * moment[0] + (1 - KEPT_MEAN) * slope;
        moment[1] = KEPT_SQUARE * moment[1] + (1 - KEPT_SQUARE) * slope * slope;
        parts[part][i][j] -= (this.rate * moment[0]) / mean / (Math.sqrt(moment[1] / square) + EPSILON);
      }));
    });
  }
}
