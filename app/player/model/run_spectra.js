/** λ, gates and true singular values: of all matrices when the payload has them, else of those whose parcel has come. */

const KEPT_PARCELS = 12;

/**
 * @typedef {object} Values of one matrix in every record
 * @property {Record<string, any>} arrays that hold them
 * @property {Float32Array} lam
 * @property {Uint8Array | null} gates one a λ, 0 = off, 255 = used in every step; null = all are simply on
 * @property {Float32Array} sigma
 * @property {(t: number) => [number, number]} span where the λ of a record stand
 * @property {(k: number) => [number, number]} trueSpan where the true values of the k-th record that has them stand
 * @property {(t: number) => number} energy Σλ² of a record
 * @property {(t: number) => number} used directions that a training step uses on average
 */

/** @typedef {{slot: number, after: number, until: number}} Stay a slot that holds a direction, from the step after one to another; −1 = not logged */

/**
 * @typedef {object} Frame λ of all matrices at one record
 * @property {number} record
 * @property {number} step
 * @property {Float32Array} lam as trained, signed, matrix by matrix
 * @property {Uint8Array | null} gates one a λ, 0 = off, 255 = used in every step; null = all are simply on
 * @property {Int32Array} slots where each is stored, −1 = not logged
 * @property {Uint32Array} starts where the λ of each matrix begin, and the end of the last
 */

const KEPT_FRAMES = 24;
const NONE = new Float32Array();

export class RunSpectra {
  /** @param {any} header @param {Record<string, any>} arrays as `decodePayload` gives them */
  constructor(header, arrays) {
    /** @type {boolean} λ comes one matrix at a time */
    this.onDemand = header.onDemand;
    this.arrays = arrays;
    this.M = header.matrices.length;
    this.T = arrays.steps.length;
    /** @type {Uint8Array | Uint16Array} directions that have a λ */
    this.stored = arrays.stored ?? arrays.ranks;
    /** @type {Int32Array} records that have true singular values */
    this.trueRecords = arrays.trueRecords;
    /** @type {Map<string, Values>} the latest last */
    this.parcels = new Map();
    this.names = header.matrices.map((/** @type {import("./decode.js").Matrix} */ matrix) => matrix.name);
    if (!this.onDemand) this.startOfAll();
    /** @type {boolean} some gate is neither 0 nor 1: the mean number of directions that a step uses is another than the rank */
    this.partial = header.gates?.partial ?? false;
    /** @type {Map<number, Stay[]>} of each matrix, by slot */
    this.stays = new Map();
    /** @type {Map<number, Frame>} by the step that was asked for, the latest last */
    this.frames = new Map();
  }

  /** Where each record of each matrix begins in the arrays of the payload. */
  startOfAll() {
    const starts = new Uint32Array(this.T * this.M + 1);
    for (let place = 0; place < this.stored.length; place += 1) starts[place + 1] = starts[place] + this.stored[place];
    const trueStarts = new Uint32Array(this.trueRecords.length + 1);
    this.trueRecords.forEach((t, k) => {
      trueStarts[k + 1] = trueStarts[k] + starts[(t + 1) * this.M] - starts[t * this.M];
    });
    this.starts = starts;
    this.trueStarts = trueStarts;
  }

  /** @param {number} m @returns {Values | null} null while its parcel is on its way */
  of(m) {
    return this.onDemand ? (this.parcels.get(this.names[m]) ?? null) : this.ofAll(m);
  }

  /** @param {number} m @returns {Values} */
  ofAll(m) {
    const starts = /** @type {Uint32Array} */ (this.starts);
    const trueStarts = /** @type {Uint32Array} */ (this.trueStarts);
    return {
      arrays: this.arrays,
      lam: this.arrays.lam,
      gates: this.arrays.gates ?? null,
      sigma: this.arrays.sigma,
      span: (t) => [starts[t * this.M + m], starts[t * this.M + m + 1]],
      trueSpan: (k) => {
        const first = this.trueRecords[k] * this.M;
        const start = trueStarts[k] + starts[first + m] - starts[first];
        return [start, start + this.stored[first + m]];
      },
      energy: (t) => this.arrays.energy[t * this.M + m],
      used: (t) => this.arrays.usedOf[t * this.M + m],
    };
  }

  /**
   * Takes in what `analysis.payload.pack_matrix` made.
   * @param {import("./container.js").Content} content
   * @returns {boolean} false for one that is about another run
   */
  accept({ header, arrays }) {
    return this.adopt(header.matrix, { ...arrays, narrowed: header.narrowed });
  }

