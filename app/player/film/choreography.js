/** The film as a function of its moment τ in [0, 5]: a stage, and how much of it has passed. Nothing is remembered. */

import { lengthOf } from "./cast.js";
import { layoutRow } from "./layout.js";

/** @import { Model } from "../model/model.js" */
/** @import { Box } from "../pen/draw.js" */
/** @import { Bar, Cast, Token } from "./cast.js" */
/** @import { FilmLayout, RowLayout } from "./layout.js" */

/** @typedef {[number, number]} Span of moments */

/** When what happens. The second half of a stage answers what its first half asks. @type {Record<string, Span>} */
export const SPANS = {
  shares: [0.06, 0.42], // bars turn from |λ| into shares of the energy
  numbers: [0.5, 0.64],
  leave: [1.02, 1.12], // words go before anything travels over them
  slide: [1.1, 1.5],
  brackets: [1.52, 1.84],
  lengths: [2.02, 2.24], // and back into |λ|
  mark: [2.46, 2.54],
  fall: [2.54, 2.96],
  settle: [3.04, 3.22],
  born: [3.5, 3.8],
  unframe: [4.02, 4.1],
  home: [4.1, 4.5],
  arrive: [4.5, 4.6], // words come back
  grow: [4.3, 4.96],
};
/** From which share of its own turn on a move counts. */
export const SHOWN = 0.2;
const DROP = 0.22; // how long one direction falls
const APPEAR = 0.12;

/** The moment of each stage that tells it best: for stills, and where a stage is turned over by hand. */
export const STILL_SHARES = [0.97, 0.97, 0.97, 0.97, 0.97];

/** Seconds a stage takes at speed 1. */
export const STAGE_SECONDS = [2, 2.6, 2.2, 2, 2.2];

/** @param {number} x in [0, 1] @returns {number} eased in and out */
export function ease(x) {
  return x < 0.5 ? 4 * x ** 3 : 1 - (2 - 2 * x) ** 3 / 2;
}

/** @param {number} τ @param {Span} span @returns {number} how much of it has passed, in [0, 1] */
export function passed(τ, [from, to]) {
  return Math.max(0, Math.min(1, (τ - from) / (to - from)));
}

/** @param {number} τ @param {string} name of `SPANS` */
const at = (τ, name) => passed(τ, SPANS[name]);

/** @param {number} turn in [0, 1] @param {Span} span @param {number} length @returns {Span} its own part of a span */
function turnOf(turn, [from, to], length) {
  const start = from + turn * (to - from - length);
  return [start, start + length];
}

/** @param {Token} token @param {number} τ @returns {number} how far its direction has fallen, in [0, 1] */
export function fallen(token, τ) {
  return Number.isNaN(token.turn) ? 0 : passed(τ, turnOf(token.turn, SPANS.fall, DROP));
}

/** @param {Token} token @param {number} τ @returns {number} how much of its new direction's frame is there, in [0, 1] */
export function appeared(token, τ) {
  return Number.isNaN(token.gain) ? 0 : passed(τ, turnOf(token.gain, SPANS.born, APPEAR));
}

/** The rank of a matrix as every picture tells it. @param {Cast} cast @param {number} m @param {number} τ @returns {number} */
export function rankAt({ decision, tokens }, m, τ) {
  const gone = fallen(tokens[m], τ) > SHOWN ? (decision.prune.get(m) ?? 0) : 0;
  const come = appeared(tokens[m], τ) > SHOWN ? (decision.extend.get(m) ?? 0) : 0;
  return decision.before[m] - gone + come;
}

/** @param {Cast} cast @param {number} τ @returns {number} over all matrices */
export function totalAt(cast, τ) {
  return cast.tokens.reduce((sum, _, m) => sum + rankAt(cast, m, τ), 0);
}

/** @param {number} τ @returns {number} share of the records that follow which has passed */
export function growthAt(τ) {
  return ease(at(τ, "grow"));
}

