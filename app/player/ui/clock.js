/** The one clock of the page: a step, a speed, and how playing moves it. */

import { castOf } from "../film/cast.js";
import { STAGE_SECONDS, STILL_SHARES } from "../film/choreography.js";
import { Arrivals, eventsAfter, filmFrom, isShown, nextFrame, opening } from "./live_film.js";
import { STAGES } from "../model/stages.js";

/** @import { Model } from "../model/model.js" */

const TRAVEL_MS = 280; // one jump between neighbouring events
const LONG_TRAVEL_MS = 900; // the warm-up before the first event, the quiet end after the last
const HOLD_MS = 700; // an event stays long enough to be read
const WHOLE_RUN_MS = 12000; // a run without events
const SLOW_TRAVEL_MS = 1000; // slow motion: from one event to the next
const LAST_STAGE = STAGES.length - 1;

/** @param {number} x in [0, 1] @returns {number} eased in and out */
function ease(x) {
  return x < 0.5 ? 2 * x * x : 1 - (2 - 2 * x) ** 2 / 2;
}

export class Clock {
  /** @param {() => void} changed called after every change of time or play state @param {AbortSignal} [signal] that nobody needs the clock any more */
  constructor(changed, signal) {
    this.changed = changed;
    /** @type {Model | null} */
    this.model = null;
    this.time = 0;
    this.playing = false;
    this.dragged = false;
    this.speed = 1;
    this.slow = false;
    /** @type {number | null} in slow motion, at an event: which of its stages is shown */
    this.stage = null;
    /** How much of the stage has passed. */
    this.share = 0;
    /** Playing ends with the event that unfolds. */
    this.once = false;
    /** A stage that was turned to by hand plays by itself, up to its still. */
    this.turning = false;
    this.preference = window.matchMedia("(prefers-reduced-motion: reduce)");
    const turned = () => {
      this.leg = null;
      // An event that unfolds by itself is left at the still of its stage.
      if (this.reducedMotion && this.playing && this.stage !== null) {
        this.pause();
        this.settle(this.stage);
      }
      this.changed();
    };
    this.preference.addEventListener("change", turned, { signal });
    /** The run trains: its log grows. */
    this.live = false;
    /** @type {import("./live_film.js").Film | null} while the clock follows a run that trains, or shows the rest of one that has ended meanwhile */
    this.film = null;
    this.arrivals = new Arrivals();
    /** How far the film was when it was left. */
    this.seen = -Infinity;
    this.frameAt = NaN;
    /** @type {{from: number, to: number, start: number, travel: number, hold: number, share?: number} | null} share: of a stage, to begin with */
    this.leg = null;
  }

  get reducedMotion() {
    return this.preference.matches;
  }

  /** Something changes with the next frame. */
  get moving() {
    return this.playing || this.turning || (this.film !== null && (this.stage !== null || !isShown(this.film, this.log)));
  }

  /** The film shows an event, which another frame has drawn already. */
  get resting() {
    return this.film !== null && this.stage === null && (this.film.held ?? 0) > 0;
  }

  get following() {
    return this.film !== null;
  }

  /** Events that are logged and not shown yet. */
  get waiting() {
    return this.model ? eventsAfter(this.model.eventSteps, this.time) : 0;
  }

  /** @returns {import("./live_film.js").Log} */
  get log() {
    const { eventSteps: events, firstStep: first, lastStep: last } = /** @type {Model} */ (this.model);
    return { events, first, last };
  }

  /**
   * New data for the same run keeps the time.
   * @param {Model} model
   */
  accept(model) {
    const first = this.model === null;
    this.model = model;
    this.arrivals.add(model.lastStep, window.performance.now());
    if (this.film) return;
    // Nothing unfolds in a run without events, unless some are to come.
    if (first && !model.events.length && model.run.state !== "running") this.slow = false;
    this.time = first ? model.lastStep : Math.min(this.time, model.lastStep);
    if (!this.moving) this.settle(this.stage ?? 0, this.stage === null ? undefined : this.share);
  }

  /** Whether the run trains; when that begins, so does the film, and when it has ended the film still shows the rest. @param {boolean} live @param {boolean} [opened] its log was not shown before */
  goesOn(live, opened = false) {
    const begins = live && !this.live && this.model !== null;
    this.live = live;
    if (!begins || this.playing || this.film || !(opened || this.atEnd)) return;
    this.film = opened ? opening(this.log) : filmFrom(this.time, this.log.events);
    this.time = this.film.time;
  }

  /** Another run takes the stage. */
  clear() {
    this.pause();
    this.model = null;
    this.film = null;
    this.live = false;
    this.seen = -Infinity;
    this.arrivals = new Arrivals();
  }

