/** The one clock of the page: a step, a speed, and how playing moves it. */

/** @typedef {import("./model.js").Model} Model */

const TRAVEL_MS = 280; // one jump between neighbouring events
const LONG_TRAVEL_MS = 900; // the warm-up before the first event, the quiet end after the last
const HOLD_MS = 700; // an event stays long enough to be read
const WHOLE_RUN_MS = 12000; // a run without events

/** @param {number} x in [0, 1] @returns {number} eased in and out */
function ease(x) {
  return x < 0.5 ? 2 * x * x : 1 - (2 - 2 * x) ** 2 / 2;
}

export class Clock {
  /** @param {() => void} changed called after every change of time or play state */
  constructor(changed) {
    this.changed = changed;
    /** @type {Model | null} */
    this.model = null;
    this.time = 0;
    this.playing = false;
    this.speed = 1;
    this.reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    /** @type {{from: number, to: number, start: number, travel: number, hold: number} | null} */
    this.leg = null;
  }

  /**
   * New data for the same run keeps the time; at its newest record the clock follows.
   * @param {Model} model
   */
  accept(model) {
    const follow = this.model === null || this.atEnd;
    this.model = model;
    if (follow && !this.playing) this.time = model.lastStep;
    else this.time = Math.min(this.time, model.lastStep);
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

  /** @param {number} step */
  seek(step) {
    if (!this.model) return;
    this.leg = null;
    this.time = Math.max(this.model.firstStep, Math.min(step, this.model.lastStep));
    this.changed();
  }

  /** @param {number} count records forward, negative for back */
  stepBy(count) {
    if (!this.model || !this.model.T) return;
    const record = Math.max(0, Math.min(this.record + count, this.model.T - 1));
    this.pause();
    this.seek(this.model.steps[record]);
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
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (!this.model || this.model.T < 2) return;
    if (this.atEnd) this.time = this.model.firstStep;
    this.playing = true;
    this.leg = null;
    this.changed();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.leg = null;
    this.time = this.step;
    this.changed();
  }

  /** @param {number} now milliseconds; moves the time while playing */
  tick(now) {
    const model = this.model;
    if (!this.playing || !model) return;
    if (!this.leg) this.leg = this.nextLeg(model, now);
    const leg = this.leg;
    const spent = (now - leg.start) * this.speed;
    const share = leg.travel > 0 ? Math.min(spent / leg.travel, 1) : 1;
    this.time = leg.from + (leg.to - leg.from) * (leg.hold > 0 ? ease(share) : share);
    if (spent < leg.travel + leg.hold) return;
    this.time = leg.to;
    this.leg = null;
    if (this.atEnd) this.pause();
  }

  /** From here to the next event, in the same time however many steps lie between. @param {Model} model @param {number} now */
  nextLeg(model, now) {
    const from = this.time;
    const next = model.eventSteps.find((step) => step > from && step <= model.lastStep);
    const to = next ?? model.lastStep;
    if (!model.events.length) {
      const span = Math.max(1, model.lastStep - model.firstStep);
      if (!this.reducedMotion) return { from, to, start: now, travel: (WHOLE_RUN_MS * (to - from)) / span, hold: 0 };
      return { from, to: Math.min(to, from + span / 16), start: now, travel: 0, hold: HOLD_MS };
    }
    const edge = next === undefined || this.step < model.eventSteps[0];
    const travel = this.reducedMotion ? 0 : edge ? LONG_TRAVEL_MS : TRAVEL_MS;
    return { from, to, start: now, travel, hold: HOLD_MS };
  }
}
