/** The film of a run that trains: a clock a little behind the log, which glides from event to event and stops at each. */

/** What lies between the clock and the end of the log takes about this long: the pace follows the log's own. */
const LAG_MS = 1200;
/** A new pace is taken up within this time; more than a quarter of the lag would overshoot. */
const SETTLE_MS = 250;
/** An event stays this long where no other waits; each that waits takes its share. */
export const HOLD_MS = 1000;
/** A frame that took longer, as the first one after a tab was hidden, counts as this much: the film goes on where it was. */
const LONGEST_FRAME_MS = 100;
/** Further behind than the first it catches up, until it is nearer than the second. */
const BEHIND_MS = 4000;
const NEAR_MS = 2500;
/** Who opens a run in the middle sees its latest events first. */
const RECALLED = 8;

/**
 * @typedef {object} Film
 * @property {number} time step
 * @property {number} pace steps a millisecond
 * @property {number | null} held milliseconds that the event at the clock has been shown; null between events
 */

/** @typedef {{events: number[], first: number, last: number}} Log steps of its events, ascending, and of its first and last record */

/** @param {number[]} events @param {number} time @returns {number} how many come after it */
export function eventsAfter(events, time) {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return events.length - low;
}

/** @param {Log} log @returns {Film} where a run that is opened while it trains begins */
export function opening({ events, first }) {
  return { time: events.length > RECALLED ? events[events.length - RECALLED - 1] : first, pace: 0, held: null };
}

/** From any moment on. @param {number} time @param {number[]} events @returns {Film} an event there is held anew */
export function filmFrom(time, events) {
  return { time, pace: 0, held: events.includes(time) ? 0 : null };
}

/**
 * The next frame. It never goes back, nor beyond the log, and never past an event without a frame at exactly its step.
 * @param {Film} film @param {Log} log it may have grown: that changes the pace to come, never the place
 * @param {number} passed milliseconds since the last frame @param {boolean} still nothing glides: the clock is put from event to event
 * @returns {Film}
 */
export function nextFrame(film, log, passed, still) {
  const spent = Math.min(Math.max(0, passed), LONGEST_FRAME_MS);
  const waiting = eventsAfter(log.events, film.time);
  if (film.held !== null && film.held + spent < HOLD_MS / (1 + waiting)) return { ...film, held: film.held + spent };
  const ahead = Math.max(0, log.last - film.time);
  const wanted = ahead && Math.max(1, ahead) / LAG_MS;
  const pace = film.pace + (wanted - film.pace) * (1 - Math.exp(-spent / SETTLE_MS));
  const event = waiting ? log.events[log.events.length - waiting] : Infinity;
  const time = Math.min(event, Math.max(film.time, log.last), still ? Infinity : film.time + pace * spent);
  return { time, pace, held: time === event ? 0 : null };
}

/** @param {Film} film @param {Log} log @returns {boolean} all that was logged has been shown */
export function isShown(film, log) {
  return film.held === null && film.time >= log.last;
}

/** How far the film is behind: what came when. */
export class Arrivals {
  constructor() {
    /** @type {{last: number, at: number}[]} the step that the log reached, and the millisecond; only what the film has still to show */
    this.waiting = [];
    this.catching = false;
  }

  /** @param {number} last @param {number} at */
  add(last, at) {
    if (last > (this.waiting.at(-1)?.last ?? -Infinity)) this.waiting.push({ last, at });
  }

  /** @param {number} time of the film @param {number} now @returns {boolean} it is catching up */
  update(time, now) {
    while (this.waiting.length && this.waiting[0].last <= time) this.waiting.shift();
    const behind = this.waiting.length ? now - this.waiting[0].at : 0;
    this.catching = behind > (this.catching ? NEAR_MS : BEHIND_MS);
    return this.catching;
  }
}