  /** What came for the same run before it grew, as far as it still fits. @param {RunSpectra} before */
  inherit(before) {
    for (const [matrix, { arrays }] of before.parcels) this.adopt(matrix, arrays);
    if (this.onDemand) for (const [asked, { step, lam, gates, slots }] of before.frames) this.acceptFrame({ header: { step }, arrays: { lam, slots, gates } }, asked);
  }

  /** @param {string} matrix @param {Record<string, any>} arrays @returns {boolean} */
  adopt(matrix, arrays) {
    const m = this.names.indexOf(matrix);
    if (!this.onDemand || m < 0) return false;
    const rows = this.rowsOf(arrays, m);
    if (!rows) return false;
    const starts = cumulated(arrays.counts);
    const trueRows = Array.from(this.trueRecords, (t) => rows[t]);
    const trueStarts = cumulated(trueRows.map((row) => (row < 0 ? 0 : arrays.counts[row])));
    if (trueStarts[this.trueRecords.length] > arrays.sigma.length) return false;
    this.parcels.delete(matrix);
    this.parcels.set(matrix, {
      arrays,
      lam: arrays.lam,
      gates: arrays.gates ?? null,
      sigma: arrays.sigma,
      span: (t) => (rows[t] < 0 ? [0, 0] : [starts[rows[t]], starts[rows[t] + 1]]),
      trueSpan: (k) => [trueStarts[k], trueStarts[k + 1]],
      energy: (t) => arrays.energy[rows[t]] ?? NaN,
      used: (t) => arrays.used[rows[t]] ?? NaN,
    });
    this.stays.delete(m);
    if (this.parcels.size > KEPT_PARCELS) this.parcels.delete([...this.parcels.keys()][0]);
    return true;
  }

  /** @param {number} m @returns {boolean} some of its spectrum, or all, has to be asked for */
  lacks(m) {
    const own = this.onDemand ? this.of(m)?.arrays : this.arrays;
    return !own || (!own.narrowed && own.steps.length < this.T);
  }

  /** @param {Record<string, any>} arrays of a parcel @param {number} m @returns {Int32Array | null} the parcel's row of each record, -1 where it was narrowed or the run has grown since; null when they do not belong together */
  rowsOf(arrays, m) {
    const rows = new Int32Array(this.T).fill(-1);
    let row = 0;
    for (let t = 0; t < this.T; t += 1) {
      if (row === arrays.steps.length) break;
      if (arrays.steps[row] !== this.arrays.steps[t]) {
        if (!arrays.narrowed) return null;
        continue;
      }
      if (arrays.counts[row] !== this.stored[t * this.M + m]) return null;
      rows[t] = row;
      row += 1;
    }
    return row === arrays.steps.length || !arrays.narrowed ? rows : null;
  }

  /** @param {number} t @returns {Frame | null} that of the record, else the latest before it that is there */
  frameAt(t) {
    if (!this.onDemand && !this.frames.has(this.arrays.steps[t])) this.keepFrame(this.arrays.steps[t], this.frameOfAll(t));
    const exact = this.frames.get(this.arrays.steps[t]);
    if (exact) return exact;
    let best = null;
    for (const frame of this.frames.values()) if (frame.record <= t && frame.record > (best?.record ?? -1)) best = frame;
    return best;
  }

  /** @param {number} t @returns {boolean} all spectra of the record have to be asked for */
  lacksFrame(t) {
    return this.onDemand && this.T > 0 && !this.frames.has(this.arrays.steps[t]);
  }

  /** @param {number} t @returns {boolean} λ of all matrices at exactly this record is here */
  hasAll(t) {
    return !this.onDemand || this.frames.get(this.arrays.steps[t])?.record === t;
  }

  /** From what holds all matrices of the record. @param {number} t @param {number} m @returns {{values: Float32Array, slots: number[] | null, gates: Uint8Array | null}} λ as trained, none while on their way; slots: null where the log does not say; gates: 0 = off; null = all are simply on */
  ofRecord(t, m) {
    const frame = this.onDemand ? this.frames.get(this.arrays.steps[t]) : undefined;
    if (this.onDemand && frame?.record !== t) return { values: NONE, slots: null, gates: null };
    const { lam, gates } = frame ?? this.ofAll(m);
    const [from, to] = frame ? frame.starts.subarray(m, m + 2) : this.ofAll(m).span(t);
    const slots = frame ? Array.from(frame.slots.subarray(from, to)) : this.slots(t, m);
    const known = slots.length === to - from && !slots.includes(-1);
    return { values: lam.subarray(from, to), slots: known ? slots : null, gates: gates?.subarray(from, to) ?? null };
  }

