/** The list of events, and what the current one moved. */

import { element } from "./draw.js";
import { formatNumber, matrixLabel } from "./format.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./decode.js").Move} Move */

const NO_REASONS = "This log tells ranks, not events: which direction moved, and by what score, was not written down.";

/** What a rule did, for those whose names do not say. */
const RULES = { masked: "masked (off, may come back)", revived: "revived (was off)" };

/** What the schedule asked for and what followed, where the log tells. @param {import("./decode.js").RunEvent} event @returns {string} */
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
    this.list = element("ol", { class: "fl-events", "aria-label": "Events" });
    this.list.addEventListener("keydown", (event) => walk(this.buttons, event));
    this.moves = element("div", { class: "fl-moves" });
    this.moves.addEventListener("keydown", (event) => walk(this.moveButtons(), event));
    this.root = element("section", { class: "fl-panel fl-eventpanel", "aria-label": "Events" }, [
      element("header", {}, [element("h3", { text: "Events" }), this.heading]),
      this.list,
      this.moves,
    ]);
    /** @type {HTMLButtonElement[]} */
    this.buttons = [];
    this.current = -2;
    this.shown = "";
    this.height = 0;
  }

  /** @param {Model} model */
  accept(model) {
    this.model = model;
    this.heading.textContent = model.events.length ? `${model.events.length}` : "";
    for (let i = this.buttons.length; i < model.events.length; i += 1) this.append(model, i);
    while (this.buttons.length > model.events.length) this.buttons.pop()?.parentElement?.remove();
    if (!model.events.length) {
      this.list.replaceChildren(element("li", { class: "fl-none", text: model.run.ranksOnly ? NO_REASONS : "This run has no events: its ranks stay as they are." }));
    }
    this.current = -2;
  }

  /** Another run: start over. */
  clear() {
    this.list.replaceChildren();
    this.buttons = [];
    this.current = -2;
    this.shown = "";
  }

  /** @param {Model} model @param {number} i */
  append(model, i) {
    if (i === 0) this.list.replaceChildren();
    const event = model.events[i];
    const button = element("button", { type: "button", class: "fl-event", "data-step": String(event.step) }, [
      element("span", { class: "fl-number", text: String(i + 1) }),
      element("span", { class: "fl-step", text: `step ${event.step}` }),
      element("span", { class: "fl-minus", text: `−${event.prune.length}` }),
      element("span", { class: "fl-plus", text: `+${event.extend.length}` }),
    ]);
    button.classList.toggle("fl-idle", !event.prune.length && !event.extend.length);
    button.addEventListener("click", () => this.actions.seek(event.step));
    this.buttons.push(button);
    this.list.append(element("li", {}, [button]));
  }

  /** @param {number} step @param {number} selected */
  update(step, selected) {
    const model = this.model;
    if (!model) return;
    const exact = model.eventAt(step);
    const current = exact >= 0 ? exact : model.eventBefore(step);
    const moved = current !== this.current;
    if (moved) {
      this.buttons.forEach((button, i) => {
        if (i === current) button.setAttribute("aria-current", "step");
        else button.removeAttribute("aria-current");
        button.tabIndex = i === Math.max(0, current) ? 0 : -1;
      });
      this.current = current;
    }
    const key = `${current}|${selected}|${exact >= 0}`;
    if (key === this.shown) return;
    this.shown = key;
    const focused = this.moveButtons().findIndex((button) => button.matches(":focus"));
    this.moves.replaceChildren(...(current >= 0 ? this.describe(model, current, selected, exact >= 0) : []));
    const buttons = this.moveButtons();
    buttons.forEach((button, i) => (button.tabIndex = i === Math.max(0, focused) ? 0 : -1));
    if (focused >= 0) buttons[focused]?.focus();
    // Only now: the moves of the event take their room from the list.
    if (moved) this.scrollTo(current);
  }

  /** The list may have another height: the event that it stands at stays in sight. */
  resized() {
    if (this.list.clientHeight === this.height) return;
    this.height = this.list.clientHeight;
    this.scrollTo(this.current);
  }

  /** @returns {HTMLButtonElement[]} what the shown event moved */
  moveButtons() {
    return [...this.moves.querySelectorAll("button:enabled")].map((button) => /** @type {HTMLButtonElement} */ (button));
  }

  /** Inside the list only: the page itself never moves. @param {number} index */
  scrollTo(index) {
    const item = this.buttons[index]?.parentElement;
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
    const when = exact ? `Event ${index + 1}` : `Last event: ${index + 1}`;
    return [
      ...(aim ? [element("p", { class: "fl-aim", text: aim })] : []),
      this.column(model, event, `${when}${pruned === "pruned" ? "" : ":"} ${pruned}`, "fl-minus", event.prune, selected),
      this.column(model, event, extended, "fl-plus", event.extend, selected),
    ];
  }

  /** @param {Model} model @param {any} event @param {string} title @param {string} kind @param {Move[]} moves @param {number} selected */
  column(model, event, title, kind, moves, selected) {
    const scores = event.importance?.[event.measure] ?? event.importance ?? {};
    const rows = moves.map((move) => {
      const m = model.indexOf.get(move.matrix) ?? -1;
      const score = move.score ?? scores[move.matrix];
      const button = element("button", { type: "button", class: `fl-move ${kind}` }, [
        element("span", { text: m >= 0 ? matrixLabel(model.matrices[m]) : move.matrix }),
        element("span", { class: "fl-score", text: typeof score === "number" ? formatNumber(score) : "" }),
      ]);
      const rules = (move.rules ?? []).map((rule) => RULES[/** @type {keyof typeof RULES} */ (rule)] ?? rule);
      const own = move.score === undefined ? "" : `score ${formatNumber(move.score)}`;
      button.title = [own, rules.length ? `rule: ${rules.join(", ")}` : ""].filter(Boolean).join(" · ");
      if (m === selected) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => this.actions.select(m));
      return button;
    });
    if (!rows.length) rows.push(element("button", { type: "button", class: "fl-move", disabled: "", text: "none" }));
    return element("div", {}, [element("h4", { class: kind, text: title }), ...rows]);
  }
}
