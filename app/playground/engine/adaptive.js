/** The adaptive schedule: b(t) decided at each event from what is seen, as `flexlora.adaptive` decides it. */

/** @import { Scores } from "./plan.js" */

/** Events over which noise and churn are seen. */
const WINDOW = 5;
/** Median absolute deviation → standard deviation, for Gaussian noise. */
const GAUSS = 1.4826;

/** @typedef {Map<number, {score: number, rank: number}>} Defined matrix → what one event saw of it, where it had a score */

/**
 * @typedef {object} AdaptiveDecision why an event has the budget it has
 * @property {number} budget pairs that move at most
 * @property {number} ceiling
 * @property {number | null} noise standard deviation of one importance from event to event
 * @property {number[]} gaps
 * @property {number[]} thresholds what each gap had to exceed
 * @property {number | null} undone share of the last event's prunes that took back
 */

/** What the rule remembers from event to event. */
export class AdaptiveSchedule {
  constructor() {
    /** @type {Defined[]} */
    this.seen = [];
    /** @type {Map<number, number>} matrix → number of the event that extended it last */
    this.extended = new Map();
    this.count = 0;
    this.halvings = 0;
    /** @type {number | null} */
    this.undone = null;
  }

  /**
   * @param {Scores} scores
   * @param {number[]} ranks
   * @param {number[]} gaps of the pairs that could move
   * @param {number} most b0
   * @param {number} margin
   * @returns {AdaptiveDecision}
   */
  decide(scores, ranks, gaps, most, margin) {
    const ceiling = most >> this.halvings;
    const shown = gaps.slice(0, ceiling);
    const now = defined(scores, ranks);
    const noise = this.noise(now);
    if (noise === null) return { budget: 0, ceiling, noise, gaps: shown, thresholds: [], undone: this.undone };
    const thresholds = shown.map((_, place) => margin * noise * noiseGap(place + 1, now.size));
    const failed = shown.findIndex((gap, place) => gap <= thresholds[place]);
    return { budget: failed < 0 ? shown.length : failed, ceiling, noise, gaps: shown, thresholds, undone: this.undone };
  }

  /** Remember an event. @param {Scores} scores @param {number[]} ranks before it @param {number[]} prune @param {number[]} extend @param {number} limit of churn */
  observe(scores, ranks, prune, extend, limit) {
    this.count += 1;
    const back = prune.filter((matrix) => this.count - (this.extended.get(matrix) ?? -Infinity) <= WINDOW);
    for (const matrix of back) this.extended.delete(matrix);
    this.undone = prune.length ? back.length / prune.length : null;
    if (this.undone !== null && this.undone > limit) this.halvings += 1;
    for (const matrix of extend) this.extended.set(matrix, this.count);
    this.seen = [...this.seen, defined(scores, ranks)].slice(-WINDOW);
  }

  /** σ of one importance, from its changes between events where the rank stayed. @param {Defined} now */
  noise(now) {
    const found = [...this.seen, now];
    const changes = found.slice(1).flatMap((after, place) => {
      const own = [...found[place]].filter(([matrix, { rank }]) => after.get(matrix)?.rank === rank).map(([matrix, { score }]) => (after.get(matrix)?.score ?? NaN) - score);
      const middle = median(own);
      return own.length > 1 ? own.map((change) => Math.abs(change - middle)) : [];
    });
    return changes.length ? (GAUSS * median(changes)) / Math.SQRT2 : null;
  }
}

/** @param {Scores} scores @param {number[]} ranks @returns {Defined} */
const defined = (scores, ranks) =>
  new Map(scores.flatMap((score, matrix) => (score !== null && Number.isFinite(score) ? [[matrix, { score, rank: ranks[matrix] }]] : [])));

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Mean gap between the `place`-th lowest and highest of `number` standard normals (Blom 1958). @param {number} place @param {number} number */
const noiseGap = (place, number) => Math.max(0, 2 * quantile(1 - (place - 0.375) / (number + 0.25)));

/** The standard normal's quantile, by Newton's method on the series of its distribution. @param {number} share from 0.001 to 0.999 */
export function quantile(share) {
  let x = 0;
  for (let turn = 0; turn < 50; turn += 1) {
    const density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
    let [term, sum] = [x, x];
    for (let odd = 3; Math.abs(term) > 1e-17; odd += 2) {
      term *= (x * x) / odd;
      sum += term;
    }
    const step = (0.5 + density * sum - share) / density;
    x -= step;
    if (Math.abs(step) < 1e-14) break;
  }
  return x;
}
