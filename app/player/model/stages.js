/** An event in five stages, made from the log: what slow motion and the steps of an event show. */

import { formatNumber, matrixLabel } from "./format.js";
import { isSoft } from "./model.js";
import { remembered } from "./remembered.js";

/** @import { Model } from "./model.js" */
/** @import { RunEvent } from "./decode.js" */

/** @typedef {{index: number, key: string, event: number, caption: string, share: number}} Stage event: its place among the run's events; share: how much of the stage's time has passed, in [0, 1] */

/** From which share of its stage on a question is answered. */
const ANSWERED = 0.5;

export const STAGES = [
  { key: "score", label: "Score" },
  { key: "order", label: "Order" },
  { key: "prune", label: "Prune" },
  { key: "extend", label: "Extend" },
  { key: "resume", label: "Resume" },
];

/**
 * What an event saw and did, as analysis.stages has it; arrays have one entry a matrix.
 * @typedef {object} Decision
 * @property {RunEvent} event
 * @property {number} record
 * @property {boolean} byDirection single directions are scored; a matrix's score is their mean
 * @property {number[]} scores as they were compared: NaN = undefined, Infinity = before all others
 * @property {number[]} places 1 = lowest score; where directions are scored, how many stand above the threshold; NaN where undefined
 * @property {Set<number>} low matrices that stand out at the lower end
 * @property {Set<number>} high matrices that stand out at the upper end
 * @property {Map<number, string>} refused matrix → why it was passed over
 * @property {Map<number, number>} prune matrix → directions that go
 * @property {Map<number, number>} extend matrix → directions that come
 * @property {number[]} before ranks that the decision saw
 * @property {Record<string, string>} captions of its stages, as they are asked for
 * @property {number[]} after ranks that training goes on with
 */

const NAMED = 2; // matrices that a caption names

/** The event is told by its index. @type {(model: Model, index: number) => Decision} */
export const decisionOf = remembered((model, index) => {
  const event = model.events[index];
  const record = model.recordAt(event.step);
  const prune = model.movesOf(event.prune);
  const extend = model.movesOf(event.extend);
  const before = model.matrices.map((_, m) => model.rank(record, m));
  return {
    captions: {}, event, record, prune, extend, before,
    byDirection: event.byDirection ?? false,
    // Made anew whenever they are read.
    scores: event.scores,
    places: event.order,
    low: new Set([...prune.keys(), ...(event.low ?? [])]),
    high: new Set([...extend.keys(), ...(event.high ?? [])]),
    refused: new Map(Object.entries(event.refused ?? {}).map(([name, why]) => [model.indexOf.get(name) ?? -1, String(why)])),
    after: before.map((rank, m) => rank - (prune.get(m) ?? 0) + (extend.get(m) ?? 0)),
  };
});

/** First what is asked, then what is told: whoever looks may guess. @param {Model} model @param {number} index of the event @param {number} place in `STAGES` @param {number} [share] @returns {Stage} */
export function stageOf(model, index, place, share = 1) {
  const { key } = STAGES[place];
  const decision = decisionOf(model, index);
  const [words, name] = share < ANSWERED ? [QUESTIONS, `${key}?`] : [CAPTIONS, key];
  decision.captions[name] ??= words[key](model, decision);
  return { index: place, key, event: index, share, caption: decision.captions[name] };
}

