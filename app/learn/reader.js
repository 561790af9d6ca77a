/** The reader of lessons: steps as a text that scrolls, the stage beside it, and the way through all of them. */

import { element } from "../player/pen/draw.js";
import { readPalette } from "../player/pen/palette.js";
import { addressOf, askedPlace, exploreLink, pageLink } from "./address.js";
import { switchVersion, versionOf } from "./coin.js";
import { followClass } from "./following.js";
import { Memory } from "./memory.js";
import { ONLY_VERSION, progressOf, tellProgress } from "./progress.js";
import { QuizView } from "./quiz.js";
import { Stage } from "./stage.js";
import { StepView } from "./step.js";
import { dressLessons } from "./style.js";

/** @typedef {Record<string, any> & {key: string, title: string, text: string[], stage: any}} Step */
/** @typedef {{key: string, title: string, about: string, number: number, first: number, minutes: number, versions?: Record<string, string> | null, steps: Step[]}} Lesson */
/** @typedef {{lessons: Lesson[], quiz: Record<"before" | "after", import("./quiz.js").Question[]>, runs: string[]}} Book analysis/lessons/book.py */

/** The versions of a lesson: one asks first, the other tells at once. */
const [ASKS, TELLS] = ["a", "b"];
const NARROW_PX = 860;
/** Of the end of a step, below which it counts as out of sight. */
const CUT_PX = 14;
const LONGEST_SCROLL_MS = 1500;
const TYPING = "input:not([type=range]), textarea, select, [contenteditable=true]";

export class Reader {
  /**
   * @param {Element | ShadowRoot} parent @param {Book} book
   * @param {{sourceOf: (name: string) => import("../player/source/server.js").Source, served: boolean, memory?: Memory}} from
   */
  constructor(parent, book, { sourceOf, served, memory = new Memory() }) {
    this.book = book;
    this.served = served;
    this.memory = memory;
    this.asked = askedPlace(served);
    /** @type {StepView[]} */
    this.views = [];
    /** @type {Lesson} */
    this.lesson = book.lessons[0];
    this.place = 0;
    this.still = 0;
    this.furthest = 0;
    this.gone = new AbortController();
    this.stage = new Stage(sourceOf, served, {
      looked: (view) => this.current?.looked(view),
      turned: (frame) => this.current?.turned(frame),
      drawn: (judged) => this.current?.drew(judged),
    });
    this.nav = element("nav", { class: "ln-nav", "aria-label": "Lessons" });
    this.text = element("div", { class: "ln-text", tabindex: "-1" });
    this.back = element("button", { type: "button", class: "ln-button", title: "Back (N)", text: "← Back", onclick: () => this.step(-1) });
    this.next = element("button", { type: "button", class: "ln-button ln-main", title: "Next (n)", text: "Next →", onclick: () => this.step(1) });
    this.where = element("span", { class: "ln-where" });
    this.down = element("button", { type: "button", class: "ln-inline ln-down", hidden: "", onclick: () => this.goDown() });
    this.column = element("div", { class: "ln-column" }, [this.text, element("div", { class: "ln-bar" }, [this.back, element("div", { class: "ln-middle" }, [this.where, this.down]), this.next])]);
    this.body = element("div", { class: "ln-body" }, [this.column, this.stage.root]);
    this.root = element("div", { class: "ln" }, [this.nav, this.body]);
    this.mount(parent);
    this.listen();
    this.open();
  }

  /** @param {Element | ShadowRoot} parent */
  mount(parent) {
    parent.append(this.root);
    dressLessons(this.root);
    this.dress();
  }

  /** Colours that the player has and the page's theme has not. */
  dress() {
    const { pruned, extended, dark } = readPalette(this.root);
    this.root.style.setProperty("--fl-pruned", pruned);
    this.root.style.setProperty("--fl-extended", extended);
    this.root.classList.toggle("ln-dark", dark);
    this.stage.dressed();
  }

  listen() {
    const { signal } = this.gone;
    document.addEventListener("keydown", (event) => this.key(event), { signal });
    window.addEventListener("resize", () => this.fit(), { signal });
    followClass(this);
    this.text.addEventListener("scroll", () => this.scrolled(), { passive: true });
    for (const node of [this.text, this.nav]) node.addEventListener("scroll", () => this.cue(), { passive: true });
    // A browser leaves a tab that is half seen where it is.
    this.nav.addEventListener("focusin", (event) => event.target instanceof Element && event.target.scrollIntoView({ block: "nearest", inline: "nearest" }));
    for (const kind of ["scrollend", "wheel", "touchstart"]) this.text.addEventListener(kind, () => (this.still = 0), { passive: true });
    this.resizer = new ResizeObserver(() => this.fit());
    this.resizer.observe(this.root);
  }

