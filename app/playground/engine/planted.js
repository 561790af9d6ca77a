/** The frozen network, the teacher and the data, all drawn from one seed: `flexlora.planted.network`. */

import { keyOf, normalRows } from "./counter.js";
import { fillTanh, rowsByRows } from "./products.js";
import { sizesOf, truthOf } from "./scenario.js";

/** @import { Settings } from "./settings.js" */

const KINDS = ["mix", "up", "down"];
/** Number of a split in the keys of its inputs and noise. */
const SPLITS = { train: 0, validation: 1, test: 2 };
/** Rows of each split. */
export const ROWS = { train: 2 ** 20, validation: 512, test: 2048 };

/** @typedef {{out: number, in: number}} Shape of a matrix */

/** Rows rounded up to what the products work on at a time. @param {number} rows */
export const padded = (rows) => 4 * Math.ceil(rows / 4);

/** One planted task; what it draws is the same for every training of these settings. */
export class Planted {
  /** @param {Pick<Settings, "scenario" | "profile" | "true_rank" | "width" | "layers" | "noise" | "seed">} settings */
  constructor(settings) {
    const { width: d, layers, seed } = settings;
    this.width = d;
    this.layers = layers;
    this.seed = seed;
    this.noise = settings.noise;
    this.truth = truthOf(settings);
    /** @type {Shape[]} */
    this.shapes = Array.from({ length: layers }, () => [{ out: d, in: d }, { out: 2 * d, in: d }, { out: d, in: 2 * d }]).flat();
    /** Names of the matrices, in module order. */
    this.names = this.shapes.map((_, place) => `layers.${Math.floor(place / 3)}.${KINDS[place % 3]}`);
    /** Frozen W0 of each matrix, (out, in). */
    this.weights = this.shapes.map((shape, place) => {
      const drawn = normalRows(keyOf(seed, "weights", place), 0, shape.out, shape.in);
      const root = Math.sqrt(shape.in);
      return drawn.map((value) => value / root);
    });
    /** W0 + ΔW* of each matrix. */
    this.taught = this.weights.map((weight, place) => {
      const update = this.update(place);
      return weight.map((value, index) => value + update[index]);
    });
    /** @type {Map<string, {inputs: Float64Array, targets: Float64Array}>} */
    this.held = new Map();
    /** @type {Record<string, Float64Array>} */
    this.rooms = {};
  }

  /** ΔW* of one matrix, (out, in). @param {number} matrix */
  update(matrix) {
    const { out, in: inside } = this.shapes[matrix];
    const sizes = sizesOf(this.truth, matrix);
    const left = orthonormal(normalRows(keyOf(this.seed, "left", matrix), 0, sizes.length, out), out);
    const right = orthonormal(normalRows(keyOf(this.seed, "right", matrix), 0, sizes.length, inside), inside);
    const found = new Float64Array(out * inside);
    sizes.forEach((size, place) => {
      for (let o = 0; o < out; o += 1) {
        const scaled = left[place * out + o] * size;
        for (let i = 0; i < inside; i += 1) found[o * inside + i] += scaled * right[place * inside + i];
      }
    });
    return found;
  }

  /**
   * Write rows of a split: inputs and targets (rows, width), both padded to a multiple of four rows.
   * @param {"train" | "validation" | "test"} split only the training split's targets have noise
   * @param {number} first
   * @param {number} rows
   * @param {Float64Array} inputs
   * @param {Float64Array} targets
   */
  draw(split, first, rows, inputs, targets) {
    const d = this.width;
    const before = Math.min(rows, ROWS[split] - first);
    const key = keyOf(this.seed, "inputs", SPLITS[split]);
    normalRows(key, first, before, d, inputs);
    // From the first row again after the last.
    if (before < rows) normalRows(key, 0, rows - before, d, inputs.subarray(before * d));
    this.forward(this.taught, inputs, targets, rows);
    if (split !== "train" || !this.noise) return;
    const noise = keyOf(this.seed, "noise", SPLITS[split]);
    const drawn = this.room("noise", padded(rows) * d);
    normalRows(noise, first, before, d, drawn);
    if (before < rows) normalRows(noise, 0, rows - before, d, drawn.subarray(before * d));
    for (let i = 0; i < rows * d; i += 1) targets[i] += this.noise * drawn[i];
  }

  /** A split that is evaluated, drawn once. @param {"validation" | "test"} split */
  evaluated(split) {
    let found = this.held.get(split);
    if (!found) {
      found = { inputs: new Float64Array(ROWS[split] * this.width), targets: new Float64Array(ROWS[split] * this.width) };
      this.draw(split, 0, ROWS[split], found.inputs, found.targets);
      this.held.set(split, found);
    }
    return found;
  }

  /**
   * Write the network's output for inputs (rows, width).
   * @param {Float64Array[]} weights (out, in) of each matrix
   * @param {Float64Array} inputs
   * @param {Float64Array} outputs
   * @param {number} rows
   */
  forward(weights, inputs, outputs, rows) {
    const d = this.width;
    const all = padded(rows);
    const narrow = this.room("narrow", all * d);
    const wide = this.room("wide", all * 2 * d);
    const root = Math.sqrt(this.layers);
    outputs.set(inputs.subarray(0, all * d));
    for (let layer = 0; layer < this.layers; layer += 1) {
      rowsByRows(narrow, outputs, weights[3 * layer], rows, d, d);
      fillTanh(narrow, narrow, rows * d);
      rowsByRows(wide, narrow, weights[3 * layer + 1], rows, 2 * d, d);
      fillTanh(wide, wide, rows * 2 * d);
      rowsByRows(narrow, wide, weights[3 * layer + 2], rows, d, 2 * d);
      for (let i = 0; i < rows * d; i += 1) outputs[i] += narrow[i] / root;
    }
  }

  /** Room that is used again and again. @param {string} name @param {number} size */
  room(name, size) {
    if (!this.rooms[name] || this.rooms[name].length < size) this.rooms[name] = new Float64Array(size);
    return this.rooms[name];
  }
}

/** Mean squared difference of the first values. @param {Float64Array} found @param {Float64Array} wanted @param {number} count */
export function meanSquare(found, wanted, count) {
  let sum = 0;
  for (let i = 0; i < count; i += 1) sum += (found[i] - wanted[i]) ** 2;
  return sum / count;
}

/** Rows made orthonormal by Gram and Schmidt, one after another, each projected twice. @param {Float64Array} rows @param {number} width */
export function orthonormal(rows, width) {
  const found = rows.slice();
  for (let start = 0; start < rows.length; start += width) {
    const row = found.subarray(start, start + width);
    for (let again = 0; again < 2; again += 1) {
      const dots = [];
      for (let other = 0; other < start; other += width) dots.push(dot(found.subarray(other, other + width), row));
      dots.forEach((value, place) => {
        for (let i = 0; i < width; i += 1) row[i] -= value * found[place * width + i];
      });
    }
    const norm = Math.sqrt(dot(row, row));
    for (let i = 0; i < width; i += 1) row[i] /= norm;
  }
  return found;
}

/** @param {Float64Array} a @param {Float64Array} b */
export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}
