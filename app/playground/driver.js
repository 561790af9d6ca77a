/** `Driver`: plays a race at a pace in short slices, answers what it is told, and tells where the race stands. */

import { transferable } from "./engine/training.js";
import { Race } from "./race.js";
import { recordOf } from "./record.js";

/** @import { Given } from "./engine/settings.js" */
/** @import { RaceSnapshot } from "./race.js" */

/**
 * @typedef {{kind: "start", lanes: Given[]}
 *   | {kind: "play"}
 *   | {kind: "pause"}
 *   | {kind: "step", count: number}
 *   | {kind: "event"}
 *   | {kind: "speed", stepsPerSecond: number | null, hold?: number}
 *   | {kind: "change", lane: number, changes: Given}
 *   | {kind: "snapshot"}
 *   | {kind: "record", lane: number}
 *   | {kind: "stop"}} Order `step`: make so many steps and pause; `event`: play to the next event; `speed`: null = as fast as it goes, `hold` = milliseconds to wait where rank moved; `snapshot`: all of it from the first step on
 */

/**
 * @typedef {{kind: "ready"}
 *   | {kind: "snapshot", race: RaceSnapshot, playing: boolean, stepsPerSecond: number | null}
 *   | {kind: "record", lane: number, text: string}
 *   | {kind: "error", message: string}} Report of a snapshot: what is new since the last one, and the pace of late
 */

/** Milliseconds between two snapshots while it plays. */
const BETWEEN = 1000 / 60;
/** Milliseconds over which the pace is measured. */
const WINDOW = 500;

export class Driver {
  /**
   * @param {(report: Report, handedOver: ArrayBufferLike[]) => void} tell
   * @param {(slice: () => void) => void} later calls back as soon as others had their turn
   * @param {number} slice milliseconds of work at a time
   * @param {() => number} [clock] milliseconds
   */
  constructor(tell, later, slice, clock = () => performance.now()) {
    this.tell = tell;
    this.later = later;
    this.slice = slice;
    this.clock = clock;
    /** @type {Race | null} */
    this.race = null;
    this.playing = false;
    /** Step at which it pauses. */
    this.end = Infinity;
    this.toEvent = false;
    /** @type {number | null} */
    this.stepsPerSecond = null;
    /** Milliseconds to wait after an event that moved rank. */
    this.hold = 0;
    this.waiting = false;
    /** Step of the latest snapshot. */
    this.told = 0;
    this.toldAt = -Infinity;
    /** When it began to play at this speed, and the step then. */
    this.since = { at: 0, step: 0 };
    /** Moments of late, for the pace. @type {{at: number, step: number}[]} */
    this.late = [];
  }

  /** Do what is asked; what cannot be done is told. @param {Order} order */
  take(order) {
    try {
      this.obey(order);
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {Order} order */
  obey(order) {
    if (order.kind === "start") {
      this.stop();
      this.race = new Race(order.lanes);
      return this.show(0);
    }
    if (order.kind === "stop") return this.stop();
    if (order.kind === "speed") {
      if (order.stepsPerSecond !== null && !(order.stepsPerSecond > 0)) throw new Error(`stepsPerSecond=${order.stepsPerSecond} must be above 0; null = as fast as it goes.`);
      this.stepsPerSecond = order.stepsPerSecond;
      this.hold = order.hold ?? 0;
      return this.begin();
    }
    if (!this.race) throw new Error("There is no race yet: start one first.");
    if (order.kind === "play") return this.play(Infinity, false);
    if (order.kind === "event") return this.play(Infinity, true);
    if (order.kind === "step") return this.play(this.race.done + order.count, false);
    if (order.kind === "pause") return this.halt();
    if (order.kind === "snapshot") return this.show(0);
    const lane = this.race.lanes[order.lane];
    if (!lane) throw new Error(`There is no lane ${order.lane}: the race has ${this.race.lanes.length}.`);
    if (order.kind === "record") return this.tell({ kind: "record", lane: order.lane, text: recordOf(lane) }, []);
    lane.change(order.changes);
    return this.show(0);
  }

  stop() {
    this.race = null;
    this.playing = false;
    this.told = 0;
    this.late = [];
  }

  /** @param {number} end step at which it pauses @param {boolean} toEvent pause after the next event */
  play(end, toEvent) {
    this.end = end;
    this.toEvent = toEvent;
    this.playing = true;
    this.begin();
    this.wait();
  }

  /** Count the pace from here. */
  begin() {
    this.since = { at: this.clock(), step: this.race?.done ?? 0 };
    this.late = [this.since];
  }

  halt() {
    this.playing = false;
    this.show(this.told);
  }

  wait() {
    if (this.waiting) return;
    this.waiting = true;
    this.later(() => {
      this.waiting = false;
      try {
        this.work();
      } catch (error) {
        this.fail(error);
      }
    });
  }

  /** One slice: the steps that are due, as many as fit. */
  work() {
    const { race } = this;
    if (!race || !this.playing) return;
    const began = this.clock();
    while (this.playing && this.due() && !race.finished && race.done < this.end) {
      race.step();
      const events = race.lanes.flatMap((lane) => lane.history.events.at(-1) ?? []).filter(({ step }) => step === race.done);
      if (this.toEvent && events.length) this.end = race.done;
      if (this.hold && events.some(({ prune, extend }) => prune.length + extend.length)) this.since = { at: this.clock() + this.hold, step: race.done };
      if (this.clock() - began >= this.slice) break;
    }
    if (race.finished || race.done >= this.end) return void this.halt();
    if (race.done > this.told && this.clock() - this.toldAt >= BETWEEN) this.show(this.told);
    this.wait();
  }

  /** Whether the next step may be made already. */
  due() {
    if (this.stepsPerSecond === null || !this.race) return true;
    const { at, step } = this.since;
    return this.race.done - step < ((this.clock() - at) / 1000) * this.stepsPerSecond;
  }

  /** Tell where the race stands. @param {number} since what came up to this step is known */
  show(since) {
    if (!this.race) return;
    const race = this.race.snapshot(since);
    this.told = race.step;
    this.toldAt = this.clock();
    this.tell({ kind: "snapshot", race, playing: this.playing, stepsPerSecond: this.pace() }, race.lanes.flatMap(transferable));
  }

  /** Steps a second of late; null where nothing was made. */
  pace() {
    const now = { at: this.clock(), step: this.race?.done ?? 0 };
    this.late = [...this.late.filter(({ at }) => now.at - at < WINDOW), now];
    const { at, step } = this.late[0];
    return now.at > at && now.step > step ? ((now.step - step) / (now.at - at)) * 1000 : null;
  }

  /** @param {unknown} error */
  fail(error) {
    this.playing = false;
    this.tell({ kind: "error", message: error instanceof Error ? error.message : String(error) }, []);
  }
}
