/** What was sent in fewer bytes, as it was; analysis/payload/ is the other side. */

/** @import { Content } from "./container.js" */

/**
 * @typedef {Record<string, any> & object} Request what Python asks the player to show, and what a link to it must hold
 * @property {string} run which run it is; another one resets clock and selection
 * @property {string} id changes when the caller asks for something else; the user's clock stays until then
 * @property {number | null} step
 * @property {string | null} matrix
 * @property {{run: string, name: string} | null} [beside] a second run under the same clock, and what it is called
 * @property {boolean} [live] the server trains it now, or a notebook tells what is new
 * @property {string | null} [shared] the page that a copied link opens; null = this one
 * @property {boolean} [served] there is a server, which makes reports
 * @property {{example?: string | null}} [guide] newcomers read it: there is an introduction above; example = a run that moves rank
 * @property {string} [tour] stop of the tour to begin with, from 1
 * @property {number | null} [since]
 * @property {any} [colour] and the other names of `CHOICES`: what to choose, null = leave it
 * @property {"hash"} [address] the link stands after #, as in a file
 * @property {Record<string, string> | null} link query parameters that name the run, null where there is no page to link to
 */

/** @typedef {{layer: number | null, type: string, name: string, inFeatures: number, outFeatures: number}} Matrix */

/**
 * @typedef {object} Move
 * @property {string} matrix
 * @property {number} [slot]
 * @property {number} [singular_value]
 * @property {number} [score] of the direction, where directions are scored
 * @property {string[]} [rules]
 */

/**
 * @typedef {object} RunEvent
 * @property {number} step
 * @property {number} budget
 * @property {number} [target_rank] total rank that the schedule asks for
 * @property {number} [threshold] that decided which directions go
 * @property {string[]} [rules]
 * @property {string} measure importance that decided
 * @property {boolean} [byDirection] single directions are scored; a matrix's score is their mean
 * @property {number[]} scores one a matrix, as they were compared: NaN = undefined, Infinity = above all others
 * @property {number[]} order one a matrix: 1 = lowest score, equals share the lower place; where directions are scored, how many stand above the threshold; NaN = undefined
 * @property {number[]} [low] matrices that stood out at the lower end and did not move
 * @property {number[]} [high] the same at the upper end
 * @property {Record<string, string>} [refused] matrix → why it could not give or take
 * @property {Move[]} prune
 * @property {Move[]} extend
 */

/**
 * A whole run: what was sent in fewer bytes is as it was, events are objects with names again.
 * @param {Content} content stays as it is: what a run goes on with is put behind it
 * @returns {Content}
 */
export function decodePayload({ header: sent, arrays: packed }) {
  const header = { ...sent, matrices: matricesOf(sent.matrices) };
  const arrays = { ...packed };
  const { length: count } = header.matrices;
  const widths = { ranks: count, stored: count, totalRank: 1, typeRanks: header.groups.type.length, layerRanks: header.groups.layer.length };
  for (const [name, width] of Object.entries(widths)) {
    if (arrays[`${name}At`]) arrays[name] = rowsFromChanges(arrays[`${name}At`], arrays[`${name}To`], arrays.steps.length, width);
  }
  if (header.energyScale) arrays.energyOf = valuesOfCodes(arrays.energy, header.energyScale);
  header.extras = Object.fromEntries(header.moveExtras);
  header.events = eventsOf(header, arrays);
  return { header, arrays };
}

/** @param {Record<string, any[]>} columns @returns {Matrix[]} */
function matricesOf({ name, layer, type, inFeatures, outFeatures }) {
  return name.map((own, m) => ({ name: own, layer: layer[m], type: type[m], inFeatures: inFeatures[m], outFeatures: outFeatures[m] }));
}

/** Rows that repeat the one before except where told. @param {Uint32Array} at @param {Uint8Array | Uint16Array} to @param {number} rows @param {number} columns */
function rowsFromChanges(at, to, rows, columns) {
  const Type = /** @type {Uint16ArrayConstructor} */ (to.constructor);
  const all = new Type(rows * columns);
  for (let row = 0, next = 0; row < rows; row += 1) {
    const start = row * columns;
    if (row) all.copyWithin(start, start - columns, start);
    for (; next < at.length && at[next] < start + columns; next += 1) all[at[next]] = to[next];
  }
  return all;
}

