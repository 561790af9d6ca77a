/** What stands beside the text of a step: the player in a state, a picture, a dial, or a curve to be drawn. */

import { Dial } from "./dial.js";
import { Drawing } from "./drawing.js";
import { drawFigure } from "./figures.js";
import { element } from "../player/pen/draw.js";
import { Player } from "../player/ui/player.js";
import { STAGES } from "../player/model/stages.js";
import { firstChoices } from "../player/ui/view_state.js";

/** @import { Lesson, Step } from "./reader.js" */
/** @typedef {import("../player/source/server.js").Source} Source */

const STAGE_MS = 2600;
const LAST_MOMENT = 0.99;

/**
 * @typedef {object} Hears
 * @property {(view: Record<string, any>) => void} looked the reader changed what the player shows
 * @property {(frame: import("./dial.js").Frame) => void} turned a dial
 * @property {(judged: import("./judge.js").Judged) => void} drawn a curve
 */

export class Stage {
  /** @param {(name: string) => Source} sourceOf a run @param {boolean} served there is a server @param {Hears} hears */
  constructor(sourceOf, served, hears) {
    this.sourceOf = sourceOf;
    this.served = served;
    this.hears = hears;
    /** @type {Player | null} */
    this.player = null;
    this.asked = 0;
    /** @type {any} what the log has of what was drawn */
    this.behind = null;
    this.frame = 0;
    /** @type {() => void} */
    this.redraw = () => {};
    /** @type {Map<string, Dial | Drawing>} what was turned or drawn stays as it was left */
    this.kept = new Map();
    this.host = element("div", { class: "ln-player" });
    this.front = element("div", { class: "ln-front" });
    this.run = element("button", { type: "button", class: "ln-button ln-torun", text: "See it in the run" });
    this.run.addEventListener("click", () => this.turnOver());
    this.root = element("div", { class: "ln-stage", role: "region", "aria-label": "Stage" }, [this.host, this.front, this.run]);
    for (const kind of ["pointerdown", "keydown"]) this.host.addEventListener(kind, () => this.stopFilm(), { capture: true });
    this.resizer = new ResizeObserver(() => this.redraw());
    this.resizer.observe(this.front);
  }

  /** @param {Lesson} lesson @param {Step} step @param {boolean} answered @param {boolean} told at once, as nothing was asked */
  show(lesson, step, answered, told) {
    const place = `${lesson.key}/${step.key}`;
    const shown = (answered && step.reveal?.stage) || step.stage;
    this.behind = null;
    if (step.ask?.kind === "draw") {
      const drawing = /** @type {Drawing} */ (this.keep(place, () => new Drawing(step.ask, told ? step.title : step.ask.question, this.hears.drawn)));
      if (answered && drawing.open) drawing.reveal();
      this.behind = answered || told ? shown : null;
      return this.bring(drawing.root, () => drawing.draw());
    }
    if (shown.dial) {
      const dial = /** @type {Dial} */ (this.keep(place, () => new Dial(shown.dial, this.hears.turned)));
      if (answered && step.ask?.kind === "dial") dial.reach(step.ask.goal);
      return this.bring(dial.root, () => dial.draw());
    }
    if (shown.figure) return this.showFigure(shown.figure, Boolean(shown.figure.hidden) && !answered);
    return this.showView(answered && shown === step.stage ? withAnswer(shown.view, step.ask) : shown.view, shown.play ?? false, shown.plain ?? false);
  }

  /** @template T @param {string} place @param {() => T} make @returns {T} */
  keep(place, make) {
    const kept = this.kept;
    if (!kept.has(place)) kept.set(place, /** @type {any} */ (make()));
    return /** @type {any} */ (kept.get(place));
  }

  /** From the drawing to what the log has of the same moment. */
  turnOver() {
    const { behind } = this;
    if (!behind) return;
    this.behind = null;
    if (behind.figure) this.showFigure(behind.figure, false);
    else this.showView(behind.view, behind.play ?? false);
  }

  /** @param {import("./figures.js").Figure} figure @param {boolean} hidden */
  showFigure(figure, hidden) {
    const picture = element("div", { class: "ln-picture" });
    const root = element("div", { class: "ln-dial" }, [...(figure.title ? [element("h3", { text: figure.title })] : []), picture]);
    this.bring(root, () => picture.replaceChildren(drawFigure(figure, Math.max(280, picture.clientWidth), Math.max(200, picture.clientHeight), hidden)));
  }

  /** @param {HTMLElement} node @param {() => void} draw */
  bring(node, draw) {
    this.stopFilm();
    this.front.replaceChildren(node);
    this.turn(true);
    this.redraw = draw;
    draw();
  }

  /** @param {boolean} front not the player */
  turn(front) {
    this.front.hidden = !front;
    this.host.inert = front;
    this.root.classList.toggle("ln-fronted", front);
    this.run.hidden = !this.behind;
    this.run.textContent = this.behind?.figure ? "See the whole curve" : "See it in the run";
  }

  /** @param {Record<string, any>} view @param {boolean | "event"} play the named stage, or the event from there on @param {boolean} [plain] no more than the map and the spectrum */
  showView(view, play, plain = false) {
    this.stopFilm();
    this.root.classList.toggle("ln-plain", plain);
    this.redraw = () => {};
    this.front.replaceChildren();
    this.turn(false);
    const player = (this.player ??= new Player(this.host, this.sourceOf));
    if (player.model) {
      player.clock.pause();
      if (!view.stage) player.setSlow(false);
    }
    this.asked += 1;
    const request = { ...firstChoices(), step: null, matrix: null, since: null, ...view, run: String(view.run), id: `lesson ${this.asked}`, link: null, beside: null, served: this.served, lambda_only: true };
    player.ask(request, (_, value) => {
      const seen = /** @type {Record<string, any>} */ (value);
      if (seen.run === view.run && !this.root.classList.contains("ln-fronted")) this.hears.looked(seen);
    });
    player.resize();
    if (play && view.stage) this.startFilm(request.id, STAGES.findIndex(({ key }) => key === view.stage), play === "event");
  }

  /** Once the run is there. @param {string} id @param {number} stage @param {boolean} whole */
  startFilm(id, stage, whole) {
    let began = 0;
    const draw = (/** @type {number} */ now) => {
      const { player } = this;
      if (!player || player.wanted?.id !== id) return;
      const there = player.model && player.request?.id === id && player.clock.stage !== null;
      if (!there) return void (this.frame = requestAnimationFrame(draw));
      const { clock } = player;
      if (whole && !clock.reducedMotion) {
        clock.scrub(stage);
        return clock.play(true);
      }
      began ||= now;
      const share = clock.reducedMotion ? 1 : Math.min(1, (now - began) / STAGE_MS);
      clock.scrub(stage + LAST_MOMENT * share);
      if (share < 1) this.frame = requestAnimationFrame(draw);
    };
    this.frame = requestAnimationFrame(draw);
  }

  stopFilm() {
    cancelAnimationFrame(this.frame);
  }

  /** The theme has changed. */
  dressed() {
    const { player } = this;
    if (player?.wanted) player.ask(player.wanted, player.setStateValue);
    this.redraw();
  }

  destroy() {
    this.stopFilm();
    this.resizer.disconnect();
    this.player?.destroy();
  }
}

/** What was looked for, where the reader has not found it. @param {Record<string, any>} view @param {any} ask @returns {Record<string, any>} */
function withAnswer(view, ask) {
  return ask?.kind === "select" ? { ...view, [ask.field]: ask.answers[0] } : view;
}
