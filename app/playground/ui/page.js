/** The playground's page: what is shown, and the link to it. */

import { element } from "../../player/pen/draw.js";
import { readPalette } from "../../player/pen/palette.js";
import { dress } from "../../player/style.js";
import { dressPlayground } from "../style.js";
import { TOYS } from "../toys/all.js";
import { linkOf, readLink } from "./link.js";
import { ToyRoom } from "./toy_room.js";

const LINK_PAUSE_MS = 250; // a drag is one change of the address

const TABS = TOYS.map(({ key }) => key);

export class Page {
  /** @param {Element | ShadowRoot} parent */
  constructor(parent) {
    this.note = element("p", { class: "pg-note", role: "status" });
    this.note.hidden = true;
    this.tabs = element("div", { class: "pg-tabs", role: "tablist", "aria-label": "Playground" });
    this.body = element("div", { role: "tabpanel" });
    this.root = element("div", { class: "pg-page" }, [this.note, this.tabs, this.body]);
    parent.append(this.root);
    dress(this.root);
    dressPlayground(this.root);
    /** @type {ToyRoom | null} */
    this.room = null;
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
    this.show(shown.show, shown.values);
  }

  /** @param {string} key @param {number[]} values */
  show(key, values) {
    this.room?.close();
    const toy = TOYS.find((other) => other.key === key) ?? TOYS[0];
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.room = new ToyRoom(toy, { palette: () => readPalette(this.root), still, changed: () => this.remember() }, values);
    this.body.replaceChildren(this.room.host);
    this.room.begin();
    this.root.dataset.show = key;
    this.tabs.replaceChildren(...TOYS.map((other) => this.tab(other.key, other.label, other.key === key)));
  }

  /** @param {string} key @param {string} label @param {boolean} chosen */
  tab(key, label, chosen) {
    const node = element("button", { type: "button", class: "pg-tab", role: "tab", "aria-selected": String(chosen), tabindex: chosen ? "0" : "-1", text: label, onclick: () => this.choose(key) });
    node.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      this.choose(TABS[(TABS.indexOf(key) + by + TABS.length) % TABS.length]);
      /** @type {HTMLElement | null} */ (this.tabs.querySelector("[aria-selected=true]"))?.focus();
    });
    return node;
  }

  /** @param {string} key */
  choose(key) {
    this.note.hidden = true;
    this.show(key, []);
    this.remember();
  }

  remember() {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.writeAddress(), LINK_PAUSE_MS);
  }

  writeAddress() {
    const link = linkOf({ show: this.root.dataset.show ?? TABS[0], values: this.room?.values ?? [] }, TABS);
    const place = window.location.href.split("#")[0];
    window.history.replaceState(window.history.state, "", link ? `${place}#${link}` : place);
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
