/** Clipping, the regulariser's gradient after it, and AdamW without decay: what follows the backward pass of a step. */

/** @import { Adapter, Matrix } from "./adapter.js" */
/** @import { Settings } from "./settings.js" */

const BETA1 = 0.9;
const BETA2 = 0.999;
const EPSILON = 1e-8;
/** The smallest normal float64: below it, a norm has no slope. */
const TINY = 2 ** -1022;

/** c(k), by which Adam scales a movement after k steps. @param {number} steps */
const correction = (steps) => Math.sqrt(1 - BETA2 ** steps) / (1 - BETA1 ** steps);

export class Optimizer {
  /** @param {Adapter} adapter @param {Settings} settings */
  constructor(adapter, settings) {
    this.adapter = adapter;
    this.form = settings.regularizer;
    this.weight = settings.regularization_weight;
    this.most = settings.max_grad_norm;
    this.ratio = settings.lr_lambda;
    /** Steps since the moments began. */
    this.steps = 0;
    const slots = Math.max(...adapter.matrices.map((matrix) => matrix.slots));
    this.residual = new Float64Array(slots * slots);
    this.shares = new Float64Array(slots);
  }

  /** Scale the task's gradient to the largest norm that it may have; the norm that it had. */
  clip() {
    let sum = 0;
    this.each((matrix, rows) => {
      sum += squares(rows.P, matrix.used * matrix.out) + squares(rows.Q, matrix.used * matrix.in) + squares(rows.lam, matrix.used);
    });
    const norm = Math.sqrt(sum);
    const factor = Math.min(1, this.most / (norm + 1e-6));
    if (factor < 1) {
      this.each((matrix, rows) => {
        scaled(rows.P, matrix.used * matrix.out, factor);
        scaled(rows.Q, matrix.used * matrix.in, factor);
        scaled(rows.lam, matrix.used, factor);
      });
    }
    return norm;
  }

  /** Add the regulariser's gradient to that of P and Q; its value without γ. */
  regularize() {
    let total = 0;
    this.each((matrix, rows) => {
      total += this.orthogonal(matrix, matrix.P, rows.P, matrix.out) + this.orthogonal(matrix, matrix.Q, rows.Q, matrix.in);
    });
    return total;
  }

  /**
   * One factor's part of the regulariser.
   * @param {Matrix} matrix
   * @param {Float64Array} F (slots, dim)
   * @param {Float64Array} gradient of the same shape
   * @param {number} dim
   */
  orthogonal(matrix, F, gradient, dim) {
    const { used, active } = matrix;
    const { residual: D, form } = this;
    const count = this.adapter.matrices.length;
    let square = 0;
    for (let i = 0; i < used; i += 1) {
      for (let j = 0; j <= i; j += 1) {
        const sum = inner(F, i * dim, j * dim, dim) - (i === j ? active[i] : 0);
        D[i * used + j] = sum;
        D[j * used + i] = sum;
        square += (i === j ? 1 : 2) * sum * sum;
      }
    }
    const slope = form === "sum_squared" ? 1 : form === "mean_squared" ? 1 / count : square < TINY ? 0 : 1 / (2 * count * Math.sqrt(square));
    const factor = 4 * this.weight * slope;
    if (factor) {
      for (let i = 0; i < used; i += 1) {
        const g = i * dim;
        for (let j = 0; j < used; j += 1) {
          const own = factor * D[i * used + j];
          const f = j * dim;
          for (let p = 0; p < dim; p += 1) gradient[g + p] += own * F[f + p];
        }
      }
    }
    return form === "sum_squared" ? square : form === "mean_squared" ? square / count : Math.sqrt(Math.max(square, TINY)) / count;
  }

  /** Move every value. @param {number} rate of P and Q */
  step(rate) {
    this.steps += 1;
    const own = correction(this.steps);
    for (const matrix of this.adapter.matrices) {
      const { used, born, active, gradients, first, second } = matrix;
      for (let slot = 0; slot < used; slot += 1) {
        const age = this.steps - born[slot];
        // A direction that joined later is corrected for its own steps.
        this.shares[slot] = active[slot] && age < this.steps ? correction(age) / own : 1;
      }
      this.move(matrix.P, gradients.P, first.P, second.P, used, matrix.out, rate);
      this.move(matrix.Q, gradients.Q, first.Q, second.Q, used, matrix.in, rate);
      this.move(matrix.lam, gradients.lam, first.lam, second.lam, used, 1, rate * this.ratio);
    }
  }

  /**
   * @param {Float64Array} values
   * @param {Float64Array} g
   * @param {Float64Array} m
   * @param {Float64Array} v
   * @param {number} rows
   * @param {number} width
   * @param {number} rate
   */
  move(values, g, m, v, rows, width, rate) {
    const step = rate / (1 - BETA1 ** this.steps);
    const root = 1 / Math.sqrt(1 - BETA2 ** this.steps);
    for (let row = 0; row < rows; row += 1) {
      const size = step * this.shares[row];
      for (let i = row * width; i < (row + 1) * width; i += 1) {
        const gradient = g[i];
        const mean = m[i] + (1 - BETA1) * (gradient - m[i]);
        const square = BETA2 * v[i] + (1 - BETA2) * gradient * gradient;
        m[i] = mean;
        v[i] = square;
        values[i] -= (size * mean) / (Math.sqrt(square) * root + EPSILON);
      }
    }
  }

  /** Let the age of a slot begin now. @param {Matrix} matrix @param {number} slot */
  begin(matrix, slot) {
    matrix.born[slot] = this.steps;
  }

  /** Lose all moments and counts. */
  reset() {
    this.steps = 0;
    for (const matrix of this.adapter.matrices) {
      matrix.born.fill(NaN);
      for (const rows of [matrix.first, matrix.second]) for (const part of [rows.P, rows.Q, rows.lam]) part.fill(0);
    }
  }

  /** @param {(matrix: Matrix, gradients: import("./adapter.js").Rows) => void} visit */
  each(visit) {
    for (const matrix of this.adapter.matrices) visit(matrix, matrix.gradients);
  }
}

/** Inner product of two rows, in two sums that do not wait for each other. @param {Float64Array} F @param {number} a @param {number} b @param {number} width */
function inner(F, a, b, width) {
  let even = 0;
  let odd = 0;
  let p = 0;
  for (; p + 1 < width; p += 2) {
    even += F[a + p] * F[b + p];
    odd += F[a + p + 1] * F[b + p + 1];
  }
  if (p < width) even += F[a + p] * F[b + p];
  return even + odd;
}

/** @param {Float64Array} values @param {number} count */
function squares(values, count) {
  let sum = 0;
  for (let i = 0; i < count; i += 1) sum += values[i] * values[i];
  return sum;
}

/** @param {Float64Array} values @param {number} count @param {number} factor */
function scaled(values, count, factor) {
  for (let i = 0; i < count; i += 1) values[i] *= factor;
}
