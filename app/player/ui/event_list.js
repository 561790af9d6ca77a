/** The list of events, and what the current one moved. */

import { element } from "../pen/draw.js";
import { formatNumber, matrixLabel } from "../model/format.js";
import { noEvent } from "./sentence.js";

/** @import { Model } from "../model/model.js" */
/** @import { Move } from "../model/decode.js" */

const NO_REASONS = "This log tells ranks, not events: which direction moved, and by what score, was not written down.";

const ROWS_AROUND = 30; // on either side of the current one: more than are ever in sight

/** What a rule did, for those whose names do not say. */
const RULES = { masked: "masked (off, may come back)", revived: "revived (was off)" };

/** What the schedule asked for and what followed, where the log tells. @param {import("../model/decode.js").RunEvent} event @returns {string} */
function aimOf(event) {
  const target = Number.isFinite(event.target_rank) ? `target total ${event.target_rank}` : "";
  const threshold = Number.isFinite(event.threshold) ? `threshold ${formatNumber(event.threshold)}` : "";
  const restarted = event.rules?.includes("restarted") ? "then training began anew" : "";
  return [target, threshold, restarted].filter(Boolean).join(", ");
}

/** One stop for Tab, however many buttons: the arrow keys go from one to the next. @param {HTMLButtonElement[]} buttons @param {KeyboardEvent} event */
function walk(buttons, event) {
  const now = buttons.findIndex((button) => button === event.target);
  const next = buttons[now + ({ ArrowDown: 1, ArrowUp: -1 }[event.key] ?? 0)];
  if (now < 0 || !next || next === event.target) return;
  event.preventDefault();
  event.stopPropagation();
  for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
  next.focus();
}

