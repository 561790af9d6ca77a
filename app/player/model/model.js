/** One run as the views need it: typed arrays, and what is derived from them once. */

import { decodePayload } from "./decode.js";
import { niceCeiling } from "./format.js";
import { RunSpectra } from "./run_spectra.js";

const UNDEFINED_ENTROPY = 65535;
const SAME = 0.05; // directions: a mean that is closer to the rank says nothing new

/**
 * True for a move that leaves its direction stored: it is switched off and may come back, or comes back.
 * @param {import("./decode.js").Move} move
 */
export function isSoft(move) {
  return move.rules !== undefined && (move.rules.includes("masked") || move.rules.includes("revived"));
}

/** @param {number | undefined} code @returns {number} NaN where undefined */
export function entropyOf(code = UNDEFINED_ENTROPY) {
  return code === UNDEFINED_ENTROPY ? NaN : code / 65534;
}

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

/** @param {ArrayLike<number>} values one a row and column @param {number} columns @returns {number[]} places that differ from those a row before */
function changedPlaces(values, columns) {
  const changed = [];
  for (let place = columns; place < values.length; place += 1) if (values[place] !== values[place - columns]) changed.push(place);
  return changed;
}

/** @param {ArrayLike<number>} changed ascending places @param {number} columns @returns {number[]} their rows, and the first */
function turnsOf(changed, columns) {
  const turns = [0];
  for (let i = 0, next = columns; i < changed.length; i += 1) {
    if (changed[i] < next) continue;
    const row = Math.floor(changed[i] / columns);
    turns.push(row);
    next = (row + 1) * columns;
  }
  return turns;
}

/** @param {ArrayLike<number>} values @returns {number} at least 0 */
export function largest(values) {
  let top = 0;
  for (let i = 0; i < values.length; i += 1) if (values[i] > top) top = values[i];
  return top;
}

export class Model {
  /** The record that rank change counts from. */
  base = 0;
  /** @type {{parameters?: number, gap?: number}} largest values, once they are known */
  scales = {};
  /** Its scales are those of a run that trains: live_scales.js. */
  held = false;
  /** Scale of the entropy colour, key of `ENTROPY_SCALES`. */
  entropyScale = "range";
  /** @type {number[] | null} matrices by similarity of their entropy over time; null while nobody asked */
  similar = null;

  /** @param {import("./container.js").Content} content */
  constructor(content) {
    const { header, arrays } = decodePayload(content);
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
    /** @type {Float32Array | Uint8Array} values, or codes of `energyOf` */
    this.energies = arrays.energy;
    /** @type {Float32Array | null} */
    this.energyOf = arrays.energyOf ?? null;
    this.spectra = new RunSpectra(header, arrays);
    /** @type {boolean} energies come in steps of a few per cent: say ≈ */
    this.roughEnergy = Boolean(header.energyScale);
    /** @type {Float32Array} largest |λ| of each matrix in the whole run */
    this.peak = arrays.peak;
    /** @type {Float32Array} largest true singular value of each matrix */
    this.truePeak = arrays.truePeak;
    /** @type {Uint16Array} entropies of the true singular values of `scoredRecords` */
    this.trueEntropies = arrays.trueEntropy;
    /** Whatever else was worked out; analysis/payload/derived.py says what. @type {Record<string, any>} */
    this.derived = arrays;
    this.lossSteps = arrays.lossSteps ?? new Int32Array();
    this.taskLoss = arrays.taskLoss ?? new Float32Array();
    /** @type {Float32Array} over the last `lossWindow` steps, also those that were not sent */
    this.taskLossMean = arrays.taskLossMean ?? new Float32Array();
    this.regularizer = arrays.regularizer ?? new Float32Array();
    /** @type {{off: boolean, partial: boolean} | null} whether any direction is ever off, or used in part of the steps; null = all are simply on */
    this.gates = header.gates;
    /** @type {Float32Array | null} */
    this.penalty = arrays.penalty ?? null;
    /** @type {Float32Array | null} */
    this.targetRank = arrays.targetRank ?? null;
    /** @type {Uint8Array | Uint16Array} of each record */
    this.totalRank = arrays.totalRank;
    this.M = this.matrices.length;
    this.T = this.steps.length;
    this.indexOf = new Map(this.matrices.map((matrix, index) => [matrix.name, index]));
    this.eventSteps = this.events.map((event) => event.step);
    this.scale = this.run.scale ?? 1;
    /** @type {number[]} records at which some rank is another than at the one before, and the first: ranks move at events only */
    this.turns = this.T ? turnsOf(arrays.ranksAt ?? changedPlaces(this.ranks, this.M), this.M) : [];
    const [least, most] = this.rankRange();
    this.minRank = least;
    this.maxRank = most;
    // Codes are made so that the last but one is that of the largest, the last that of what is undefined.
    this.maxEnergy = niceCeiling(this.energyOf ? this.energyOf[this.energyOf.length - 2] : largest(this.energies));
    this.firstStep = this.T ? this.steps[0] : 0;
    this.lastStep = this.T ? this.steps[this.T - 1] : 0;
    /** @type {[number, number]} steps that the time axis spans */
    this.domain = [0, Math.max(this.run.total_steps ?? 0, this.lastStep, 1)];
    /** @type {Float32Array | null} directions that a training step uses on average, of each record over all matrices */
    this.expectedTotal = arrays.used ?? null;
    this.anyOff = this.gates?.off ?? false;
    this.shares = this.gates?.partial ?? false;
    /** What this run's moves are called: a direction that is switched off is not gone. @type {{pruned: string, extended: string}} */
    this.words = header.words;
    /** By module type, then layer. @type {number[]} */
    this.order = Array.from(arrays["order:architecture"]);
    /** @type {Uint16Array} after everything that was logged */
    this.finalRanks = arrays.finalRanks;
    this.sigmaRecords = this.spectra.trueRecords;
    /** @type {Int32Array} those of `sigmaRecords` whose true entropy is known for every matrix */
    this.scoredRecords = arrays.trueScored?.map((/** @type {number} */ k) => this.sigmaRecords[k]) ?? this.sigmaRecords;
  }

