/** The directions of one matrix over time: a line for each stay of a direction in a slot. */

/** @import { Model } from "./model.js" */

/**
 * @typedef {object} Line one direction, from where its slot was filled to where it was emptied
 * @property {number} slot where it is stored; −1 = the log does not say; without stays, its place among the values
 * @property {number} after step of the event that gave it, −1 = it was there from the start
 * @property {number} until step of the event that took it; `OPEN` = none did
 * @property {number[]} records that hold it
 * @property {number[]} values λ as trained, signed, one a record
 * @property {number[]} gates 0 = off and may come back, else the share of training steps that use it
 * @property {number[]} shares in the matrix's energy Σλ²; NaN where undefined
 */

/**
 * @typedef {object} Lines of one matrix
 * @property {boolean} named lines are stays in slots; otherwise the log's events do not tell which direction is which
 * @property {Line[]} lines in the order in which they begin
 * @property {boolean} constant every λ has the same size in the whole run: it is no spectrum
 */

/** @typedef {{record: number, step: number, values: number[]}} Truth true singular values of ΔW, as logged */

export const OPEN = 2 ** 31 - 1;
const KEPT = 4;
const SAME = 1e-6; // of the largest

/** @type {WeakMap<Float32Array, Map<number, Lines>>} by λ, then matrix */
const KNOWN = new WeakMap();

/** @param {Model} model @param {number} m @returns {Lines | null} null while λ is on its way */
export function linesOf(model, m) {
  const lam = model.spectra.of(m)?.lam;
  if (!lam) return null;
  const known = KNOWN.get(lam) ?? new Map();
  KNOWN.set(lam, known);
  if (!known.has(m)) known.set(m, followLines(model, m));
  const found = /** @type {Lines} */ (known.get(m));
  if (known.size > KEPT) known.delete([...known.keys()].find((other) => other !== m));
  return found;
}

/** @param {Model} model @param {number} m @returns {Lines} */
function followLines(model, m) {
  const stays = stayLines(model, m);
  const held = stays.reduce((sum, { records }) => sum + records.length, 0);
  let stored = 0;
  for (let t = 0; t < model.T; t += 1) stored += model.singularValues(t, m).length;
  const named = held === stored;
  const lines = named ? stays : placeLines(model, m);
  const sizes = lines.flatMap(({ values }) => values.map(Math.abs));
  const top = sizes.reduce((most, size) => (size > most ? size : most), 0);
  return { named, lines, constant: top > 0 && sizes.every((size) => top - size <= SAME * top) };
}

/** @param {Omit<Line, "records" | "values" | "gates" | "shares">} of @returns {Line} */
function emptyLine(of) {
  return { ...of, records: [], values: [], gates: [], shares: [] };
}

/** As `analysis.directions.direction_stays`: records whose directions are others than the events tell are left out. @param {Model} model @param {number} m @returns {Line[]} */
export function stayLines(model, m) {
  const stays = model.spectra.staysOf(m).map(emptyLine);
  for (let t = 0; t < model.T; t += 1) {
    const step = model.steps[t];
    const here = stays.filter(({ after, until }) => after < step && step <= until);
    if (here.length === model.singularValues(t, m).length) addRecord(model, t, m, here);
  }
  const first = (/** @type {Line} */ line) => line.records[0];
  return stays.filter(({ records }) => records.length).sort((a, b) => first(a) - first(b));
}

/** Where nothing tells which is which: the largest, the second, and so on. @param {Model} model @param {number} m @returns {Line[]} */
function placeLines(model, m) {
  /** @type {Line[]} */
  const lines = [];
  for (let t = 0; t < model.T; t += 1) {
    const sizes = model.singularValues(t, m);
    const order = Array.from(sizes, (_, i) => i).sort((a, b) => Math.abs(sizes[b]) - Math.abs(sizes[a]));
    while (lines.length < order.length) lines.push(emptyLine({ slot: lines.length, after: -1, until: OPEN }));
    addRecord(model, t, m, order.map((_, place) => lines[place]), order);
  }
  return lines;
}

/** @param {Model} model @param {number} t @param {number} m @param {Line[]} lines one a value @param {number[]} [order] places of their values */
function addRecord(model, t, m, lines, order) {
  const values = model.singularValues(t, m);
  const shares = model.energyShares(t, m);
  lines.forEach((line, i) => {
    const place = order ? order[i] : i;
    line.records.push(t);
    line.values.push(values[place]);
    line.gates.push(model.spectra.gate(t, m, place));
    line.shares.push(shares[place]);
  });
}

/** @param {Model} model @param {number} m @returns {Truth[]} records in order */
export function truthOf(model, m) {
  return Array.from(model.sigmaRecords, (record, k) => ({ record, step: model.steps[record], values: Array.from(model.spectra.trueValues(k, m) ?? []) }));
}

/** @param {Line} line @param {number} record @returns {number} place of the latest of its records at or before one; −1 where it does not hold a direction then */
export function placeIn({ records }, record) {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (records[middle] <= record) low = middle + 1;
    else high = middle;
  }
  return low && records[low - 1] === record ? low - 1 : -1;
}

/** @param {Model} model @param {Line} line @param {number} time @returns {number} |λ| at a moment, between records on the straight line that is drawn; NaN where there is none */
export function sizeAt(model, { after, until, records, values }, time) {
  const last = records.length - 1;
  if (time < Math.max(after, model.firstStep) || time > Math.min(until, model.lastStep)) return NaN;
  let next = records.findIndex((t) => model.steps[t] >= time);
  if (next < 0) next = last;
  const to = model.steps[records[next]];
  if (time >= to) return Math.abs(values[next]);
  const [from, size] = next ? [model.steps[records[next - 1]], Math.abs(values[next - 1])] : [after, after < 0 ? NaN : 0];
  return size + ((Math.abs(values[next]) - size) * (time - from)) / (to - from);
}

/** @param {Model} model @param {number} m @returns {import("./scene.js").Table} one row a record and stay, then one a true singular value; the columns are those of analysis.tables */
export function linesTable(model, m) {
  const { name, layer, type } = model.matrices[m];
  const row = (/** @type {number} */ step, /** @type {string} */ kind, /** @type {Array<number | null>} */ rest) => [step, name, layer, type, kind, ...rest];
  const own = stayLines(model, m).flatMap((line, stay) => line.records.map((t, i) => row(model.steps[t], "direction", [stay, line.slot, line.values[i], line.gates[i], NaN])));
  const truth = truthOf(model, m).flatMap(({ step, values }) => values.map((value) => row(step, "true", [NaN, NaN, value, NaN, value / model.scale])));
  return { head: ["step", "matrix", "layer", "module_type", "kind", "stay", "slot", "singular_value", "gate", "over_scale"], rows: [...own, ...truth] };
}
