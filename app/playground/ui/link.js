/** What the page shows, as the part of its address after #; what cannot be is told and left out. */

import { SETTINGS } from "../engine/settings.js";
import { copyOf, firstChoices, OWN, SHARED, SIDES, trouble, withSetting } from "./choices.js";
import { choicesOf, EXPERIMENTS } from "./experiments.js";

/** @import { Setting, Settings } from "../engine/settings.js" */
/** @import { Choices } from "./choices.js" */

/**
 * @typedef {object} Shown
 * @property {string} show which tab
 * @property {number[]} values of a toy, [] = as it starts
 * @property {Choices} choices of the race
 */

/** What a first visit sets, and this link does not. */
const USUAL = "default";
const MOST_VALUES = 12;
const LARGEST = 10;

/**
 * @param {string} hash with or without # @param {readonly string[]} tabs the first is the default
 * @returns {{shown: Shown, notes: string[]}}
 */
export function readLink(hash, tabs) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  /** @type {string[]} */
  const notes = [];
  const show = asked.get("show");
  const shown = show !== null && tabs.includes(show) ? show : tabs[0];
  if (show !== null && shown !== show) notes.push(`The link asks for “${cut(show)}”, which is not here; this is ${shown}. There are: ${tabs.join(", ")}.`);
  return { shown: { show: shown, values: readValues(asked.get("values"), notes), choices: readChoices(asked, notes) }, notes };
}

/** @param {string | null} text @param {string[]} notes @returns {number[]} */
function readValues(text, notes) {
  if (text === null) return [];
  const numbers = text.split(",").map(Number);
  if (text.trim() !== "" && numbers.length <= MOST_VALUES && numbers.every((value) => Number.isFinite(value) && Math.abs(value) <= LARGEST)) return numbers;
  notes.push(`The link's values “${cut(text)}” are not up to ${MOST_VALUES} numbers from −${LARGEST} to ${LARGEST}; the toy starts afresh.`);
  return [];
}

/** @typedef {(choices: Choices) => void} Put */

/** @param {URLSearchParams} asked @param {string[]} notes @returns {Choices} */
function readChoices(asked, notes) {
  /** @type {[string, Put][]} */
  const found = [];
  const read = (/** @type {string} */ name, /** @type {string} */ key, /** @type {(value: any) => Put} */ put) => {
    const text = asked.get(name);
    if (text === null) return;
    const value = text === USUAL ? undefined : parsed(SETTINGS[/** @type {keyof Settings} */ (key)], text);
    if (value === undefined && text !== USUAL) notes.push(`The link's ${name}=${cut(text)} is not ${allowedWords(SETTINGS[/** @type {keyof Settings} */ (key)])}; it stays as it was.`);
    else found.push([`${name}=${cut(text)}`, put(value)]);
  };
  for (const key of SHARED) read(key, key, (value) => (choices) => void (choices.shared = withSetting(choices.shared, key, value)));
  read("truth", "scenario", (value) => (choices) => void (choices.scenario = value));
  for (const side of SIDES) for (const key of OWN) read(`${side}.${key}`, key, (value) => (choices) => void (choices[side] = withSetting(choices[side], key, value)));
  const known = [...SHARED, "truth", "show", "values", "try", ...SIDES.flatMap((side) => OWN.map((key) => `${side}.${key}`))];
  for (const name of asked.keys()) if (!known.includes(name)) notes.push(`The link's ${cut(name)} is nothing that can be set here.`);
  const tried = asked.get("try");
  const first = (tried && choicesOf(tried)) || firstChoices();
  if (tried && !choicesOf(tried)) notes.push(`The link's try=${cut(tried)} is not one of ${EXPERIMENTS.map(({ key }) => key).join(", ")}; it stays as it was.`);
  const all = copyOf(first);
  for (const [, put] of found) put(all);
  if (!trouble(all)) return all;
  return oneByOne(first, found, notes);
}

/** Together they cannot be: what does not fit to those before it is told. @param {Choices} first @param {[string, Put][]} found @param {string[]} notes @returns {Choices} */
function oneByOne(first, found, notes) {
  let choices = first;
  let left = found;
  for (let before = Infinity; left.length < before; ) {
    before = left.length;
    left = left.filter(([, put]) => {
      const next = copyOf(choices);
      put(next);
      if (trouble(next)) return true;
      choices = next;
      return false;
    });
  }
  for (const [name, put] of left) {
    const next = copyOf(choices);
    put(next);
    notes.push(`The link's ${name} was left out: ${trouble(next)}`);
  }
  return choices;
}

/** @param {Setting} setting @param {string} text @returns {unknown} undefined = not such a value */
function parsed({ kind, choices, optional }, text) {
  if (text === "none" && optional) return null;
  if (kind === "choice") return choices?.includes(text) ? text : undefined;
  if (kind === "scenario") return text.length < 400 ? text : undefined;
  if (kind === "points") {
    const knots = text.split(",").map((knot) => knot.split(":").map(Number));
    return knots.every((knot) => knot.length === 2 && knot.every(Number.isFinite)) ? knots : undefined;
  }
  const value = text.trim() === "" ? NaN : Number(text);
  return Number.isFinite(value) && (kind !== "whole" || Number.isInteger(value)) ? value : undefined;
}

/** @param {Setting} setting @returns {string} */
function allowedWords({ kind, choices, optional }) {
  if (kind === "choice") return `one of ${[...(choices ?? []), ...(optional ? ["none"] : [])].join(", ")}`;
  return { whole: "a whole number", number: "a number", scenario: "a scenario", points: "knots such as 50:4,120:1" }[kind];
}

/** @param {any} value @returns {string} */
function written(value) {
  if (value === null) return "none";
  return Array.isArray(value) ? value.map((knot) => knot.join(":")).join(",") : String(value);
}

/** @param {string} text from outside @returns {string} */
function cut(text) {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** @param {Shown} shown @param {readonly string[]} tabs @returns {string} what follows #; "" = nothing */
export function linkOf(shown, tabs) {
  const parts = new URLSearchParams();
  const { choices } = shown;
  const first = firstChoices();
  if (shown.show !== tabs[0]) parts.set("show", shown.show);
  if (shown.values.length) parts.set("values", shown.values.join(","));
  if (choices.scenario !== first.scenario) parts.set("truth", choices.scenario);
  for (const key of SHARED) if (choices.shared[key] !== undefined) parts.set(key, written(choices.shared[key]));
  for (const side of SIDES) {
    for (const key of OWN) {
      const [value, usual] = [choices[side][key], first[side][key]];
      if (value !== undefined && value !== usual) parts.set(`${side}.${key}`, written(value));
      else if (value === undefined && usual !== undefined) parts.set(`${side}.${key}`, USUAL);
    }
  }
  return parts.toString().replace(/%2C/g, ",").replace(/%3A/g, ":");
}
