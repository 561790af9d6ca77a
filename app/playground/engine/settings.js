/** The settings of a training: the keys, defaults and limits of the Python configuration, and what is told of a bad one. */

import { MEASURES } from "./importance.js";
import { POLICIES } from "./policies.js";
import { SCHEDULES } from "./schedule.js";
import { PROFILES, SCENARIOS } from "./scenario.js";

/**
 * @typedef {object} Settings everything that one training needs, complete; every key is that of the Python configuration
 * @property {number} steps T, optimizer steps (`--steps`)
 * @property {number} seed draws everything
 * @property {"paper" | "reference"} preset
 * @property {string} scenario a key of `SCENARIOS`, or painted: RANK or RANK:ENERGY a matrix, in module order
 * @property {string | null} profile sizes of a matrix's true directions; null = the scenario's own
 * @property {number} true_rank
 * @property {number} width
 * @property {number} layers
 * @property {number} noise
 * @property {number} batch_size
 * @property {number} learning_rate
 * @property {number} lr_lambda
 * @property {number} lr_warmup_steps
 * @property {"linear" | "constant"} lr_decay
 * @property {number} max_grad_norm
 * @property {number} eval_interval
 * @property {number} initial_rank
 * @property {number} alpha
 * @property {number | null} max_rank
 * @property {string | null} policy null = the importance
 * @property {string} importance
 * @property {"both" | "prune_only" | "extend_only"} direction
 * @property {string} schedule
 * @property {number} exponent
 * @property {[number, number][]} points
 * @property {number} initial_budget b0
 * @property {number} warmup_steps
 * @property {number} final_steps
 * @property {number} interval
 * @property {number} adaptive_margin
 * @property {number} adaptive_churn
 * @property {string} new_direction
 * @property {string} rank_one
 * @property {"undefined" | "first"} all_zero
 * @property {string} prune_rule
 * @property {"disjoint" | "overlapping"} plan
 * @property {number} protection
 * @property {string} regularizer
 * @property {number} regularization_weight γ
 * @property {"keep" | "reset"} optimizer_at_event
 * @property {"schedule" | "peak"} lr_at_event
 * @property {number | null} initial_std
 * @property {number | null} new_direction_std
 * @property {number} epsilon
 */

/** @typedef {Partial<Settings>} Given settings as somebody chose them: what is left out has its default */

/**
 * @typedef {object} Setting what one setting may be
 * @property {"whole" | "number" | "choice" | "scenario" | "points"} kind
 * @property {any} default null = none, or derived from others; `undefined` = as the preset has it
 * @property {string} help one sentence for people
 * @property {boolean} [optional] null is a value of its own
 * @property {boolean} [live] it may change while training
 * @property {readonly string[]} [choices]
 * @property {number} [least]
 * @property {number} [most] what a browser can do at a good pace; Python allows more
 * @property {number} [above]
 */

/** What is told instead of a training that cannot be. */
export class SettingError extends Error {}

/** @param {any} value @param {string} help @param {Partial<Setting>} [more] @returns {Setting} */
const whole = (value, help, more) => ({ kind: "whole", default: value, help, ...more });
/** @param {any} value @param {string} help @param {Partial<Setting>} [more] @returns {Setting} */
const number = (value, help, more) => ({ kind: "number", default: value, help, ...more });
/** @param {any} value @param {readonly string[]} choices @param {string} help @param {Partial<Setting>} [more] @returns {Setting} */
const choice = (value, choices, help, more) => ({ kind: "choice", default: value, choices, help, ...more });
/** Filled in from the preset. */
const PRESET = undefined;