  /** Where the address says, else where the reader was, else at the start. */
  open() {
    const { lesson, step, quiz } = this.asked;
    const { now } = this.memory;
    this.fit();
    if (quiz) this.showQuiz(quiz);
    else this.go(lesson || now.lesson, (lesson ? step : now.step) ?? "", document.activeElement === document.body);
  }

  /** @param {string} key @returns {Lesson} */
  lessonOf(key) {
    return this.book.lessons.find((own) => own.key === key) ?? this.book.lessons[0];
  }

  get current() {
    return this.quiz ? undefined : this.views[this.place];
  }

  /** @param {string} lesson @param {string} step "" = where it was left, or its first @param {boolean} [focus] on the step's title */
  go(lesson, step, focus = true) {
    this.closeQuiz();
    const found = this.lessonOf(lesson);
    if (found !== this.lesson || !this.views.length) this.showLesson(found);
    else this.text.firstElementChild?.replaceWith(this.welcome(found));
    const place = found.steps.findIndex((own) => own.key === step);
    this.activate(place >= 0 ? place : this.firstOpen(found), focus);
  }

  /** @param {Lesson} lesson @returns {number} */
  firstOpen({ key, steps }) {
    const open = steps.findIndex((step) => !(`${key}/${step.key}` in this.memory.now.done));
    return Math.max(0, open);
  }

  /** @param {Lesson} lesson */
  showLesson(lesson) {
    this.lesson = lesson;
    this.version = versionOf(lesson, this.memory, this.asked.version);
    const told = this.version === TELLS;
    this.views = lesson.steps.map((step, i) => new StepView(lesson, step, i + lesson.first, { told, links: this.linksOf(lesson, step), answered: (view, right) => this.answered(view, right) }));
    for (const view of this.views) if (!told && typeof this.memory.now.done[this.placeOf(view)] === "boolean") view.restore();
    this.text.replaceChildren(this.welcome(lesson), ...this.views.map((view) => view.root), element("div", { class: "ln-rest" }));
    this.place = -1;
    this.furthest = 0;
  }

  /** @param {StepView} view */
  placeOf({ lesson, step }) {
    return `${lesson.key}/${step.key}`;
  }

  /** @param {Lesson} lesson @returns {HTMLElement} */
  welcome({ key, number, title, about, minutes }) {
    const lines = [element("p", { class: "ln-about" }, [element("b", { text: `Lesson ${number}: ${title}${/[?!]$/.test(title) ? "" : "."} ` }), `${about} About ${minutes} minutes.`])];
    const { quiz, done } = this.memory.now;
    if (this.version === TELLS) lines.push(element("p", { class: "ln-about" }, [element("b", { text: "This is the reading version: " }), `each step tells its answer at once. ${this.memory.now.versions[key] === TELLS ? "Whoever leads your class compares two versions of this lesson, and this one fell to you. " : ""}`, element("button", { type: "button", class: "ln-inline", text: "Ask me first instead", onclick: () => this.switchTo(ASKS) })]));
    else if (this.memory.now.switched[key]) lines.push(element("p", { class: "ln-about" }, ["This version asks first. ", element("button", { type: "button", class: "ln-inline", text: "Back to the reading version", onclick: () => this.switchTo(TELLS) })]));
    if (number === 1 && !quiz.before && !Object.keys(done).length) {
      const total = this.book.lessons.reduce((sum, own) => sum + own.minutes, 0);
      lines.push(element("p", { class: "ln-about" }, [`There are ${this.book.lessons.length} lessons, ${total} minutes in all. `, element("button", { type: "button", class: "ln-inline", text: "Take the quiz first", onclick: () => this.showQuiz("before") }), " and see later what you learned."]));
    }
    return element("div", { class: "ln-welcome" }, lines);
  }

  /** What the address asked for besides a place: who follows a leader's address is asked the same. @returns {Record<string, string>} */
  get wish() {
    return this.asked.version ? { version: this.asked.version } : {};
  }

  /** @param {Lesson} lesson @returns {boolean} it is read in the version that asks nothing */
  tells({ key, versions }) {
    const { versions: given, switched } = this.memory.now;
    return Boolean(versions) && (switched[key] ?? given[key]) === TELLS;
  }

  /** @param {string} version of this lesson, from here on */
  switchTo(version) {
    switchVersion(this.lesson.key, version, this.memory);
    const { step } = this.views[Math.max(0, this.place)];
    this.showLesson(this.lesson);
    this.go(this.lesson.key, step.key);
  }

