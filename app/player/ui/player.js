/** The player: every view of one run on one clock. */

import { copyLink, showAddress } from "./address.js";
import { BANDS } from "../views/bands.js";
import { Clock } from "./clock.js";
import { describeCell } from "../views/describe.js";
import { penFor } from "../pen/draw.js";
import { EventList } from "./event_list.js";
import { Feed } from "../source/feed.js";
import { fitHeight, sizesOf } from "../pen/fit.js";
import { followClass } from "./following.js";
import { keyAction } from "./keys.js";
import { holdScales } from "../model/live_scales.js";
import { MAPS } from "../views/maps.js";
import { Model } from "../model/model.js";
import { readPalette } from "../pen/palette.js";
import { Picker } from "./picker.js";
import { hideTip, listenToPointer, showTip } from "./pointer.js";
import { Reel } from "./reel.js";
import { sceneOf } from "./scene_of.js";
import { Settler } from "./settle.js";
import { SIDES } from "../views/sides.js";
import { buildStage } from "./stage_dom.js";
import { dress } from "../style.js";
import { STAGES } from "../model/stages.js";
import { tell, tellAll, tellRest, warn } from "./tell.js";
import { Timeline } from "./timeline.js";
import { helpDialog, Transport } from "./transport.js";
import { CHOICES, firstChoices, possibleKeys } from "./view_state.js";
import { Picture } from "./picture.js";
import { WhyCard } from "../views/why_card.js";

/** @import { Colour } from "../pen/palette.js" */
/** @import { Scene } from "../model/scene.js" */
/** @import { Request } from "../model/decode.js" */
/** @typedef {(name: string, value: unknown) => void} SetState */

const COMMIT_DELAY_MS = 350; // a burst of keys is one message to the server
const SUPPLY_DELAY_MS = 60;

export class Player {
  /** @param {Element | ShadowRoot} parent @param {(name: string) => import("../source/server.js").Source} sourceOf a run */
  constructor(parent, sourceOf) {
    /** @type {SetState} */
    this.setStateValue = () => {};
    /** @type {Request | null} */
    this.request = null;
    /** @type {Request | null} the latest, whose run may still be on its way */
    this.wanted = null;
    this.feed = new Feed(this, sourceOf);
    /** @type {Model | null} */
    this.model = null;
    this.selected = 0;
    this.hovered = -1;
    /** @type {number | null} */
    this.hoverStep = null;
    /** @type {number | null} step from which rank change counts */
    this.since = null;
    this.chosen = firstChoices();
    /** @type {import("../views/why_card.js").WhyParcel | null} */
    this.why = null;
    /** @type {{model: Model, name: string} | null} a second run under this clock */
    this.pinned = null;
    /** @type {Set<number>} steps of the events that were drawn */
    this.shown = new Set();
    this.updates = 0;
    this.frame = 0;
    this.commitTimer = 0;
    this.supplyTimer = 0;
    this.farewell = 0;
    this.generation = 0;
    this.stale = this.changed = true;
    this.gone = new AbortController();
    this.settler = new Settler();
    this.clock = new Clock(() => this.invalidate(), this.gone.signal);
    this.transport = new Transport(this.clock, {
      commit: () => this.commitSoon(),
      copyLink: () => copyLink(this),
      help: () => this.help.showModal(),
      slow: (on) => this.setSlow(on),
    });
    this.eventList = new EventList({ seek: (step) => this.seek(step), select: (m) => this.select(m) });
    this.reel = new Reel({ scrub: (moment) => this.clock.scrub(moment), done: () => this.commitSoon() });
    this.picker = new Picker();
    this.timeline = new Timeline();
    this.card = new WhyCard();
    this.help = helpDialog();
    this.nodes = buildStage(this);
    this.mapPicture = new Picture(this.nodes.mapCanvas);
    this.sidePicture = new Picture(this.nodes.sideCanvas);
    this.root = this.nodes.root;
    parent.append(this.root);
    dress(this.root);
    this.palette = readPalette(this.root);
    this.listen();
  }

