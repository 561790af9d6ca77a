/** Who plays in an event: each matrix as a stack of its directions, with what becomes of them, and its place in the row. */

import { matrixLabel } from "../model/format.js";
import { decisionOf } from "../model/stages.js";
import { isSoft, largest } from "../model/model.js";
import { remembered } from "../model/remembered.js";

/** @import { Model } from "../model/model.js" */
/** @import { Decision } from "../model/stages.js" */

/**
 * One direction. Fates: it stays, is off before and after, goes (or is switched off: soft), is new (or comes back: soft).
 * @typedef {object} Bar
 * @property {number} size |λ| at the event; NaN where λ is not known
 * @property {number} share of the matrix's energy, relative to its largest share; NaN where undefined
 * @property {"stays" | "off" | "goes" | "new"} fate
 * @property {boolean} soft it stays stored
 * @property {number[]} growth |λ| at the records that follow
 */

/**
 * @typedef {object} Token one matrix, largest direction first
 * @property {Bar[]} bars
 * @property {number} turn among those that lose, and
 * @property {number} gain among those that gain a direction, in [0, 1]; NaN for the others
 */

/**
 * @typedef {object} Cast
 * @property {Decision} decision
 * @property {number} index of the event
 * @property {string[]} labels names of the matrices
 * @property {Token[]} tokens one a matrix
 * @property {number[]} row matrices in the order of their scores, lowest first
 * @property {number[]} aside matrices whose score is undefined
 * @property {number[]} place of each matrix in its row, or aside
 * @property {number} low how many at the row's lower end, and
 * @property {number} high how many at its upper end the decision spans; 0 where directions are scored
 * @property {boolean} over some in reach were passed over
 * @property {boolean} sharing the score is made of the shares of the energy
 * @property {boolean} known λ of all directions is here
 * @property {number} ahead records that the growth spans
 */

const AHEAD = 6; // records that the last stage shows, up to the next event
const KEPT_CASTS = 12; // of hundreds of matrices each is some megabytes

/** Directions that a matrix may get, so that nothing is scaled anew while a run goes on. @type {(model: Model) => number} */
export const mostBars = remembered((model) => {
  const seen = Math.max(model.maxRank, largest(model.spectra.stored), largest(model.finalRanks));
  const allowed = model.run.state === "running" ? (model.run.allowedRank ?? 0) : 0;
  return Math.max(1, seen, allowed);
});

/** @type {(model: Model) => number} the largest |λ| of the run, at least a little */
export const longestBar = remembered((model) => Math.max(largest(model.peak), 1e-12));

/** A square root, so that the small ones, which go first, can be seen. @param {number} size |λ| @param {number} longest of the run @returns {number} in [0, 1] */
export function lengthOf(size, longest) {
  return Math.min(1, Math.sqrt(size / longest));
}

/** @param {Model} model @param {number} t @returns {boolean} λ of every matrix at the record is here */
export function knowsSpectra(model, t) {
  return !model.run.ranksOnly && model.spectra.hasAll(t);
}

/** @param {Model} model @param {number} index of the event @returns {number[]} its record, and those after it that the last stage shows */
export function recordsOf(model, index) {
  const record = model.recordAt(model.events[index].step);
  const next = model.events[index + 1];
  const limit = Math.min(next ? model.recordAt(next.step) : model.T - 1, model.T - 1, record + AHEAD);
  return Array.from({ length: Math.max(0, limit - record) + 1 }, (_, i) => record + i);
}

/** @type {WeakMap<Model, Map<number, {here: string, cast: Cast}>>} by event, the latest last */
const CASTS = new WeakMap();

/** It knows more of its directions whenever λ of a record comes. @param {Model} model @param {number} index of the event @returns {Cast} */
export function castOf(model, index) {
  const kept = CASTS.get(model) ?? new Map();
  CASTS.set(model, kept);
  const here = recordsOf(model, index).map((t) => Number(model.spectra.hasAll(t))).join("");
  const found = kept.get(index);
  if (found?.here === here) return found.cast;
  const cast = makeCast(model, index);
  kept.delete(index);
  kept.set(index, { here, cast });
  if (kept.size > KEPT_CASTS) kept.delete([...kept.keys()][0]);
  return cast;
}