  /** @param {Lesson} lesson @param {Step} step @returns {HTMLElement[]} */
  linksOf(lesson, step) {
    const own = element("a", { href: addressOf(this.served, { lesson: lesson.key, step: step.key }), text: "Link to this step" });
    if (!this.served) return [own];
    const view = step.reveal?.stage?.view ?? step.stage.view;
    const pages = (step.links ?? []).map((/** @type {[string, string]} */ [text, page]) => element("a", { href: pageLink(page), text }));
    return [...pages, ...(view ? [element("a", { href: exploreLink(view), text: "Open in Explore" })] : []), own];
  }

  /** @param {number} place @param {boolean} focus @param {boolean} [scroll] */
  activate(place, focus, scroll = true) {
    const view = this.views[place];
    if (!view || (place === this.place && !scroll)) return;
    const changed = place !== this.place;
    this.place = place;
    this.memory.keep({ lesson: this.lesson.key, step: view.step.key });
    window.history.replaceState({}, "", addressOf(this.served, { lesson: this.lesson.key, step: view.step.key, ...this.wish }));
    if (changed && view.told) this.finish(view, null);
    this.lay();
    if (scroll) this.scrollTo(view);
    if (focus) view.heading.focus({ preventScroll: true });
    if (!changed) return;
    this.stage.show(this.lesson, view.step, view.answered, view.told);
  }

  /** Steps behind an open question stay out of sight: they tell its answer. */
  lay() {
    const open = this.views.findIndex((view) => !view.answered && !(this.placeOf(view) in this.memory.now.done));
    // Who was further on may go back and forth.
    this.furthest = Math.max(this.furthest, this.place);
    const last = Math.max(this.furthest, open < 0 ? this.views.length - 1 : open);
    this.views.forEach((view, i) => {
      view.root.hidden = i > last;
      if (i === this.place) view.root.setAttribute("aria-current", "step");
      else view.root.removeAttribute("aria-current");
    });
    this.where.textContent = `${this.place + 1} of ${this.views.length}`;
    const view = this.views[this.place];
    const after = this.book.lessons[this.lesson.number];
    this.back.disabled = this.place === 0 && this.lesson.number === 1;
    this.next.textContent = this.place < this.views.length - 1 ? (view?.answered ? "Next →" : "Skip →") : after ? `Lesson ${after.number} →` : "Quiz →";
    this.next.classList.toggle("ln-main", view?.answered ?? false);
    this.drawNav();
  }

  drawNav() {
    const { quiz } = this.memory.now;
    const tab = (/** @type {string} */ text, /** @type {boolean} */ here, /** @type {string} */ state, /** @type {() => void} */ act) =>
      element("button", { type: "button", class: "ln-tab", ...(here ? { "aria-current": "page" } : {}), onclick: act }, [element("span", { text }), element("span", { class: "ln-state", text: state })]);
    const held = this.nav.contains(/** @type {Document | ShadowRoot} */ (this.nav.getRootNode()).activeElement) ? [...this.nav.children].indexOf(/** @type {Element} */ (/** @type {any} */ (this.nav.getRootNode()).activeElement)) : -1;
    this.nav.replaceChildren(
      tab("Quiz before", this.quiz === "before", quiz.before ? "✓" : "", () => this.showQuiz("before")),
      ...this.book.lessons.map((lesson) => {
        return tab(`${lesson.number} ${lesson.title}`, !this.quiz && lesson === this.lesson, progressOf(lesson, this.memory.now, this.tells(lesson)), () => this.go(lesson.key, ""));
      }),
      tab("Quiz after", this.quiz === "after", quiz.after ? "✓" : "", () => this.showQuiz("after")),
    );
    if (held >= 0) /** @type {HTMLElement} */ (this.nav.children[held])?.focus();
    const here = /** @type {HTMLElement | null} */ (this.nav.querySelector("[aria-current]"));
    if (here) this.nav.scrollLeft = here.offsetLeft - this.nav.offsetLeft - 40;
    this.cue();
  }

  /** @param {StepView} view @param {boolean} right */
  answered(view, right) {
    this.finish(view, right);
    if (view === this.current) {
      const { ask, stage, reveal } = view.step;
      // A film that runs while its question is answered runs on.
      const stays = view.found || (ask.kind === "choose" && !stage.figure?.hidden);
      if (!stays || reveal?.stage) this.stage.show(this.lesson, view.step, true, false);
      this.lay();
      // What held the keyboard, an option or a button, is gone or dead; what was found on the stage keeps it.
      if (!view.found) view.reveal.focus({ preventScroll: true });
      view.reveal.scrollIntoView({ block: "nearest", behavior: this.behaviour });
    }
  }

  /** @param {StepView} view @param {boolean | null} right */
  finish({ lesson, step }, right) {
    this.memory.finish(lesson.key, step.key, right);
    tellProgress(this.root, { lesson: lesson.key, step: step.key, right, version: this.version ?? ONLY_VERSION });
  }

