/** One step of a lesson: its text, what it asks, and what is said once that is answered. */

import { element } from "../player/pen/draw.js";
import { marked, paragraphs } from "./text.js";

/** @import { Lesson, Step } from "./reader.js" */

const LETTERS = "ABCDEF";
const STAY_MS = 700;

export class StepView {
  /**
   * @param {Lesson} lesson @param {Step} step @param {number} place from 1
   * @param {{told: boolean, links: HTMLElement[], answered: (view: StepView, right: boolean) => void}} how told: nothing is asked, the answer stands there
   */
  constructor(lesson, step, place, { told, links, answered }) {
    this.lesson = lesson;
    this.step = step;
    this.told = told;
    this.tell = answered;
    this.answered = told;
    this.tries = 0;
    this.pause = 0;
    this.found = false;
    this.drawn = false;
    this.heading = element("h2", { tabindex: "-1" }, [element("span", { class: "ln-place", text: `${lesson.number}.${place}` }), ` ${step.title}`]);
    this.status = element("p", { class: "ln-status", "aria-live": "polite" });
    this.reveal = element("div", { class: "ln-reveal", hidden: "", tabindex: "-1" }, [
      ...(step.reveal?.text ? paragraphs(step.reveal.text) : []),
      ...(step.reveal?.formula ? [formula(step.reveal.formula)] : []),
    ]);
    this.root = element("section", { class: "ln-step", id: `ln-${lesson.key}-${step.key}`, "aria-label": `Step ${place}: ${step.title}` }, [
      this.heading,
      ...paragraphs(step.text),
      ...(step.formula ? [formula(step.formula)] : []),
      ...(step.ask && !told ? [(this.asking = this.question())] : []),
      ...(told && step.ask ? [element("p", { class: "ln-question" }, marked(step.ask.instead ?? step.ask.question))] : []),
      this.reveal,
      element("p", { class: "ln-links" }, links),
    ]);
    if (told) this.show();
  }

  /** @returns {HTMLElement} */
  question() {
    const { ask } = this.step;
    const told = element("p", { class: "ln-question" }, marked(ask.question));
    /** @type {HTMLButtonElement[]} */
    this.options = [];
    if (ask.kind === "choose") {
      this.options = ask.options.map((/** @type {string} */ text, /** @type {number} */ i) =>
        element("button", { type: "button", class: "ln-option", onclick: () => this.choose(i) }, [element("span", { class: "ln-letter", text: LETTERS[i], "aria-hidden": "true" }), element("span", { text })]),
      );
      return element("div", { class: "ln-ask", role: "group", "aria-label": "Your prediction" }, [told, ...this.options]);
    }
    this.giveUp = element("button", { type: "button", class: "ln-button", text: "Show me", onclick: () => this.finish(false) });
    const row = element("div", { class: "ln-row" }, [this.status, ...(ask.kind === "draw" ? [] : [this.giveUp])]);
    return element("div", { class: "ln-ask", role: "group", "aria-label": "Try it" }, [told, ...(ask.kind === "draw" ? [element("p", { class: "ln-hint", text: `Draw it on the stage, then press “${ask.button ?? "Show what happened"}”.` })] : []), row]);
  }

  /** What is looked for on the way down: the question, and then what is said to its answer. */
  get end() {
    return this.answered ? this.reveal : this.asking;
  }

  /** @param {number} i */
  choose(i) {
    if (this.answered) return;
    this.chosen = i;
    this.finish(i === this.step.ask.right);
  }

  /** @param {string} key of the keyboard @returns {boolean} it is the letter of an option, and nothing was chosen before */
  chooseByLetter(key) {
    const place = key.length === 1 ? LETTERS.indexOf(key.toUpperCase()) : -1;
    if (this.answered || place < 0 || place >= (this.options?.length ?? 0)) return false;
    this.choose(place);
    return true;
  }

  /** The player shows something else than it was asked to. @param {Record<string, any>} view */
  looked(view) {
    const { ask, stage } = this.step;
    if (this.answered || ask?.kind !== "select") return;
    const value = view[ask.field];
    window.clearTimeout(this.pause);
    if (ask.answers.includes(value)) {
      this.found = true;
      return this.finish(this.tries === 0);
    }
    if (value === (stage.view?.[ask.field] ?? null) || value === this.before) return;
    // Keys pass other matrices on their way: only what is stayed at is an answer.
    this.pause = window.setTimeout(() => this.miss(value), STAY_MS);
  }

  /** @param {any} value */
  miss(value) {
    if (this.answered) return;
    const { ask } = this.step;
    this.before = value;
    this.tries += 1;
    this.status.textContent = `${ask.told?.[value] ?? `Now: ${ask.field} ${value ?? "–"}.`} Not that one.`;
    this.status.scrollIntoView({ block: "nearest" });
  }

  /** @param {{value: number}} frame of a dial */
  turned({ value }) {
    const { ask } = this.step;
    if (!this.answered && ask?.kind === "dial" && ask.goal[0] <= value && value <= ask.goal[1]) {
      this.found = true;
      this.finish(true);
    }
  }

  /** @param {import("./judge.js").Judged} judged a curve */
  drew({ drawn, right }) {
    if (this.answered) return;
    this.drawn = drawn;
    this.finish(right);
  }

  /** @param {boolean} right */
  finish(right) {
    this.answered = true;
    this.show(right);
    this.tell(this, right);
  }

  /** Answered in an earlier visit. */
  restore() {
    this.answered = true;
    this.show();
  }

  /** @param {boolean | null} right null = nobody answered just now */
  show(right = null) {
    const { ask } = this.step;
    this.reveal.hidden = !this.step.reveal;
    this.root.classList.add("ln-answered");
    if (this.giveUp) this.giveUp.hidden = true;
    this.status.textContent = "";
    this.options?.forEach((node, i) => {
      node.disabled = true;
      node.classList.toggle("ln-right", i === ask.right);
      node.classList.toggle("ln-wrong", i === this.chosen && i !== ask.right);
      const mark = i === ask.right ? "✓" : i === this.chosen ? "✗" : "";
      if (mark) node.append(element("span", { class: "ln-mark", text: mark, "aria-label": mark === "✓" ? "right" : "wrong" }));
    });
    if (right !== null) this.reveal.prepend(element("p", { class: right || this.found ? "ln-verdict ln-yes" : "ln-verdict ln-no", role: "status", text: this.verdict(right) }));
  }

  /** @param {boolean} right @returns {string} */
  verdict(right) {
    const { kind, said } = this.step.ask;
    if (kind === "draw" && this.drawn) return said[right ? "right" : "wrong"];
    if (kind === "choose") return right ? "Right." : "Not quite.";
    return this.found ? "Found it." : "It is on the stage now.";
  }
}

/** @param {string} text its lines as they are written: a formula breaks where it was meant to @returns {HTMLElement} */
function formula(text) {
  return element("code", { class: "ln-formula" }, text.split("\n").flatMap((line, i) => (i ? [element("br", {}), line] : [line])));
}
