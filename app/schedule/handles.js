/** The handles of the schedule editor: where each stands, and what moving it changes. */

import { curveAt, passedAt } from "./curve.js";

/** @import { Settings, Shape } from "./curve.js" */

/**
 * @typedef {object} Handle
 * @property {string} key stays the same while it is dragged
 * @property {string} label
 * @property {number} step where it stands
 * @property {number} budget
 * @property {"x" | "y" | "xy"} axes how it moves
 * @property {string} value as a screen reader says it
 * @property {(step: number, budget: number) => Partial<Settings>} drag
 * @property {(right: number, up: number) => Partial<Settings>} nudge by arrow keys, in steps and directions
 * @property {() => Partial<Settings>} [remove]
 */

const SMALLEST_EXPONENT = 0.1;
const LARGEST_EXPONENT = 20;
const SMALLEST_SHARE = 0.02; // of b0: where the curve is nearly 0, a pixel would be any b0

/** @param {number} value @param {number} low @param {number} high */
function within(value, low, high) {
  return Math.min(Math.max(value, low), Math.max(low, high));
}

/** @param {Shape} shape @param {Settings} own @param {number} total @param {number} [now] finished steps of a run that trains: what is past has no handle @returns {Handle[]} */
export function handlesOf(shape, own, total, now = -1) {
  const has = (/** @type {string} */ option) => shape.options.includes(option);
  const opens = now < own.warmup_steps;
  const left = now < total - own.final_steps;
  const knots = own.points.flatMap(([step], index) => (step > now ? [knotHandle(own, total, index, now)] : []));
  return [
    ...(has("points") ? knots : left ? [budgetHandle(shape, own, total, now)] : []),
    ...(has("exponent") && left ? [exponentHandle(shape, own, total, now)] : []),
    ...(opens ? [edgeHandle(own, total, "warmup_steps", now)] : []),
    ...(left ? [edgeHandle(own, total, "final_steps", now)] : []),
  ];
}

/** Room for one event is always left. @param {Settings} own @param {number} total @param {"warmup_steps" | "final_steps"} key @param {number} now @returns {Handle} */
function edgeHandle(own, total, key, now) {
  const first = key === "warmup_steps";
  const most = total - own.interval - 1 - (first ? own.final_steps : Math.max(own.warmup_steps, now + 1 - own.interval));
  const set = (/** @type {number} */ steps) => ({ [key]: within(Math.round(steps), first ? now + 1 : 0, most) });
  const step = first ? own.warmup_steps : total - own.final_steps;
  return {
    key,
    label: first ? "end of warm-up" : "start of final steps",
    step,
    budget: 0,
    axes: "x",
    value: `step ${step}`,
    drag: (to) => set(first ? to : total - to),
    nudge: (right, up) => set(own[key] + (first ? right || up : -(right || up))),
  };
}

/** Where the window begins; of a run that is further, at its place, where b0 follows from how high the curve is to go on. @param {Shape} shape @param {Settings} own @param {number} total @param {number} now @returns {Handle} */
function budgetHandle(shape, own, total, now) {
  const set = (/** @type {number} */ budget) => ({ initial_budget: Math.max(0, Math.round(budget)) });
  const step = Math.max(own.warmup_steps, now);
  const share = now > own.warmup_steps ? Math.max(SMALLEST_SHARE, curveAt(step, shape, { ...own, initial_budget: 1 }, total)) : 1;
  return {
    key: "initial_budget",
    label: shape.decided ? "b0, the ceiling" : "b0, the first budget",
    step,
    budget: own.initial_budget * share,
    axes: "y",
    value: `${own.initial_budget} directions`,
    drag: (_, budget) => set(budget / share),
    nudge: (right, up) => set(own.initial_budget + (up || right)),
  };
}

/** Half-way through what is left of the window, where the exponent shows most. @param {Shape} shape @param {Settings} own @param {number} total @param {number} now @returns {Handle} */
function exponentHandle(shape, own, total, now) {
  const step = Math.round((Math.max(own.warmup_steps, now) + total - own.final_steps) / 2);
  const passed = passedAt(step, shape, own, total);
  const holds = shape.family === "hold";
  const set = (/** @type {number} */ exponent) => ({
    exponent: Number(within(exponent, SMALLEST_EXPONENT, LARGEST_EXPONENT).toFixed(2)),
  });
  return {
    key: "exponent",
    label: "exponent",
    step,
    budget: curveAt(step, shape, own, total),
    axes: "y",
    value: `exponent ${own.exponent}`,
    drag: (_, budget) => {
      const share = within(budget / Math.max(1e-9, own.initial_budget), 0.001, 0.999);
      return set(holds ? Math.log(1 - share) / Math.log(passed) : Math.log(share) / Math.log(1 - passed));
    },
    // Up raises the curve: where it holds a larger exponent does that, where it falls a smaller one.
    nudge: (right, up) => set(own.exponent + 0.1 * (right || (holds ? up : -up))),
  };
}

/** A knot stays between its neighbours. @param {Settings} own @param {number} total @param {number} index @param {number} now @returns {Handle} */
function knotHandle(own, total, index, now) {
  const [step, budget] = own.points[index];
  const low = Math.max(now + 1, index ? own.points[index - 1][0] + 1 : 0);
  const high = index < own.points.length - 1 ? own.points[index + 1][0] - 1 : total;
  const set = (/** @type {number} */ to, /** @type {number} */ height) => ({
    points: own.points.map((knot, place) => (place === index ? knotOf(within(Math.round(to), low, high), Math.max(0, height)) : knot)),
  });
  return {
    key: `knot ${index}`,
    label: `knot ${index + 1} of ${own.points.length}`,
    step,
    budget,
    axes: "xy",
    value: `step ${step}, ${budget} directions`,
    drag: (to, height) => set(to, Math.round(height)),
    nudge: (right, up) => set(step + right, budget + up),
    remove: own.points.length > 1 ? () => ({ points: own.points.filter((_, place) => place !== index) }) : undefined,
  };
}

/** @param {number} step @param {number} budget @returns {[number, number]} */
function knotOf(step, budget) {
  return [step, budget];
}

/** A new knot where the plot was double-clicked; null where one stands already. @param {Settings} own @param {number} step @param {number} budget */
export function withKnot(own, step, budget) {
  const place = Math.max(0, Math.round(step));
  if (own.points.some((knot) => knot[0] === place)) return null;
  const points = [...own.points, knotOf(place, Math.max(0, Math.round(budget)))].sort((a, b) => a[0] - b[0]);
  return { points };
}