  /** @returns {string} how much of a long run is drawn; empty when all of it is */
  get drawn() {
    const { records, scalars } = this.header.points ?? {};
    const counted = /** @type {Array<[[number, number] | undefined, string]>} */ ([[records, "records"], [scalars, "losses"]]);
    const parts = counted.flatMap(([counts, what]) => (counts && counts[0] < counts[1] ? [`${counts[0].toLocaleString("en")} of ${counts[1].toLocaleString("en")} ${what}`] : []));
    return parts.length ? `${parts.join(", ")} drawn` : "";
  }

  /** @returns {[number, number]} the least and the largest rank of all */
  rankRange() {
    const { ranks, M, T, turns } = this;
    let most = 1;
    let least = T && M ? Infinity : 1;
    for (const start of turns) {
      for (let place = start * M; place < (start + 1) * M; place += 1) {
        const rank = ranks[place];
        if (rank > most) most = rank;
        if (rank < least) least = rank;
      }
    }
    return [Math.min(least, most), most];
  }

  /** What came for the same run before it grew. @param {Model} before */
  inherit(before) {
    this.spectra.inherit(before.spectra);
    if (before.M === this.M) this.similar = before.similar;
  }

  /** Rank change counts from this step on; null = from the first record. @param {number | null} step */
  countFrom(step) {
    this.base = step === null ? 0 : this.recordAt(step);
  }

  /** The largest change of a rank between any two moments, at least 1: the scale holds from whichever change counts. @returns {number} */
  get maxChange() {
    return this.run.changeLimit;
  }

  /** @param {number} step @returns {number} the latest record at or before the step; 0 before the first */
  recordAt(step) {
    return Math.max(0, lastAtOrBefore(this.steps, step));
  }

  /** @param {number} t @returns {number} the same for records between which no rank changes */
  rankVersion(t) {
    return lastAtOrBefore(this.turns, t);
  }

  /** @param {number} t @param {number} m */
  rank(t, m) {
    return this.ranks[t * this.M + m];
  }

  /** @param {number} t @param {number} m @returns {number} directions that have a λ: the rank, and those that are off */
  stored(t, m) {
    return this.spectra.stored[t * this.M + m];
  }

  /** @param {number} t @param {number} m @returns {number | null} directions that a training step uses on average; null where that is the rank, or not known */
  expectedRank(t, m) {
    const mean = this.spectra.used(t, m);
    return Math.abs(mean - this.rank(t, m)) > SAME ? mean : null;
  }

  /** @param {number} t @returns {number | null} the same over all matrices */
  expectedTotalRank(t) {
    const mean = this.expectedTotal?.[t];
    return mean === undefined || Math.abs(mean - this.totalRank[t]) <= SAME ? null : mean;
  }

  /** @param {number} t @param {number} m net change since the record that change counts from */
  change(t, m) {
    return this.ranks[t * this.M + m] - this.ranks[this.base * this.M + m];
  }

  /** @param {number} t @param {number} m @returns {number} of λ²; NaN where undefined, as at rank 1: one direction cannot share, though the log has 1 there */
  entropy(t, m) {
    return this.rank(t, m) > 1 ? entropyOf(this.entropies[t * this.M + m]) : NaN;
  }

  /** @param {number} t @param {number} m @returns {number} the same of σ², at the latest record that has it */
  true_entropy(t, m) {
    const found = lastAtOrBefore(this.scoredRecords, t);
    return found >= 0 && this.rank(t, m) > 1 && this.rank(this.scoredRecords[found], m) > 1 ? entropyOf(this.trueEntropies[found * this.M + m]) : NaN;
  }

  /** @param {string} scale key of `ENTROPY_SCALES`; one that the run has nothing for is left */
  scaleEntropy(scale) {
    this.entropyScale = scale === "decision" && !this.decides ? "range" : scale;
  }

  /** Its events compare an entropy, and have moved something. @returns {boolean} */
  get decides() {
    return Boolean(this.run.entropyDecides) && this.events.some(({ prune, extend }) => prune.length + extend.length > 0);
  }

