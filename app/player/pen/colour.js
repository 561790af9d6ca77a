/** What a colour means: one place for the map, the strip and the legend. */

import { formatChange, formatCount, formatNumber } from "../model/format.js";
import { entropyOf } from "../model/model.js";
import { decidedAt, decidedByRecord, standing } from "../model/thresholds.js";
import { tableColour } from "./palette.js";
import { activeParameters, gapLimit, largestGap, largestParameters } from "../model/quantity.js";

/** @import { Model } from "../model/model.js" */
/** @import { Decided } from "../model/thresholds.js" */
/** @import { Palette, Colour } from "./palette.js" */

/** Choices in the order of the buttons; column: what tables call it. @type {Array<{key: Colour, label: string, column: string, hint: string}>} */
export const COLOURS = [
  { key: "rank", label: "Rank", column: "rank", hint: "number of active directions" },
  { key: "change", label: "Change", column: "rank_change", hint: "rank now minus rank at the first record, or at the step chosen with 'since here'" },
  { key: "entropy", label: "Entropy", column: "entropy", hint: "how evenly the energy is spread over the directions, 0 to 1; of σ where λ is no spectrum of ΔW" },
  { key: "energy", label: "Energy", column: "energy", hint: "Σλ², on a square-root scale" },
  { key: "parameters", label: "Parameters", column: "parameters", hint: "of the active directions: r · (in + out + 1)" },
  { key: "gap", label: "Gap", column: "entropy_gap", hint: "|I(λ) − I(σ)|: how far λ is from the true singular values of ΔW, at their latest record" },
];

/** Quantity → its column, also those that no button asks for. @type {Record<Colour, string>} */
export const COLUMNS = /** @type {Record<Colour, string>} */ ({ ...Object.fromEntries(COLOURS.map(({ key, column }) => [key, column])), true_entropy: "true_entropy" });

/** Scales of the entropy colour. @type {Record<string, {key: string, label: string, hint: string, possible?: (scene: {model: Model}) => boolean}>} */
export const ENTROPY_SCALES = {
  range: { key: "range", label: "run's range", hint: "entropy: from the 5th to the 95th percentile of this run; beyond has the colour of the end" },
  decision: {
    key: "decision",
    label: "decision",
    hint: "entropy: what the event at or before the clock would prune, extend or leave, and how far it is from the threshold",
    possible: ({ model }) => model.decides,
  },
  absolute: { key: "absolute", label: "from 0 to 1", hint: "entropy: the same for every run" },
};

/** Below the palest of what an event would take stands what it leaves. */
const NEUTRAL_GAP = 34;

/** The quantity that a colour shows: entropy is that of σ where λ is no spectrum, and what the events compare on the scale of decisions; `shown_colour` of analysis.entropy_scale. @param {Model} model @param {Colour} colour @returns {Colour} */
export function shownColour(model, colour) {
  if (colour !== "entropy") return colour;
  return (model.entropyScale === "decision" ? model.run.entropyDecides : model.run.entropyShown) ?? "entropy";
}

/** @param {Colour} colour @returns {boolean} it has the entropy's scales */
export function isEntropy(colour) {
  return colour === "entropy" || colour === "true_entropy";
}

/** @param {Model} model @param {Colour} shown @returns {boolean} its colour tells what an event would do */
export function isDecided(model, shown) {
  return isEntropy(shown) && model.entropyScale === "decision" && shown === model.run.entropyDecides;
}

/** @param {Model} model @param {Palette} palette @param {Colour} colour @returns {Uint8Array} 256 colours */
export function colourTable(model, palette, colour) {
  const shown = shownColour(model, colour);
  return isDecided(model, shown) ? palette.tables.change : palette.tables[shown];
}

/**
 * In [0, 1], where most of what happens lies high: the square.
 * @param {number} entropy @returns {number}
 */
export function entropyShare(entropy) {
  return entropy * entropy;
}