/** @param {Model} model @param {number} index @returns {Cast} */
function makeCast(model, index) {
  const decision = decisionOf(model, index);
  const { record, prune, extend } = decision;
  const known = knowsSpectra(model, record);
  const ahead = recordsOf(model, index).length - 1;
  const [row, aside] = orderOf(decision, model.M);
  const place = new Array(model.M).fill(0);
  row.forEach((m, i) => (place[m] = i));
  aside.forEach((m, i) => (place[m] = i));
  const turns = turnsOf(row, aside, prune);
  const gains = turnsOf(row, aside, extend);
  const tokens = model.matrices.map((_, m) => ({ bars: barsOf(model, decision, m, known, ahead), turn: turns.get(m) ?? NaN, gain: gains.get(m) ?? NaN }));
  const ends = decision.byDirection ? { low: 0, high: 0 } : endsOf(decision, row);
  const labels = model.matrices.map(matrixLabel);
  return { decision, index, labels, tokens, row, aside, place, known, ahead, over: isOver(decision, row, ends), sharing: known && decision.event.measure === "spectral_entropy", ...ends };
}

/** When each of them has its turn: in the order of the row. @param {number[]} row @param {number[]} aside @param {Map<number, number>} moves @returns {Map<number, number>} in [0, 1] */
function turnsOf(row, aside, moves) {
  const own = [...row, ...aside].filter((m) => moves.has(m));
  return new Map(own.map((m, i) => [m, own.length > 1 ? i / (own.length - 1) : 0]));
}

/** Equal scores: who moves stands at the end it moves at. @param {Decision} decision @param {number} count @returns {[number[], number[]]} */
function orderOf({ scores, prune, extend, low, high }, count) {
  const rank = (/** @type {number} */ m) => (prune.has(m) ? 0 : low.has(m) ? 1 : extend.has(m) ? 4 : high.has(m) ? 3 : 2);
  const all = Array.from({ length: count }, (_, m) => m);
  const row = all.filter((m) => !Number.isNaN(scores[m]));
  row.sort((a, b) => (scores[a] === scores[b] ? rank(a) - rank(b) || a - b : scores[a] - scores[b]));
  return [row, all.filter((m) => Number.isNaN(scores[m]))];
}

/** How far the decision reaches in from either end. @param {Decision} decision @param {number[]} row @returns {{low: number, high: number}} */
function endsOf({ event, prune, extend, low, high, refused }, row) {
  const last = row.reduce((far, m, i) => (prune.has(m) ? i + 1 : far), 0);
  const first = row.findIndex((m) => extend.has(m));
  const reach = (/** @type {Set<number>} */ own) => Math.min(row.length, event.budget, own.size);
  const ends = { low: last || reach(low), high: first >= 0 ? row.length - first : reach(high) };
  // Who decides by something else than this order takes from its middle.
  const most = 2 * event.budget + refused.size + 4;
  return { low: ends.low > most ? 0 : ends.low, high: ends.high > most ? 0 : ends.high };
}

/** @param {Decision} decision @param {number[]} row @param {{low: number, high: number}} ends @returns {boolean} or the order itself does not tell who moves */
function isOver({ prune, extend }, row, { low, high }) {
  const taken = row.slice(0, low).filter((m) => prune.has(m)).length + row.slice(row.length - high).filter((m) => high && extend.has(m)).length;
  return taken < low + high || (prune.size > 0 && !low) || (extend.size > 0 && !high);
}