  /** @param {number} t @param {number} m */
  energy(t, m) {
    const energy = this.energies[t * this.M + m];
    return this.energyOf ? this.energyOf[energy] : energy;
  }

  /** @param {number} t @param {number} m @returns {Float32Array} λ as trained, signed; empty while on its way */
  singularValues(t, m) {
    return this.spectra.values(t, m);
  }

  /**
   * The true singular values of ΔW at the latest record that has them.
   * @param {number} t @param {number} m
   * @returns {{step: number, values: Float32Array, rank: number} | null} one value a stored direction; the rank of that record; null where there are none, or while they are on their way
   */
  trueSingularValues(t, m) {
    const found = lastAtOrBefore(this.sigmaRecords, t);
    const values = found < 0 ? null : this.spectra.trueValues(found, m);
    return values && { step: this.steps[this.sigmaRecords[found]], values, rank: this.rank(this.sigmaRecords[found], m) };
  }

  /** @param {number} t @param {number} m @returns {number} entropy of the true singular values at the latest record that has them, NaN where unknown */
  trueEntropy(t, m) {
    return entropyOf(this.trueEntropies[lastAtOrBefore(this.scoredRecords, t) * this.M + m]);
  }

  /** @param {number} t @param {number} m @returns {number} |I(λ) − I(σ)| at the latest record that has true singular values, NaN where unknown */
  gap(t, m) {
    const found = lastAtOrBefore(this.scoredRecords, t);
    return found < 0 ? NaN : Math.abs(entropyOf(this.entropies[this.scoredRecords[found] * this.M + m]) - this.trueEntropy(t, m));
  }

  /** @param {import("./decode.js").Move[]} [moves] @returns {Map<number, number>} matrix → how many of them are its own */
  movesOf(moves = []) {
    const counts = new Map();
    for (const move of moves) {
      const m = this.indexOf.get(move.matrix) ?? -1;
      counts.set(m, (counts.get(m) ?? 0) + 1);
    }
    return counts;
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

  /** At an event, the first matrix that gained is worth a look; `first_matrix` of analysis.metrics. @param {number} step @returns {number} */
  firstMatrix(step) {
    const event = this.events[this.eventAt(step)];
    if (!event || !this.T) return 0;
    const sign = event.extend.length ? 1 : -1;
    const record = this.recordAt(event.step);
    const gained = (/** @type {number} */ m) => sign * (this.rank(this.T - 1, m) - this.rank(record, m));
    const moved = (sign > 0 ? event.extend : event.prune).map(({ matrix }) => this.indexOf.get(matrix) ?? -1).filter((m) => m >= 0);
    return moved.length ? moved.reduce((best, m) => (gained(m) > gained(best) ? m : best)) : 0;
  }

  /** @param {number} t @returns {number} index of the last event before the next record, or -1; all events precede what follows the last record */
  eventsSince(t) {
    return t === this.T - 1 ? this.events.length - 1 : this.eventBefore(this.steps[t + 1] - 1);
  }

  /** What moved until the next record. @param {number} t @returns {{gross: number, net: number, churn: number}} churn: NaN before the first prune */
  moved(t) {
    const { gross, net, churn } = this.derived;
    const event = this.eventsSince(t);
    return event < 0 ? { gross: 0, net: 0, churn: NaN } : { gross: gross[event], net: net[event], churn: churn[event] };
  }

  /** @param {number} t @param {number} m @returns {number[] | null} storage slots of the stored directions, in the order of their λ; null when the log does not say, or while they are on their way */
  slots(t, m) {
    const slots = this.spectra.slots(t, m);
    return slots.length === this.stored(t, m) && slots[0] !== -1 ? slots : null;
  }

  /** @param {number} t @param {number} m @returns {Float64Array} share of each direction in the energy Σλ², 0 where it is off; NaN where the energy is 0 or not known */
  energyShares(t, m) {
    const energy = this.spectra.energy(t, m);
    const usable = energy > 0 && Number.isFinite(energy);
    return Float64Array.from(this.singularValues(t, m), (value, i) => (usable ? (this.spectra.gate(t, m, i) > 0 ? value ** 2 : 0) / energy : NaN));
  }

  /** b(t): the planned curve where the header has it, else what was recorded. @returns {{steps: ArrayLike<number>, values: ArrayLike<number>} | null} null for a method without a budget of moves */
  budgetCurve() {
    const { planSteps, planBudget, budgetAt } = this.derived;
    if (planSteps) return { steps: planSteps, values: planBudget };
    return budgetAt?.some(Number.isFinite) ? { steps: this.lossSteps, values: budgetAt } : null;
  }

  /** @returns {{split: string, metric: string, steps: number[], values: number[]} | null} what is drawn over time */
  evaluationSeries() {
    const { evaluation, results } = this.header;
    const [split, metric] = evaluation;
    return metric && { split, metric, steps: results.map((/** @type {number[]} */ own) => own[0]), values: results.map((/** @type {number[]} */ own) => own[1]) };
  }
}