  /** Behind the log again: from here, or from where the film was left if that is later. @param {boolean} [now] from the newest record */
  follow(now = false) {
    if (!this.model || !this.live) return;
    this.playing = false;
    this.turning = false;
    this.dragged = false;
    this.leg = null;
    const time = now ? this.model.lastStep : Math.min(Math.max(this.time, this.seen), this.model.lastStep);
    this.film = filmFrom(time, this.model.eventSteps);
    this.time = time;
    this.settle(0, 0);
    this.changed();
  }

  /** The user looks at something else. */
  leave() {
    if (!this.film) return;
    this.seen = this.film.time;
    this.film = null;
    this.leg = null;
    this.time = this.step;
    this.settle(this.stage ?? 0, this.stage === null ? undefined : this.share);
    this.changed();
  }

  /** In slow motion each event stops and unfolds. @param {boolean} slow @param {number} [stage] whose still is shown; without it the first plays */
  setSlow(slow, stage) {
    this.slow = slow;
    this.leg = null;
    this.settle(stage ?? 0);
    if (this.film && this.stage !== null) this.share = 0;
    else if (stage === undefined) this.turn();
    this.changed();
  }

  /** Slow motion at an event is in one of its stages, anything else in none. @param {number} stage @param {number} [share] of it that has passed; without it, up to its still */
  settle(stage, share) {
    const here = this.slow && this.model !== null && this.model.eventAt(this.time) >= 0;
    this.stage = here ? Math.max(0, Math.min(stage, LAST_STAGE)) : null;
    this.share = this.stage === null ? 0 : (share ?? STILL_SHARES[this.stage]);
    this.turning = false;
  }

  /** Plays the stage that is shown from its beginning to its still. */
  turn() {
    if (this.stage === null || this.reducedMotion || this.playing || this.film) return;
    this.share = 0;
    this.leg = null;
    this.turning = true;
  }

  /** To any moment of the event. @param {number} moment a stage, and how much of it has passed */
  scrub(moment) {
    if (this.stage === null) return;
    this.leave();
    this.playing = false;
    this.dragged = true;
    this.leg = null;
    const stage = Math.max(0, Math.min(LAST_STAGE, Math.floor(moment)));
    this.settle(stage, Math.max(0, Math.min(1, moment - stage)));
    this.changed();
  }

  /** @param {1 | -1} direction @returns {boolean} false where there is no stage left in this direction */
  stageBy(direction) {
    if (this.stage === null || this.stage + direction < 0 || this.stage + direction > LAST_STAGE) return false;
    this.leg = null;
    this.settle(this.stage + direction, this.playing || this.film ? 0 : undefined);
    if (direction > 0) this.turn();
    this.changed();
    return true;
  }

  get record() {
    return this.model ? this.model.recordAt(this.time) : 0;
  }

  /** The recorded step that is shown. */
  get step() {
    return this.model && this.model.T ? this.model.steps[this.record] : 0;
  }

  get atEnd() {
    return this.model === null || this.record >= this.model.T - 1;
  }

  /** @param {number} step @param {boolean} [dragged] more are to come at once */
  seek(step, dragged = false) {
    if (!this.model) return;
    if (step === Infinity && this.live) {
      this.follow(true);
      return;
    }
    this.leave();
    this.dragged = dragged;
    this.leg = null;
    this.time = Math.max(this.model.firstStep, Math.min(step, this.model.lastStep));
    this.settle(0);
    if (!dragged) this.turn();
    this.changed();
  }

  /** In slow motion the stages of an event lie between the records. @param {number} count records forward, negative for back */
  stepBy(count) {
    if (!this.model || !this.model.T) return;
    const record = Math.max(0, Math.min(this.record + count, this.model.T - 1));
    this.pause();
    if (Math.abs(count) === 1 && this.stageBy(/** @type {1 | -1} */ (count))) return;
    this.seek(this.model.steps[record]);
    if (count < 0) this.settle(LAST_STAGE);
  }

  /** @param {1 | -1} direction to the next or the previous event; without one, to the end */
  eventBy(direction) {
    if (!this.model) return;
    this.pause();
    const steps = this.model.eventSteps;
    // By time, not by record: the record of an event may be missing from a damaged log.
    const now = this.time;
    const target = direction > 0 ? steps.find((step) => step > now) : [...steps].reverse().find((step) => step < now);
    this.seek(target ?? (direction > 0 ? this.model.lastStep : this.model.firstStep));
  }

  toggle() {
    if (this.playing || this.film) this.pause();
    else this.play();
  }

  /** @param {boolean} [once] in slow motion: only the event at the clock */
  play(once = false) {
    this.once = once;
    if (!this.model || this.model.T < 2) return;
    if (this.live && this.atEnd) {
      this.follow();
      return;
    }
    // Whoever asked for less motion turns the stages over by hand.
    if (this.reducedMotion && this.stageBy(1)) return;
    if (this.atEnd && (this.stage ?? LAST_STAGE) === LAST_STAGE) this.seek(this.model.firstStep);
    this.turning = false;
    this.dragged = false;
    this.playing = true;
    this.leg = null;
    this.changed();
  }

