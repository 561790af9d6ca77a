/** The quiz before and after: eight questions, what they led to, and the results as CSV without names. */

import { element } from "../player/pen/draw.js";
import { takeAway } from "./csv.js";

/** @import { Memory } from "./memory.js" */
/** @typedef {{concept: string, teaches: [string, string], text: string, options: string[], right: number}} Question */

const UNKNOWN = "I don’t know yet";
const TITLES = { before: "Quiz, before the lessons", after: "Quiz, after the lessons" };

export class QuizView {
  /** @param {"before" | "after"} phase @param {Record<string, Question[]>} quiz @param {Memory} memory @param {{done: (phase: string, score: number) => void, go: (lesson: string, step: string) => void, placeOf: (lesson: string, step: string) => string, start: () => void}} acts */
  constructor(phase, quiz, memory, acts) {
    this.phase = phase;
    this.quiz = quiz;
    this.memory = memory;
    this.acts = acts;
    this.heading = element("h2", { tabindex: "-1", text: TITLES[phase] });
    this.place = element("div", {});
    this.root = element("div", { class: "ln-quiz" }, [this.heading, this.place]);
    this.draw();
  }

  get questions() {
    return this.quiz[this.phase];
  }

  draw() {
    const first = this.memory.now.quiz[this.phase];
    this.place.replaceChildren(...(first ? this.result(first, this.memory.now.again[this.phase]) : [this.form()]));
  }

  form() {
    const warning = element("p", { class: "ln-status", role: "alert" });
    const fields = this.questions.map(({ text, options }, i) =>
      element("fieldset", { class: "ln-field" }, [
        element("legend", { text: `${i + 1}. ${text}` }),
        ...[...options, UNKNOWN].map((option, n) => element("label", {}, [element("input", { type: "radio", name: `q${i}`, value: String(n) }), ` ${option}`])),
      ]),
    );
    const form = element("form", {}, [
      element("p", { text: `Eight questions, about four minutes, on what the lessons show. ${this.phase === "before" ? "“I don’t know yet” is a good answer before them: it counts" : "“I don’t know yet” counts"} as not right, and nothing else. The answers stay in this browser.` }),
      ...(this.memory.now.quiz[this.phase] ? [element("p", { class: "ln-hint", text: "Your first answers and their score stay. What you answer now is shown beside them." })] : []),
      ...fields,
      element("div", { class: "ln-row" }, [element("button", { class: "ln-button ln-main", text: "Check my answers" }), warning]),
    ]);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = this.questions.map((_, i) => Number(new FormData(form).get(`q${i}`) ?? -1));
      const open = chosen.flatMap((choice, i) => (choice < 0 ? [i + 1] : []));
      if (open.length) {
        warning.textContent = `Not answered yet: ${open.join(", ")}.`;
        const first = /** @type {HTMLElement | null} */ (form.querySelector(`[name=q${open[0] - 1}]`));
        first?.focus();
        return;
      }
      this.keep(chosen);
      this.draw();
      this.heading.focus();
    });
    return form;
  }

  /** The first time counts: later ones are kept beside it. @param {number[]} chosen */
  keep(chosen) {
    const { quiz, again } = this.memory.now;
    if (quiz[this.phase]) return this.memory.keep({ again: { ...again, [this.phase]: chosen } });
    this.memory.keep({ quiz: { ...quiz, [this.phase]: chosen } });
    return this.acts.done(this.phase, this.score(chosen));
  }

  /** @param {number[]} chosen @param {Question[]} questions */
  score(chosen, questions = this.questions) {
    return questions.filter(({ right }, i) => chosen[i] === right).length;
  }

  /** @param {number[]} first when it was taken first @param {number[] | undefined} again when it was taken last, if more than once @returns {HTMLElement[]} */
  result(first, again) {
    const taken = again ?? first;
    const before = this.memory.now.quiz.before;
    const count = this.questions.length;
    const other = this.phase === "after" && before ? ` Before the lessons: ${this.score(before, this.quiz.before)} of ${count}.` : "";
    const later = again ? ` Taken again, as listed below: ${this.score(again)} of ${count}.` : "";
    const rows = this.questions.map(({ text, options, right, teaches: [lesson, step] }, i) => {
      const well = taken[i] === right;
      const lines = [element("b", { text: `${well ? "✓" : taken[i] < options.length ? "✗" : "○"} ${i + 1}. ${text}` }), element("p", { text: well ? `${options[right]}` : `You said: ${options[taken[i]] ?? UNKNOWN}` })];
      if (!well) lines.push(element("button", { type: "button", class: "ln-button", text: `Learn it in step ${this.acts.placeOf(lesson, step)}`, onclick: () => this.acts.go(lesson, step) }));
      return element("li", { class: well ? "ln-well" : taken[i] < options.length ? "ln-missed" : "ln-missed ln-unknown" }, lines);
    });
    const buttons = [
      element("button", { type: "button", class: "ln-button ln-main", text: "To the lessons", onclick: () => this.acts.start() }),
      element("button", { type: "button", class: "ln-button", text: "Answers as CSV", onclick: () => takeAway(this.quiz, this.memory) }),
      element("button", { type: "button", class: "ln-button", text: "Take it again", onclick: () => this.again() }),
    ];
    return [
      element("p", { class: "ln-score", role: "status", text: `${this.score(first)} of ${count} right.${later}${other}` }),
      element("ol", { class: "ln-results" }, rows),
      element("div", { class: "ln-row" }, buttons),
      element("p", { class: "ln-hint", text: "The file has a random code and no name: whoever leads a class can compare many." }),
    ];
  }

  again() {
    this.place.replaceChildren(this.form());
    this.heading.focus();
  }
}