/** @type {Record<keyof Settings, Setting>} */
export const SETTINGS = {
  steps: whole(400, "Optimizer steps, T.", { least: 1, most: 20_000 }),
  seed: whole(0, "Draws weights, truth, data and directions.", { least: 0, most: 2 ** 32 - 1 }),
  preset: choice("paper", ["paper", "reference"], "Starting point: what the paper states, or the released code."),
  scenario: { kind: "scenario", default: "agree", help: `${Object.keys(SCENARIOS).join(", ")}; or one RANK or RANK:ENERGY a matrix: 1,1,4:0.5,...` },
  profile: choice(null, Object.keys(PROFILES), "Sizes of a matrix's true directions; none = the scenario's own.", { optional: true }),
  true_rank: whole(4, "True rank of a matrix on average.", { least: 1 }),
  width: whole(24, "Inputs and outputs of the network.", { least: 2, most: 128 }),
  layers: whole(6, "Layers of three matrices each.", { least: 1, most: 32 }),
  noise: number(0.05, "Standard deviation of the noise on the training targets.", { least: 0 }),
  batch_size: whole(64, "Examples a step.", { least: 1, most: 1024 }),
  learning_rate: number(0.03, "Peak learning rate of P, λ and Q.", { above: 0 }),
  lr_lambda: number(1, "Learning rate of λ as a multiple of learning_rate.", { above: 0 }),
  lr_warmup_steps: whole(10, "Steps over which the learning rate rises from 0.", { least: 0 }),
  lr_decay: choice("linear", ["linear", "constant"], "How the learning rate falls after its warm-up."),
  max_grad_norm: number(1, "Clip the task gradient to this norm; the regulariser is not clipped.", { above: 0 }),
  eval_interval: whole(20, "Steps between evaluations on the validation split.", { least: 1 }),
  initial_rank: whole(4, "Directions of each matrix at the start.", { least: 1 }),
  alpha: number(null, "ΔW is scaled by alpha / initial_rank for ever; none = 2 · initial_rank.", { above: 0 }),
  max_rank: whole(null, "Hard limit for the rank of a matrix; none = its own size.", { least: 1, optional: true, live: true }),
  policy: choice(null, Object.keys(POLICIES), "Rule that gives ranks or moves them in place of importance; none = importance.", { optional: true }),
  importance: choice(PRESET, MEASURES, "Score by which matrices are ranked.", { live: true }),
  direction: choice(PRESET, ["both", "prune_only", "extend_only"], "Whether an event prunes, extends or both.", { live: true }),
  schedule: choice(PRESET, Object.keys(SCHEDULES), "How the budget falls over time; adaptive = decided at each event from what is seen.", { live: true }),
  exponent: number(3, "Power of the decay in schedules paper, reference and cubic.", { above: 0, most: 99, live: true }),
  points: { kind: "points", default: [], help: "[step, budget] knots of schedule points, joined by straight lines.", live: true },
  initial_budget: whole(PRESET, "b0: directions moved at most in an event.", { least: 0, live: true }),
  warmup_steps: whole(null, "No event up to this step; none = int(0.1 · T).", { least: 0, live: true }),
  final_steps: whole(null, "No event in the last steps; none = int(0.3 · T).", { least: 0, live: true }),
  interval: whole(null, "Steps between events; none = max(1, T // 40).", { least: 1, live: true }),
  adaptive_margin: number(1.5, "Schedule adaptive: a pair moves when its gap is this many times what noise alone would leave.", { above: 0, live: true }),
  adaptive_churn: number(0.5, "Schedule adaptive: the ceiling halves after an event in which more than this share of prunes took back.", { least: 0, live: true }),
  new_direction: choice(PRESET, ["zero_impact", "small_value", "all_zero", "gram_schmidt"], "How a new direction starts.", { live: true }),
  rank_one: choice(PRESET, ["one", "zero", "undefined", "median", "first"], "Entropy of a matrix of rank 1, where the formula has none; first = above all others.", { live: true }),
  all_zero: choice(PRESET, ["undefined", "first"], "A matrix whose λ are all 0: it takes no part, or comes first.", { live: true }),
  prune_rule: choice(PRESET, ["magnitude", "signed", "component_norm"], "Which direction goes: smallest |λ|, smallest signed λ, or smallest |λ|·‖p‖·‖q‖.", { live: true }),
  plan: choice(PRESET, ["disjoint", "overlapping"], "Whether one event may prune and extend one matrix.", { live: true }),
  protection: whole(PRESET, "Events during which an extended matrix is not pruned.", { least: 0, live: true }),
  regularizer: choice(PRESET, ["mean_squared", "sum_squared", "mean_norm"], "Form of the orthogonality term: mean or sum over matrices of the squared norm, or mean of the norm."),
  regularization_weight: number(PRESET, "γ: weight of the orthogonality term in the loss.", { least: 0 }),
  optimizer_at_event: choice(PRESET, ["keep", "reset"], "Optimizer state at an event.", { live: true }),
  lr_at_event: choice(PRESET, ["schedule", "peak"], "Learning rate after the first event: as scheduled, or at its peak for ever.", { live: true }),
  initial_std: number(PRESET, "Standard deviation of P and Q at the start; none = 1/√dim, a norm of about 1.", { above: 0, optional: true }),
  new_direction_std: number(PRESET, "Standard deviation of new vectors; none = 1/√dim.", { above: 0, optional: true, live: true }),
  epsilon: number(PRESET, "ε inside the logarithm of the spectral entropy.", { least: 0, live: true }),
};

