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
  /** @type {Map<string, number>} direction → number of the event that gave it */
  const given = new Map();
  let [pruned, extended, undone, number] = [0, 0, 0, 0];
  for (let t = 0; t < model.T; t += 1) {
    const end = nextStep(model, t);
    for (; number < model.events.length && model.events[number].step < end; number += 1) {
      const event = model.events[number];
      for (const move of event.prune) {
        const direction = `${move.slot}|${move.matrix}`;
        if (number - (given.get(direction) ?? -2) <= 1) undone += 1;
        given.delete(direction);
      }
      for (const move of event.extend) given.set(`${move.slot}|${move.matrix}`, number);
      pruned += event.prune.length;
      extended += event.extend.length;
    }
    gross[t] = Math.max(pruned, extended);
    if (pruned) churn[t] = undone / pruned;
  }
  return { gross, churn };
}

/** @param {Model} model */
function netOverTime(model) {
  const net = new Float64Array(model.T);
  for (let t = 0; t < model.T; t += 1) {
    const ranks = ranksAfter(model, t);
    let gained = 0;
    let lost = 0;
    for (let m = 0; m < model.M; m += 1) {
      const difference = ranks[m] - model.ranks[m];
      if (difference > 0) gained += difference;
      else lost -= difference;
    }
    net[t] = Math.max(gained, lost);
  }
  return net;
}

/** @param {Model} model @param {number} t @returns {ArrayLike<number>} ranks after the events that precede the next record */
function ranksAfter(model, t) {
  const own = model.ranks.subarray(t * model.M, (t + 1) * model.M);
  const first = model.eventBefore(model.steps[t] - 1) + 1;
  const end = nextStep(model, t);
  if (!(model.events[first]?.step < end)) return own;
  const ranks = Int32Array.from(own);
  for (let i = first; i < model.events.length && model.events[i].step < end; i += 1) {
    for (const [m, count] of model.movesOf(model.events[i].prune)) ranks[m] -= count;
    for (const [m, count] of model.movesOf(model.events[i].extend)) ranks[m] += count;
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