  listen() {
    this.resizer = new ResizeObserver(() => this.observed());
    for (const node of [this.root, this.nodes.mapBox, this.nodes.timeBox]) this.resizer.observe(node);
    const { signal } = this.gone;
    document.addEventListener("keydown", (event) => keyAction(this, event), { signal });
    window.addEventListener("resize", () => this.resize(), { signal });
    document.fonts.addEventListener("loadingdone", () => this.resize(), { signal });
    this.nodes.picker.addEventListener("change", () => this.select(Number(this.nodes.picker.value)));
    listenToPointer(this);
    followClass(this);
  }

  /** What to show: another run, another view, a new theme, or a rerun that changed nothing. @param {Request} request @param {SetState} setStateValue */
  ask(request, setStateValue) {
    this.setStateValue = setStateValue;
    this.wanted = request;
    if (this.request?.run === request.run) this.accept(request, null);
    this.feed.follow(request);
  }

  /** @param {Request} request @param {import("../model/container.js").Content | null} content of its run, null = as before */
  accept(request, content) {
    const before = this.request;
    this.request = request;
    if (content) this.acceptRun(new Model(content), before?.run === request.run);
    this.clock.goesOn(this.live, before?.run !== request.run);
    if (before && request.link && before.run !== request.run) showAddress(this, new URLSearchParams(request.link));
    if (before?.id !== request.id) this.obey(request);
    this.palette = readPalette(this.root);
    this.transport.copy.hidden = !request.link && !request.shared;
    this.root.style.setProperty("--fl-pruned", this.palette.pruned);
    this.root.style.setProperty("--fl-extended", this.palette.extended);
    this.layOut();
    this.feed.supply();
  }

  /** The run does not come. @param {Error | null} error null = it does again */
  trouble(error) {
    this.root.classList.toggle("fl-lost", !this.model);
    this.root.hidden = !error && !this.model;
    this.nodes.trouble.textContent = error?.message ?? "";
  }

  /** The log grows: a server trains the run, or it says so itself. A file does not. @returns {boolean} */
  get live() {
    return this.model !== null && this.goesOn(this.model);
  }

  /** @param {Model} model @returns {boolean} */
  goesOn({ run }) {
    return Boolean(this.request?.live || (this.request?.served && run.state === "running"));
  }

  /** @param {number[]} order of the matrices by similarity */
  arrange(order) {
    if (this.model?.M !== order.length) return;
    this.model.similar = order;
    this.resize();
  }

  /** @param {Model} model @param {boolean} same it is the run that is shown already, which has grown */
  acceptRun(model, same) {
    const chosen = same ? this.model?.matrices[this.selected]?.name : undefined;
    if (!same) this.reset();
    const before = same ? this.model : null;
    if (before) model.inherit(before);
    if (before?.held || this.goesOn(model)) holdScales(model, before?.held ? before : null);
    this.model = model;
    model.countFrom(this.since);
    this.selected = model.indexOf.get(chosen ?? "") ?? model.firstMatrix(model.header.park ?? -1);
    this.clock.accept(model);
    this.eventList.accept(model);
    warn(this, model);
    this.whole = !model.T;
    if (this.whole) tellRest(this);
    this.updates += 1;
    if (!same && model.run.state !== "running") this.clock.seek(model.header.park ?? model.lastStep);
  }

  /** Each event stops and unfolds, or no longer. @param {boolean} slow */
  setSlow(slow) {
    if (slow === this.clock.slow) return;
    if (slow) this.choose("map", "map");
    this.clock.setSlow(slow);
    this.resize();
  }

  /** Another run takes the stage. */
  reset() {
    window.clearTimeout(this.commitTimer);
    this.clock.clear();
    this.shown.clear();
    delete this.root.dataset.eventsShown;
    this.eventList.clear();
    Object.assign(this, { since: null, why: null });
  }

