/** A quantity as a cell says it. */

import { formatChange, formatCount, formatNumber } from "./format.js";

/** @import { Colour } from "../pen/palette.js" */

/** @param {Colour} colour @returns {boolean} its values are counts */
export function isWhole(colour) {
  return colour === "rank" || colour === "change";
}

/** @param {number} value @param {number} [digits] at most @returns {string} as narrow as can be: ".55" */
export function shortNumber(value, digits = 3) {
  return String(Number(value.toFixed(digits))).replace(/^(-?)0\./, "$1.").replace("-", "−");
}

/** @param {Colour} colour @param {number} value @param {boolean} [signed] it is a difference @returns {string} */
export function valueText(colour, value, signed = false) {
  if (Number.isNaN(value)) return "–";
  if (isWhole(colour)) return signed || colour === "change" ? formatChange(value) : String(value);
  const sign = signed && value > 0 ? "+" : "";
  return `${sign}${colour === "parameters" ? formatCount(value).replace("-", "−") : formatNumber(Number(value.toPrecision(2)))}`;
}

/** The same, and what has room in a narrow cell. Counts lose a digit at a time: 17.3k, 17k. Of entropies, which lie close together, three decimals. @param {Colour} colour @param {number} value @param {boolean} [signed] @returns {string[]} */
export function valueTexts(colour, value, signed = false) {
  if (isWhole(colour) || Number.isNaN(value)) return [valueText(colour, value, signed)];
  const lengths = colour === "parameters" ? [3, 2, 1] : [3, 1];
  const near = lengths.map((each) => (each === 3 ? value : Number(value.toPrecision(each)))).map((rounded) => valueText(colour, rounded, signed));
  const texts = near.flatMap((text) => [text, text.replace(/^([+−]?)0\./, "$1.")]);
  if (signed || (colour !== "entropy" && colour !== "true_entropy")) return texts;
  return [3, 2, 1].map((digits) => value.toFixed(digits).replace(/^0/, ""));
}