/** @param {Model} model @param {Colour} shown @returns {[number, number]} ends of the entropy's scale */
export function entropyEnds(model, shown) {
  return model.entropyScale === "absolute" ? [0, 1] : (model.run.entropyRange?.[shown] ?? [0, 1]);
}

/** @param {Model} model @param {Colour} shown @param {number} value @returns {number} */
function entropyPlace(model, shown, value) {
  if (model.entropyScale === "absolute") return entropyShare(value);
  const [low, high] = entropyEnds(model, shown);
  return Math.max(0, (value - low) / (high - low));
}

/** @param {Model} model @param {Decided | undefined} decided @param {number} value @returns {number} place in the table of change */
export function decisionIndex(model, decided, value) {
  const stands = standing(model, decided, value);
  return Math.round(127.5 + Math.sign(stands) * NEUTRAL_GAP + stands * (127.5 - NEUTRAL_GAP));
}

/** @param {Model} model @param {number} energy @returns {number} length of an energy bar in [0, 1] */
export function energyShare(model, energy) {
  return Math.min(1, Math.sqrt(Math.max(0, energy) / model.maxEnergy));
}

/**
 * Place in the 256-entry colour table, or -1 where the value is undefined.
 * @param {Model} model @param {Colour} colour @param {number} t @param {number} m
 * @returns {number}
 */
export function colourIndex(model, colour, t, m) {
  const shown = shownColour(model, colour);
  const value = colourValue(model, shown, t, m);
  if (isDecided(model, shown)) return Number.isNaN(value) ? -1 : decisionIndex(model, decidedAt(model, model.steps[t]), value);
  return placeOf(model, shown, value);
}

/**
 * The same for a picture of half a million cells: where a quantity is kept in codes, each code has its place in a table.
 * @param {Model} model @param {Colour} colour @returns {(t: number, m: number) => number}
 */
export function colourPlaces(model, colour) {
  const { M, entropies, energies, energyOf, ranks } = model;
  const shown = shownColour(model, colour);
  if (isDecided(model, shown)) return decidedPlaces(model, shown);
  const table = (/** @type {ArrayLike<number>} */ codes, /** @type {number} */ last, /** @type {(code: number) => number} */ value) => {
    const places = placesOfCodes(last, (code) => placeOf(model, shown, value(code)));
    return (/** @type {number} */ t, /** @type {number} */ m) => places[codes[t * M + m]];
  };
  if (shown === "entropy") {
    const places = table(entropies, 65535, entropyOf);
    return (t, m) => (ranks[t * M + m] > 1 ? places(t, m) : -1);
  }
  if (shown === "rank") return table(ranks, model.maxRank, Number);
  if (shown === "energy" && energyOf) return table(energies, 255, (code) => energyOf[code]);
  return (t, m) => colourIndex(model, shown, t, m);
}

/** @param {Model} model @param {Colour} shown @returns {(t: number, m: number) => number} */
function decidedPlaces(model, shown) {
  const decided = decidedByRecord(model);
  return (t, m) => {
    const value = colourValue(model, shown, t, m);
    return Number.isNaN(value) ? -1 : decisionIndex(model, decided[t], value);
  };
}

/** Of 65536 entropies hardly a thousand have to be placed: places ascend with the codes. @param {number} last code, which may be that of what is undefined @param {(code: number) => number} placeOfCode @returns {Int16Array} */
function placesOfCodes(last, placeOfCode) {
  const places = new Int16Array(last + 1);
  const fill = (/** @type {number} */ low, /** @type {number} */ high) => {
    if (high - low < 2 || places[low] === places[high]) {
      places.fill(places[low], low, high);
      return;
    }
    const middle = (low + high) >> 1;
    places[middle] = placeOfCode(middle);
    fill(low, middle);
    fill(middle, high);
  };
  for (const code of [0, Math.max(0, last - 1), last]) places[code] = placeOfCode(code);
  fill(0, Math.max(0, last - 1));
  return places;
}

