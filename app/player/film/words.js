/** What is written around the row: thresholds, names, sums. */

import { remembered } from "../model/remembered.js";
import { totalAt } from "./choreography.js";
import { scoreText } from "./score_scale.js";

/** @import { Cast } from "./cast.js" */

const NAMED = 16; // more are never in sight

/**
 * What stands below either bracket; null where nothing is looked for at this end.
 * @type {(cast: Cast, end: "low" | "high") => {which: string, title: string, names: string} | null}
 */
export const endWords = remembered((/** @type {Cast} */ cast, /** @type {"low" | "high"} */ end) => {
  const { decision, labels, row, low, high } = cast;
  const count = end === "low" ? low : high;
  if (!count) return null;
  const moves = end === "low" ? decision.prune : decision.extend;
  const { threshold } = decision.event;
  const edge = row[end === "low" ? count - 1 : row.length - count];
  const sign = end === "low" ? "≤" : "≥";
  const limit = Number.isFinite(threshold) ? `${end === "low" ? "≤" : ">"} ${scoreText(Number(threshold))}` : `${sign} ${scoreText(decision.scores[edge])}`;
  const chosen = row.filter((m) => moves.has(m));
  const which = chosen.length === count ? `${count === 1 ? "the" : count} ${end === "low" ? "lowest" : "highest"}` : `${chosen.length} of the ${count} ${end === "low" ? "lowest" : "highest"}`;
  const named = end === "low" ? chosen : [...chosen].reverse();
  return { which, title: `${which}: ${limit}`, names: named.slice(0, NAMED).map((m) => labels[m]).join(", ") + (named.length > NAMED ? ", …" : "") };
});

/** Where directions are scored, no end of the row decides. @param {Cast} cast @returns {string} */
export function lineWords({ low, high, decision: { event, byDirection } }) {
  const { threshold, prune, extend } = event;
  if (!byDirection) return low || high || !(prune.length + extend.length) ? "" : "something else than this order decides";
  const line = Number.isFinite(threshold) ? `directions at or below ${scoreText(Number(threshold))} stand out` : "the lowest directions of all stand out";
  return `In the order of their means; ${line}: ${prune.length} go${extend.length ? `, ${extend.length} come` : ""}`;
}

/** Those in reach that did not move, and why. @type {(cast: Cast) => {m: number, why: string}[]} */
export const passedOver = remembered((/** @type {Cast} */ { decision, row, low, high }) => {
  const { prune, extend, refused, before } = decision;
  const why = (/** @type {number} */ m, /** @type {boolean} */ gives) =>
    refused.get(m)?.replace(/_/g, " ") ?? (gives && before[m] <= 1 ? "rank 1" : "kept");
  return [
    ...row.slice(0, low).filter((m) => !prune.has(m)).map((m) => ({ m, why: why(m, true) })),
    ...row.slice(row.length - high).filter((m) => high && !extend.has(m)).map((m) => ({ m, why: why(m, false) })),
  ];
});

/** @param {Cast} cast @returns {string} */
export function passedWords(cast) {
  const passed = passedOver(cast);
  if (!passed.length) return "";
  const names = passed.slice(0, 3).map(({ m, why }) => `${cast.labels[m]} (${why})`);
  return `passed over: ${names.join(", ")}${passed.length > 3 ? ` and ${passed.length - 3} more` : ""}`;
}

/** Total rank, as it moves with the stages. @param {Cast} cast @param {number} τ @returns {string} */
export function balanceWords(cast, τ) {
  const { before, prune, extend, after } = cast.decision;
  const sum = (/** @type {number[]} */ ranks) => ranks.reduce((total, rank) => total + rank, 0);
  const [start, end, now] = [sum(before), sum(after), totalAt(cast, τ)];
  const least = sum(before.map((rank, m) => rank - (prune.get(m) ?? 0)));
  const name = "total rank";
  if (!prune.size && !extend.size) return `${name} ${start} = ${start}`;
  if (now === end && τ > 3.5) return `${name} ${start} → ${least} → ${end}: ${start === end ? `${start} = ${end}` : `${start} ≠ ${end} (${end > start ? "+" : "−"}${Math.abs(end - start)})`}`;
  if (τ > 3.5) return `${name} ${start} → ${least} → ${now}`;
  return now === start ? `${name} ${start}` : `${name} ${start} → ${now}`;
}