  /** @param {Request} request */
  obey(request) {
    if (request.step !== null) this.clock.seek(request.step);
    const stage = STAGES.findIndex(({ key }) => key === request.stage);
    if (stage >= 0 && (this.live || this.model?.events.length)) this.clock.setSlow(true, stage);
    if (this.model && (request.matrix || request.step !== null)) {
      const { firstStep, lastStep, indexOf } = this.model;
      const step = Math.min(Math.max(request.step ?? -1, firstStep), lastStep);
      this.selected = indexOf.get(request.matrix ?? "") ?? (request.matrix ? this.selected : this.model.firstMatrix(step));
    }
    for (const [name, keys] of Object.entries(CHOICES)) if (keys.includes(request[name])) this.chosen[name] = request[name];
    if (request.since !== undefined) this.since = request.since;
    this.model?.countFrom(this.since);
    this.redraw();
  }

  /** @param {number} m */
  select(m) {
    if (!this.model || m < 0 || m >= this.model.M) return;
    this.selected = m;
    this.redraw();
    this.commitSoon();
  }

  /** @param {number} step @param {boolean} [commit] */
  seek(step, commit = true) {
    this.clock.pause();
    this.clock.seek(step, !commit);
    if (commit) this.commitSoon();
  }

  /** @param {string} name of `CHOICES` @param {string} key */
  choose(name, key) {
    this.chosen[name] = key;
    this.resize();
    this.commitSoon();
  }

  /** Rank change counts from the clock on; at the same place again, from the first record. */
  pinTime() {
    if (!this.model) return;
    this.since = this.since === this.clock.step || this.clock.step === this.model.firstStep ? null : this.clock.step;
    this.model.countFrom(this.since);
    this.redraw();
    this.commitSoon();
  }

  /** @param {number} m @param {number | null} step @param {MouseEvent | null} event @param {string | null} [text] instead of the matrix's numbers */
  hover(m, step, event, text = null) {
    this.hovered = m;
    this.hoverStep = step;
    this.invalidate();
    if (!event || !this.model?.T || (m < 0 && !text)) hideTip(this);
    else showTip(this, text ?? describeCell(this.model, step === null ? this.clock.record : this.model.recordAt(step), m, /** @type {Colour} */ (this.chosen.colour)), event);
  }

  /** @param {string} name of `CHOICES` @returns {string[]} the keys that the present run has something for */
  possible(name) {
    return possibleKeys(name, this.model, this.pinned);
  }

  get mapView() {
    return this.model && this.possible("map").includes(this.chosen.map) ? MAPS[this.chosen.map] : MAPS.map;
  }

  get bandView() {
    return this.possible("band").includes(this.chosen.band) ? BANDS[this.chosen.band] : BANDS.strip;
  }

  get sideView() {
    return SIDES[this.chosen.side] ?? SIDES.spectrum;
  }

  /** @param {number} dx @param {number} dy */
  moveSelection(dx, dy) {
    if (this.model && this.mapSize) this.select(this.mapView.neighbour?.(this.scene(this.mapSize), dx, dy) ?? this.selected);
  }

  commitSoon() {
    window.clearTimeout(this.commitTimer);
    window.clearTimeout(this.supplyTimer);
    if (!this.clock.playing) this.supplyTimer = window.setTimeout(() => this.feed.supply(), SUPPLY_DELAY_MS);
    if (!this.clock.playing) this.commitTimer = window.setTimeout(() => this.commit(), COMMIT_DELAY_MS);
  }

  /** While the clock follows a run, a link to it follows too. */
  get view() {
    return { step: this.clock.following ? null : this.clock.step, matrix: this.model?.matrices[this.selected]?.name ?? null, since: this.since, stage: this.stageKey, ...this.chosen };
  }

  /** @returns {string | null} where slow motion stands; "score" between events, where the next one will begin */
  get stageKey() {
    return this.clock.slow ? STAGES[this.clock.stage ?? 0].key : null;
  }

  /** Tells Python, and the address bar first: so that Streamlit finds it in place and adds no entry to the history. */
  commit() {
    if (!this.model || this.clock.playing) return;
    if (this.request?.link) showAddress(this);
    this.setStateValue("view", { run: this.request?.run, ...this.view });
  }

