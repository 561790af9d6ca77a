/** The presenter's view: the page in large type without what only the leader needs; a clicker's keys turn the steps. */

const STYLE = `
.lab-presents { font-size: 150% !important; }
.lab-presents [data-testid="stHeader"] { display: none; }
.lab-presents [data-testid="stMain"] { zoom: 1.3; }
.lab-presents .stMainBlockContainer { padding-top: 0.5rem; }`;
/** Keys of a clicker, and of who stands at a keyboard. @type {Record<string, number>} */
const KEYS = { PageDown: 1, PageUp: -1, n: 1, p: -1 };
const TYPING = "input, textarea, select, [contenteditable]";

export class Presenter {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    document.addEventListener("keydown", (event) => this.press(event), { capture: true });
  }

  get on() {
    return document.documentElement.classList.contains("lab-presents");
  }

  toggle() {
    if (!document.getElementById("lab-presenter")) document.head.append(Object.assign(document.createElement("style"), { id: "lab-presenter", textContent: STYLE }));
    document.documentElement.classList.toggle("lab-presents");
    window.dispatchEvent(new Event("resize"));
    this.changed();
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (!this.on || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/** @type {Element | undefined} */ (event.composedPath()[0])?.matches?.(TYPING)) return;
    if (event.key === "Escape") this.toggle();
    else if (event.key in KEYS) turn(KEYS[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** The page that has steps turns to the next one. @param {number} by */
export function turn(by) {
  document.dispatchEvent(new CustomEvent("lab-step", { detail: { by } }));
}
