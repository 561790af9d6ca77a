/** Scales of a run that trains: what its configuration allows, and room to grow where that tells nothing. */

/** @import { Model } from "./model.js" */

const ROOM = 2; // what has outgrown its scale gets one that is so much larger: seldom anything is drawn anew

/** @param {number} value @param {number | undefined} held end of the scale until now @returns {number} */
function grown(value, held) {
  return held !== undefined && value <= held ? held : ROOM * value;
}

/** @param {Float32Array} values @param {Float32Array | undefined} held @returns {Float32Array} */
function allGrown(values, held) {
  return values.map((value, m) => grown(value, held?.[m]));
}

/** @param {Model} model @param {Model | null} before @returns {number} the rank at the end of the scale */
function highestRank({ maxRank, run }, before) {
  const held = Math.max(run.allowedRank ?? 0, before?.maxRank ?? 0);
  return maxRank <= held ? held : Math.ceil(1.25 * maxRank);
}

/** @param {Record<string, [number, number]>} ranges @param {Record<string, [number, number]> | undefined} held @returns {Record<string, [number, number]>} they only get wider */
function widened(ranges, held) {
  const wider = (/** @type {[string, [number, number]]} */ [key, [low, high]]) => [key, [Math.min(low, held?.[key]?.[0] ?? low), Math.max(high, held?.[key]?.[1] ?? high)]];
  return Object.fromEntries(Object.entries(ranges).map(wider));
}

/**
 * Gives a model that is still to be drawn the scales of the run while it trains; they stay when it has ended.
 * @param {Model} model @param {Model | null} before the same run with its scales held, before it grew
 */
export function holdScales(model, before) {
  const first = model.T ? Math.min(...model.ranks.subarray(0, model.M)) : 1;
  model.maxRank = highestRank(model, before);
  model.minRank = 1;
  model.maxEnergy = grown(model.maxEnergy, before?.maxEnergy);
  model.peak = allGrown(model.peak, before?.peak);
  model.truePeak = allGrown(model.truePeak, before?.truePeak);
  const changeLimit = Math.max(model.run.changeLimit ?? 1, model.maxRank - first, before?.run.changeLimit ?? 1);
  model.run = { ...model.run, changeLimit, entropyRange: widened(model.run.entropyRange ?? {}, before?.run.entropyRange) };
  model.held = true;
}