/** Preset → the value of every setting that it governs. @type {Record<string, Given>} */
export const PRESETS = {
  paper: {
    importance: "spectral_entropy", direction: "both", schedule: "paper", initial_budget: 12, new_direction: "zero_impact",
    rank_one: "undefined", all_zero: "undefined", prune_rule: "magnitude", plan: "disjoint", protection: 0,
    regularizer: "mean_squared", regularization_weight: 0.1, optimizer_at_event: "keep", lr_at_event: "schedule",
    initial_std: null, new_direction_std: null, epsilon: 0,
  },
  reference: {
    importance: "spectral_entropy", direction: "both", schedule: "constant", initial_budget: 4, new_direction: "zero_impact",
    rank_one: "first", all_zero: "first", prune_rule: "signed", plan: "overlapping", protection: 0,
    regularizer: "mean_norm", regularization_weight: 0, optimizer_at_event: "reset", lr_at_event: "peak",
    initial_std: 0.02, new_direction_std: 1, epsilon: 1e-8,
  },
};

/**
 * Complete, checked settings; what is left out, or null, has its default.
 * @param {Given} [given]
 * @returns {Settings}
 * @throws {SettingError} a value that cannot be, with what is allowed
 */
export function completed(given = {}) {
  const unknown = Object.keys(given).find((key) => !(key in SETTINGS));
  if (unknown) throw new SettingError(`Unknown setting ${unknown}. Settings: ${Object.keys(SETTINGS).join(", ")}.`);
  const preset = PRESETS[/** @type {string} */ (checked("preset", given.preset ?? "paper"))];
  /** @type {any} */
  const found = {};
  for (const key of /** @type {(keyof Settings)[]} */ (Object.keys(SETTINGS))) {
    const { default: own, optional } = SETTINGS[key];
    const value = given[key] === undefined || (given[key] === null && !optional) ? (own === undefined ? preset[key] : own) : given[key];
    found[key] = value === null ? null : checked(key, value);
  }
  return fitted(withPolicy(found, given));
}

/**
 * The settings of a training that goes on, with some that may change while it trains.
 * @param {Settings} settings
 * @param {Given} changes
 * @throws {SettingError}
 */
export function changed(settings, changes) {
  const fixed = Object.keys(changes).find((key) => key in SETTINGS && !SETTINGS[/** @type {keyof Settings} */ (key)].live);
  if (fixed) throw new SettingError(`${fixed} is fixed once training has begun.`);
  return completed({ ...settings, ...changes });
}

/** What a policy sets. @param {Settings} found @param {Given} given */
function withPolicy(found, given) {
  if (found.policy === null) return found;
  const own = POLICIES[found.policy].settings;
  for (const [key, value] of Object.entries(own)) {
    const asked = given[/** @type {keyof Settings} */ (key)];
    if (asked !== undefined && asked !== null && asked !== value) throw new SettingError(`Policy ${found.policy} needs ${key}=${value}, not ${asked}: leave ${key} out.`);
  }
  return { ...found, ...own, policy: "importance" in own ? null : found.policy };
}

