/** One of a few: buttons side by side where there is room, a list where there is not (player.css decides). */

import { element } from "../pen/draw.js";

/** @typedef {{key: string, label: string, hint: string}} Entry */

export class Choice {
  /** @param {string} name what is chosen, also the data attribute of its buttons @param {string} label @param {Entry[]} entries @param {(key: string) => void} changed */
  constructor(name, label, entries, changed) {
    this.buttons = entries.map(({ key, label: text, hint }) => {
      const button = element("button", { type: "button", class: "fl-choice", [`data-${name}`]: key, title: hint, text });
      button.addEventListener("click", () => changed(key));
      return button;
    });
    this.list = element("select", { class: "fl-select fl-choicelist", "aria-label": label }, entries.map(({ key, label: text }) => element("option", { value: key, text })));
    this.list.addEventListener("change", () => changed(this.list.value));
    this.name = name;
    /** @type {string | null} key */
    this.shown = null;
    this.root = element("div", { class: `fl-choose fl-choose-${name}` }, [
      element("div", { class: "fl-choices", role: "group", "aria-label": label }, this.buttons),
      this.list,
    ]);
  }

  /** @param {string} key */
  show(key) {
    if (this.shown === key) return;
    this.shown = key;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset[this.name] === key));
    this.list.value = key;
  }

  /** Hides what the present run has nothing for. @param {string[]} keys */
  offer(keys) {
    if (this.offered === keys.join()) return;
    this.offered = keys.join();
    for (const button of this.buttons) button.hidden = !keys.includes(String(button.dataset[this.name]));
    for (const option of this.list.options) option.hidden = option.disabled = !keys.includes(option.value);
    this.root.hidden = keys.length < 2;
  }
}