/** What each stage asks before it is seen. @type {Record<string, (model: Model, decision: Decision) => string>} */
const QUESTIONS = {
  score: (model, { event, byDirection }) =>
    event.measure === "spectral_entropy"
      ? "How evenly is the energy of each matrix spread over its directions?"
      : `What does each ${byDirection ? "direction" : "matrix"} score by ${measureOf(model, event).label}?`,
  order: (_model, { event, byDirection, low, high }) => {
    if (byDirection || Number.isFinite(event.threshold)) return "Which directions fall at or below the line?";
    if (!event.budget) return "Does anything move?";
    const [which, others] = event.budget === 1 ? ["Which matrix", "which"] : [`Which ${event.budget} matrices`, `which ${event.budget}`];
    if (!high.size) return `${which} may lose a direction?`;
    return low.size ? `${which} may lose a direction, and ${others} may gain one?` : `${which} may gain a direction?`;
  },
  prune: (model, { event }) => (event.prune.length ? `Which of its directions does each of them lose?` : `Is anything ${model.words.pruned}?`),
  extend: (model, { event }) => (event.extend.length ? "Which matrices gain a direction, and how large is it at first?" : `Is anything ${model.words.extended}?`),
  resume: (_model, { event }) => (event.extend.length ? "What becomes of the new directions when training goes on?" : "How does training go on?"),
};

/** The importances of all events of a run: scores keep one scale. @param {Model} model @returns {{low: number, high: number}} */
export function scoreRange(model) {
  let [low, high] = [Infinity, -Infinity];
  for (let index = 0; index < model.events.length; index += 1) {
    for (const score of decisionOf(model, index).scores) {
      if (!Number.isFinite(score)) continue;
      low = Math.min(low, score);
      high = Math.max(high, score);
    }
  }
  return { low, high };
}

/** What is known of the measure that decided an event. @param {Model} model @param {RunEvent | undefined} event @returns {{label: string, range: [number | null, number | null]}} */
export function measureOf(model, event) {
  return model.header.measures[event?.measure ?? ""] ?? { label: "importance", range: [null, null] };
}

/** @type {Record<string, (model: Model, decision: Decision) => string>} */
const CAPTIONS = {
  score: (model, { event, scores, byDirection }) => {
    const known = scores.filter(Number.isFinite);
    const range = known.length ? `${formatNumber(Math.min(...known))} … ${formatNumber(Math.max(...known))}` : "none is defined";
    const unknown = scores.filter(Number.isNaN).length;
    const first = scores.filter((score) => score === Infinity).length;
    const what = byDirection ? "Every direction is scored by" : "Every matrix is scored by";
    const told = [byDirection ? `matrix means ${range}` : range, unknown ? `${unknown} undefined` : "", first ? `${first} put first by a rule` : ""];
    const spread = event.measure === "spectral_entropy" ? "; how even the shares are counts, not how large λ is" : "";
    return `${what} ${measureOf(model, event).label}: ${told.filter(Boolean).join(", ")}${spread}`;
  },
  order: (model, decision) => [cut(decision), ...rulesOf(model, decision)].join("; "),
  prune: (model, { event, before, prune }) => moved(model, model.words.pruned, event.prune, before, prune, -1),
  extend: (model, decision) => {
    const { event, before, prune, extend } = decision;
    return moved(model, model.words.extended, event.extend, before.map((rank, m) => rank - (prune.get(m) ?? 0)), extend, 1) + diluted(decision);
  },
  resume: (model, { event, record }) => {
    const was = model.totalRank[record];
    const is = was - event.prune.length + event.extend.length;
    const next = record + 1 < model.T ? (event.extend.length ? `; from step ${model.steps[record + 1]} on what is new may grow` : `; next record: step ${model.steps[record + 1]}`) : "";
    const anew = event.rules?.includes("restarted") ? "Training begins anew" : "Training goes on";
    return `${anew} with total rank ${is}${is === was ? ", as before" : ` (was ${was})`}${next}`;
  },
};

/** A direction at 0 takes part in none of the energy, but it is counted. @param {Decision} decision @returns {string} */
function diluted({ event, scores, before, prune, extend }) {
  const first = [...extend.keys()].find((m) => m >= 0 && !prune.has(m) && before[m] > 1 && Number.isFinite(scores[m]));
  if (event.measure !== "spectral_entropy" || first === undefined || event.extend.some(isSoft)) return "";
  const after = (scores[first] * Math.log(before[first])) / Math.log(before[first] + (extend.get(first) ?? 0));
  return `; still at 0, what is new lowers the score: ${formatNumber(scores[first])} → ${formatNumber(after)} in the first`;
}

