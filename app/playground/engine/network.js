/** The adapted network: its loss on a batch, and the gradient by P, λ and Q of every direction. */

import { padded } from "./planted.js";
import { columnsByColumns, fillTanh, rowsByColumns, rowsByRows } from "./products.js";

/** @import { Adapter, Matrix } from "./adapter.js" */
/** @import { Planted } from "./planted.js" */

/** What is computed with: W0 + s · P diag(λ) Q of one matrix. @typedef {{weight: Float64Array, turned: Float64Array}} Folded weight (out, in), and (in, out) */

/** Room for one batch, and all that a step computes in it. */
export class Network {
  /** @param {Planted} planted @param {Adapter} adapter @param {number} batch rows */
  constructor(planted, adapter, batch) {
    const d = planted.width;
    const rows = padded(batch);
    const room = (/** @type {number} */ width) => new Float64Array(rows * width);
    this.planted = planted;
    this.adapter = adapter;
    this.batch = batch;
    this.inputs = room(d);
    this.targets = room(d);
    /** @type {Folded[]} */
    this.folded = planted.weights.map((weight) => ({ weight: weight.slice(), turned: new Float64Array(weight.length) }));
    /** What each layer was given, what came out of its two tanh. */
    this.layers = Array.from({ length: planted.layers }, () => ({ given: room(d), first: room(d), second: room(2 * d) }));
    this.output = room(d);
    this.narrow = room(d);
    this.wide = room(2 * d);
    /** ∂L/∂h. */
    this.flow = room(d);
    /** X Qᵀ and ∂L/∂Y P of one matrix. */
    this.low = [room(d), room(d)];
    this.whole = new Float64Array(padded(2 * d) * 2 * d);
    this.turned = new Float64Array(padded(2 * d) * d);
  }

  /** Take over the batch of another network of the same task. @param {Network} other */
  take(other) {
    this.inputs.set(other.inputs);
    this.targets.set(other.targets);
  }

  /** Put s · P diag(λ) Q as it is now into the weights that are computed with. */
  fold() {
    for (const matrix of this.adapter.matrices) {
      const { out, in: inside, P, Q, lam, used, place } = matrix;
      const { weight, turned } = this.folded[place];
      weight.set(this.planted.weights[place]);
      const { scale } = this.adapter;
      // Two directions at a time: the weight is read and written half as often.
      for (let slot = 0; slot < used; slot += 2) {
        const paired = slot + 1 < used;
        const first = scale * lam[slot];
        const second = paired ? scale * lam[slot + 1] : 0;
        const q = slot * inside;
        const other = paired ? q + inside : q;
        for (let o = 0; o < out; o += 1) {
          const a = first * P[slot * out + o];
          const b = paired ? second * P[(slot + 1) * out + o] : 0;
          for (let i = 0, w = o * inside; i < inside; i += 1, w += 1) weight[w] += a * Q[q + i] + b * Q[other + i];
        }
      }
      for (let o = 0; o < out; o += 1) {
        const w = o * inside;
        for (let i = 0, t = o; i < inside; i += 1, t += out) turned[t] = weight[w + i];
      }
    }
  }

  /** The loss of the batch in `inputs` and `targets`; gradients are written over the last ones. */
  step() {
    this.fold();
    this.forward();
    const { batch, output, targets, flow } = this;
    const count = batch * this.planted.width;
    let sum = 0;
    for (let i = 0; i < count; i += 1) {
      const off = output[i] - targets[i];
      sum += off * off;
      flow[i] = (2 / count) * off;
    }
    this.backward();
    return sum / count;
  }

  forward() {
    const { batch, output, narrow } = this;
    const d = this.planted.width;
    const share = 1 / Math.sqrt(this.planted.layers);
    output.set(this.inputs);
    this.layers.forEach(({ given, first, second }, layer) => {
      const [mix, up, down] = this.folded.slice(3 * layer, 3 * layer + 3);
      given.set(output);
      rowsByRows(first, given, mix.weight, batch, d, d);
      fillTanh(first, first, batch * d);
      rowsByRows(second, first, up.weight, batch, 2 * d, d);
      fillTanh(second, second, batch * 2 * d);
      rowsByRows(narrow, second, down.weight, batch, d, 2 * d);
      for (let i = 0; i < batch * d; i += 1) output[i] += share * narrow[i];
    });
  }

  backward() {
    const { batch, flow, narrow, wide } = this;
    const d = this.planted.width;
    const share = 1 / Math.sqrt(this.planted.layers);
    for (let layer = this.layers.length - 1; layer >= 0; layer -= 1) {
      const { given, first, second } = this.layers[layer];
      const [mix, up, down] = this.adapter.matrices.slice(3 * layer, 3 * layer + 3);
      for (let i = 0; i < batch * d; i += 1) narrow[i] = share * flow[i];
      this.gradient(down, second, narrow);
      rowsByRows(wide, narrow, this.folded[down.place].turned, batch, 2 * d, d);
      throughTanh(wide, second, batch * 2 * d);
      this.gradient(up, first, wide);
      rowsByRows(narrow, wide, this.folded[up.place].turned, batch, d, 2 * d);
      throughTanh(narrow, first, batch * d);
      this.gradient(mix, given, narrow);
      if (layer) {
        const back = this.low[0];
        rowsByRows(back, narrow, this.folded[mix.place].turned, batch, d, d);
        for (let i = 0; i < batch * d; i += 1) flow[i] += back[i];
      }
    }
  }

  /**
   * Write the gradient by P, λ and Q of one matrix, in the cheaper of two orders of multiplication.
   * @param {Matrix} matrix
   * @param {Float64Array} X its inputs
   * @param {Float64Array} dY gradient by its outputs
   */
  gradient(matrix, X, dY) {
    const { out, in: inside, used, P, Q, lam, gradients } = matrix;
    if (!used) return;
    const { batch, low, whole, turned } = this;
    const thin = 2 * batch * (out + inside) * used < out * inside * (batch + 2 * used);
    if (thin) {
      rowsByRows(low[0], X, Q, batch, used, inside);
      rowsByRows(low[1], dY, P, batch, used, out);
      columnsByColumns(gradients.P, low[0], dY, used, out, batch);
      columnsByColumns(gradients.Q, low[1], X, used, inside, batch);
    } else {
      columnsByColumns(whole, dY, X, out, inside, batch);
      rowsByColumns(gradients.Q, P, whole, used, inside, out);
      rowsByRows(turned, whole, Q, out, used, inside);
      for (let slot = 0; slot < used; slot += 1) for (let o = 0; o < out; o += 1) gradients.P[slot * out + o] = turned[o * used + slot];
    }
    const scale = this.adapter.scale;
    for (let slot = 0; slot < used; slot += 1) {
      const own = scale * lam[slot];
      let sum = 0;
      for (let i = slot * inside; i < (slot + 1) * inside; i += 1) {
        sum += gradients.Q[i] * Q[i];
        gradients.Q[i] *= own;
      }
      gradients.lam[slot] = scale * sum;
      for (let o = slot * out; o < (slot + 1) * out; o += 1) gradients.P[o] *= own;
    }
  }
}

/** Times 1 − tanh². @param {Float64Array} flow @param {Float64Array} values of tanh @param {number} count */
function throughTanh(flow, values, count) {
  for (let i = 0; i < count; i += 1) flow[i] *= 1 - values[i] * values[i];
}
