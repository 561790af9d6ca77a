/** What moved over a run, as analysis.metrics and analysis.dynamics define it. */

/** @typedef {import("./model.js").Model} Model */

/**
 * @typedef {object} Moves one value a record, after the event at it
 * @property {Float64Array} gross pruned or extended so far, whichever is more: a pair counts once
 * @property {Float64Array} net directions that stand elsewhere than at the first record: a pair counts once
 * @property {Float64Array} churn share of the prunes so far that took back what the event before had given; NaN before the first prune
 */

/** @type {WeakMap<Model, Moves>} */
const MOVES = new WeakMap();

/** @param {Model} model @returns {Moves} */
export function movesOverTime(model) {
  const kept = MOVES.get(model);
  if (kept) return kept;
  const { gross, churn } = eventsSoFar(model);
  const found = { gross, churn, net: netOverTime(model) };
  MOVES.set(model, found);
  return found;
}

/** @param {Model} model */
function eventsSoFar(model) {
  const gross = new Float64Array(model.T);
  const churn = new Float64Array(model.T).fill(NaN);
  /** @type {Map<string, Map<number | undefined, number>>} matrix → slot → number of the event that gave this direction */
  const given = new Map();
  let [pruned, extended, undone, number] = [0, 0, 0, 0];
  for (let t = 0; t < model.T; t += 1) {
    const end = nextStep(model, t);
    for (; number < model.events.length && model.events[number].step < end; number += 1) {
      const event = model.events[number];
      for (const { matrix, slot } of event.prune) {
        const own = given.get(matrix);
        if (number - (own?.get(slot) ?? -2) <= 1) undone += 1;
        own?.delete(slot);
      }
      for (const { matrix, slot } of event.extend) {
        const own = given.get(matrix) ?? new Map();
        given.set(matrix, own.set(slot, number));
      }
      pruned += event.prune.length;
      extended += event.extend.length;
    }
    gross[t] = Math.max(pruned, extended);
    if (pruned) churn[t] = undone / pruned;
  }
  return { gross, churn };
}

/** Matrices are looked at where ranks change, and where events follow the record: hardly a tenth of a long run. @param {Model} model */
function netOverTime(model) {
  const { T, turns, steps, eventSteps } = model;
  const net = new Float64Array(T);
  let event = 0;
  turns.forEach((start, i) => {
    const end = turns[i + 1] ?? T;
    net.fill(netOf(model, model.ranks, start * model.M), start, end);
    for (let t = start; t < end; t += 1) {
      while (eventSteps[event] < steps[t]) event += 1;
      if (eventSteps[event] < nextStep(model, t)) net[t] = netOf(model, ranksAfter(model, t), 0);
    }
  });
  return net;
}

/** @param {Model} model @param {ArrayLike<number>} ranks @param {number} start of one a matrix @returns {number} directions that stand elsewhere than at the first record */
function netOf({ M, ranks: first }, ranks, start) {
  let gained = 0;
  let lost = 0;
  for (let m = 0; m < M; m += 1) {
    const difference = ranks[start + m] - first[m];
    if (difference > 0) gained += difference;
    else lost -= difference;
  }
  return Math.max(gained, lost);
}

/** @param {Model} model @param {number} t @returns {ArrayLike<number>} ranks after the events that precede the next record */
function ranksAfter(model, t) {
  const own = model.ranks.subarray(t * model.M, (t + 1) * model.M);
  const first = model.eventBefore(model.steps[t] - 1) + 1;
  const end = nextStep(model, t);
  if (!(model.eventSteps[first] < end)) return own;
  const ranks = Int32Array.from(own);
  for (let i = first; i < model.events.length && model.events[i].step < end; i += 1) {
    for (const { matrix } of model.events[i].prune) ranks[model.indexOf.get(matrix) ?? -1] -= 1;
    for (const { matrix } of model.events[i].extend) ranks[model.indexOf.get(matrix) ?? -1] += 1;
  }
  return ranks;
}

/** @param {Model} model @param {number} t @returns {number} the last record is followed by all that is left: a last event may have no record of its own */
function nextStep(model, t) {
  return t === model.T - 1 ? Infinity : model.steps[t + 1];
}

/** @param {Model} model @returns {Int32Array} ranks after everything that was logged */
export function finalRanks(model) {
  return Int32Array.from(model.T ? ranksAfter(model, model.T - 1) : new Int32Array(model.M));
}

/** @param {Model} model @returns {Int32Array} directions that each matrix gained over the run; lost: negative */
export function netChange(model) {
  return model.T ? finalRanks(model).map((rank, m) => rank - model.ranks[m]) : new Int32Array(model.M);
}

/** @param {Model} model @param {number} count @returns {number[]} matrices worth a colour: largest net change, then most moves; none that never moved */
export function mostMoved(model, count) {
  const net = netChange(model).map(Math.abs);
  const gross = new Int32Array(model.M);
  for (const event of model.events) {
    for (const moves of [event.prune, event.extend]) for (const [m, number] of model.movesOf(moves)) gross[m] += number;
  }
  if (!model.events.length) {
    for (let place = model.M; place < model.ranks.length; place += 1) gross[place % model.M] += Math.abs(model.ranks[place] - model.ranks[place - model.M]);
  }
  return model.matrices
    .map((_, m) => m)
    .filter((m) => net[m] || gross[m])
    .sort((a, b) => net[b] - net[a] || gross[b] - gross[a] || a - b)
    .slice(0, count);
}
