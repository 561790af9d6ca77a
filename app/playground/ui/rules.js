/** The rules that contestants follow, in the order in which they are offered. */

import { POLICIES } from "../engine/policies.js";

/** @type {Record<string, string>} */
const NAMES = {
  spectral_entropy: "FlexLoRA: spectral entropy",
  still: "LoRA: nothing moves",
  random: "random moves",
  inverted: "FlexLoRA upside down",
  oracle: "oracle: knows the truth",
  true_ranks: "true ranks from the start",
};

/** @type {Record<string, string>} */
const DOES = {
  spectral_entropy: "The lowest entropy of λ² loses its smallest direction, the highest gains one.",
  still: "Every matrix keeps its directions.",
  uniform: "Every matrix has as many directions, for ever.",
  random: "As many moves as FlexLoRA, between matrices drawn by lot.",
  inverted: "The highest entropy loses, the lowest gains.",
  oracle: "Moves towards the true ranks, which it knows.",
  true_ranks: "Has the true ranks before the first step.",
  l1ra_rule: "The smallest |λ| of all go, to matrices that lost nothing.",
  adalora_rule: "Directions of least sensitivity go; owners of the most sensitive gain.",
  elalora_rule: "As AdaLoRA's, among two directions of each matrix.",
};

/** Keys, the best known first. */
export const RULES = [...Object.keys(NAMES), ...Object.keys(POLICIES).filter((key) => !(key in NAMES))];

/** @param {string} key @returns {string} */
export function ruleName(key) {
  return NAMES[key] ?? POLICIES[key].label;
}

/** @param {string} key @returns {string} what it does, in a sentence */
export function ruleWords(key) {
  const { kind } = POLICIES[key];
  return DOES[key] ?? (kind === "importance" || kind === "scores" ? `The lowest ${POLICIES[key].label} loses its smallest direction, the highest gains one.` : `${POLICIES[key].label} decides.`);
}