  /** @param {1 | -1} by */
  step(by) {
    if (this.quiz) return;
    const view = this.current;
    if (by > 0 && view && !view.answered) this.memory.finish(this.lesson.key, view.step.key, null);
    const place = this.place + by;
    if (this.views[place]) return this.activate(place, true);
    const other = this.book.lessons[this.lesson.number - 1 + by];
    if (other) this.go(other.key, by > 0 ? other.steps[0].key : other.steps[other.steps.length - 1].key);
    else if (by > 0) this.showQuiz("after");
  }

  /** @param {"before" | "after"} phase */
  showQuiz(phase) {
    this.quiz = phase;
    const view = new QuizView(phase, this.book.quiz, this.memory, {
      done: (own, score) => {
        tellProgress(this.root, { lesson: "quiz", step: own, right: null, version: ONLY_VERSION, score });
        this.drawNav();
      },
      go: (lesson, step) => this.go(lesson, step),
      start: () => this.go(this.memory.now.lesson, this.memory.now.step),
      // Its title would tell what to answer the next time.
      placeOf: (lesson, step) => {
        const own = this.lessonOf(lesson);
        return `${own.number}.${own.steps.findIndex(({ key }) => key === step) + own.first}`;
      },
    });
    this.sheet?.remove();
    this.sheet = view.root;
    this.root.append(view.root);
    this.body.hidden = true;
    window.history.replaceState({}, "", addressOf(this.served, { quiz: phase, ...this.wish }));
    this.drawNav();
    view.heading.focus();
  }

  closeQuiz() {
    this.sheet?.remove();
    this.quiz = undefined;
    this.body.hidden = false;
  }

  get behaviour() {
    return /** @type {ScrollBehavior} */ (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");
  }

  /** @param {StepView} view */
  scrollTo(view) {
    // What passes on the way is not meant.
    this.still = performance.now() + LONGEST_SCROLL_MS;
    const { text } = this;
    if (this.narrow) this.root.scrollIntoView({ block: "start", behavior: this.behaviour });
    else text.scrollTo({ top: this.place ? view.root.offsetTop : 0, behavior: this.behaviour });
  }

  /** The step at the upper third of the text is the one on the stage. */
  scrolled() {
    if (this.narrow || this.quiz || performance.now() < this.still) return;
    const line = this.text.scrollTop + this.text.clientHeight * 0.34;
    const place = this.views.filter(({ root }) => !root.hidden && root.offsetTop <= line).length - 1;
    if (place >= 0 && place !== this.place) this.activate(place, false, false);
  }

  /** Says what lies out of sight: the end of a step below its text, lessons beside those that are seen. */
  cue() {
    const { text, nav } = this;
    const end = this.narrow ? undefined : this.current?.end;
    const seen = text.getBoundingClientRect();
    const low = end && !end.hidden ? end.getBoundingClientRect() : null;
    this.down.hidden = !low || low.bottom <= seen.bottom + CUT_PX || low.top > seen.bottom + seen.height * 2;
    this.down.textContent = this.current?.answered ? "Answer below ↓" : "Question below ↓";
    nav.classList.toggle("ln-before", nav.scrollLeft > 1);
    nav.classList.toggle("ln-after", nav.scrollLeft + nav.clientWidth < nav.scrollWidth - 1);
  }

  /** To the end of the step, as far as its beginning allows. */
  goDown() {
    this.current?.end?.scrollIntoView({ block: "nearest", behavior: this.behaviour });
  }

  get narrow() {
    return this.root.classList.contains("ln-narrow");
  }

  /** As high as the window allows; in a narrow one a step at a time, the stage below. */
  fit() {
    this.root.classList.toggle("ln-narrow", this.root.clientWidth < NARROW_PX);
    const host = this.root.getRootNode();
    const scrolled = (host instanceof ShadowRoot ? host.host : this.root).closest("[data-testid=stMain]")?.scrollTop ?? window.scrollY;
    const top = this.body.getBoundingClientRect().top + scrolled;
    const height = Math.max(560, Math.min(1100, window.innerHeight - Math.max(0, top) - 56));
    this.root.style.setProperty("--ln-height", `${height}px`);
    this.stage.player?.resize();
    this.cue();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !(target instanceof Element) || target.matches(TYPING) || this.root.querySelector("dialog[open]")) return;
    if (this.quiz) return;
    if (this.current?.chooseByLetter(event.key)) return event.stopImmediatePropagation();
    const by = { n: 1, N: -1 }[event.key];
    if (by) this.step(/** @type {1 | -1} */ (by));
  }

  destroy() {
    this.gone.abort();
    this.resizer?.disconnect();
    this.stage.destroy();
    this.root.remove();
  }
}