  /**
   * Takes in what `analysis.payload.pack_spectra` made.
   * @param {import("./container.js").Content} content @param {number} asked step
   * @returns {boolean} false for one that is about another run
   */
  acceptFrame({ header: { step }, arrays }, asked) {
    const record = this.arrays.steps.indexOf(step);
    if (record < 0) return false;
    const starts = cumulated(this.stored.subarray(record * this.M, (record + 1) * this.M));
    if (arrays.lam.length !== starts[this.M]) return false;
    this.keepFrame(asked, { record, step, lam: arrays.lam, gates: arrays.gates ?? null, slots: arrays.slots, starts });
    return true;
  }

  /** @param {number} asked step @param {Frame} frame */
  keepFrame(asked, frame) {
    this.frames.set(asked, frame);
    if (this.frames.size > KEPT_FRAMES) this.frames.delete([...this.frames.keys()][0]);
  }

  /** @param {number} t @returns {Frame} */
  frameOfAll(t) {
    const all = /** @type {Uint32Array} */ (this.starts).subarray(t * this.M, (t + 1) * this.M + 1);
    const slots = new Int32Array(all[this.M] - all[0]).fill(-1);
    for (let m = 0; m < this.M; m += 1) {
      const own = this.slots(t, m);
      if (own.length === all[m + 1] - all[m] && !own.includes(-1)) slots.set(own, all[m] - all[0]);
    }
    const part = (/** @type {any} */ values) => values.subarray(all[0], all[this.M]);
    return { record: t, step: this.arrays.steps[t], lam: part(this.arrays.lam), gates: this.arrays.gates ? part(this.arrays.gates) : null, slots, starts: all.map((start) => start - all[0]) };
  }

  /** @param {number} t @param {number} m @returns {Float32Array} λ as trained, signed; empty while on its way */
  values(t, m) {
    const own = this.of(m);
    return own ? own.lam.subarray(...own.span(t)) : NONE;
  }

  /** @param {number} t @param {number} m @param {number} i @returns {number} 0 = off and may come back, else the share of training steps that use it */
  gate(t, m, i) {
    const own = this.of(m);
    return own?.gates ? own.gates[own.span(t)[0] + i] / 255 : 1;
  }

  /** @param {number} k @param {number} m @returns {Float32Array | null} true singular values of the k-th record that has them; null while on their way */
  trueValues(k, m) {
    const own = this.of(m);
    return own ? own.sigma.subarray(...own.trueSpan(k)) : null;
  }

  /** @param {number} t @param {number} m @returns {number} directions that a training step uses on average; NaN while that is on its way */
  used(t, m) {
    return this.partial ? (this.of(m)?.used(t) ?? NaN) : this.arrays.ranks[t * this.M + m];
  }

  /** @param {number} t @param {number} m @returns {number} Σλ², exactly; NaN while it is on its way */
  energy(t, m) {
    return this.of(m)?.energy(t) ?? NaN;
  }

  /** @param {number} m @returns {Stay[]} ascending by slot; empty while they are on their way */
  staysOf(m) {
    const kept = this.stays.get(m);
    if (kept) return kept;
    const { stayMatrix, staySlot, stayAfter, stayUntil } = this.of(m)?.arrays ?? {};
    const found = /** @type {Stay[]} */ ([]);
    staySlot?.forEach((/** @type {number} */ slot, /** @type {number} */ i) => {
      if (!stayMatrix || stayMatrix[i] === m) found.push({ slot, after: stayAfter[i], until: stayUntil[i] });
    });
    this.stays.set(m, found.sort((a, b) => a.slot - b.slot));
    return found;
  }

  /** @param {number} t @param {number} m @returns {number[]} the slots that hold a direction, ascending */
  slots(t, m) {
    const step = this.arrays.steps[t];
    return this.staysOf(m).flatMap(({ slot, after, until }) => (after < step && step <= until ? [slot] : []));
  }
}

/** @param {ArrayLike<number>} counts @returns {Uint32Array} where each begins, and the end of the last */
function cumulated(counts) {
  const starts = new Uint32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i += 1) starts[i + 1] = starts[i] + counts[i];
  return starts;
}
