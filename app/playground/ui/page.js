/** The playground's page: what is shown, and the link to it. */

import { element } from "../../player/pen/draw.js";
import { readPalette } from "../../player/pen/palette.js";
import { dress } from "../../player/style.js";
import { dressPlayground } from "../style.js";
import { TOYS } from "../toys/all.js";
import { firstChoices } from "./choices.js";
import { linkOf, readLink } from "./link.js";
import { RaceRoom } from "./race_room.js";
import { ToyRoom } from "./toy_room.js";

/** @import { Choices } from "./choices.js" */

const LINK_PAUSE_MS = 250; // a drag is one change of the address
const RACE = "race";
const LABELS = /** @type {[string, string][]} */ ([[RACE, "Race"], ...TOYS.map(({ key, label }) => [key, label])]);
const TABS = LABELS.map(([key]) => key);

export class Page {
  /** @param {Element | ShadowRoot} parent @param {((training: {name: string, text: string}) => void) | null} [send] to a server that opens a training; null = the page is a file */
  constructor(parent, send = null) {
    this.note = element("p", { class: "pg-note", role: "status" });
    this.note.hidden = true;
    this.tabs = element("div", { class: "pg-tabs", role: "tablist", "aria-label": "Playground" });
    this.body = element("div", { role: "tabpanel" });
    this.root = element("div", { class: "pg-page" }, [this.note, this.tabs, this.body]);
    parent.append(this.root);
    dress(this.root);
    dressPlayground(this.root);
    this.choices = firstChoices();
    /** @type {ToyRoom | RaceRoom | null} */
    this.room = null;
    /** To the server, which opens a training; null = the page is a file. @type {((training: {name: string, text: string}) => void) | null} */
    this.send = send;
    this.timer = 0;
    this.width = 0;
    this.sizes = new ResizeObserver(() => {
      if (this.root.clientWidth !== this.width) this.draw();
    });
    this.sizes.observe(this.root);
    this.follow = () => this.open();
    window.addEventListener("hashchange", this.follow);
    this.open();
  }

  /** As the address says. */
  open() {
    const { shown, notes } = readLink(window.location.hash, TABS);
    this.note.textContent = notes.join(" ");
    this.note.hidden = !notes.length;
    this.show(shown.show, shown.values, shown.choices);
  }

  /** @param {string | null} trouble with what was to be opened last @param {(training: {name: string, text: string}) => void} send to the server, which opens it */
  accept(trouble, send) {
    this.send = send;
    if (!trouble) return;
    this.note.textContent = trouble;
    this.note.hidden = false;
  }

  /** @param {string} key @param {number[]} values of a toy @param {Choices} choices of the race */
  show(key, values, choices) {
    this.room?.close();
    this.choices = choices;
    const toy = TOYS.find((other) => other.key === key);
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const hall = { palette: () => readPalette(this.root), still, changed: () => this.remember(), copy: () => this.copyLink(), served: this.send !== null, take: (/** @type {string} */ name, /** @type {string} */ text) => (this.send ? this.send({ name, text }) : save(name, text)) };
    this.room = toy ? new ToyRoom(toy, hall, values) : new RaceRoom(hall, choices);
    this.body.replaceChildren(this.room.host);
    this.root.dataset.show = key;
    this.tabs.replaceChildren(...LABELS.map(([other, label]) => this.tab(other, label, other === key)));
    this.room.begin();
  }

  /** @param {string} key @param {string} label @param {boolean} chosen */
  tab(key, label, chosen) {
    const node = element("button", { type: "button", class: "pg-tab", role: "tab", "aria-selected": String(chosen), tabindex: chosen ? "0" : "-1", text: label, onclick: () => this.choose(key) });
    node.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.choose(TABS[(TABS.indexOf(key) + by + TABS.length) % TABS.length]);
      /** @type {HTMLElement | null} */ (this.tabs.querySelector("[aria-selected=true]"))?.focus();
    });
    return node;
  }

  /** @param {string} key */
  choose(key) {
    this.note.hidden = true;
    if (this.room instanceof RaceRoom) this.choices = this.room.choices;
    this.show(key, [], this.choices);
    this.remember();
  }

  remember() {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.writeAddress(), LINK_PAUSE_MS);
  }

  writeAddress() {
    window.clearTimeout(this.timer);
    if (this.room instanceof RaceRoom) this.choices = this.room.choices;
    const link = linkOf({ show: this.root.dataset.show ?? RACE, values: this.room?.values ?? [], choices: this.choices }, TABS);
    const place = window.location.href.split("#")[0];
    window.history.replaceState(window.history.state, "", link ? `${place}#${link}` : place);
  }

  /** @returns {Promise<string>} what came of it */
  async copyLink() {
    this.writeAddress();
    try {
      await navigator.clipboard.writeText(window.location.href);
      return "Copied";
    } catch {
      return "In the address bar";
    }
  }

  draw() {
    this.width = this.root.clientWidth;
    if (this.width) this.room?.draw();
  }

  close() {
    this.room?.close();
    window.clearTimeout(this.timer);
    window.removeEventListener("hashchange", this.follow);
    this.sizes.disconnect();
  }
}

/** @param {string} name @param {string} text of a training, as a file that Runs imports */
function save(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  element("a", { href: address, download: `${name}.flexlora.json` }).click();
  window.setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
