/** The card of a word: what it means, a picture and its formula with the run's own numbers. One for a whole page. */

import { element } from "../pen/draw.js";
import { termPicture } from "./term_picture.js";

const PATIENCE_MS = 140; // a pointer that only passes opens nothing
const LEAVE_MS = 260; // from the word to its card
const APART = 6;

/** @typedef {{label: string, definition: string, formula: string, own?: string | null, picture?: import("./term_picture.js").Picture | null}} Told */
/** @typedef {{place: string, terms: Record<string, Told>}} Explained place: what the numbers are of */

let cards = 0;

export class TermCard {
  /** @param {HTMLElement} root whose words it explains @param {() => Promise<Explained>} ask @param {AbortSignal} signal */
  constructor(root, ask, signal) {
    this.ask = ask;
    /** @type {HTMLElement | null} the word that is open */
    this.word = null;
    this.timer = 0;
    this.turn = 0;
    cards += 1;
    this.node = element("div", { class: "fl-termcard", role: "tooltip", id: `fl-termcard-${cards}`, popover: "manual" });
    root.append(this.node);
    const own = (/** @type {Event} */ event) => /** @type {HTMLElement | null} */ (event.target instanceof Element ? event.target.closest(".fl-term") : null);
    const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ act) => root.addEventListener(name, act, { signal });
    on("pointerover", (event) => {
      const word = own(event);
      if (event.pointerType === "touch") return;
      if (word) this.soon(() => this.open(word), PATIENCE_MS);
      else if (this.node.contains(event.target)) window.clearTimeout(this.timer);
      else if (this.word) this.soon(() => this.close(), LEAVE_MS);
    });
    on("pointerleave", () => this.soon(() => this.close(), LEAVE_MS));
    on("focusin", (event) => {
      const word = own(event);
      if (word?.matches(":focus-visible")) this.open(word);
    });
    on("focusout", (event) => own(event) && this.soon(() => this.close(), 0));
    on("click", (event) => {
      const word = own(event);
      if (word) this.open(word);
    });
    // Before the keys of the page: Escape closes the card and leaves slow motion as it is.
    const escape = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || !this.word) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      this.close();
    };
    document.addEventListener("keydown", escape, { signal, capture: true });
    document.addEventListener("pointerdown", (event) => !event.composedPath().some((node) => node === this.word || node === this.node) && this.close(), { signal });
  }

  /** @param {() => void} act @param {number} after milliseconds */
  soon(act, after) {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(act, after);
  }

  /** @param {HTMLElement} word */
  async open(word) {
    window.clearTimeout(this.timer);
    this.turn += 1;
    const { turn } = this;
    this.word?.removeAttribute("aria-describedby");
    this.word = word;
    let told = null;
    try {
      told = await this.ask();
    } catch {
      // The next word asks again.
    }
    if (turn !== this.turn || !word.isConnected) return;
    const own = told?.terms[word.dataset.term ?? ""];
    if (!told || !own) {
      this.close();
      return;
    }
    this.fill(own, told.place);
    word.setAttribute("aria-describedby", this.node.id);
    if (!this.node.matches(":popover-open")) this.node.showPopover();
    this.put(word.getBoundingClientRect());
  }

  /** The numbers may be of another moment by now; a word that was left in the same moment is not opened anew. */
  follow() {
    if (this.word?.isConnected && (this.word.matches(":focus, :hover") || this.node.matches(":hover"))) this.open(this.word);
    else this.close();
  }

  /** @param {Told} told @param {string} place */
  fill({ label, definition, formula, own, picture }, place) {
    const drawn = termPicture(picture);
    const numbers = own ? [element("p", { class: "fl-termown" }, [element("span", { text: place }), element("code", { text: own })])] : [];
    this.node.replaceChildren(
      element("b", { text: label }),
      element("p", { text: definition }),
      ...(formula ? [element("code", { text: formula })] : []),
      ...(picture && drawn ? [drawn, element("p", { class: "fl-termnote", text: picture.note })] : []),
      ...numbers,
    );
  }

  /** Below the word, or above it where that is beyond the window. @param {DOMRect} word */
  put({ left, top, bottom }) {
    const { offsetWidth: width, offsetHeight: height, style } = this.node;
    const below = bottom + APART + height <= window.innerHeight;
    style.left = `${Math.max(4, Math.min(left, window.innerWidth - width - 4))}px`;
    style.top = `${below ? bottom + APART : Math.max(4, top - APART - height)}px`;
  }

  close() {
    window.clearTimeout(this.timer);
    this.turn += 1;
    this.word?.removeAttribute("aria-describedby");
    this.word = null;
    if (this.node.matches(":popover-open")) this.node.hidePopover();
  }
}
