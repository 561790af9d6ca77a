/** What a colour means: one place for the map, the strip and the legend. */

import { tableColour } from "./palette.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./palette.js").Palette} Palette */
/** @typedef {import("./palette.js").Colour} Colour */

/** Choices in the order of the buttons. */
export const COLOURS = [
  { key: "rank", label: "Rank", hint: "number of active directions" },
  { key: "change", label: "Change", hint: "rank now minus rank at the first record" },
  { key: "entropy", label: "Entropy", hint: "how evenly the energy is spread over the directions, 0 to 1" },
  { key: "energy", label: "Energy", hint: "Σλ², on a square-root scale" },
];

/**
 * Entropy stays on the fixed domain [0, 1]; most of what happens lies high, so the scale is the square.
 * @param {number} entropy @returns {number}
 */
export function entropyShare(entropy) {
  return entropy ** 2;
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
  if (colour === "rank") return rankIndex(model, model.rank(t, m));
  if (colour === "change") return changeIndex(model, model.change(t, m));
  if (colour === "energy") {
    const energy = model.energy(t, m);
    return Number.isFinite(energy) ? Math.round(255 * energyShare(model, energy)) : -1;
  }
  const entropy = model.entropy(t, m);
  return Number.isFinite(entropy) ? Math.round(255 * entropyShare(entropy)) : -1;
}

/** @param {Model} model @param {Colour} colour @param {number} t @param {number} m @returns {number} the number behind the colour, NaN where undefined */
export function colourValue(model, colour, t, m) {
  if (colour === "rank") return model.rank(t, m);
  if (colour === "change") return model.change(t, m);
  return colour === "energy" ? model.energy(t, m) : model.entropy(t, m);
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

/** The strip beside the map shows what the map's number cannot. @param {Colour} colour @returns {Colour} */
export function stripColour(colour) {
  return colour === "rank" ? "entropy" : colour;
}

/**
 * @param {Model} model @param {Colour} colour
 * @returns {Array<{label: string, index: number}>} marks of the legend, ascending
 */
export function legendMarks(model, colour, format = String) {
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
  const shares = colour === "entropy" ? [0, 0.3, 0.5, 0.7, 0.9, 1] : [0, 0.01, 0.1, 0.25, 0.5, 1];
  return shares.map((share) =>
    colour === "entropy"
      ? { label: share === 0 || share === 1 ? String(share) : String(share).slice(1), index: Math.round(255 * entropyShare(share)) }
      : { label: format(share * model.maxEnergy), index: Math.round(255 * Math.sqrt(share)) },
  );
}