/** @param {Model} model @param {Decision} decision @param {number} m @param {boolean} known @param {number} ahead @returns {Bar[]} */
function barsOf(model, { event, record, before, prune }, m, known, ahead) {
  const name = model.matrices[m].name;
  const [going, coming] = [event.prune, event.extend].map((moves) => moves.filter((move) => move.matrix === name));
  const fresh = coming.filter((move) => !isSoft(move));
  const values = known ? model.spectra.ofRecord(record, m).values : [];
  const bars = values.length ? knownBars(model, record, m, going, coming) : plainBars(before[m], prune.get(m) ?? 0, going.every(isSoft));
  const newborn = fresh.map((move) => ({ slot: move.slot ?? -1, bar: /** @type {Bar} */ ({ size: values.length ? 0 : NaN, share: 0, fate: "new", soft: false, growth: [] }) }));
  const all = [...bars, ...newborn];
  if (values.length) grow(model, record, m, all, ahead);
  return all.map(({ bar }) => bar);
}

/** @typedef {{slot: number, bar: Bar}} Placed */

/** @param {Model} model @param {number} record @param {number} m @param {import("../model/decode.js").Move[]} going @param {import("../model/decode.js").Move[]} coming @returns {Placed[]} */
function knownBars(model, record, m, going, coming) {
  const { values, slots, gates } = model.spectra.ofRecord(record, m);
  const isOn = (/** @type {number} */ i) => !gates || gates[i] > 0;
  const top = values.reduce((most, value, i) => (isOn(i) ? Math.max(most, Math.abs(value)) : most), 0);
  const found = Array.from(values, (value, i) => {
    const on = isOn(i);
    const share = top > 0 && top < Infinity ? (on ? (value / top) ** 2 : 0) : NaN;
    const bar = /** @type {Bar} */ ({ size: Math.abs(value) || 0, share, fate: on ? "stays" : "off", soft: false, growth: [] });
    return { slot: slots ? slots[i] : -1, bar };
  });
  found.sort((a, b) => Number(a.bar.fate === "off") - Number(b.bar.fate === "off") || b.bar.size - a.bar.size);
  const on = found.filter(({ bar }) => bar.fate === "stays");
  for (const [i, move] of going.entries()) {
    // A log without slots does not say which: the smallest that is left.
    const own = found.find(({ slot }) => slots && slot === move.slot) ?? on[on.length - 1 - i];
    if (own) Object.assign(own.bar, { fate: "goes", soft: isSoft(move) });
  }
  for (const move of coming.filter(isSoft)) {
    const own = found.find(({ slot, bar }) => bar.fate === "off" && slot === move.slot) ?? found.find(({ bar }) => bar.fate === "off");
    if (own) Object.assign(own.bar, { fate: "new", soft: true });
  }
  return found;
}

/** Ranks are all that is known. @param {number} rank @param {number} going @param {boolean} soft @returns {Placed[]} */
function plainBars(rank, going, soft) {
  return Array.from({ length: rank }, (_, i) => {
    const goes = i >= rank - going;
    return { slot: -1, bar: /** @type {Bar} */ ({ size: NaN, share: NaN, fate: goes ? "goes" : "stays", soft: goes && soft, growth: [] }) };
  });
}

/** What each direction is at the records that follow. @param {Model} model @param {number} record @param {number} m @param {Placed[]} placed @param {number} ahead */
function grow(model, record, m, placed, ahead) {
  for (let t = record + 1; t <= record + ahead; t += 1) {
    const { values, slots } = model.spectra.ofRecord(t, m);
    const bySlot = slots && new Map(slots.map((slot, i) => [slot, Math.abs(values[i])]));
    const sorted = bySlot ? null : Array.from(values, Math.abs).sort((a, b) => b - a);
    let next = 0;
    for (const { slot, bar } of placed) {
      if (bar.fate === "goes" && !bar.soft) continue;
      const size = bySlot ? bySlot.get(slot) : sorted?.[next];
      next += 1;
      bar.growth.push(size ?? bar.growth[bar.growth.length - 1] ?? bar.size);
    }
  }
}