  pause() {
    this.leave();
    if (!this.playing) return;
    this.playing = false;
    this.leg = null;
    this.time = this.step;
    this.settle(this.stage ?? 0, this.stage === null ? undefined : this.share);
    this.changed();
  }

  /** @param {number} now milliseconds; moves the time while playing */
  tick(now) {
    const model = this.model;
    if (this.film && model && !this.live && isShown(this.film, this.log)) this.leave();
    if (!this.moving || !model) {
      this.frameAt = NaN;
      return;
    }
    if (this.film) {
      this.tickFilm(model, this.film, now);
      return;
    }
    if (!this.leg) this.leg = this.nextLeg(model, now);
    const leg = this.leg;
    const spent = (now - leg.start) * this.speed;
    if (leg.share !== undefined) {
      this.unfold(model, now, leg.share + spent / leg.hold);
      return;
    }
    const share = leg.travel > 0 ? Math.min(spent / leg.travel, 1) : 1;
    this.stage = null;
    this.time = leg.from + (leg.to - leg.from) * (leg.hold > 0 ? ease(share) : share);
    if (spent < leg.travel + leg.hold) return;
    this.time = leg.to;
    this.leg = null;
    this.settle(0, this.reducedMotion ? undefined : 0);
    if (this.stage !== null ? this.reducedMotion : this.atEnd) this.pause();
    if (this.live && this.atEnd) this.follow();
  }

  /** A run that trains; in slow motion each of its events unfolds, however far the log is. @param {Model} model @param {import("./live_film.js").Film} film @param {number} now */
  tickFilm(model, film, now) {
    const passed = Number.isNaN(this.frameAt) ? 0 : now - this.frameAt;
    this.frameAt = now;
    if (this.stage !== null) {
      this.leg ??= this.stageLeg(this.stage, now);
      this.unfold(model, now, (this.leg.share ?? 0) + ((now - this.leg.start) * this.speed) / this.leg.hold);
      return;
    }
    this.film = nextFrame(film, this.log, passed, this.reducedMotion);
    this.time = this.film.time;
    this.arrivals.update(this.time, now);
    if (this.film.held === 0) this.settle(0, 0);
    if (!this.live && isShown(this.film, this.log)) this.leave();
  }

  /** A stage passes; by hand up to its still, else into the next one. @param {Model} model @param {number} now @param {number} share */
  unfold(model, now, share) {
    const stage = this.stage ?? 0;
    if (this.turning && share >= STILL_SHARES[stage]) {
      this.leg = null;
      this.settle(stage);
      this.changed();
      return;
    }
    this.share = this.reducedMotion ? STILL_SHARES[stage] : Math.min(1, share);
    if (share < 1 || this.stageBy(1)) return;
    if (this.film) {
      this.film = filmFrom(this.shownUntil(model), model.eventSteps);
      this.time = this.film.time;
      this.leg = null;
      this.settle(0, 0);
    } else if (this.atEnd || this.once) this.pause();
    else this.leg = this.travelFrom(model, now);
  }

  /** @param {Model} model @param {number} now */
  nextLeg(model, now) {
    if (this.stage === null) return this.travelFrom(model, now);
    if (this.reducedMotion && this.stage === LAST_STAGE) return this.travelFrom(model, now);
    return this.stageLeg(this.stage, now);
  }

  /** @param {number} stage @param {number} now */
  stageLeg(stage, now) {
    return { from: this.time, to: this.time, start: now, travel: 0, hold: 1000 * STAGE_SECONDS[stage], share: this.share };
  }

  /** An event's last stage shows some of what follows. @param {Model} model @returns {number} step */
  shownUntil(model) {
    return model.steps[this.record + castOf(model, model.eventAt(this.time)).ahead];
  }

  /** From here to the next event, in the same time however many steps lie between. @param {Model} model @param {number} now */
  travelFrom(model, now) {
    const from = this.stage === null ? this.time : this.shownUntil(model);
    const next = model.eventSteps.find((step) => step > this.time && step <= model.lastStep);
    const to = next ?? model.lastStep;
    if (!model.events.length) {
      const span = Math.max(1, model.lastStep - model.firstStep);
      if (!this.reducedMotion) return { from, to, start: now, travel: (WHOLE_RUN_MS * (to - from)) / span, hold: 0 };
      return { from, to: Math.min(to, from + span / 16), start: now, travel: 0, hold: HOLD_MS };
    }
    const edge = next === undefined || this.step < model.eventSteps[0];
    const travel = this.reducedMotion ? 0 : edge ? LONG_TRAVEL_MS : this.slow ? SLOW_TRAVEL_MS : TRAVEL_MS;
    // In slow motion an event is not held: it unfolds.
    return { from, to, start: now, travel, hold: this.slow && next !== undefined ? 0 : HOLD_MS };
  }
}
