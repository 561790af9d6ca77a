/** The counter-based generator of docs/planted.md: a number is a function of its key and its index, and of nothing else. */

/** @typedef {"weights" | "left" | "right" | "scenario" | "inputs" | "noise" | "directions" | "ties" | "policy" | "masks"} Stream */

/** What is drawn → number of its stream. @type {Record<Stream, number>} */
export const STREAMS = { weights: 1, left: 2, right: 3, scenario: 4, inputs: 5, noise: 6, directions: 7, ties: 8, policy: 9, masks: 10 };

const GOLDEN = 0x9e3779b9;

/** lowbias32 of a 32-bit integer (C. Wellons). @param {number} x @returns {number} unsigned */
export function mix(x) {
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * The 32-bit key of a sequence.
 * @param {number} seed its lowest 32 bits count
 * @param {Stream} stream
 * @param {number} [first] the first place, such as a step
 * @param {number} [second] the second place, such as a matrix
 */
export function keyOf(seed, stream, first = 0, second = 0) {
  let key = 0;
  // `%` rather than `| 0` alone: it is exact up to 2⁵³.
  for (const word of [seed % 2 ** 32, STREAMS[stream], first, second]) key = mix(((key ^ word) + GOLDEN) | 0);
  return key;
}

/** What `bits` takes beside the key. @param {number} key */
const otherOf = (key) => mix((key + GOLDEN) | 0);

/** Integer `index` of a sequence. @param {number} key @param {number} index @returns {number} unsigned */
export function bits(key, index) {
  return mix(mix((index + key) | 0) ^ otherOf(key));
}

/** Number `index` of a sequence, in (0, 1). @param {number} key @param {number} index */
export function uniform(key, index) {
  return (bits(key, index) + 0.5) * 2 ** -32;
}

/**
 * Write standard normal values by Box and Muller: those of pairs `pair`, `pair` + 1, …
 * @param {Float64Array} into
 * @param {number} at
 * @param {number} count values; of an odd count the last pair's second is left out
 * @param {number} key
 * @param {number} pair
 */
export function fillNormals(into, at, count, key, pair) {
  const other = otherOf(key);
  for (let i = 0; i < count; i += 2) {
    const even = 2 * pair + i + key;
    const u = (mix(mix(even | 0) ^ other) + 0.5) * 2 ** -32;
    const angle = 2 * Math.PI * ((mix(mix((even + 1) | 0) ^ other) + 0.5) * 2 ** -32);
    const radius = Math.sqrt(-2 * Math.log(u));
    into[at + i] = radius * Math.cos(angle);
    if (i + 1 < count) into[at + i + 1] = radius * Math.sin(angle);
  }
}

/**
 * Rows of a table of normal values: row i holds the pairs from i · ⌈width / 2⌉ on.
 * @param {number} key
 * @param {number} first number of the first row
 * @param {number} rows
 * @param {number} width
 * @param {Float64Array} [into] where they are written; a new array without it
 */
export function normalRows(key, first, rows, width, into = new Float64Array(rows * width)) {
  const half = Math.ceil(width / 2);
  for (let row = 0; row < rows; row += 1) fillNormals(into, row * width, width, key, (first + row) * half);
  return into;
}

/** 0 … count − 1 in the order of their integers. @param {number} key @param {number} count @returns {number[]} */
export function permutation(key, count) {
  const drawn = Array.from({ length: count }, (_, index) => bits(key, index));
  return drawn.map((_, index) => index).sort((a, b) => drawn[a] - drawn[b] || a - b);
}

/** One sequence of normal values, read from its start. */
export class Counter {
  /** @param {number} seed @param {Stream} stream @param {number} [first] @param {number} [second] */
  constructor(seed, stream, first = 0, second = 0) {
    this.key = keyOf(seed, stream, first, second);
    this.pair = 0;
  }

  /** The next values; a vector takes whole pairs. @param {number} count @param {number} scale what they are multiplied by */
  normal(count, scale) {
    const found = new Float64Array(count);
    fillNormals(found, 0, count, this.key, this.pair);
    this.pair += Math.ceil(count / 2);
    for (let i = 0; i < count; i += 1) found[i] *= scale;
    return found;
  }
}
