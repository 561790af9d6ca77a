/** One run as the views need it: typed arrays, and what is derived from them once. */

import { decodePayload } from "./decode.js";
import { niceCeiling } from "./format.js";

const UNDEFINED_ENTROPY = 65535;

/**
 * Index of the last value at or before `target` in an ascending array; -1 when there is none.
 * @param {ArrayLike<number>} values @param {number} target
 * @returns {number}
 */
export function lastAtOrBefore(values, target) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= target) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export class Model {
  /** @param {Uint8Array} payload */
  constructor(payload) {
    const { header, arrays } = decodePayload(payload);
    this.header = header;
    this.run = header.run;
    /** @type {import("./decode.js").Matrix[]} */
    this.matrices = header.matrices;
    /** @type {import("./decode.js").RunEvent[]} */
    this.events = header.events;
    /** @type {Int32Array} */
    this.steps = arrays.steps;
    /** @type {Uint8Array | Uint16Array} */
    this.ranks = arrays.ranks;
    /** @type {Uint16Array} */
    this.entropies = arrays.entropy;
    /** @type {Float32Array} */
    this.energies = arrays.energy;
    /** @type {Float32Array} */
    this.lam = arrays.lam;
    /** @type {Uint32Array} */
    this.lamOffsets = arrays.lamOffsets;
    this.sigma = arrays.sigma ?? new Float32Array();
    this.sigmaIndex = arrays.sigmaIndex ?? new Int32Array();
    this.lossSteps = arrays.lossSteps ?? new Int32Array();
    this.taskLoss = arrays.taskLoss ?? new Float32Array();
    this.regularizer = arrays.regularizer ?? new Float32Array();
    this.budgetAt = arrays.budgetAt ?? new Float32Array();
    this.M = this.matrices.length;
    this.T = this.steps.length;
    this.indexOf = new Map(this.matrices.map((matrix, index) => [matrix.name, index]));
    this.eventSteps = this.events.map((event) => event.step);
    this.measure();
    this.order = this.displayOrder();
    this.sigmaRecords = this.recordsWithSigma();
  }

  /** Scales that stay fixed while the clock moves. */
  measure() {
    let maxRank = 1;
    let minRank = this.T ? Infinity : 1;
    for (const rank of this.ranks) {
      if (rank > maxRank) maxRank = rank;
      if (rank < minRank) minRank = rank;
    }
    let maxEnergy = 0;
    for (const energy of this.energies) if (energy > maxEnergy) maxEnergy = energy;
    this.scale = this.run.scale ?? 1;
    this.maxRank = maxRank;
    this.minRank = Math.min(minRank, maxRank);
    this.maxEnergy = niceCeiling(maxEnergy);
    this.totalRank = new Int32Array(this.T);
    let change = 1;
    for (let t = 0; t < this.T; t += 1) {
      for (let m = 0; m < this.M; m += 1) {
        const rank = this.ranks[t * this.M + m];
        this.totalRank[t] += rank;
        change = Math.max(change, Math.abs(rank - this.ranks[m]));
      }
    }
    this.maxChange = change;
    this.firstStep = this.T ? this.steps[0] : 0;
    this.lastStep = this.T ? this.steps[this.T - 1] : 0;
    this.domain = [0, Math.max(this.run.total_steps ?? 0, this.lastStep, 1)];
  }

  /** Matrices by module type, then layer: the order of the strip. @returns {number[]} */
  displayOrder() {
    const types = new Map(this.header.types.map((/** @type {string} */ type, /** @type {number} */ i) => [type, i]));
    const place = (/** @type {number} */ m) => types.get(this.matrices[m].type) ?? types.size;
    return this.matrices
      .map((_, m) => m)
      .sort((a, b) => place(a) - place(b) || (this.matrices[a].layer ?? -1) - (this.matrices[b].layer ?? -1) || a - b);
  }

  recordsWithSigma() {
    const records = [];
    for (let t = 0; t < this.sigmaIndex.length; t += 1) if (this.sigmaIndex[t] >= 0) records.push(t);
    return records;
  }

  /** @param {number} step @returns {number} the latest record at or before the step; 0 before the first */
  recordAt(step) {
    return Math.max(0, lastAtOrBefore(this.steps, step));
  }

  /** @param {number} t @param {number} m */
  rank(t, m) {
    return this.ranks[t * this.M + m];
  }

  /** @param {number} t @param {number} m net change since the first record */
  change(t, m) {
    return this.ranks[t * this.M + m] - this.ranks[m];
  }

  /** @param {number} t @param {number} m @returns {number} NaN where undefined */
  entropy(t, m) {
    const code = this.entropies[t * this.M + m];
    return code === UNDEFINED_ENTROPY ? NaN : code / 65534;
  }

  /** @param {number} t @param {number} m */
  energy(t, m) {
    return this.energies[t * this.M + m];
  }

  /** @param {number} t @param {number} m @returns {Float32Array} λ as trained, signed */
  singularValues(t, m) {
    const place = t * this.M + m;
    return this.lam.subarray(this.lamOffsets[place], this.lamOffsets[place + 1]);
  }

  /**
   * The true singular values of ΔW at the latest record that has them.
   * @param {number} t @param {number} m
   * @returns {{step: number, values: Float32Array} | null}
   */
  trueSingularValues(t, m) {
    const found = lastAtOrBefore(this.sigmaRecords, t);
    if (found < 0) return null;
    const record = this.sigmaRecords[found];
    const start = record * this.M;
    const offset = this.sigmaIndex[record] + this.lamOffsets[start + m] - this.lamOffsets[start];
    return { step: this.steps[record], values: this.sigma.subarray(offset, offset + this.rank(record, m)) };
  }

  /** @param {number} t @param {number} m @returns {number} entropy of the true singular values, NaN where unknown */
  trueEntropy(t, m) {
    const squares = Array.from(this.trueSingularValues(t, m)?.values ?? [], (value) => value * value);
    const total = squares.reduce((sum, square) => sum + square, 0);
    if (!(total > 0)) return NaN;
    if (squares.length === 1) return 1;
    const entropy = squares.reduce((sum, square) => (square > 0 ? sum - (square / total) * Math.log(square / total) : sum), 0);
    return entropy / Math.log(squares.length);
  }

  /** @param {number} step @returns {number} index of the event at exactly this step, or -1 */
  eventAt(step) {
    const index = lastAtOrBefore(this.eventSteps, step);
    return index >= 0 && this.eventSteps[index] === step ? index : -1;
  }

  /** @param {number} step @returns {number} index of the last event at or before the step, or -1 */
  eventBefore(step) {
    return lastAtOrBefore(this.eventSteps, step);
  }

  /**
   * Storage slots of the active directions of a matrix, in the order of its λ, replayed from the events.
   * @param {number} t @param {number} m
   * @returns {number[] | null} null when the log does not say
   */
  slots(t, m) {
    const name = this.matrices[m].name;
    const active = new Set(Array.from({ length: this.rank(0, m) }, (_, i) => i));
    for (const event of this.events) {
      if (event.step >= this.steps[t]) break;
      for (const move of event.prune) if (move.matrix === name) active.delete(move.slot ?? -1);
      for (const move of event.extend) if (move.matrix === name) active.add(move.slot ?? -1);
    }
    return active.size === this.rank(t, m) && !active.has(-1) ? [...active].sort((a, b) => a - b) : null;
  }

  /** b(t): the planned curve where the header has it, else what was recorded. @returns {{steps: ArrayLike<number>, values: ArrayLike<number>}} */
  budgetCurve() {
    const planned = this.header.budget;
    if (planned?.steps?.length) return { steps: planned.steps, values: planned.values };
    return { steps: this.lossSteps, values: this.budgetAt };
  }

  /** @returns {{split: string, metric: string, steps: number[], values: number[]} | null} the first metric of the validation split, else of any */
  evaluationSeries() {
    const evals = this.header.evals ?? [];
    const split = evals.find((/** @type {any} */ entry) => entry.split === "validation")?.split ?? evals[0]?.split;
    const own = evals.filter((/** @type {any} */ entry) => entry.split === split);
    const metric = Object.keys(own[0]?.metrics ?? {}).find((name) => name !== "loss") ?? Object.keys(own[0]?.metrics ?? {})[0];
    if (!metric) return null;
    const points = own.filter((/** @type {any} */ entry) => Number.isFinite(entry.metrics[metric]));
    return {
      split,
      metric,
      steps: points.map((/** @type {any} */ entry) => entry.step),
      values: points.map((/** @type {any} */ entry) => entry.metrics[metric]),
    };
  }
}
