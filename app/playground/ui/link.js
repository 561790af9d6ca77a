/** What the page shows, as the part of its address after #; what cannot be is told and left out. */

/**
 * @typedef {object} Shown
 * @property {string} show which tab
 * @property {number[]} values of a toy, [] = as it starts
 */

const MOST_VALUES = 12;
const LARGEST = 10;

/**
 * @param {string} hash with or without # @param {readonly string[]} tabs the first is the default
 * @returns {{shown: Shown, notes: string[]}}
 */
export function readLink(hash, tabs) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  /** @type {Shown} */
  const shown = { show: tabs[0], values: [] };
  const notes = [];
  const show = asked.get("show");
  if (show !== null && tabs.includes(show)) shown.show = show;
  else if (show !== null) notes.push(`The link asks for “${cut(show)}”, which is not here; this is ${tabs[0]}. There are: ${tabs.join(", ")}.`);
  const values = asked.get("values");
  if (values !== null) {
    const numbers = values.split(",").map(Number);
    const good = values.trim() !== "" && numbers.length <= MOST_VALUES && numbers.every((value) => Number.isFinite(value) && Math.abs(value) <= LARGEST);
    if (good) shown.values = numbers;
    else notes.push(`The link's values “${cut(values)}” are not up to ${MOST_VALUES} numbers from −${LARGEST} to ${LARGEST}; the toy starts afresh.`);
  }
  return { shown, notes };
}

/** @param {string} text from outside @returns {string} */
function cut(text) {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** @param {Shown} shown @param {readonly string[]} tabs @returns {string} what follows #; "" = nothing */
export function linkOf(shown, tabs) {
  const parts = new URLSearchParams();
  if (shown.show !== tabs[0]) parts.set("show", shown.show);
  if (shown.values.length) parts.set("values", shown.values.join(","));
  return parts.toString().replace(/%2C/g, ",");
}
