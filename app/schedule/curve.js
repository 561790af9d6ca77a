/** b(t) while a handle is dragged, as `flexlora.schedules` computes it: a test holds both against each other. */

/**
 * @typedef {object} Shape what `flexlora.schedules` says of a schedule
 * @property {string} family
 * @property {string[]} options that it has and others have not
 * @property {number} power exponent where that is no option
 * @property {boolean} overEnd passed is counted over all steps up to the window's end
 * @property {boolean} decided b is decided while training: the curve is only the most that it may be
 */

/**
 * @typedef {object} Settings the options of a schedule, by their names in the configuration
 * @property {number} initial_budget
 * @property {number} warmup_steps
 * @property {number} final_steps
 * @property {number} interval
 * @property {number} exponent
 * @property {[number, number][]} points
 */

/** Python's round: a half goes to the even neighbour. @param {number} value @returns {number} */
function roundHalfEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** Share of b0, by family. @type {Record<string, (passed: number, exponent: number) => number>} */
const FAMILIES = {
  fall: (passed, exponent) => (1 - passed) ** exponent,
  hold: (passed, exponent) => 1 - passed ** exponent,
  cosine: (passed) => (1 + Math.cos(Math.PI * passed)) / 2,
  constant: () => 1,
};

/** Share of the curve that has passed. @param {number} step @param {Shape} shape @param {Settings} own @param {number} total */
export function passedAt(step, shape, own, total) {
  const end = total - own.final_steps;
  return (step - own.warmup_steps) / (shape.overEnd ? end : end - own.warmup_steps);
}

/** @param {number} step @param {Settings} own */
function betweenKnots(step, own) {
  const knots = [...own.points].sort((a, b) => a[0] - b[0]);
  if (!knots.length) return own.initial_budget;
  if (step <= knots[0][0]) return knots[0][1];
  for (let i = 1; i < knots.length; i += 1) {
    const [left, low] = knots[i - 1];
    const [right, high] = knots[i];
    if (step <= right) return low + ((high - low) * (step - left)) / (right - left);
  }
  return knots[knots.length - 1][1];
}

/** The curve before it is rounded. @param {number} step @param {Shape} shape @param {Settings} own @param {number} total */
export function curveAt(step, shape, own, total) {
  if (shape.family === "points") return betweenKnots(step, own);
  const exponent = shape.options.includes("exponent") ? own.exponent : shape.power;
  return own.initial_budget * FAMILIES[shape.family](passedAt(step, shape, own, total), exponent);
}

/** b(t), 0 outside the window. @param {number} step @param {Shape} shape @param {Settings} own @param {number} total */
export function budgetAt(step, shape, own, total) {
  if (!(own.warmup_steps < step && step < total - own.final_steps)) return 0;
  return Math.max(0, roundHalfEven(curveAt(step, shape, own, total)));
}

/** b(t) for t = 1 … total. @param {Shape} shape @param {Settings} own @param {number} total @returns {number[]} */
export function budgets(shape, own, total) {
  return Array.from({ length: total }, (_, index) => budgetAt(index + 1, shape, own, total));
}

/** Steps at which rank may move. @param {Settings} own @param {number} total @returns {number[]} */
export function eventSteps(own, total) {
  const found = [];
  for (let step = own.warmup_steps + own.interval; step < total - own.final_steps; step += own.interval) found.push(step);
  return found;
}

/**
 * @typedef {object} Here where a run that trains stands, as its log tells: `analysis.from_here`
 * @property {number} now finished steps
 * @property {number} matrices
 * @property {number} rank directions of all of them
 * @property {number} pruned so far
 * @property {number} extended so far
 * @property {[number, number, number][]} events step, pruned, extended
 * @property {number[]} past b(t) that was in force, for t = 1 … now
 */

/**
 * What a schedule allows, for the read-outs; of a run that trains, from here on.
 * @param {number[]} values b(t) for t = 1 … total
 * @param {number[]} events
 * @param {{matrices: number, rank: number, cost: number | null}} adapter matrices, their first rank, mean parameters of a direction
 * @param {Here | null} [here]
 */
export function readOuts(values, events, adapter, here = null) {
  const left = here ? events.filter((step) => step > here.now) : events;
  const active = left.filter((step) => values[step - 1] > 0);
  const moved = active.reduce((sum, step) => sum + values[step - 1], 0);
  const total = here ? here.rank : adapter.matrices * adapter.rank;
  const least = Math.min(here?.matrices ?? adapter.matrices, total);
  const ranks = { both: total, prune_only: Math.max(least, total - moved), extend_only: total + moved };
  return {
    events: left.length,
    active: active.length,
    last: active.length ? active[active.length - 1] : null,
    moved,
    share: total ? moved / total : null,
    ranks: total ? ranks : null,
  };
}
