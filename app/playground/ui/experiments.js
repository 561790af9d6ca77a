/** Races to try, each with the question that it answers. */

import { copyOf, halves, SLOWLY } from "./choices.js";

/** @import { Choices } from "./choices.js" */
/** @typedef {{key: string, label: string, look: string, choices: Choices, waits?: boolean}} Experiment waits: for a guess, until Play is pressed */

/** @param {string} key @returns {Choices | undefined} */
export function choicesOf(key) {
  const found = EXPERIMENTS.find((experiment) => experiment.key === key);
  return found && copyOf(found.choices);
}

/** @type {Experiment[]} */
export const EXPERIMENTS = [
  {
    key: "chance", label: "Does it beat chance?",
    look: "A follows the entropy, B draws its moves by lot. Guess first: which one ends with fewer directions misplaced, and by how much? Then press Play. After it, choose agree above the left map: there it is less clear.",
    waits: true,
    choices: { scenario: halves(), shared: {}, a: { ...SLOWLY }, b: { ...SLOWLY, policy: "random" } },
  },
  {
    key: "upside_down", label: "Turn the rule over",
    look: "B follows the same entropy, but takes where A gives. If the entropy knows anything, A and B must part. Watch the misplaced directions.",
    choices: { scenario: "agree", shared: {}, a: { ...SLOWLY }, b: { ...SLOWLY, policy: "inverted" } },
  },
  {
    key: "energy", label: "Small and wide",
    look: "Here the matrices that need most rank carry the least energy. A goes by entropy, which ignores size; B by the Frobenius norm, which is nothing but size. Guess: which one ends with fewer directions misplaced, and is its loss lower for that? Then press Play.",
    waits: true,
    choices: { scenario: "disagree", shared: {}, a: { ...SLOWLY }, b: { ...SLOWLY, policy: "frobenius_norm" } },
  },
  {
    key: "fail", label: "Make it fail",
    look: "The lower half needs 7 directions each: a crucial one with nearly all of the energy, and weak ones. To the entropy that looks uneven, so A takes rank away where it is needed. B, LoRA, never moves. What does it cost A? Compare the losses.",
    choices: { scenario: halves(4), shared: { profile: "spike" }, a: { ...SLOWLY }, b: { ...SLOWLY, policy: "still" } },
  },
  {
    key: "nothing", label: "Nothing to find",
    look: "Every matrix needs the same. A moves rank all the same. Does it cost anything against B, which never moves?",
    choices: { scenario: "uniform", shared: {}, a: { ...SLOWLY }, b: { ...SLOWLY, policy: "still" } },
  },
  {
    key: "dead", label: "Born dead",
    look: "B's new directions start with p, λ and q all 0: their gradients are 0 for ever. They count as rank, and do nothing.",
    choices: { scenario: "agree", shared: {}, a: { ...SLOWLY }, b: { ...SLOWLY, new_direction: "all_zero" } },
  },
  {
    key: "signed", label: "Cut by sign",
    look: "B prunes the smallest signed λ, as the released code does: a large negative λ goes first. Watch B's loss at each event.",
    choices: { scenario: "agree", shared: {}, a: { ...SLOWLY }, b: { ...SLOWLY, prune_rule: "signed" } },
  },
  {
    key: "knowing", label: "Know the truth",
    look: "B moves towards the painted ranks, which it knows: no rule can choose its moves better. How much lower is its loss than A's? And does it reach the dotted line, a training that had the true ranks from the start? Its late directions have had fewer steps to learn.",
    choices: { scenario: "agree", shared: {}, a: { ...SLOWLY }, b: { ...SLOWLY, policy: "oracle" } },
  },
];
