/** What every toy is made of: a question, controls, a picture, numbers, and words that answer. */

import { element } from "../../player/pen/draw.js";

/** @import { Palette } from "../../player/pen/palette.js" */

/**
 * @typedef {object} Desk what a toy is given
 * @property {HTMLElement} host
 * @property {() => Palette} palette
 * @property {boolean} still the visitor wants nothing to move by itself
 * @property {number[]} given what its link says, [] = nothing
 * @property {() => void} changed what its link would say is another now
 */

/**
 * @typedef {object} OpenToy
 * @property {() => void} draw
 * @property {() => void} close
 * @property {() => number[]} values for its link, [] = as at the start
 */

/** @typedef {{key: string, label: string, question: string, open: (desk: Desk) => OpenToy}} Toy */

/** @param {string} text @param {() => void} act @param {boolean} [first] the one to press first @returns {HTMLButtonElement} */
export function button(text, act, first = false) {
  return element("button", { type: "button", class: `fl-button fl-text${first ? " fl-primary" : ""}`, text, onclick: act });
}

/** Numbers with their names. */
export class Facts {
  constructor() {
    this.node = element("dl", { class: "pg-facts" });
    this.shown = "";
  }

  /** @param {[string, string, string?][]} facts name, value, and what it comes from */
  tell(facts) {
    const shown = JSON.stringify(facts);
    if (shown === this.shown) return;
    this.shown = shown;
    this.node.replaceChildren(...facts.map(([name, value, from]) => element("div", {}, [element("dt", { text: name }), element("dd", { text: value }), ...(from ? [element("dd", { class: "pg-from", text: from })] : [])])));
  }
}

/** A sentence that changes, and is read aloud when it does. */
export class Verdict {
  constructor() {
    this.node = element("p", { class: "pg-verdict", "aria-live": "polite" });
  }

  /** @param {string} text @param {boolean} [won] */
  tell(text, won = false) {
    if (this.node.textContent !== text) this.node.textContent = text;
    this.node.classList.toggle("pg-won", won);
  }
}

/** @param {Array<Node>} children @returns {HTMLElement} */
export function row(children) {
  return element("div", { class: "pg-row" }, children);
}

/** A slider with its name and value. @param {string} name @param {number} last index of the last place @param {(place: number) => string} word of a place @param {(place: number) => void} act */
export function slider(name, last, word, act) {
  const input = element("input", { type: "range", class: "fl-slider", min: "0", max: String(last), step: "1", "aria-label": name });
  const told = element("output");
  const put = (/** @type {number} */ place) => {
    input.value = String(place);
    told.textContent = word(place);
    input.setAttribute("aria-valuetext", word(place));
  };
  input.addEventListener("input", () => {
    put(Number(input.value));
    act(Number(input.value));
  });
  return { node: element("label", { class: "pg-slider" }, [element("span", { text: name }), input, told]), put };
}