export class EventList {
  /** @param {{seek: (step: number) => void, select: (m: number) => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.heading = element("span", { class: "fl-count" });
    this.list = element("ol", { class: "fl-events", "aria-label": "Events", onkeydown: (event) => walk([...event.currentTarget.querySelectorAll("button")], event) });
    this.moves = element("div", { class: "fl-moves", onkeydown: (event) => walk(this.moveButtons(), event) });
    this.root = element("section", { class: "fl-panel fl-eventpanel", "aria-label": "Events" }, [
      element("header", {}, [element("h2", { text: "Events" }), this.heading]),
      this.list,
      this.moves,
    ]);
    this.blank = element("button", { type: "button", class: "fl-event", tabindex: "-1" }, ["fl-number", "fl-step", "fl-minus", "fl-plus"].map((name) => element("span", { class: name })));
    this.blankMove = element("button", { type: "button", class: "fl-move" }, [element("span"), element("span", { class: "fl-score" })]);
    /** @type {HTMLLIElement[]} one an event; without its button it only keeps the room */
    this.rows = [];
    this.current = -2;
    this.shown = "";
    this.height = 0;
    this.astray = false;
  }

  /** @param {Model} model */
  accept(model) {
    this.model = model;
    this.heading.textContent = model.events.length ? `${model.events.length}` : "";
    if (!this.rows.length) this.list.replaceChildren();
    const fresh = model.events.slice(this.rows.length).map(() => element("li"));
    this.rows.push(...fresh);
    this.list.append(...fresh);
    while (this.rows.length > model.events.length) this.rows.pop()?.remove();
    if (!model.events.length) {
      this.list.replaceChildren(element("li", { class: "fl-none", text: model.run.ranksOnly ? NO_REASONS : noEvent(model).whole }));
    }
    this.current = -2;
  }

  /** Another run: start over. */
  clear() {
    this.list.replaceChildren();
    this.rows = [];
    this.current = -2;
    this.shown = "";
  }

  /** Gives rows the button that they lack. @param {number} [from] @param {number} [to] */
  fill(from = 0, to = this.rows.length) {
    for (let i = Math.max(0, from); i < Math.min(to, this.rows.length); i += 1) {
      if (!this.rows[i].firstChild) this.rows[i].append(this.button(i));
    }
  }

  /** @param {number} i @returns {HTMLButtonElement} a copy, which takes half as long as an element made anew */
  button(i) {
    const { step, prune, extend } = /** @type {Model} */ (this.model).events[i];
    const button = /** @type {HTMLButtonElement} */ (this.blank.cloneNode(true));
    button.dataset.step = String(step);
    const idle = !prune.length && !extend.length;
    [`${i + 1}`, `step ${step}`, idle ? "" : `−${prune.length}`, idle ? "none" : `+${extend.length}`].forEach((text, place) => (button.children[place].textContent = text));
    button.classList.toggle("fl-idle", idle);
    button.addEventListener("click", () => this.actions.seek(step));
    return button;
  }

  /** @param {number} current index of an event, -1 before the first */
  mark(current) {
    this.fill(current - ROWS_AROUND, current + ROWS_AROUND);
    for (const marked of this.list.querySelectorAll('[aria-current], [tabindex="0"]')) {
      marked.removeAttribute("aria-current");
      marked.setAttribute("tabindex", "-1");
    }
    const stop = this.rows[Math.max(0, current)]?.firstElementChild;
    stop?.setAttribute("tabindex", "0");
    if (current >= 0) stop?.setAttribute("aria-current", "step");
  }

  /** @param {number} step @param {number} selected */
  update(step, selected) {
    const model = this.model;
    if (!model) return;
    const exact = model.eventAt(step);
    const current = exact >= 0 ? exact : model.eventBefore(step);
    const moved = current !== this.current;
    if (moved) this.mark(current);
    this.current = current;
    const key = `${current}|${selected}|${exact >= 0}`;
    if (key === this.shown) return;
    this.shown = key;
    const focused = this.moveButtons().findIndex((button) => button.matches(":focus"));
    this.moves.replaceChildren(...(current >= 0 ? this.describe(model, current, selected, exact >= 0) : []));
    const buttons = this.moveButtons();
    buttons.forEach((button, i) => (button.tabIndex = i === Math.max(0, focused) ? 0 : -1));
    if (focused >= 0) buttons[focused]?.focus();
    this.astray ||= moved;
  }

  /** To another event, once all is written: its moves take their room from the list. */
  follow() {
    if (this.astray) this.scrollTo(this.current);
    this.astray = false;
  }

  /** The list may have another height: the event that it stands at stays in sight. */
  resized() {
    this.astray ||= this.list.clientHeight !== this.height;
    this.height = this.list.clientHeight;
    this.follow();
  }

  /** @returns {HTMLButtonElement[]} what the shown event moved */
  moveButtons() {
    return [...this.moves.querySelectorAll("button:enabled")].map((button) => /** @type {HTMLButtonElement} */ (button));
  }

  /** Inside the list only: the page itself never moves. @param {number} index */
  scrollTo(index) {
    const item = this.rows[index];
    if (!item) {
      this.list.scrollTop = 0;
      return;
    }
    const top = item.offsetTop - this.list.offsetTop;
    if (top < this.list.scrollTop || top + item.offsetHeight > this.list.scrollTop + this.list.clientHeight) {
      this.list.scrollTop = top - (this.list.clientHeight - item.offsetHeight) / 2;
    }
  }

  /** @param {Model} model @param {number} index @param {number} selected @param {boolean} exact @returns {Node[]} */
  describe(model, index, selected, exact) {
    const event = model.events[index];
    const { pruned, extended } = model.words;
    const aim = aimOf(event);
    const { scores } = event;
    // Between two events it is the one before: "event 5: pruned" is no count of what was pruned.
    const when = `Event ${index + 1}${exact ? "" : ":"}`;
    return [
      ...(aim ? [element("p", { class: "fl-aim", text: aim })] : []),
      this.column(model, scores, `${when}${exact && pruned !== "pruned" ? ":" : ""} ${pruned}`, "fl-minus", event.prune, selected),
      this.column(model, scores, extended, "fl-plus", event.extend, selected),
    ];
  }

  /** @param {Model} model @param {number[]} scores of matrices, by the measure that decided @param {string} title @param {string} kind @param {Move[]} moves @param {number} selected */
  column(model, scores, title, kind, moves, selected) {
    const rows = moves.map((move) => {
      const m = model.indexOf.get(move.matrix) ?? -1;
      const score = move.score ?? scores[m];
      const button = /** @type {HTMLButtonElement} */ (this.blankMove.cloneNode(true));
      button.classList.add(kind);
      button.children[0].textContent = m >= 0 ? matrixLabel(model.matrices[m]) : move.matrix;
      button.children[1].textContent = Number.isFinite(score) ? formatNumber(score) : "";
      const rules = (move.rules ?? []).map((rule) => RULES[/** @type {keyof typeof RULES} */ (rule)] ?? rule);
      const own = move.score === undefined ? "" : `score ${formatNumber(move.score)}`;
      button.title = [own, rules.length ? `rule: ${rules.join(", ")}` : ""].filter(Boolean).join(" · ");
      if (m === selected) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => this.actions.select(m));
      return button;
    });
    if (!rows.length) rows.push(element("button", { type: "button", class: "fl-move", disabled: "", text: "none" }));
    return element("div", {}, [element("h3", { class: kind, text: title }), ...rows]);
  }
}
