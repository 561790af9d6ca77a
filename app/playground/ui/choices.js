/** What the visitor chose: a truth, what both contestants share, and what each has of its own. */

import { POLICIES } from "../engine/policies.js";
import { ScenarioError, truthOf } from "../engine/scenario.js";
import { completed, SettingError, SETTINGS } from "../engine/settings.js";

/** @import { Given, Settings } from "../engine/settings.js" */
/** @import { Truth } from "../engine/scenario.js" */
/** @typedef {"a" | "b"} Side */

/**
 * @typedef {object} Choices
 * @property {string} scenario
 * @property {Given} shared
 * @property {Given} a
 * @property {Given} b
 */

export const SIDES = /** @type {const} */ (["a", "b"]);
export const SHARED = /** @type {const} */ (["seed", "steps", "layers", "initial_rank", "true_rank", "profile", "noise"]);
export const OWN = /** @type {const} */ ([
  "policy", "preset", "direction", "schedule", "exponent", "points", "initial_budget", "warmup_steps", "final_steps", "interval", "new_direction", "prune_rule", "rank_one", "regularizer", "regularization_weight",
]);
/** Whole numbers that a page draws and a browser trains at a good pace. */
export const MOST_SHARED = { layers: 8, steps: 2000 };
/** The rule that follows from the preset. */
export const FIRST_RULE = "spectral_entropy";

/** Few and wide steps, which the eye can follow. */
export const SLOWLY = { initial_budget: 6, warmup_steps: 20, interval: 20 };

/** The first nine matrices need 1, the others 7. @param {number} [energy] of the others @returns {string} */
export function halves(energy = 1) {
  return paintedText(Array.from({ length: 18 }, (_, place) => (place < 9 ? 1 : 7)), Array.from({ length: 18 }, (_, place) => (place < 9 ? 1 : energy)));
}

/** @returns {Choices} as a first visit has them */
export function firstChoices() {
  return { scenario: halves(), shared: {}, a: { ...SLOWLY }, b: { policy: "still", ...SLOWLY } };
}

/** Complete settings of one contestant. @param {Choices} choices @param {Side} side @returns {Settings} @throws {SettingError} */
export function settingsOf(choices, side) {
  const own = { ...choices[side] };
  // A rule that only gives ranks brings its budget along.
  if (own.policy && POLICIES[own.policy]?.kind === "start") delete own.initial_budget;
  return completed({ ...choices.shared, scenario: choices.scenario, ...own });
}

/** @param {Choices} choices @returns {Truth} @throws {SettingError | ScenarioError} */
export function truthOfChoices(choices) {
  return truthOf(settingsOf(choices, "a"));
}

/** @param {Choices} choices @returns {string | null} why it cannot be trained */
export function trouble(choices) {
  const over = /** @type {(keyof typeof MOST_SHARED)[]} */ (Object.keys(MOST_SHARED)).find((key) => Number(choices.shared[key] ?? 0) > MOST_SHARED[key]);
  if (over) return `${over}=${choices.shared[over]} must be at most ${MOST_SHARED[over]} here.`;
  try {
    for (const side of SIDES) truthOf(settingsOf(choices, side));
    return null;
  } catch (error) {
    if (error instanceof SettingError || error instanceof ScenarioError) return error.message;
    throw error;
  }
}

/** The rule that a contestant follows, by its key among `POLICIES`. @param {Given} own @returns {string} */
export function ruleOf(own) {
  return own.policy ?? own.importance ?? FIRST_RULE;
}

/** A changed setting; one at its default is left out, so that the link stays short. @param {Given} given @param {string} key @param {unknown} value undefined = its default @returns {Given} */
export function withSetting(given, key, value) {
  const next = /** @type {Record<string, unknown>} */ ({ ...given, [key]: value });
  if (value === undefined || (value === null && !SETTINGS[/** @type {keyof Settings} */ (key)].optional)) delete next[key];
  return /** @type {Given} */ (next);
}

/** @param {Choices} choices @returns {Choices} */
export function copyOf(choices) {
  return structuredClone(choices);
}

/** Ranks and energies as a painted scenario. @param {number[]} ranks @param {number[]} energies @returns {string} */
export function paintedText(ranks, energies) {
  return ranks.map((rank, place) => (energies[place] === 1 ? String(rank) : `${rank}:${Number(energies[place].toPrecision(3))}`)).join(",");
}