/** @param {Cast} cast @param {number} τ @returns {number} the record that is nearest to what is shown: the event's, or one of those that follow */
export function laterRecord({ decision, ahead }, τ) {
  return decision.record + Math.round(growthAt(τ) * ahead);
}

/** @param {number} τ @returns {{prune: boolean, extend: boolean}} what has been told by now */
export function toldAt(τ) {
  return { prune: τ >= SPANS.mark[0], extend: τ >= SPANS.born[0] };
}

/**
 * @typedef {object} Frame
 * @property {number} τ
 * @property {RowLayout} row
 * @property {Box[]} boxes of the stacks, one a matrix
 * @property {number[]} order in which they are drawn: who travels far is on top
 * @property {number} away 0 = at home, 1 = in the row
 * @property {number} home alpha of what is written at home
 * @property {number} there alpha of what is written in the row
 * @property {number} morph 0 = bars are |λ|, 1 = shares
 * @property {number} numbers alpha of the scores beside the stacks
 * @property {number} closing how far the brackets have closed in
 */

/** @param {Model} model @param {FilmLayout} layout @param {Cast} cast @param {number} τ @returns {Frame} */
export function frameOf(model, layout, cast, τ) {
  const { row, order } = placesOf(model, layout, cast);
  const back = at(τ, "home");
  const out = at(τ, "slide");
  const away = ease(out) * (1 - ease(back));
  const moving = away > 0 && away < 1;
  const boxes = layout.homes.map((home, m) => (moving ? travel(home, row.boxes[m], shareOf(cast, m, out, back), row.thin) : away ? row.boxes[m] : home));
  return {
    τ, row, order, boxes, away,
    home: Math.max(1 - at(τ, "leave"), at(τ, "arrive")),
    there: passed(τ, [SPANS.slide[1], SPANS.brackets[0] + 0.06]) * (1 - at(τ, "unframe")),
    morph: cast.sharing ? ease(at(τ, "shares")) * (1 - ease(at(τ, "lengths"))) : 0,
    numbers: at(τ, "numbers") * (1 - at(τ, "leave")),
    closing: ease(at(τ, "brackets")) * (1 - at(τ, "unframe")),
  };
}

/** Who stands further along starts a little later. @param {Cast} cast @param {number} m @param {number} out @param {number} back @returns {number} of the way to the row */
function shareOf({ place, row }, m, out, back) {
  const late = 0.25 * (place[m] / Math.max(1, row.length));
  const own = (/** @type {number} */ share) => ease(Math.max(0, Math.min(1, (share - late) / 0.75)));
  return own(out) * (1 - own(back));
}

/** @param {Box} from @param {Box} to @param {number} share @param {boolean} thin @returns {Box} */
function travel(from, to, share, thin) {
  const mix = (/** @type {number} */ a, /** @type {number} */ b) => a + (b - a) * share;
  // Narrow first, then far: fewer lie over one another on the way.
  const narrow = thin ? Math.sqrt(share) : share;
  const w = from.w + (to.w - from.w) * narrow;
  const middle = mix(from.x + from.w / 2, to.x + to.w / 2);
  return { x: middle - w / 2, y: mix(from.y, to.y), w, h: mix(from.h, to.h) };
}

/** @type {WeakMap<Cast, Map<FilmLayout, {row: RowLayout, order: number[]}>>} geometry only: the same whenever it is made */
const ROWS = new WeakMap();

/** @param {Model} model @param {FilmLayout} layout @param {Cast} cast */
function placesOf(model, layout, cast) {
  const own = ROWS.get(cast) ?? new Map();
  ROWS.set(cast, own);
  let found = own.get(layout);
  if (!found) {
    const row = layoutRow(model, layout, cast);
    const far = (/** @type {number} */ m) => Math.hypot(row.boxes[m].x - layout.homes[m].x, row.boxes[m].y - layout.homes[m].y);
    const order = layout.homes.map((_, m) => m).filter((m) => layout.map.cells[m]).sort((a, b) => far(a) - far(b) || a - b);
    found = { row, order };
    own.set(layout, found);
  }
  return found;
}