/** Fill in what follows from other settings, and see that all fit together. @param {Settings} found @returns {Settings} */
function fitted(found) {
  const total = found.steps;
  const derived = { warmup_steps: Math.floor(0.1 * total), final_steps: Math.floor(0.3 * total), interval: Math.max(1, Math.floor(total / 40)) };
  const settings = {
    ...found,
    alpha: found.alpha ?? 2 * found.initial_rank,
    warmup_steps: found.warmup_steps ?? derived.warmup_steps,
    final_steps: found.final_steps ?? derived.final_steps,
    interval: found.interval ?? derived.interval,
  };
  const { width, initial_rank: rank, true_rank: truth, max_rank: most } = settings;
  if (rank > width) throw new SettingError(`initial_rank=${rank} must be from 1 to ${width}, the width of the network.`);
  if (settings.scenario in SCENARIOS && truth > width) throw new SettingError(`true_rank=${truth} must be from 1 to ${width}, the width of the network.`);
  if (most !== null && most < rank) throw new SettingError(`max_rank=${most} is below initial_rank=${rank}. Raise one or lower the other.`);
  if (settings.schedule === "points" && !settings.points.length) throw new SettingError("schedule=points needs points, such as [[10, 8], [100, 0]]: [step, budget].");
  if (settings.policy && POLICIES[settings.policy].kind === "moves" && settings.direction !== "both") {
    throw new SettingError(`Policy ${settings.policy} moves pairs: it needs direction=both, not ${settings.direction}.`);
  }
  if (total > 1 && settings.initial_budget && settings.warmup_steps + settings.interval >= total - settings.final_steps) {
    const told = (/** @type {Given} */ own) => Object.keys(derived).map((key) => `${key}=${own[/** @type {keyof Settings} */ (key)]}`).join(", ");
    throw new SettingError(`No room for an event in ${total} steps with ${told(settings)}: events are at warmup_steps + k · interval, before steps − final_steps. These fit: ${told(derived)}.`);
  }
  return settings;
}

/** The value, or an error that says what is allowed. @param {keyof Settings} key @param {any} value @returns {any} */
function checked(key, value) {
  const { kind, choices, least = -Infinity, most = Infinity, above = -Infinity } = SETTINGS[key];
  if (kind === "choice") {
    if (!choices?.includes(value)) throw new SettingError(`Unknown ${key} ${value}. Choose one of: ${choices?.join(", ")}.`);
    return value;
  }
  if (kind === "scenario") return String(value);
  if (kind === "points") {
    const good = Array.isArray(value) && value.every((knot) => Array.isArray(knot) && knot.length === 2 && Number.isInteger(knot[0]) && Number.isFinite(knot[1]));
    if (!good) throw new SettingError(`${key} is a list of [step, budget], such as [[10, 8], [100, 0]].`);
    return value;
  }
  if (typeof value !== "number" || !Number.isFinite(value) || (kind === "whole" && !Number.isInteger(value))) {
    throw new SettingError(`${key}=${value} is not ${kind === "whole" ? "a whole number" : "a number"}.`);
  }
  if (value < least) throw new SettingError(`${key}=${value} must be at least ${least}.`);
  if (value <= above) throw new SettingError(`${key}=${value} must be above ${above}.`);
  if (value > most) throw new SettingError(`${key}=${value} must be at most ${most} here.`);
  return value;
}

/**
 * The command that makes the same run in Python, with only the settings that differ from the defaults.
 * @param {Settings} settings
 * @param {string} [out] run folder
 */
export function commandOf(settings, out = "runs/playground") {
  const words = ["python -m flexlora.train --task planted --method flexlora", `--preset ${settings.preset} --steps ${settings.steps} --seed ${settings.seed}`, `--out ${quoted(out)}`];
  const plain = completed({ preset: settings.preset, steps: settings.steps, seed: settings.seed });
  for (const key of /** @type {(keyof Settings)[]} */ (Object.keys(SETTINGS))) {
    const value = settings[key];
    // A policy that only gives ranks brings initial_budget=0 with it.
    const brought = settings.policy !== null && key in POLICIES[settings.policy].settings && key !== "policy";
    if (JSON.stringify(value) !== JSON.stringify(plain[key]) && !brought) words.push(`--set ${quoted(`${key}=${written(value)}`)}`);
  }
  return words.join(" ");
}

/** @param {any} value */
const written = (value) => (value === null ? "none" : Array.isArray(value) ? JSON.stringify(value) : String(value));
/** @param {string} word */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);
