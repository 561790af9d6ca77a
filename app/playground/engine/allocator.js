/** An event: read λ, ask the importance or the policy, make the plan, move directions, say what was done. */

import { AdaptiveSchedule, median } from "./adaptive.js";
import { Counter, keyOf, permutation } from "./counter.js";
import { SCORES, silentAtRankOne } from "./importance.js";
import { STARTS } from "./new_direction.js";
import { PLANS, pairGaps } from "./plan.js";
import { chances, POLICIES } from "./policies.js";
import { budgetOf } from "./schedule.js";
import { trueSingularValues } from "./singular_values.js";
import { componentNorms, SMOOTHED } from "./smoothing.js";

/** @import { Adapter, Matrix } from "./adapter.js" */
/** @import { AdaptiveDecision } from "./adaptive.js" */
/** @import { Optimizer } from "./optimizer.js" */
/** @import { Scores } from "./plan.js" */
/** @import { Pairs, Seen } from "./policies.js" */
/** @import { Settings } from "./settings.js" */

/** @typedef {{matrix: number, slot: number, singularValue: number | null, rules: string[]}} Move λ of a direction that was pruned; null of one that came */

/**
 * @typedef {object} Event what an event saw and did; matrices are numbers in module order
 * @property {number} step after which it came
 * @property {number} budget b(t), the most that may be pruned and the most that may be extended
 * @property {string} measure importance or policy that decided
 * @property {Scores} importances the measure's own score of each matrix, null = undefined; of a policy that moves pairs, the change in rank
 * @property {Scores} sensitivities mean |λ · ∂L/∂λ| of each matrix, whatever decides
 * @property {Scores} decided what the plan went by: rules for rank 1 and λ = 0 applied; Infinity = before all others
 * @property {Move[]} prune in order
 * @property {Move[]} extend in order
 * @property {[number, string][]} refused matrices that were passed over, and why: `at_max_rank`, `rank_1`, `protected`
 * @property {string[]} rules that acted
 * @property {number[]} ranks after it
 * @property {AdaptiveDecision | null} adaptive
 */

/** Which direction goes: f(matrix, its λ as logged, in slot order) → place. @type {Record<string, (matrix: Matrix, logged: number[]) => number>} */
const PRUNE_RULES = {
  magnitude: (_, logged) => least(logged.map(Math.abs)),
  signed: (_, logged) => least(logged),
  component_norm: (matrix) => least(componentNorms(matrix)),
};

/** @param {number[]} values */
const least = (values) => values.indexOf(Math.min(...values));

export class Allocator {
  /** @param {Adapter} adapter @param {Optimizer} optimizer @param {Settings} settings @param {number[]} truth r* */
  constructor(adapter, optimizer, settings, truth) {
    this.adapter = adapter;
    this.optimizer = optimizer;
    /** Used from the next event on. */
    this.settings = settings;
    this.truth = truth;
    /** Step at which each matrix was extended last. @type {Map<number, number>} */
    this.extendedAt = new Map();
    this.adaptive = new AdaptiveSchedule();
    const smooths = settings.policy ? POLICIES[settings.policy].smooths : undefined;
    this.smoothed = smooths ? new SMOOTHED[smooths](adapter) : null;
    /** True once the learning-rate schedule was lost at an event. */
    this.released = false;
  }

  /** Take in values and gradients after a step, as long as something may still move. @param {number} step */
  watch(step) {
    if (step <= this.settings.steps - this.settings.final_steps) this.smoothed?.update();
  }

  /** Let the event after `step` happen. @param {number} step @returns {Event} */
  event(step) {
    const { settings, adapter } = this;
    const ranks = adapter.ranks();
    const logged = adapter.matrices.map((matrix) => matrix.logged());
    const { own, decided, plan, budget, adaptive } = this.decide(step, ranks, logged);
    const sensitivities = this.scores("sensitivity", logged);
    this.adaptive.observe(decided, ranks, plan.prune, plan.extend, settings.adaptive_churn);
    for (const matrix of plan.extend) this.extendedAt.set(matrix, step);
    const prune = plan.prune.map((matrix) => this.prune(matrix, logged[matrix]));
    const extend = plan.extend.map((matrix, place) => this.extend(matrix, step, plan.extend.slice(0, place).filter((other) => other === matrix).length));
    const silent = silentAtRankOne(settings.policy ?? settings.importance);
    for (const move of [...prune, ...extend]) {
      if (silent && ranks[move.matrix] === 1) move.rules.push("rank_one");
      else if (decided[move.matrix] !== own[move.matrix]) move.rules.push("undefined");
    }
    if (settings.optimizer_at_event === "reset") this.optimizer.reset();
    this.released ||= settings.lr_at_event === "peak";
    const rules = [...new Set([...plan.rules, ...[...prune, ...extend].flatMap((move) => move.rules)])];
    const measure = settings.policy ?? settings.importance;
    return { step, budget, measure, importances: own, sensitivities, decided, prune, extend, refused: [...plan.refused], rules, ranks: adapter.ranks(), adaptive };
  }