  resize() {
    if (this.model && !this.root.hidden) this.layOut();
  }

  /** An observer reports its first sight too, and changes that are known: these need no second picture. */
  observed() {
    if (!this.model || this.root.hidden) return;
    const { mapSize, sideSize, timeSize } = this;
    if (fitHeight(this.root) || String(sizesOf(this.nodes)) !== String([mapSize, sideSize, timeSize])) this.layOut();
  }

  /** Words take room too: all is written before anything is measured, so that the page is laid out once. */
  layOut() {
    const { nodes, root, timeline, clock } = this;
    nodes.stage.hidden = !clock.slow;
    root.classList.toggle("fl-slow", clock.slow);
    root.classList.toggle("fl-wide", this.mapView.wide ?? false);
    root.classList.toggle("fl-roomy", this.mapView.roomy ?? false);
    timeline.band = this.bandView;
    for (const [name, choice] of Object.entries(nodes.choices)) choice.offer(this.possible(name));
    if (this.model?.T) tellAll(this, this.scene([0, 0]));
    fitHeight(root);
    root.hidden = false;
    const [mapSize, sideSize, timeSize] = sizesOf(nodes);
    this.mapSize = mapSize;
    this.sideSize = sideSize;
    this.timeSize = timeSize;
    this.transport.align(timeline.layout(this.scene(timeSize)));
    this.eventList.resized();
    this.redraw();
  }

  /** The selection, the choices, the data or the size changed. */
  redraw() {
    this.stale = true;
    this.invalidate();
  }

  invalidate() {
    this.changed = true;
    this.goOn();
  }

  goOn() {
    if (!this.frame) this.frame = window.requestAnimationFrame((now) => this.draw(now));
  }

  /** @param {[number, number]} size @returns {Scene} */
  scene(size) {
    return sceneOf(this, size);
  }

  /** @param {number} now */
  draw(now) {
    this.frame = 0;
    const { model, clock, palette, nodes } = this;
    if (!model || !this.mapSize || !this.sideSize || !this.timeSize) return;
    const wasFree = clock.playing || clock.following;
    const [changed, { time }] = [this.changed, clock];
    this.changed = false;
    clock.tick(now);
    // Where the film stops at an event each frame is the one before.
    if (!changed && clock.resting && clock.time === time) return this.goOn();
    if (!model.T) {
      nodes.sentence.textContent = "The run has started; its first record is on the way.";
      return;
    }
    const scene = this.scene(this.timeSize);
    const moved = !this.stale;
    if (this.stale) this.timeline.drawStill(penFor(nodes.still, ...this.timeSize, palette.font), scene);
    this.stale = false;
    this.timeline.drawMoving(penFor(nodes.moving, ...this.timeSize, palette.font), scene);
    const map = this.scene(this.mapSize);
    this.mapPicture.draw(this.mapView, map, this.updates);
    if (model.spectra.onDemand) this.feed.supplyFrames(this.mapView.frames?.(map) ?? []);
    if (this.sideView !== SIDES.why) this.sidePicture.draw(this.sideView, this.scene(this.sideSize), this.updates);
    tell(this, scene, moved);
    if (!this.whole) window.setTimeout(() => tellRest(this));
    this.whole = true;
    const event = model.eventAt(clock.time);
    if (event >= 0 && !this.shown.has(clock.time)) this.show(clock.time);
    if (clock.moving) this.goOn();
    if (wasFree && !clock.playing && !clock.following) this.commitSoon();
  }

  /** An event is in the picture for the first time. @param {number} step */
  show(step) {
    this.shown.add(step);
    this.root.dataset.eventsShown = [...this.shown].join(",");
    if (this.clock.following) this.feed.supply();
  }

  destroy() {
    window.cancelAnimationFrame(this.frame);
    this.settler.stop();
    window.clearTimeout(this.commitTimer);
    window.clearTimeout(this.supplyTimer);
    this.feed.stop();
    this.resizer?.disconnect();
    this.gone.abort();
    this.root.remove();
  }
}