/** @param {Model} model @param {Colour} colour that is shown @param {number} value @returns {number} 0..255, -1 where undefined */
export function placeOf(model, colour, value) {
  if (!Number.isFinite(value)) return -1;
  if (colour === "rank") return rankIndex(model, value);
  if (colour === "change") return changeIndex(model, value);
  return Math.round(255 * Math.min(1, SHARES[colour](model, value)));
}

/** Place of a value on its fixed scale. @type {Record<string, (model: Model, value: number) => number>} */
const SHARES = {
  entropy: (model, value) => entropyPlace(model, "entropy", value),
  true_entropy: (model, value) => entropyPlace(model, "true_entropy", value),
  energy: energyShare,
  parameters: (model, value) => value / largestParameters(model),
  // A square root, so that the limit stands well apart from 0 also where λ is far off.
  gap: (model, value) => Math.sqrt(value / largestGap(model)),
};

/** @param {Model} model @param {Colour} colour the quantity itself, see `shownColour` @param {number} t @param {number} m @returns {number} NaN where undefined */
export function colourValue(model, colour, t, m) {
  return colour === "parameters" ? activeParameters(model, t, m) : model[colour](t, m);
}

/** @param {Model} model @param {Colour} colour @returns {string} what the colour shows, as a title */
export function colourName(model, colour) {
  const since = model.base > 0 ? ` since step ${model.steps[model.base]}` : "";
  return { rank: "rank", change: `rank change${since}`, entropy: "entropy", energy: "energy Σλ²", parameters: "parameters", gap: "|I(λ)−I(σ)|", true_entropy: "entropy of σ" }[shownColour(model, colour)];
}

/** @param {Model} model @param {number} rank */
export function rankIndex(model, rank) {
  if (model.minRank === model.maxRank) return 128;
  const low = Math.max(0, model.minRank - 1);
  return Math.round((255 * (rank - low)) / Math.max(1, model.maxRank - low));
}

/** @param {Model} model @param {number} change */
export function changeIndex(model, change) {
  return Math.round(127.5 + (127.5 * change) / model.maxChange);
}

/**
 * @param {Model} model @param {Palette} palette @param {Colour} colour @param {number} t @param {number} m
 * @returns {string | null} null where the value is undefined
 */
export function cellColour(model, palette, colour, t, m) {
  const index = colourIndex(model, colour, t, m);
  return index < 0 ? null : tableColour(colourTable(model, palette, colour), index);
}

/** The strip beside the map shows what the map's number cannot, where the log knows it. @param {Model} model @param {Colour} colour @returns {Colour} */
export function stripColour(model, colour) {
  return shownColour(model, colour === "rank" && !model.run.ranksOnly ? "entropy" : colour);
}

/**
 * @param {Model} model @param {Colour} colour
 * @returns {Array<{label: string, index: number, limit?: boolean}>} marks of the legend, ascending
 */
export function legendMarks(model, colour) {
  const { minRank, maxRank, maxChange } = model;
  const whole = (/** @type {number} */ low, /** @type {number} */ high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);
  if (colour === "rank") return whole(minRank, maxRank).map((rank) => ({ label: String(rank), index: rankIndex(model, rank) }));
  if (colour === "change") return whole(-maxChange, maxChange).map((change) => ({ label: change ? formatChange(change) : "0", index: changeIndex(model, change) }));
  const mark = (/** @type {number} */ value, /** @type {string} */ label) => ({ label, index: placeOf(model, colour, value) });
  if (colour === "energy") return [0, 0.01, 0.1, 0.25, 0.5, 1].map((share) => mark(share * model.maxEnergy, formatNumber(share * model.maxEnergy)));
  if (colour === "parameters") return [0, 0.25, 0.5, 0.75, 1].map((share) => mark(share * largestParameters(model), formatCount(share * largestParameters(model))));
  const top = largestGap(model);
  return [mark(0, "0"), { ...mark(gapLimit(model), `limit ${formatNumber(gapLimit(model))}`), limit: true }, mark(top, formatNumber(top))];
}
