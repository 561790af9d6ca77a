/** Policies: rules that give ranks or move them in place of an importance, with the keys of `flexlora.policies`. */

import { keyOf, uniform } from "./counter.js";
import { SCORES, spectralEntropy } from "./importance.js";

/** @import { Scores } from "./plan.js" */

/**
 * @typedef {object} Seen what a policy may look at; arrays have an entry a matrix
 * @property {number[][]} lambda of the directions, in slot order
 * @property {number[]} ranks
 * @property {number[]} limits highest rank
 * @property {number[]} truth r*
 * @property {number[]} chance numbers in (0, 1)
 * @property {number} budget the most that may be pruned, and the most that may be extended
 * @property {() => number[][]} sensitivities AdaLoRA's score of each direction, smoothed over all steps
 * @property {() => number[][]} shares DoRA's share of each direction, smoothed over all steps
 */

/** @typedef {{prune: number[], extend: number[]}} Pairs matrices, once for each direction */

/**
 * @typedef {object} Policy
 * @property {string} label
 * @property {"importance" | "scores" | "moves" | "start"} kind `scores`: the plan moves from the lowest to the highest
 * @property {Record<string, any>} settings that make it run
 * @property {(seen: Seen) => Scores} [scores]
 * @property {(seen: Seen) => Pairs} [moves]
 * @property {"sensitivities" | "shares"} [smooths] what must be smoothed at every step
 */

/** Numbers in (0, 1), one a matrix. @param {number} seed @param {number} step @param {number} count */
export function chances(seed, step, count) {
  const key = keyOf(seed, "policy", step);
  return Array.from({ length: count }, (_, matrix) => uniform(key, matrix));
}

/** @param {Seen} seen @returns {Scores} */
const inverted = ({ lambda }) =>
  lambda.map((values) => {
    const entropy = values.length > 1 ? spectralEntropy(values) : null;
    return entropy === null ? null : -entropy;
  });

/** From where most is over the true rank to where most is missing. @param {Seen} seen @returns {Pairs} */
function oracle({ truth, limits, ranks, budget }) {
  const missing = truth.map((rank, matrix) => Math.min(rank, limits[matrix]) - ranks[matrix]);
  /** @type {Pairs} */
  const found = { prune: [], extend: [] };
  while (found.prune.length < budget) {
    const low = missing.indexOf(Math.min(...missing));
    const high = missing.indexOf(Math.max(...missing));
    if (missing[low] >= 0 || missing[high] <= 0) break;
    missing[low] += 1;
    missing[high] -= 1;
    found.prune.push(low);
    found.extend.push(high);
  }
  return found;
}

/** @typedef {{score: number, place: number, matrix: number}} Entry one direction in the pool */

/** Lowest directions of a pool go; the owners of the highest get one. @param {number[][]} scores of each direction @param {Seen} seen @param {number} pool directions that each matrix puts up @returns {Pairs} */
function ends(scores, { limits, budget }, pool) {
  const entries = scores.flatMap((own, matrix) =>
    own.map((score, place) => ({ score, place, matrix })).sort((a, b) => a.score - b.score || a.place - b.place).slice(0, pool),
  );
  entries.sort((a, b) => a.score - b.score);
  for (let most = budget; ; ) {
    const { taken, given } = bothEnds(entries, scores.map((own) => own.length), limits, most);
    // A direction that is not taken after all leaves no room for another.
    if (given.length >= taken.length) return { prune: taken.map(({ matrix }) => matrix), extend: given.slice(0, taken.length).map(({ matrix }) => matrix) };
    most = given.length;
  }
}

/** @param {Entry[]} entries lowest first @param {number[]} ranks they are changed @param {number[]} limits @param {number} budget */
function bothEnds(entries, ranks, limits, budget) {
  /** @type {Entry[]} */
  const taken = [];
  for (const entry of entries) {
    if (taken.length < budget && ranks[entry.matrix] > 1) {
      ranks[entry.matrix] -= 1;
      taken.push(entry);
    }
  }
  /** @type {Entry[]} */
  const given = [];
  for (const entry of [...entries].reverse()) {
    if (given.length < budget && !taken.includes(entry) && ranks[entry.matrix] < limits[entry.matrix]) {
      ranks[entry.matrix] += 1;
      given.push(entry);
    }
  }
  return { taken, given };
}

