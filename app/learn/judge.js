/** What a drawn curve is worth: how near it is to the true one, or whether it shows the event as the true one does. */

/** @import { DrawAsk } from "./drawing.js" */
/** @typedef {{drawn: boolean, right: boolean}} Judged */

/** A change stands out where it is so many times the usual one, so many times the next to it, and such a share of the axis. */
const [USUAL, NEXT, SEEN] = [2, 1.5, 0.05];

/** @param {Pick<DrawAsk, "truth" | "low" | "high" | "given">} ask @param {(number | null)[]} drawn a value each, null = not drawn @returns {number} mean distance from the truth over what was not given, as a share of the axis */
export function distance({ truth, low, high, given }, drawn) {
  const asked = truth.map((value, i) => Math.abs(value - (drawn[i] ?? value))).slice(given);
  return asked.reduce((sum, own) => sum + own, 0) / asked.length / (high - low);
}

/** @param {(number | null)[]} drawn @returns {(number | null)[]} what was not drawn lies between its neighbours, or goes on level */
export function completed(drawn) {
  const known = drawn.flatMap((value, i) => (value === null ? [] : [i]));
  return drawn.map((value, i) => {
    if (value !== null || !known.length) return value;
    const [before, after] = [known.filter((at) => at < i).at(-1), known.find((at) => at > i)];
    const ends = [before ?? /** @type {number} */ (after), after ?? /** @type {number} */ (before)];
    const [from, to] = ends.map((at) => /** @type {number} */ (drawn[at]));
    return ends[0] === ends[1] ? from : from + ((to - from) * (i - ends[0])) / (ends[1] - ends[0]);
  });
}

/** Whether a curve jumps at the event, against its own changes elsewhere. @param {number[]} values @param {number} place of the last one before the event @param {number} axis its length @returns {number} 1 up, −1 down, 0 = it does not stand out */
export function jump(values, place, axis) {
  const changes = values.slice(1).map((value, i) => value - values[i]);
  const [own, sign] = [Math.abs(changes[place]), Math.sign(changes[place])];
  const others = changes.filter((_, i) => i !== place).map(Math.abs).sort((one, two) => one - two);
  const usual = others[Math.floor((others.length - 1) / 2)];
  const beside = Math.max(0, ...[place - 1, place + 1].map((i) => sign * (changes[i] ?? 0)));
  return own > USUAL * usual && own > NEXT * beside && own > SEEN * axis ? sign : 0;
}

/** @param {DrawAsk} ask @param {(number | null)[]} drawn with what was given @returns {Judged} */
export function judged(ask, drawn) {
  if (!drawn.some((value, i) => value !== null && i >= ask.given)) return { drawn: false, right: false };
  const whole = /** @type {number[]} */ (completed(drawn));
  if (!ask.by_jump || ask.mark === undefined) return { drawn: true, right: distance(ask, whole) <= (ask.tolerance ?? 0) };
  const [place, axis] = [ask.x.indexOf(ask.mark), ask.high - ask.low];
  return { drawn: true, right: jump(whole, place, axis) === jump(ask.truth, place, axis) };
}
