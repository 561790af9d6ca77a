/** Scores of directions, smoothed over steps: `flexlora.smoothing`. */

/** @import { Adapter, Matrix } from "./adapter.js" */

const BETA = 0.85;
const SHARE_BETA = 0.9;
const EPSILON = 1e-8;

/** AdaLoRA's sensitivity × uncertainty of every value (Zhang et al. 2023). */
export class SmoothedSensitivity {
  /** @param {Adapter} adapter */
  constructor(adapter) {
    this.adapter = adapter;
    this.kept = adapter.matrices.map((matrix) => {
      const size = matrix.slots * (matrix.out + matrix.in + 1);
      return { mean: matrix.rows(new Float64Array(size)), spread: matrix.rows(new Float64Array(size)) };
    });
  }

  /** Take in the values and gradients as they are now. */
  update() {
    this.adapter.matrices.forEach((matrix, place) => {
      const { mean, spread } = this.kept[place];
      const { used, gradients } = matrix;
      smoothed(mean.P, spread.P, matrix.P, gradients.P, used * matrix.out);
      smoothed(mean.Q, spread.Q, matrix.Q, gradients.Q, used * matrix.in);
      smoothed(mean.lam, spread.lam, matrix.lam, gradients.lam, used);
    });
  }

  /** s(λ) + mean s(p) + mean s(q) of each direction, in slot order. */
  scores() {
    return this.adapter.matrices.map((matrix, place) => {
      const { mean, spread } = this.kept[place];
      return matrix.filled().map((slot) => {
        const p = average(mean.P, spread.P, slot, matrix.out);
        const q = average(mean.Q, spread.Q, slot, matrix.in);
        return mean.lam[slot] * spread.lam[slot] + (q + p);
      });
    });
  }

  /** Start a slot anew. @param {Matrix} matrix @param {number} slot */
  forget({ place, out, in: inside }, slot) {
    for (const rows of [this.kept[place].mean, this.kept[place].spread]) {
      rows.P.fill(0, slot * out, (slot + 1) * out);
      rows.Q.fill(0, slot * inside, (slot + 1) * inside);
      rows.lam[slot] = 0;
    }
  }
}

/** @param {Float64Array} mean @param {Float64Array} spread @param {Float64Array} values @param {Float64Array} gradients @param {number} count */
function smoothed(mean, spread, values, gradients, count) {
  for (let i = 0; i < count; i += 1) {
    const now = Math.abs(values[i] * gradients[i]);
    mean[i] = BETA * mean[i] + (1 - BETA) * now;
    spread[i] = BETA * spread[i] + (1 - BETA) * Math.abs(now - mean[i]);
  }
}

/** @param {Float64Array} mean @param {Float64Array} spread @param {number} slot @param {number} width */
function average(mean, spread, slot, width) {
  let sum = 0;
  for (let i = slot * width; i < (slot + 1) * width; i += 1) sum += mean[i] * spread[i];
  return sum / width;
}

/** DoRA's share of each direction in its matrix (Mao et al. 2024). */
export class SmoothedShares {
  /** @param {Adapter} adapter */
  constructor(adapter) {
    this.adapter = adapter;
    this.kept = adapter.matrices.map((matrix) => new Float64Array(matrix.slots));
  }

  update() {
    this.adapter.matrices.forEach((matrix, place) => {
      const kept = this.kept[place];
      const shares = componentShares(matrix);
      for (let slot = 0; slot < kept.length; slot += 1) kept[slot] *= SHARE_BETA;
      matrix.filled().forEach((slot, index) => {
        kept[slot] += (1 - SHARE_BETA) * shares[index];
      });
    });
  }

  scores() {
    return this.adapter.matrices.map((matrix, place) => matrix.filled().map((slot) => this.kept[place][slot]));
  }

  /** @param {Matrix} matrix @param {number} slot */
  forget(matrix, slot) {
    this.kept[matrix.place][slot] = 0;
  }
}

/** |λ| · ‖p‖ · ‖q‖ of each direction, in slot order. @param {Matrix} matrix */
export function componentNorms(matrix) {
  return matrix.filled().map((slot) => Math.abs(matrix.lam[slot]) * Math.sqrt(product(matrix.P, slot, slot, matrix.out)) * Math.sqrt(product(matrix.Q, slot, slot, matrix.in)));
}

/** @param {Matrix} matrix */
function componentShares(matrix) {
  const slots = matrix.filled();
  let whole = 0;
  for (const a of slots) {
    for (const b of slots) whole += matrix.lam[a] * matrix.lam[b] * product(matrix.P, a, b, matrix.out) * product(matrix.Q, a, b, matrix.in);
  }
  const norm = Math.sqrt(Math.max(0, whole)) + EPSILON;
  return componentNorms(matrix).map((own) => own / norm);
}

/** Inner product of two rows. @param {Float64Array} rows @param {number} a @param {number} b @param {number} width */
function product(rows, a, b, width) {
  let sum = 0;
  for (let i = 0; i < width; i += 1) sum += rows[a * width + i] * rows[b * width + i];
  return sum;
}

/** Name of an array that a policy may read → what keeps it. */
export const SMOOTHED = { sensitivities: SmoothedSensitivity, shares: SmoothedShares };
