/** The plan: which matrices give a direction and which get one, as `flexlora.reallocation` decides. Matrices are numbers. */

import { rounded } from "./scenario.js";

/** @typedef {(number | null)[]} Scores of each matrix, null = undefined, Infinity = before all others */

/**
 * @typedef {object} Asked
 * @property {Scores} scores
 * @property {number[]} ranks
 * @property {number[]} limits highest rank of each matrix
 * @property {Set<number>} guarded matrices that are not pruned this time
 * @property {number[]} order all matrices, in the order that settles equal scores
 */

/**
 * @typedef {object} Plan
 * @property {number[]} prune in the order of choice, least important first
 * @property {number[]} extend most important first
 * @property {Map<number, string>} refused matrix → `at_max_rank`, `rank_1` or `protected`
 * @property {string[]} rules what shaped the decision
 */

/** One end of the order. @typedef {{reasons: [number, string | null][], eligible: number[], taken: number[], refused: [number, string][]}} Half */

/** @param {number[]} order @param {(matrix: number) => string | null} refusal @returns {Half} */
function half(order, refusal) {
  /** @type {[number, string | null][]} */
  const reasons = order.map((matrix) => [matrix, refusal(matrix)]);
  return { reasons, eligible: reasons.filter(([, reason]) => reason === null).map(([matrix]) => matrix), taken: [], refused: [] };
}

/** Take the first `count`; those passed over up to the `looked`-th eligible one are refused. @param {Half} own @param {number} count @param {number} [looked] */
function take(own, count, looked = count) {
  own.taken = own.eligible.slice(0, count);
  let seen = 0;
  for (const [matrix, reason] of own.reasons) {
    if (seen >= looked) return;
    if (reason === null) seen += 1;
    else own.refused.push([matrix, reason]);
  }
}

class Request {
  /** @param {Asked} asked */
  constructor({ scores, ranks, limits, guarded, order }) {
    const place = new Map(order.map((matrix, index) => [matrix, index]));
    /** Compared after rounding: what differs only by the order of a sum is a tie. */
    this.score = scores.map((score) => (score === null || Number.isNaN(score) ? NaN : rounded(score)));
    const defined = scores.map((_, matrix) => matrix).filter((matrix) => !Number.isNaN(this.score[matrix]));
    this.undefined = defined.length < scores.length;
    const sorted = defined.sort((a, b) => (this.score[a] === this.score[b] ? (place.get(a) ?? 0) - (place.get(b) ?? 0) : this.score[a] < this.score[b] ? -1 : 1));
    this.givers = half(sorted, (matrix) => (ranks[matrix] <= 1 ? "rank_1" : guarded.has(matrix) ? "protected" : null));
    this.takers = half([...sorted].reverse(), (matrix) => (ranks[matrix] >= limits[matrix] ? "at_max_rank" : null));
  }

  /** @param {number} budget @param {string[]} rules @returns {Plan} */
  plan(budget, ...rules) {
    const refused = new Map([...this.takers.refused, ...this.givers.refused]);
    const acted = new Set(rules);
    for (const reason of refused.values()) acted.add(reason === "protected" ? "protected" : "refused");
    if (this.undefined && budget) acted.add("undefined");
    if (this.tied(this.givers) || this.tied(this.takers)) acted.add("tie");
    return { prune: this.givers.taken, extend: this.takers.taken, refused, rules: [...acted].sort() };
  }

  /** @param {Half} own */
  tied({ taken, eligible }) {
    const count = taken.length;
    return count > 0 && count < eligible.length && this.score[taken[count - 1]] === this.score[eligible[count]];
  }
}

/**
 * As many pairs as each pruned matrix is less important than each extended one; or a single half.
 * @param {Asked} asked @param {number} budget @param {string} direction @returns {Plan}
 */
function disjoint(asked, budget, direction) {
  const request = new Request(asked);
  const { givers, takers, score } = request;
  if (direction !== "both") {
    take(direction === "prune_only" ? givers : takers, budget);
    return request.plan(budget);
  }
  const most = Math.min(givers.eligible.length, takers.eligible.length, budget);
  let count = 0;
  while (count < most && score[givers.eligible[count]] < score[takers.eligible[count]]) count += 1;
  for (const own of [givers, takers]) take(own, count, Math.min(count + 1, budget));
  if (count === most) return request.plan(budget);
  const [low, high] = [givers.eligible[count], takers.eligible[count]];
  return request.plan(budget, low !== high && score[low] === score[high] ? "tie" : "disjoint");
}

/** As the released code chooses: the two halves do not know of each other. @param {Asked} asked @param {number} budget @param {string} direction @returns {Plan} */
function overlapping(asked, budget, direction) {
  const request = new Request(asked);
  if (direction !== "extend_only") take(request.givers, budget);
  if (direction !== "prune_only") take(request.takers, budget);
  return request.plan(budget);
}

/** Plan → f(what is asked, budget, direction). @type {Record<string, (asked: Asked, budget: number, direction: string) => Plan>} */
export const PLANS = { disjoint, overlapping };

/** Importance taken minus importance given of each pair that could move, first to last. @param {Asked} asked */
export function pairGaps(asked) {
  const { givers, takers, score } = new Request(asked);
  const pairs = givers.eligible.slice(0, takers.eligible.length);
  return pairs.map((low, index) => score[takers.eligible[index]] - score[low]).filter((gap) => gap > 0);
}
