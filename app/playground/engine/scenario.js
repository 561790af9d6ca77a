/** Scenarios: how many directions of which energy the teacher changes in each matrix, as `flexlora.planted.scenario` has them. */

import { keyOf, permutation } from "./counter.js";

/** @import { Settings } from "./settings.js" */

/** What is told of a truth that cannot be planted. */
export class ScenarioError extends Error {}

/** Profile → size of direction `place` (from 0) as a share of the first's. @type {Record<string, (place: number) => number>} */
export const PROFILES = {
  flat: () => 1,
  geometric: (place) => 0.75 ** place,
  spike: (place) => (place === 0 ? 1 : 0.25),
};

/** @typedef {{rank: number, energy: number, profile: string}} Kind rank as a multiple of the mean, energy as one of e₀ = 1 */

const SHARES = [0.25, 0.25, 0.5, 1, 1.5, 2.5];

/** @param {number} rank @param {number} energy @param {string} [profile] @returns {Kind} */
const kind = (rank, energy, profile = "flat") => ({ rank, energy, profile });

/** Name → the kinds that are dealt to the matrices in turn. @type {Record<string, Kind[]>} */
export const SCENARIOS = {
  agree: SHARES.map((share) => kind(share, Math.sqrt(share))),
  disagree: SHARES.map((share) => kind(share, share ** -0.6)),
  spike: [...Array.from({ length: 4 }, () => kind(0.5, 0.25)), kind(2, 2, "spike"), kind(2, 2, "spike")],
  uniform: [kind(1, 1)],
};

/**
 * @typedef {object} Truth what the teacher changes, of each matrix in module order
 * @property {number[]} ranks r*
 * @property {number[]} energies e, size of the first direction
 * @property {string[]} profiles
 */

/**
 * @param {Pick<Settings, "scenario" | "profile" | "true_rank" | "width" | "layers" | "seed">} settings
 * @returns {Truth}
 * @throws {ScenarioError} a painted list of another length, or a rank or energy that cannot be
 */
export function truthOf({ scenario, profile, true_rank: mean, width, layers, seed }) {
  const matrices = 3 * layers;
  if (!Object.hasOwn(SCENARIOS, scenario)) return painted(scenario, profile, matrices, width);
  const cycle = SCENARIOS[scenario];
  /** @type {Kind[]} */
  const dealt = [];
  permutation(keyOf(seed, "scenario"), matrices).forEach((matrix, place) => {
    dealt[matrix] = cycle[place % cycle.length];
  });
  return {
    ranks: shareOut(dealt.map((own) => own.rank), mean * matrices, width),
    energies: dealt.map((own) => own.energy),
    profiles: dealt.map((own) => profile ?? own.profile),
  };
}

/** Singular values of ΔW* of one matrix, descending. @param {Truth} truth @param {number} matrix */
export function sizesOf(truth, matrix) {
  const profile = PROFILES[truth.profiles[matrix]];
  return Array.from({ length: truth.ranks[matrix] }, (_, place) => truth.energies[matrix] * profile(place));
}

/** @param {string} text @param {string | null} profile @param {number} matrices @param {number} width @returns {Truth} */
function painted(text, profile, matrices, width) {
  const parts = text.replace(/^[[\] ]+|[[\] ]+$/g, "").split(",").map((part) => part.trim());
  if (parts.length === 1 && !/^\d/.test(parts[0])) {
    throw new ScenarioError(`Unknown scenario ${text}. Choose one of: ${Object.keys(SCENARIOS).join(", ")}; or paint one: ${matrices} ranks, such as 1,1,4,8:0.5,...`);
  }
  if (parts.length !== matrices) throw new ScenarioError(`The painted scenario has ${parts.length} ranks; the network has ${matrices} matrices.`);
  const pairs = parts.map((part) => {
    const [, rank, energy] = /^(\d+)(?::(\d*\.?\d+(?:e[+-]?\d+)?))?$/i.exec(part) ?? [];
    if (rank === undefined) throw new ScenarioError(`${part} is not RANK or RANK:ENERGY, such as 4 or 4:0.5.`);
    if (Number(rank) < 1 || Number(rank) > width) throw new ScenarioError(`${part}: a rank is from 1 to ${width}, an energy at least 0.`);
    return [Number(rank), energy === undefined ? 1 : Number(energy)];
  });
  return { ranks: pairs.map(([rank]) => rank), energies: pairs.map(([, energy]) => energy), profiles: pairs.map(() => profile ?? "flat") };
}

/** To nine decimals, as near as a float can be. @param {number} value */
export const rounded = (value) => Number(value.toFixed(9));

/**
 * Whole numbers in proportion to weights that add up to `total`, by largest remainder, each from 1 to `most`: `flexlora.allocation.share_out`.
 * @param {number[]} weights
 * @param {number} total
 * @param {number} most
 */
export function shareOut(weights, total, most) {
  const sum = weights.reduce((a, b) => a + b, 0);
  const wanted = weights.map((weight) => (weight / sum) * total);
  const ranks = wanted.map((value) => Math.min(most, Math.max(1, Math.floor(value + 1e-9))));
  for (;;) {
    const left = total - ranks.reduce((a, b) => a + b, 0);
    if (!left) return ranks;
    const sign = left > 0 ? 1 : -1;
    const missing = ranks.map((rank, place) => ((left > 0 ? rank < most : rank > 1) ? rounded((wanted[place] - rank) * sign) : -Infinity));
    const chosen = missing.indexOf(Math.max(...missing));
    ranks[chosen] += sign;
  }
}