/** The smallest |λ| go, to the matrices that lost nothing, in turn, firmest first. @param {Seen} seen @returns {Pairs} */
function l1ra({ lambda, limits, budget }) {
  const values = lambda.map((own) => own.map(Math.abs));
  const every = values.flat().sort((a, b) => a - b);
  const below = budget < every.length ? every[budget] : Infinity;
  const low = values.flatMap((own, matrix) => {
    const found = own.map((value, place) => ({ value, place, matrix })).filter(({ value }) => value < below);
    const largest = own.indexOf(Math.max(...own));
    return found.length === own.length ? found.filter(({ place }) => place !== largest) : found;
  });
  const losers = new Set(low.map(({ matrix }) => matrix));
  const order = values.map((_, matrix) => matrix).filter((matrix) => !losers.has(matrix));
  order.sort((a, b) => Math.min(...values[b]) - Math.min(...values[a]));
  const room = limits.map((limit, matrix) => limit - values[matrix].length);
  /** @type {number[]} */
  const extend = [];
  while (extend.length < low.length && order.some((matrix) => room[matrix])) {
    for (const matrix of order) {
      if (room[matrix] && extend.length < low.length) {
        room[matrix] -= 1;
        extend.push(matrix);
      }
    }
  }
  low.sort((a, b) => a.value - b.value);
  return { prune: low.slice(0, extend.length).map(({ matrix }) => matrix), extend };
}

/** @param {number[]} values */
const mean = (values) => (values.length && values.every(Number.isFinite) ? values.reduce((a, b) => a + b, 0) / values.length : null);
/** @param {number[][]} scores */
const longest = (scores) => Math.max(...scores.map((own) => own.length));

/** @param {string} key @param {string} label @param {Omit<Policy, "label" | "settings">} own @returns {[string, Policy]} */
const policy = (key, label, own) => [key, { label, settings: { policy: key, ...(own.kind === "start" ? { initial_budget: 0 } : {}) }, ...own }];

/** Key → policy. Those that are importances run as that importance. @type {Record<string, Policy>} */
export const POLICIES = Object.fromEntries([
  ...Object.keys(SCORES).map((key) => /** @type {[string, Policy]} */ ([key, { label: key.replaceAll("_", " "), kind: "importance", settings: { importance: key } }])),
  policy("random", "random moves", { kind: "scores", scores: ({ chance }) => chance }),
  policy("inverted", "spectral entropy, inverted", { kind: "scores", scores: inverted }),
  policy("still", "events without moves", { kind: "moves", moves: () => ({ prune: [], extend: [] }) }),
  policy("oracle", "oracle: towards the true ranks", { kind: "moves", moves: oracle }),
  policy("smoothed_sensitivity", "AdaLoRA's score", { kind: "scores", smooths: "sensitivities", scores: (seen) => seen.sensitivities().map(mean) }),
  policy("adalora_rule", "AdaLoRA's rule", { kind: "moves", smooths: "sensitivities", moves: (seen) => ends(seen.sensitivities(), seen, longest(seen.lambda)) }),
  policy("elalora_rule", "ElaLoRA's rule", { kind: "moves", smooths: "sensitivities", moves: (seen) => ends(seen.sensitivities(), seen, 2) }),
  policy("dora_dynamic_rule", "DoRA's rule", { kind: "moves", smooths: "shares", moves: (seen) => ends(seen.shares(), seen, longest(seen.lambda)) }),
  policy("l1ra_rule", "L1RA's rule", { kind: "moves", moves: l1ra }),
  policy("uniform", "uniform", { kind: "start" }),
  policy("true_ranks", "true ranks from the start", { kind: "start" }),
]);