/** 0 is 0, the largest code undefined, the others even ratios. @param {number} code @param {number} last the largest @param {[number, number]} scale what 1 and the last but one stand for @returns {number} in single precision */
function fromLogarithm(code, last, [low, high]) {
  if (code === 0 || code === last) return code ? NaN : 0;
  return Math.fround(low * (high / low) ** ((code - 1) / (last - 2)));
}

/** Of a million codes few are ever looked at: a table, and no second array. @param {Uint8Array | Uint16Array} codes @param {[number, number]} scale @returns {Float32Array} the value of each code */
function valuesOfCodes({ BYTES_PER_ELEMENT: bytes }, scale) {
  const last = 256 ** bytes - 1;
  return Float32Array.from({ length: last + 1 }, (_, code) => fromLogarithm(code, last, scale));
}

/** @param {any} header @param {Record<string, any>} arrays @returns {RunEvent[]} */
function eventsOf(header, arrays) {
  /** @type {string[]} */
  const names = header.matrices.map((/** @type {Matrix} */ matrix) => matrix.name);
  /** @type {Move[]} */
  const moves = [];
  for (let i = 0; i < (arrays.moveMatrix?.length ?? 0); i += 1) moves.push(moveAt(header, arrays, names, i));
  let next = 0;
  return header.events.map((/** @type {any} */ event, /** @type {number} */ number) => {
    const [pruned, extended] = arrays.moveCounts.subarray(2 * number, 2 * number + 2);
    const prune = moves.slice(next, next + pruned);
    next += pruned + extended;
    const refused = Object.entries(event.refused ?? {}).flatMap(([reason, places]) => places.map((/** @type {number} */ m) => [names[m], reason]));
    const own = { ...event, prune, extend: moves.slice(next - extended, next), refused: Object.fromEntries(refused) };
    // Only looked at one event at a time: made when asked for.
    const of = (/** @type {() => number[]} */ get) => ({ enumerable: true, get });
    return Object.defineProperties(own, { scores: of(() => scoresOf(header, arrays.scores, number)), order: of(() => orderOf(arrays.order, names.length, number)) });
  });
}

/** @param {any} header @param {Record<string, any>} arrays @param {string[]} names @param {number} i @returns {Move} */
function moveAt(header, arrays, names, i) {
  /** @type {any} */
  const move = {};
  const code = (/** @type {Uint8Array | Uint16Array} */ codes) => (codes[i] === 256 ** codes.BYTES_PER_ELEMENT - 1 ? undefined : codes[i]);
  const [matrix, slot, rule] = [arrays.moveMatrix, arrays.moveSlot, arrays.moveRule].map(code);
  if (matrix !== undefined) move.matrix = names[matrix];
  if (slot !== undefined) move.slot = slot;
  if (Number.isFinite(arrays.moveValue?.[i])) move.singular_value = arrays.moveValue[i];
  if (Number.isFinite(arrays.moveScore?.[i])) move.score = arrays.moveScore[i];
  if (rule !== undefined) move.rules = header.moveRules[rule];
  return header.extras[i] ? Object.assign(move, header.extras[i]) : move;
}

/** @param {any} header @param {Float32Array | Uint16Array | undefined} scores @param {number} row @returns {number[]} */
function scoresOf({ matrices, scoresScale: scale, events }, scores, row) {
  const first = new Set(events[row].first);
  return matrices.map((/** @type {Matrix} */ _, /** @type {number} */ m) => {
    if (first.has(m) || !scores) return scores ? Infinity : NaN;
    const told = scores[row * matrices.length + m];
    return scale ? fromLogarithm(told, 65535, scale) : told;
  });
}

/** @param {Uint8Array | Uint16Array} order 1 more than the place, 0 = none @param {number} count @param {number} row @returns {number[]} */
function orderOf(order, count, row) {
  return Array.from(order.subarray(row * count, (row + 1) * count), (code) => (code ? code - 1 : NaN));
}
