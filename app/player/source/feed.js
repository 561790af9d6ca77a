/** Keeps a player supplied from its source: the run as it grows, one beside it, and what only some views need. */

import { joined } from "../model/container.js";
import { Model } from "../model/model.js";

/** @import { Content } from "../model/container.js" */
/** @import { Source } from "./server.js" */

const TICK_MS = 400;
const HIDDEN_MS = 4000;
const LONGEST_MS = 10_000;
const KEPT_SPECTRA = 12;

/** Asks for a run, and again while it goes on. */
class Follower {
  /** @param {Source} source @param {(content: Content) => void} take @param {(error: Error | null) => void} told why nothing comes, null = it does @param {boolean} live it goes on even if its log does not say so */
  constructor(source, take, told, live) {
    this.source = source;
    this.take = take;
    this.told = told;
    /** @type {Content | null} */
    this.held = null;
    this.live = live;
    this.failures = 0;
    this.timer = 0;
    this.busy = false;
    this.stopped = false;
    this.onSight = () => document.hidden || this.ask();
    document.addEventListener("visibilitychange", this.onSight);
    this.ask();
  }

  async ask() {
    window.clearTimeout(this.timer);
    if (this.busy || this.stopped) return;
    this.busy = true;
    try {
      const news = await this.source.run(this.held);
      if (this.stopped) return;
      const grown = news && joined(this.held, news);
      // What could not be shown is not held: it is asked for again.
      if (grown) this.take(grown);
      this.held = grown ?? this.held;
      if (this.failures) this.told(null);
      this.failures = 0;
    } catch (error) {
      if (this.stopped) return;
      this.failures += 1;
      this.told(/** @type {Error} */ (error));
    } finally {
      this.busy = false;
    }
    const { failures, source } = this;
    // Reading a long log takes a while: the server spends at most a fifth of its time on it.
    const pause = Math.max(document.hidden ? HIDDEN_MS : TICK_MS * 2 ** failures, 4 * source.cost);
    if (failures || this.live || this.held?.header.run.state === "running") this.timer = window.setTimeout(() => this.ask(), Math.min(pause, LONGEST_MS));
  }

  stop() {
    this.stopped = true;
    window.clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onSight);
  }
}

export class Feed {
  /** @param {any} player @param {(name: string) => Source} sourceOf */
  constructor(player, sourceOf) {
    this.player = player;
    this.sourceOf = sourceOf;
    /** @type {Follower | null} */
    this.run = null;
    /** @type {Follower | null} */
    this.beside = null;
    /** @type {Map<string, Content>} by matrix, the latest last */
    this.spectra = new Map();
    /** @type {Set<string>} what is on its way */
    this.asked = new Set();
  }

  /** @param {import("../model/decode.js").Request} request */
  follow({ run, live = false, beside = null }) {
    const { player } = this;
    const known = this.run;
    if (!known || known.source.name !== run) {
      this.stop();
      this.run = new Follower(this.sourceOf(run), (content) => player.accept(player.wanted, content), (error) => player.trouble(error), live);
    } else if (known.live !== live) {
      known.live = live;
      known.ask();
    }
    this.pin(beside);
  }

  /** @param {{run: string, name: string} | null} other */
  pin(other) {
    if (this.beside?.source.name === other?.run) return;
    this.beside?.stop();
    this.beside = null;
    this.show(null);
    if (other) this.beside = new Follower(this.sourceOf(other.run), (content) => this.showPinned(new Model(content), other.name), () => {}, false);
  }

  /** @param {Model} model @param {string} name */
  showPinned(model, name) {
    const before = this.player.pinned?.model;
    if (before) model.inherit(before);
    this.show({ model, name });
    this.supplyPinned();
  }

  /** The spectrum of the matrix of the same name, beside that of the selected one. */
  supplyPinned() {
    const { beside, player } = this;
    const matrix = player.model?.matrices[player.selected]?.name ?? "";
    const pinned = player.pinned?.model;
    const m = pinned?.indexOf.get(matrix);
    if (!beside || !pinned || m === undefined || !pinned.spectra.lacks(m)) return;
    this.bring(`pinned ${matrix}`, () => beside.source.matrix(matrix, null), (content) => content && player.pinned?.model.spectra.accept(content));
  }

  /** @param {{model: Model, name: string} | null} pinned */
  show(pinned) {
    if (this.player.pinned === pinned) return;
    this.player.pinned = pinned;
    this.player.resize();
  }

  /** What the present view shows and the run's payload does not hold. */
  supply() {
    const { model, clock, chosen, selected, why } = this.player;
    const source = this.run?.source;
    const matrix = model?.matrices[selected]?.name;
    if (!model?.T || !source || !matrix) return;
    const event = model.events[model.eventBefore(clock.step)]?.step ?? null;
    if (chosen.side === "why" && (why?.event !== event || why?.matrix !== matrix)) {
      this.bring(`why ${event} ${matrix}`, () => source.why(clock.step, matrix), (card) => (this.player.why = card));
    }
    if (model.spectra.lacks(selected)) this.bring(`matrix ${matrix}`, () => source.matrix(matrix, this.spectra.get(matrix) ?? null), (content) => this.keep(matrix, content));
    this.supplyPinned();
    if (chosen.sort === "similarity" && !model.similar) this.bring("order", () => source.order(), (order) => this.player.arrange(order));
  }

  /** All spectra at some records, for a view that shows them; while it plays, as fast as they come. @param {number[]} records one of them at a time */
  async supplyFrames(records) {
    const { run, player } = this;
    const { model } = player;
    const record = records.find((t) => model?.spectra.lacksFrame(t));
    if (!run || record === undefined || this.asked.has("spectra")) return;
    this.asked.add("spectra");
    try {
      const step = model.steps[record];
      const content = await run.source.spectra(step);
      // Redrawn only for something new: the picture asks again.
      if (content && run === this.run && player.model.spectra.acceptFrame(content, step)) player.invalidate();
    } catch {
      // The next frame asks again.
    } finally {
      this.asked.delete("spectra");
    }
  }

  /** @template T @param {string} what @param {() => Promise<T>} ask @param {(found: T) => void} take */
  async bring(what, ask, take) {
    const { run } = this;
    if (this.asked.has(what)) return;
    this.asked.add(what);
    try {
      const found = await ask();
      if (run === this.run) take(found);
      this.player.redraw();
    } catch {
      // The next thing the user does asks again.
    } finally {
      this.asked.delete(what);
    }
  }

  /** @param {string} matrix @param {Content | null} news */
  keep(matrix, news) {
    const held = this.spectra.get(matrix) ?? null;
    const content = news ? joined(held, news) : held;
    if (!content) return;
    this.spectra.delete(matrix);
    this.spectra.set(matrix, content);
    if (this.spectra.size > KEPT_SPECTRA) this.spectra.delete([...this.spectra.keys()][0]);
    this.player.model.spectra.accept(content);
  }

  stop() {
    this.run?.stop();
    this.beside?.stop();
    this.beside = null;
    this.spectra.clear();
    this.asked.clear();
  }
}
