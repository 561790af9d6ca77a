/** What a newcomer reads above the player: one sentence, one event in slow motion, and a tour of five moments. */

import { STAGES } from "../model/stages.js";
import { element } from "../pen/draw.js";

/** @import { Tour } from "../source/server.js" */

export class Guide {
  /** @param {any} player */
  constructor(player) {
    this.player = player;
    /** @type {Tour} */
    this.stops = [];
    this.place = -1;
    this.run = "";
    /** @type {Record<string, any> | null} what was looked at before the tour */
    this.before = null;
    this.shown = "";
    const button = (/** @type {string} */ name, /** @type {string} */ text, /** @type {() => void} */ act) =>
      element("button", { type: "button", class: `fl-button fl-text fl-guide-${name}`, text, onclick: act });
    this.text = element("p", { class: "fl-guidetext", "aria-live": "polite" });
    this.link = element("a", { class: "fl-guide-example", text: "Open a run that moves rank" });
    this.buttons = {
      event: button("event", "Show me one event", () => this.showEvent()),
      tour: button("tour", "Take the tour", () => this.start()),
      back: button("back", "Back", () => this.go(this.place - 1)),
      next: button("next", "Next", () => this.go(this.place + 1)),
      end: button("end", "End", () => this.end()),
    };
    this.root = element("div", { class: "fl-guide", role: "region", "aria-label": "Introduction", hidden: "" }, [
      this.text,
      element("span", { class: "fl-guidebuttons" }, [this.link, ...Object.values(this.buttons)]),
    ]);
  }

  reset() {
    this.stops = [];
    this.place = -1;
    delete this.player.root.dataset.tour;
  }

  /** @returns {number | null} step of the event that slow motion has shown to its end */
  get unfolded() {
    const { slow, stage, playing, step } = this.player.clock;
    return slow && stage === STAGES.length - 1 && !playing ? step : null;
  }

  get moves() {
    return this.player.model.events.some((/** @type {{prune: any[], extend: any[]}} */ { prune, extend }) => prune.length || extend.length);
  }

  update() {
    const { player } = this;
    const { model, request } = player;
    if (request && request.run !== this.run) {
      // Another run: what was toured is gone.
      this.reset();
      this.run = request.run;
      if (request.tour) this.start(Number(request.tour) - 1);
    }
    const { place, stops } = this;
    const told = model?.header.explained;
    this.root.hidden = !request?.guide || !told || !model.T;
    if (this.root.hidden) return;
    const stop = stops[place];
    const still = !stop && !this.moves;
    this.buttons.event.textContent = this.unfolded === null ? "Show me one event" : "Show it again";
    const key = [place, stop?.title, model.run.name, still, request.guide.example].join("|");
    if (key === this.shown) return;
    this.shown = key;
    this.text.replaceChildren(...(stop ? [element("b", { text: `${place + 1} of ${stops.length} · ${stop.title}` }), ` ${stop.text}`] : [told.introduction]));
    player.nodes.glossary.mark(this.text);
    const { event, tour, back, next, end } = this.buttons;
    event.hidden = Boolean(stop) || still;
    tour.hidden = Boolean(stop);
    back.hidden = end.hidden = !stop;
    next.hidden = !stop || place === stops.length - 1;
    back.disabled = place === 0;
    const { example } = request.guide;
    this.link.hidden = !example || !(stop?.missing || still);
    if (example) this.link.href = `?run=${encodeURIComponent(example)}&tour=1`;
  }

  /** The run's most telling event, in slow motion. */
  showEvent() {
    const { player } = this;
    const { header, events } = player.model;
    const first = events.find((/** @type {{prune: any[], extend: any[]}} */ { prune, extend }) => prune.length || extend.length);
    this.show({ step: this.unfolded ?? header.park ?? first.step, colour: "rank", map: "map", stage: "score" });
    player.nodes.mapCanvas.focus({ preventScroll: true });
  }

  /** @param {number} [place] */
  async start(place = 0) {
    const { player } = this;
    try {
      this.stops = await player.feed.run.source.tour();
    } catch {
      // Pressed again, it asks again.
      return;
    }
    if (this.place < 0) this.before = this.player.view;
    this.go(Math.max(0, Math.min(place || 0, this.stops.length - 1)));
  }

  /** @param {number} place */
  go(place) {
    const { player, stops } = this;
    const stop = stops[place];
    if (!stop) return;
    const inside = this.root.contains(/** @type {Document | ShadowRoot} */ (this.root.getRootNode()).activeElement);
    this.place = place;
    this.update();
    player.root.dataset.tour = stop.at;
    this.show(stop.view);
    const { next, end } = this.buttons;
    if (inside) (next.hidden ? end : next).focus();
  }

  /** @param {Record<string, any>} view */
  show(view) {
    const { player } = this;
    const { clock } = player;
    clock.pause();
    if (!view.stage) player.setSlow(false);
    player.obey({ matrix: null, ...view });
    player.resize();
    // Slow motion unfolds by itself, unless the system asks for stillness.
    if (view.stage && !clock.reducedMotion) {
      clock.scrub(clock.stage ?? 0);
      clock.play(true);
    }
    player.commitSoon();
  }

  end() {
    const { before } = this;
    this.reset();
    if (before) this.show(before);
    this.buttons.tour.focus();
  }
}
