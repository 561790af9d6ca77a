/** Why a matrix lost, gained or stayed at an event: words that come from what the event saw. */

import { formatNumber } from "../../player/model/format.js";
import { silentAtRankOne } from "../engine/importance.js";
import { POLICIES } from "../engine/policies.js";
import { rounded } from "../engine/scenario.js";
import { ruleWords } from "./rules.js";

/** @import { Event } from "../engine/allocator.js" */

/** What decides, where a rule's label is not its name; a sign of −1 turns scores back that the rule turned over. @type {Record<string, {word: string, sign?: number}>} */
const DECIDES = { spectral_entropy: { word: "entropy" }, inverted: { word: "entropy", sign: -1 }, random: { word: "number drawn" } };
/** Which direction is pruned, by setting `prune_rule`. @type {Record<string, string>} */
export const PRUNED = { magnitude: "smallest direction", signed: "direction of lowest λ", component_norm: "direction of least norm" };
/** @type {Record<string, string>} */
const REFUSED = { rank_1: "stayed, for its only direction is never taken", protected: "stayed, protected since it gained", at_max_rank: "stayed, for it has as many as fit" };

/** @param {string} measure @returns {boolean} it scores every matrix, and the plan moves from one end to the other */
const scores = (measure) => POLICIES[measure].kind === "importance" || POLICIES[measure].kind === "scores";

/** @param {number} value @returns {string} short enough for a cell: .412 */
function short(value) {
  const size = Math.abs(value);
  return size >= 0.001 && size < 0.9995 ? value.toFixed(3).replace("0.", ".").replace("-", "−") : formatNumber(Number(value.toPrecision(4)));
}

/** What decided, of each matrix, as a cell shows it; nothing where a rule has no score of a matrix. @param {Event} event @returns {string[]} */
export function scoreWords({ measure, importances, decided }) {
  if (!scores(measure)) return [];
  return importances.map((value, matrix) => (value === null || !Number.isFinite(value) || decided[matrix] === null ? "–" : short(value * (DECIDES[measure]?.sign ?? 1))));
}

/** What those are, and of when: the race has gone on since. @param {Event} event @returns {string} */
export function scoredWords({ measure, step }) {
  return scores(measure) ? `Small numbers: ${decider(measure)} at the event of step ${step}.` : "";
}

/** @param {string} measure @returns {string} what decides, in a word or two */
function decider(measure) {
  return DECIDES[measure]?.word ?? POLICIES[measure].label;
}

/** @param {number} place from 1 @returns {string} */
function ordinal(place) {
  if (place === 1) return "";
  const end = place % 100 > 10 && place % 100 < 14 ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[place % 10] ?? "th");
  return `${place}${end} `;
}

/**
 * Where a matrix stands among all, and among those that can move, where others before it cannot.
 * @param {Event} event @param {number} matrix @param {number} sign −1 where the highest lose
 * @returns {string}
 */
function standing({ decided, refused }, matrix, sign) {
  const values = decided.map((value) => (value === null || Number.isNaN(value) ? NaN : rounded(value) * sign));
  const known = values.filter((value) => !Number.isNaN(value));
  const own = values[matrix];
  const below = known.filter((value) => value < own).length;
  const above = known.filter((value) => value > own).length;
  const equal = known.length - below - above - 1;
  const low = below <= above;
  const loses = low === sign > 0;
  const barred = refused.filter(([, reason]) => (reason === "at_max_rank") !== loses).map(([other]) => other);
  const passed = barred.filter((other) => (low ? values[other] < own : values[other] > own)).length;
  const place = (/** @type {number} */ before) => (low ? `${ordinal(before + 1)}lowest` : `${ordinal(before + 1)}highest`);
  const count = Math.min(below, above);
  const free = passed && !barred.includes(matrix) ? `, ${place(count - passed)} of those that can ${loses ? "lose" : "gain"}` : "";
  return `${place(count)} of ${known.length}${known.length < values.length ? " with a score" : ""}${equal ? ` with ${equal} more` : ""}${free}`;
}

/** @param {Event} event @param {number} matrix @param {string} pruned which direction goes @returns {string} */
function outcome({ prune, extend, refused }, matrix, pruned) {
  const count = (/** @type {{matrix: number}[]} */ moves) => moves.filter((move) => move.matrix === matrix).length;
  const [lost, gained] = [count(prune), count(extend)];
  const parts = [];
  if (lost) parts.push(lost > 1 ? `lost ${lost} directions` : `lost its ${pruned}`);
  if (gained) parts.push(`gained ${gained > 1 ? gained : "one"}`);
  if (parts.length) return parts.join(" and ");
  const reason = refused.find(([other]) => other === matrix)?.[1];
  if (reason) return REFUSED[reason];
  const ends = [];
  if (prune.length) ends.push(`${prune.length > 1 ? `the ${prune.length} lowest` : "the lowest"} lost`);
  if (extend.length) ends.push(`${extend.length > 1 ? `the ${extend.length} highest` : "the highest"} gained`);
  return ends.length ? `stayed, for only ${ends.join(" and ")}` : "stayed, as all did";
}

/**
 * @param {Event} event @param {number} matrix @param {number} needed its true rank @param {string} pruned which direction goes
 * @returns {string} one sentence without its subject
 */
export function reasonWords(event, matrix, needed, pruned) {
  const { measure, importances, decided, prune, extend } = event;
  const did = outcome(event, matrix, pruned);
  const change = extend.filter((move) => move.matrix === matrix).length - prune.filter((move) => move.matrix === matrix).length;
  const had = event.ranks[matrix] - change;
  if (measure === "still") return "stayed: this rule moves nothing.";
  const own = [...prune, ...extend].some((move) => move.matrix === matrix) ? did : "stayed";
  if (measure === "oracle") return `had ${had} and needs ${needed}: ${own}.`;
  if (!scores(measure)) return `${own}. ${ruleWords(measure)}`;
  const word = decider(measure);
  const sign = DECIDES[measure]?.sign ?? 1;
  const score = decided[matrix];
  const alone = had === 1 && silentAtRankOne(measure);
  if (score === null || Number.isNaN(score)) return alone ? "a single direction has no entropy to compare, so it took no part." : `its ${word} is undefined, so it took no part.`;
  if (score === Infinity) return `comes before all others by a rule: ${did}.`;
  const shown = importances[matrix] ?? score;
  const turned = sign < 0 ? outcomeTurned(did) : did;
  return `${word} ${short(shown * sign)}${alone ? " (at rank 1 by definition)" : ""}, ${standing(event, matrix, sign)}: ${turned}.`;
}

/** Ends change their names where a rule turns them over. @param {string} words */
const outcomeTurned = (words) => words.replace(/lowest(?= lost)|highest(?= gained)/g, (end) => (end === "lowest" ? "highest" : "lowest"));

/** What a guess was worth. @param {Event} event the first that moved something @param {number} guess @param {string[]} names @returns {string} */
export function guessWords({ prune }, guess, names) {
  if (!prune.length) return "";
  if (prune[0].matrix === guess) return "You were right, it was the first to lose: ";
  if (prune.some(({ matrix }) => matrix === guess)) return `You were nearly right, ${names[prune[0].matrix]} came first: `;
  return `Not your pick, ${names[prune[0].matrix]} lost first: `;
}