/** Where the line is drawn. @param {Decision} decision @returns {string} */
function cut({ event, byDirection, scores, prune, extend, low, high }) {
  const { budget, threshold, target_rank: target } = event;
  if (Number.isFinite(threshold)) {
    const what = byDirection ? "directions" : "values";
    const aim = Number.isFinite(target) ? `target total ${target}: ` : "";
    const back = event.extend.some(isSoft) ? `, and ${event.extend.length} above it that ${event.extend.length === 1 ? "was" : "were"} off` : "";
    return `${aim}${event.prune.length} ${what} at or below the threshold ${formatNumber(threshold)} stand out${back}`;
  }
  if (Number.isFinite(target)) return `target total ${target}: the lowest directions stand out`;
  const total = scores.filter((score) => !Number.isNaN(score)).length;
  const edge = (/** @type {number[]} */ own, /** @type {string} */ sign, /** @type {(...values: number[]) => number} */ most) =>
    own.length === budget && own.every(Number.isFinite) ? ` (${sign} ${formatNumber(most(...own))})` : "";
  const scoresOf = (/** @type {Map<number, number>} */ moves) => [...moves.keys()].map((m) => scores[m]);
  const many = budget === 1 ? "" : `${budget} `;
  const ends = [
    low.size ? `the ${many}lowest${byDirection ? "" : edge(scoresOf(prune), "≤", Math.max)}` : "",
    high.size ? `the ${many}highest${byDirection ? "" : edge(scoresOf(extend), "≥", Math.min)}` : "",
  ].filter(Boolean);
  if (!budget || !ends.length) return `b(t) = ${budget}: nothing stands out`;
  return `b = ${budget}: ${ends.join(" and ")} of ${byDirection ? "all directions" : total} stand out`;
}

/** Which rules acted, in words. @param {Model} model @param {Decision} decision @returns {string[]} */
function rulesOf(model, { event, scores, refused }) {
  const rules = new Set(event.rules ?? []);
  const moves = Math.max(event.prune.length, event.extend.length);
  const unknown = scores.filter(Number.isNaN).length;
  const told = [];
  if (rules.has("tie")) told.push("equal scores at the edge: a drawn order settles them");
  if (rules.has("disjoint") || (rules.has("tie") && moves < event.budget)) told.push(`only ${moves} move, as none may give what it is to get`);
  if (unknown && rules.has("undefined")) told.push(`${unknown} undefined neither give nor get`);
  if (refused.size) {
    const names = [...refused].slice(0, NAMED).map(([m, why]) => `${m < 0 ? "?" : matrixLabel(model.matrices[m])} (${why.replace(/_/g, " ")})`);
    told.push(`passed over: ${names.join(", ")}${more(refused.size - NAMED)}`);
  }
  return told;
}

/** @param {number} count @returns {string} */
function more(count) {
  return count > 0 ? ` and ${count} more` : "";
}

/** @param {Model} model @param {string} word @param {any[]} moves @param {number[]} ranks before them @param {Map<number, number>} counts @param {1 | -1} sign */
function moved(model, word, moves, ranks, counts, sign) {
  const name = word.charAt(0).toUpperCase() + word.slice(1);
  if (!moves.length) return `${name}: none`;
  const chosen = [...counts].filter(([m]) => m >= 0);
  const names = chosen.slice(0, NAMED).map(([m, count]) => `${matrixLabel(model.matrices[m])} ${ranks[m]} → ${ranks[m] + sign * count}`);
  const stays = moves.every(isSoft) && sign < 0 ? "; they stay stored and may come back" : "";
  const first = moves.length === 1 ? "1 direction" : `${moves.length} directions`;
  return `${name}: ${first} (${names.join(", ")}${more(chosen.length - NAMED)})${stays}`;
}
