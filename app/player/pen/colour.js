/** What a colour means: one place for the map, the strip and the legend. */

import { formatCount, formatNumber } from "../model/format.js";
import { entropyOf } from "../model/model.js";
import { tableColour } from "./palette.js";
import { activeParameters, gapLimit, largestGap, largestParameters } from "../model/quantity.js";

/** @typedef {import("../model/model.js").Model} Model */
/** @typedef {import("./palette.js").Palette} Palette */
/** @typedef {import("./palette.js").Colour} Colour */

/** Choices in the order of the buttons; column: what tables call it. @type {Array<{key: Colour, label: string, column: string, hint: string}>} */
export const COLOURS = [
  { key: "rank", label: "Rank", column: "rank", hint: "number of active directions" },
  { key: "change", label: "Change", column: "rank_change", hint: "rank now minus rank at the first record, or at the step chosen with 'since here'" },
  { key: "entropy", label: "Entropy", column: "entropy", hint: "how evenly the energy is spread over the directions, 0 to 1" },
  { key: "energy", label: "Energy", column: "energy", hint: "Σλ², on a square-root scale" },
  { key: "parameters", label: "Parameters", column: "parameters", hint: "of the active directions: r · (in + out + 1)" },
  { key: "gap", label: "Gap", column: "entropy_gap", hint: "|I(λ) − I(σ)|: how far λ is from the true singular values of ΔW, at their latest record" },
];

/**
 * Entropy stays on the fixed domain [0, 1]; most of what happens lies high, so the scale is the square.
 * @param {number} entropy @returns {number}
 */
export function entropyShare(entropy) {
  return entropy * entropy;
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
  return placeOf(model, colour, colourValue(model, colour, t, m));
}

/**
 * The same for a picture of half a million cells: where a quantity is kept in codes, each code has its place in a table.
 * @param {Model} model @param {Colour} colour @returns {(t: number, m: number) => number}
 */
export function colourPlaces(model, colour) {
  const { M, entropies, energies, energyOf, ranks } = model;
  const table = (/** @type {ArrayLike<number>} */ codes, /** @type {number} */ last, /** @type {(code: number) => number} */ value) => {
    const places = placesOfCodes(last, (code) => placeOf(model, colour, value(code)));
    return (/** @type {number} */ t, /** @type {number} */ m) => places[codes[t * M + m]];
  };
  if (colour === "entropy") return table(entropies, 65535, entropyOf);
  if (colour === "rank") return table(ranks, model.maxRank, Number);
  if (colour === "energy" && energyOf) return table(energies, 255, (code) => energyOf[code]);
  return (t, m) => colourIndex(model, colour, t, m);
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

/** @param {Model} model @param {Colour} colour @param {number} value @returns {number} 0..255, -1 where undefined */
function placeOf(model, colour, value) {
  if (!Number.isFinite(value)) return -1;
  if (colour === "rank") return rankIndex(model, value);
  if (colour === "change") return changeIndex(model, value);
  return Math.round(255 * Math.min(1, SHARES[colour](model, value)));
}

/** Place of a value on its fixed scale. @type {Record<string, (model: Model, value: number) => number>} */
const SHARES = {
  entropy: (_model, value) => entropyShare(value),
  energy: energyShare,
  parameters: (model, value) => value / largestParameters(model),
  // A square root, so that the limit stands well apart from 0 also where λ is far off.
  gap: (model, value) => Math.sqrt(value / largestGap(model)),
};

/** @type {Record<string, (model: Model, t: number, m: number) => number>} */
const VALUES = {
  rank: (model, t, m) => model.rank(t, m),
  change: (model, t, m) => model.change(t, m),
  entropy: (model, t, m) => model.entropy(t, m),
  energy: (model, t, m) => model.energy(t, m),
  parameters: activeParameters,
  gap: (model, t, m) => model.gap(t, m),
};

/** @param {Model} model @param {Colour} colour @param {number} t @param {number} m @returns {number} the number behind the colour, NaN where undefined */
export function colourValue(model, colour, t, m) {
  return VALUES[colour](model, t, m);
}

/** @param {Model} model @param {Colour} colour @returns {string} what the colour shows, as a title */
export function colourName(model, colour) {
  const since = model.base > 0 ? ` since step ${model.steps[model.base]}` : "";
  return { rank: "rank", change: `rank change${since}`, entropy: "entropy", energy: "energy Σλ²", parameters: "parameters", gap: "|I(λ)−I(σ)|" }[colour];
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
  return index < 0 ? null : tableColour(palette.tables[colour], index);
}

/** The strip beside the map shows what the map's number cannot, where the log knows it. @param {Model} model @param {Colour} colour @returns {Colour} */
export function stripColour(model, colour) {
  return colour === "rank" && !model.run.ranksOnly ? "entropy" : colour;
}

/**
 * @param {Model} model @param {Colour} colour
 * @returns {Array<{label: string, index: number, limit?: boolean}>} marks of the legend, ascending
 */
export function legendMarks(model, colour) {
  if (colour === "rank") {
    const marks = [];
    for (let rank = model.minRank; rank <= model.maxRank; rank += 1) marks.push({ label: String(rank), index: rankIndex(model, rank) });
    return marks;
  }
  if (colour === "change") {
    const marks = [];
    for (let change = -model.maxChange; change <= model.maxChange; change += 1) {
      marks.push({ label: change > 0 ? `+${change}` : change < 0 ? `−${-change}` : "0", index: changeIndex(model, change) });
    }
    return marks;
  }
  const mark = (/** @type {number} */ value, /** @type {string} */ label) => ({ label, index: placeOf(model, colour, value) });
  if (colour === "entropy") return [0, 0.3, 0.5, 0.7, 0.9, 1].map((value) => mark(value, value === 0 || value === 1 ? String(value) : String(value).slice(1)));
  if (colour === "energy") return [0, 0.01, 0.1, 0.25, 0.5, 1].map((share) => mark(share * model.maxEnergy, formatNumber(share * model.maxEnergy)));
  if (colour === "parameters") return [0, 0.25, 0.5, 0.75, 1].map((share) => mark(share * largestParameters(model), formatCount(share * largestParameters(model))));
  const top = largestGap(model);
  return [mark(0, "0"), { ...mark(gapLimit(model), `limit ${formatNumber(gapLimit(model))}`), limit: true }, mark(top, formatNumber(top))];
}