  /** @param {number} step @param {number[]} ranks @param {number[][]} logged λ of each matrix */
  decide(step, ranks, logged) {
    const { settings, adapter } = this;
    const limits = adapter.matrices.map((matrix) => Math.min(matrix.slots, settings.max_rank ?? Infinity));
    const policy = settings.policy ? POLICIES[settings.policy] : null;
    let budget = budgetOf(settings, step);
    /** @type {AdaptiveDecision | null} */
    let adaptive = null;
    if (policy?.moves) {
      const moved = policy.moves(this.seen(step, ranks, logged, limits, budget));
      const own = changes(moved, ranks.length);
      return { own, decided: own, plan: { ...moved, refused: new Map(), rules: /** @type {string[]} */ ([]) }, budget, adaptive };
    }
    const own = policy?.scores ? policy.scores(this.seen(step, ranks, logged, limits, budget)) : this.scores(settings.importance, logged);
    const decided = ruled(own, ranks, settings);
    const asked = { scores: decided, ranks, limits, guarded: this.guarded(step), order: tieOrder(step, ranks.length, settings) };
    if (settings.schedule === "adaptive") {
      adaptive = this.adaptive.decide(decided, ranks, pairGaps(asked), budget, settings.adaptive_margin);
      budget = adaptive.budget;
    }
    return { own, decided, plan: PLANS[settings.plan](asked, budget, settings.direction), budget, adaptive };
  }

  /** @param {number} step @param {number[]} ranks @param {number[][]} lambda @param {number[]} limits @param {number} budget @returns {Seen} */
  seen(step, ranks, lambda, limits, budget) {
    const smoothed = () => this.smoothed?.scores() ?? [];
    return { lambda, ranks, limits, truth: this.truth, chance: chances(this.settings.seed, step, ranks.length), budget, sensitivities: smoothed, shares: smoothed };
  }

  /** What a measure says of each matrix now. @param {string} measure @param {number[][]} logged @returns {Scores} */
  scores(measure, logged) {
    const { scale, matrices } = this.adapter;
    const score = SCORES[measure];
    return matrices.map((matrix, place) => {
      const values =
        measure === "true_spectral_entropy" ? trueSingularValues(matrix, scale)
        : measure === "sensitivity" ? matrix.filled().map((slot) => Math.abs(matrix.lam[slot] * matrix.gradients.lam[slot]))
        : logged[place];
      return score(values, this.settings.epsilon);
    });
  }

  /** Matrices that were extended too lately to be pruned. @param {number} step */
  guarded(step) {
    const window = this.settings.protection * this.settings.interval;
    return new Set([...this.extendedAt].filter(([, extended]) => window && step - extended <= window).map(([matrix]) => matrix));
  }

  /** @param {number} number @param {number[]} logged its λ; that of the direction that goes is taken out @returns {Move} */
  prune(number, logged) {
    const matrix = this.adapter.matrices[number];
    const place = PRUNE_RULES[this.settings.prune_rule](matrix, logged);
    const slot = matrix.filled()[place];
    matrix.empty(slot);
    this.smoothed?.forget(matrix, slot);
    return { matrix: number, slot, singularValue: logged.splice(place, 1)[0], rules: [] };
  }

  /** @param {number} number @param {number} step @param {number} before directions that it got in this event already @returns {Move} */
  extend(number, step, before) {
    const { settings, adapter } = this;
    const matrix = adapter.matrices[number];
    const slot = matrix.free();
    const { p, lam, q } = STARTS[settings.new_direction](matrix, settings.new_direction_std, new Counter(settings.seed + before, "directions", step, number));
    const grown = matrix.reach(slot);
    matrix.fill(slot, p, lam, q);
    this.optimizer.begin(matrix, slot);
    this.smoothed?.forget(matrix, slot);
    return { matrix: number, slot, singularValue: null, rules: grown ? ["grown"] : [] };
  }
}

/** The change in rank of each matrix. @param {Pairs} moved @param {number} count @returns {Scores} */
function changes({ prune, extend }, count) {
  const found = /** @type {number[]} */ (Array(count).fill(0));
  for (const matrix of prune) found[matrix] -= 1;
  for (const matrix of extend) found[matrix] += 1;
  return found;
}

/** The rules for matrices about which a measure says nothing. @param {Scores} own @param {number[]} ranks @param {Settings} settings @returns {Scores} */
function ruled(own, ranks, { all_zero: zero, rank_one: alone, policy, importance }) {
  const decided = own.map((score) => (score === null && zero === "first" ? Infinity : score));
  if (!silentAtRankOne(policy ?? importance) || alone === "one") return decided;
  const others = own.flatMap((score, matrix) => (score !== null && ranks[matrix] > 1 ? [score] : []));
  const middle = others.length ? median(others) : null;
  const instead = { zero: 0, undefined: null, median: middle, first: Infinity }[alone] ?? null;
  return decided.map((score, matrix) => (ranks[matrix] === 1 && own[matrix] !== null ? instead : score));
}

/** The order that settles equal importances. @param {number} step @param {number} count @param {Settings} settings */
function tieOrder(step, count, { plan, seed }) {
  return plan === "disjoint" ? permutation(keyOf(seed, "ties", step), count) : Array.from({ length: count }, (_, matrix) => matrix);
}