/**
 * What a bar looks like at a moment.
 * @typedef {object} Drawn
 * @property {number} at its place in the stack, 0 = lowest; between two while the stack settles
 * @property {number} count directions that it stands for: those without a known λ are one block
 * @property {number} length share of the stack's width; NaN where it is not known
 * @property {"plain" | "off" | "pruned" | "gap" | "new" | "frame"} look gap: where one was; frame: where one begins
 * @property {number} fall in [0, 1]
 * @property {number} alpha
 */

/**
 * The directions of a token at a moment, as they are drawn.
 * @param {Token} token @param {Frame} frame @param {number} longest |λ| of the run @param {number} ahead records of growth
 * @returns {Drawn[]}
 */
export function barsAt(token, { τ, morph }, longest, ahead) {
  const drop = fallen(token, τ);
  const settled = ease(at(τ, "settle"));
  const shown = appeared(token, τ);
  const marked = at(τ, "mark") > 0;
  const settling = ease(at(τ, "home")); // at home a frame as high as the stack would be read as a large λ
  const growth = growthAt(τ) * ahead;
  /** @type {Drawn[]} */
  const drawn = [];
  const add = (/** @type {number} */ place, /** @type {number} */ length, /** @type {Drawn["look"]} */ look, fall = 0, alpha = 1) => drawn.push({ at: place, count: 1, length, look, fall, alpha });
  let below = 0; // hard prunes further down, whose room is given up
  token.bars.forEach((bar, i) => {
    const place = i - below * settled;
    const length = lengthAt(bar, morph, growth, longest);
    const { fate, soft } = bar;
    if (fate === "goes" && soft) add(place, length, drop > SHOWN ? "off" : marked ? "pruned" : "plain");
    else if (fate === "goes") {
      below += 1;
      if (drop > SHOWN && settled < 1) add(place, length, "gap", 0, 1 - settled);
      if (drop < 1) add(place, length, marked ? "pruned" : "plain", drop ** 2, 1 - drop ** 3);
    } else if (fate === "new" && soft) add(place, length, shown > SHOWN ? "new" : "off");
    else if (fate === "new") {
      if (shown > 0 && settling < 1) add(place, 1 - settling, "frame", 0, shown);
      if (shown > SHOWN) add(place, length, "new", 0, shown);
    } else join(drawn, place, length) || add(place, length, fate === "off" ? "off" : "plain");
  });
  return drawn;
}

/** Without λ, neighbours look the same. @param {Drawn[]} drawn @param {number} place @param {number} length @returns {boolean} */
function join(drawn, place, length) {
  const last = drawn[drawn.length - 1];
  if (!last || !Number.isNaN(length) || last.look !== "plain" || last.at + last.count !== place) return false;
  last.count += 1;
  return true;
}

/** @param {Bar} bar @param {number} morph @param {number} growth records ahead @param {number} longest @returns {number} in [0, 1] */
function lengthAt(bar, morph, growth, longest) {
  if (Number.isNaN(bar.size)) return NaN;
  const size = growth > 0 ? sizeAt(bar, growth) : bar.size;
  const own = lengthOf(size, longest);
  return morph > 0 ? own + ((Number.isNaN(bar.share) ? 0 : bar.share) - own) * morph : own;
}

/** @param {Bar} bar @param {number} ahead records after the event, also between two @returns {number} |λ| */
export function sizeAt({ size, growth }, ahead) {
  const before = Math.floor(ahead);
  const from = before > 0 ? (growth[before - 1] ?? size) : size;
  const to = growth[before] ?? from;
  return from + (to - from) * (ahead - before);
}
