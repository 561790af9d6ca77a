/** The player: every view of one run on one clock. */

import { Clock } from "./clock.js";
import { COLOURS } from "./colour.js";
import { openEnvelope } from "./decode.js";
import { element, penFor } from "./draw.js";
import { describeCell, describeSoft } from "./entropy_strip.js";
import { EventList } from "./event_list.js";
import { formatEntropy, formatNumber, matrixLabel } from "./format.js";
import { Model } from "./model.js";
import { readPalette } from "./palette.js";
import { drawMap, layoutMap, matrixAt, neighbour } from "./rank_map.js";
import { describeDirection, drawSpectrum, spectrumScale } from "./spectrum.js";
import { Timeline } from "./timeline.js";
import { helpDialog, Transport } from "./transport.js";
import { sentenceAt } from "./sentence.js";
import { keyAction } from "./keys.js";

/** @typedef {import("./palette.js").Colour} Colour */
/** @typedef {(name: string, value: unknown) => void} SetState */

const COMMIT_DELAY_MS = 350; // a burst of keys is one message to the server

export class Player {
  /** @param {Element | ShadowRoot} parent @param {SetState} setStateValue */
  constructor(parent, setStateValue) {
    this.setStateValue = setStateValue;
    /** @type {import("./decode.js").Request | null} */
    this.request = null;
    /** @type {Model | null} */
    this.model = null;
    this.selected = 0;
    this.hovered = -1;
    /** @type {number | null} */
    this.hoverStep = null;
    /** @type {Colour} */
    this.colour = "rank";
    this.updates = 0;
    this.frame = 0;
    this.commitTimer = 0;
    this.farewell = 0;
    this.generation = 0;
    this.stale = { still: true, spectrum: true };
    this.clock = new Clock(() => this.invalidate());
    this.transport = new Transport(this.clock, {
      commit: () => this.commitSoon(),
      copyLink: () => this.copyLink(),
      help: () => this.help.showModal(),
    });
    this.eventList = new EventList({ seek: (step) => this.seek(step), select: (m) => this.select(m) });
    this.help = helpDialog();
    this.build(parent);
    this.palette = readPalette(this.root);
    this.listen();
  }

  /** @param {Element | ShadowRoot} parent */
  build(parent) {
    this.sentence = element("p", { class: "fl-sentence", "aria-live": "polite" });
    this.mapCanvas = element("canvas", { class: "fl-map", tabindex: "0", role: "img" });
    this.spectrumCanvas = element("canvas", { role: "img" });
    this.still = element("canvas", { class: "fl-still", "aria-hidden": "true" });
    this.moving = element("canvas", { class: "fl-moving", tabindex: "0", role: "img" });
    this.timeline = new Timeline(this.still, this.moving);
    this.picker = element("select", { class: "fl-select fl-matrix", "aria-label": "Matrix" });
    this.numbers = element("span", { class: "fl-numbers" });
    this.warning = element("span", { class: "fl-warning" });
    this.tip = element("div", { class: "fl-tip", role: "status" });
    this.colours = COLOURS.map(({ key, label, hint }) => {
      const button = element("button", { type: "button", class: "fl-choice", "data-colour": key, title: hint, text: label });
      button.addEventListener("click", () => this.setColour(/** @type {Colour} */ (key)));
      return button;
    });
    this.mapBox = element("div", { class: "fl-canvas" }, [this.mapCanvas]);
    this.spectrumBox = element("div", { class: "fl-canvas" }, [this.spectrumCanvas]);
    this.timeBox = element("div", { class: "fl-time" }, [this.still, this.moving]);
    this.hero = element("div", { class: "fl-hero" }, [
      element("section", { class: "fl-panel", "aria-label": "Rank map" }, [
        element("header", {}, [element("h3", { text: "Rank map" }), element("div", { class: "fl-choices", role: "group", "aria-label": "Colour by" }, this.colours)]),
        this.mapBox,
      ]),
      element("section", { class: "fl-panel", "aria-label": "Spectrum" }, [
        element("header", {}, [element("h3", { text: "Spectrum" }), this.picker]),
        this.numbers,
        this.warning,
        this.spectrumBox,
      ]),
      this.eventList.root,
    ]);
    this.root = element("div", { class: "fl-player" }, [
      this.sentence, this.hero, this.transport.bar, this.transport.track, this.timeBox, this.tip, this.help,
    ]);
    this.root.hidden = true;
    parent.append(this.root);
  }

  listen() {
    this.resizer = new ResizeObserver(() => this.resize());
    this.resizer.observe(this.root);
    this.onKey = (/** @type {KeyboardEvent} */ event) => keyAction(this, event);
    this.onWindow = () => this.resize();
    document.addEventListener("keydown", this.onKey);
    window.addEventListener("resize", this.onWindow);
    this.picker.addEventListener("change", () => this.select(Number(this.picker.value)));
    const offset = (/** @type {PointerEvent | MouseEvent} */ event) => /** @type {const} */ ([event.offsetX, event.offsetY]);
    this.mapCanvas.addEventListener("click", (event) => {
      const m = this.layout ? matrixAt(this.layout, ...offset(event)) : -1;
      if (m >= 0) this.select(m);
    });
    this.mapCanvas.addEventListener("pointermove", (event) => this.hover(this.layout ? matrixAt(this.layout, ...offset(event)) : -1, null, event));
    this.moving.addEventListener("pointermove", (event) => {
      const step = this.timeline.stepAt(event.offsetX);
      if (event.buttons === 1 && step !== null) this.seek(step, false);
      this.hover(this.timeline.matrixAt(...offset(event)), step, event);
    });
    this.moving.addEventListener("pointerdown", (event) => {
      const m = this.timeline.matrixAt(...offset(event));
      const step = this.timeline.stepAt(event.offsetX);
      this.moving.setPointerCapture(event.pointerId);
      if (m >= 0) this.select(m);
      if (step !== null) this.seek(step, false);
    });
    this.moving.addEventListener("pointerup", () => this.commitSoon());
    this.spectrumCanvas.addEventListener("pointermove", (event) => this.hoverDirection(event));
    for (const canvas of [this.mapCanvas, this.moving, this.spectrumCanvas]) canvas.addEventListener("pointerleave", () => this.hover(-1, null, null));
    document.fonts?.ready.then(() => this.redraw());
  }

  /** New data, new theme, or a rerun that changed nothing. @param {Uint8Array} bytes @param {SetState} setStateValue */
  accept(bytes, setStateValue) {
    this.setStateValue = setStateValue;
    const { request, payload } = openEnvelope(bytes);
    const before = this.request;
    if (before?.content !== request.content) {
      const model = new Model(payload);
      const same = before?.run === request.run;
      const chosen = same ? this.model?.matrices[this.selected]?.name : undefined;
      if (!same) this.reset();
      this.model = model;
      this.selected = model.indexOf.get(chosen ?? "") ?? this.firstMatrix(model);
      this.clock.accept(model);
      this.eventList.accept(model);
      this.warn(model);
      this.fillPicker(model);
      this.updates += 1;
      if (!same && model.run.state !== "running") this.clock.time = model.header.park ?? model.lastStep;
    }
    this.request = request;
    if (before && request.link && before.run !== request.run) this.showAddress(new URLSearchParams(request.link));
    if (before?.id !== request.id) this.obey(request);
    this.palette = readPalette(this.root);
    this.root.style.setProperty("--fl-pruned", this.palette.pruned);
    this.root.style.setProperty("--fl-extended", this.palette.extended);
    this.root.hidden = false;
    this.resize();
  }

  /** Entropy is read from λ: it says little where λ is not the spectrum of ΔW. @param {Model} model */
  warn(model) {
    const { gap, gapLimit } = model.run;
    const wide = Number.isFinite(gap) && gap > gapLimit;
    this.warning.textContent = wide ? `λ is not a spectrum here: median |I(λ) − I(σ)| is ${formatNumber(gap)}` : "";
    this.warning.hidden = !wide;
  }

  /** Another run takes the stage. */
  reset() {
    window.clearTimeout(this.commitTimer);
    this.clock.pause();
    this.clock.model = null;
    this.eventList.clear();
  }

  /** At the parked event, the first matrix that gained is worth a look. @param {Model} model */
  firstMatrix(model) {
    const event = model.events[model.eventAt(model.header.park ?? -1)];
    return model.indexOf.get(event?.extend[0]?.matrix ?? event?.prune[0]?.matrix ?? "") ?? 0;
  }

  /** @param {import("./decode.js").Request} request */
  obey(request) {
    if (request.step !== null) this.clock.seek(request.step);
    const m = this.model?.indexOf.get(request.matrix ?? "");
    if (m !== undefined) this.selected = m;
    if (COLOURS.some(({ key }) => key === request.colour)) this.colour = /** @type {Colour} */ (request.colour);
    this.redraw();
  }

  /** @param {Model} model */
  fillPicker(model) {
    if (this.picker.length === model.M && this.picker.options[0]?.title === model.matrices[model.order[0]]?.name) return;
    this.picker.replaceChildren(
      ...model.order.map((m) => element("option", { value: String(m), text: matrixLabel(model.matrices[m]), title: model.matrices[m].name })),
    );
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
    this.clock.seek(step);
    if (commit) this.commitSoon();
  }

  /** @param {Colour} colour */
  setColour(colour) {
    this.colour = colour;
    this.redraw();
    this.commitSoon();
  }

  /** @param {number} m @param {number | null} step @param {MouseEvent | null} event */
  hover(m, step, event) {
    this.hovered = m;
    this.hoverStep = step;
    this.invalidate();
    if (!event || !this.model || !this.model.T || m < 0) {
      this.tip.classList.remove("fl-shown");
      return;
    }
    const record = step === null ? this.clock.record : this.model.recordAt(step);
    this.showTip(describeCell(this.model, record, m), event);
  }

  /** @param {MouseEvent} event */
  hoverDirection(event) {
    const { model, spectrumSize: size, spectrumScale: scale } = this;
    const text = model?.T && size && scale ? describeDirection(model, this.clock.record, this.selected, event.offsetX, size[0], scale) : null;
    if (text) this.showTip(text, event);
    else this.tip.classList.remove("fl-shown");
  }

  /** @param {string} text @param {MouseEvent} event */
  showTip(text, event) {
    this.tip.textContent = text;
    const box = this.root.getBoundingClientRect();
    const x = Math.min(event.clientX - box.left + 14, box.width - this.tip.offsetWidth - 4);
    const y = Math.min(event.clientY - box.top + 18, box.height - this.tip.offsetHeight);
    this.tip.style.transform = `translate(${Math.max(0, x)}px, ${y}px)`;
    this.tip.classList.add("fl-shown");
  }

  /** @param {number} dx @param {number} dy */
  moveSelection(dx, dy) {
    if (this.layout) this.select(neighbour(this.layout, this.selected, dx, dy));
  }

  commitSoon() {
    window.clearTimeout(this.commitTimer);
    if (!this.clock.playing) this.commitTimer = window.setTimeout(() => this.commit(), COMMIT_DELAY_MS);
  }

  get view() {
    return { step: this.clock.step, matrix: this.model?.matrices[this.selected]?.name ?? null, colour: this.colour };
  }

  /** Query parameters of the present view. @returns {URLSearchParams} */
  get linkParameters() {
    const { step, matrix, colour } = this.view;
    const parameters = new URLSearchParams({ ...this.request?.link, step: String(step) });
    if (matrix) parameters.set("matrix", matrix);
    if (colour !== "rank") parameters.set("colour", colour);
    return parameters;
  }

  /** Tells Python, and the address bar first: so that Streamlit finds it in place and adds no entry to the history. */
  commit() {
    if (!this.model || this.clock.playing) return;
    if (this.request?.link) this.showAddress(this.linkParameters);
    this.setStateValue("view", { run: this.request?.run, ...this.view });
  }

  /** @param {URLSearchParams} parameters */
  showAddress(parameters) {
    window.history.replaceState({}, "", `${window.location.pathname}?${parameters}`);
  }

  async copyLink() {
    const address = `${window.location.origin}${window.location.pathname}?${this.linkParameters}`;
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(address);
    } catch {
      done = "In the address bar";
      this.commit();
    }
    this.root.dataset.link = address;
    this.transport.copy.textContent = done;
    window.setTimeout(() => (this.transport.copy.textContent = "Copy link"), 1600);
  }

  /** As high as the window allows, so that map, transport and timeline stand together without scrolling. */
  resize() {
    if (!this.model || this.root.hidden) return;
    const scroller = this.root.getRootNode() instanceof ShadowRoot ? /** @type {ShadowRoot} */ (this.root.getRootNode()).host : this.root;
    const top = Math.max(0, scroller.getBoundingClientRect().top + (scroller.closest("[data-testid=stMain]")?.scrollTop ?? 0));
    const height = Math.max(560, Math.min(1100, window.innerHeight - top - 56));
    this.root.style.setProperty("--fl-height", `${height}px`);
    const size = (/** @type {HTMLElement} */ node) => /** @type {const} */ ([Math.floor(node.clientWidth), Math.floor(node.clientHeight)]);
    this.mapSize = size(this.mapBox);
    this.spectrumSize = size(this.spectrumBox);
    const timeSize = size(this.timeBox);
    this.layout = layoutMap(this.model, ...this.mapSize);
    this.timeline.layout(this.model, ...timeSize);
    this.redraw();
  }

  /** The selection, the colour, the data or the size changed. */
  redraw() {
    this.stale = { still: true, spectrum: true };
    this.invalidate();
  }

  invalidate() {
    if (!this.frame) this.frame = window.requestAnimationFrame((now) => this.draw(now));
  }

  /** @param {number} now */
  draw(now) {
    this.frame = 0;
    const { model, clock, palette } = this;
    if (!model || !this.layout || !this.mapSize || !this.spectrumSize) return;
    const wasPlaying = clock.playing;
    clock.tick(now);
    if (!model.T) {
      this.sentence.textContent = "The run has started; its first record is on the way.";
      return;
    }
    const record = clock.record;
    const event = model.events[model.eventAt(clock.step)];
    if (this.stale.spectrum) this.spectrumScale = spectrumScale(model, this.selected);
    if (this.stale.still) this.timeline.drawStill(palette, this.colour, this.selected, this.request?.content ?? "");
    this.stale = { still: false, spectrum: false };
    drawMap(penFor(this.mapCanvas, ...this.mapSize, palette.font), model, palette, this.layout, {
      record, selected: this.selected, hovered: this.hovered, colour: this.colour, prune: model.movesOf(event?.prune), extend: model.movesOf(event?.extend),
    });
    drawSpectrum(penFor(this.spectrumCanvas, ...this.spectrumSize, palette.font), model, palette, ...this.spectrumSize, {
      record, selected: this.selected, scale: /** @type {import("./spectrum.js").SpectrumScale} */ (this.spectrumScale),
    });
    this.timeline.drawMoving(palette, { time: clock.time, record, colour: this.colour, hoverStep: this.hoverStep });
    this.tell(record);
    if (clock.playing) this.invalidate();
    else if (wasPlaying) this.commitSoon();
  }

  /** Words, numbers and attributes beside the pictures. @param {number} record */
  tell(record) {
    const model = /** @type {Model} */ (this.model);
    const step = this.clock.step;
    const matrix = model.matrices[this.selected];
    const say = (/** @type {HTMLElement} */ node, /** @type {string} */ text) => {
      if (node.textContent !== text) node.textContent = text;
    };
    this.sentence.setAttribute("aria-live", this.clock.playing ? "off" : "polite");
    say(this.sentence, sentenceAt(model, step));
    say(this.numbers, this.numbersOf(model, record));
    this.transport.update(model.run.state === "running");
    this.eventList.update(step, this.selected);
    if (this.picker.value !== String(this.selected)) this.picker.value = String(this.selected);
    for (const button of this.colours) button.setAttribute("aria-pressed", String(button.dataset.colour === this.colour));
    const about = describeCell(model, record, this.selected);
    this.mapCanvas.setAttribute("aria-label", `Rank map at step ${step}. Selected: ${about}`);
    this.spectrumCanvas.setAttribute("aria-label", `Spectrum of ${about}`);
    this.moving.setAttribute("aria-label", `Entropy, loss, moves and total rank over ${model.T} records; the clock is at step ${step}`);
    this.root.dataset.drawnAt ??= String(window.performance.now());
    Object.assign(this.root.dataset, { step: String(step), matrix: matrix?.name ?? "", playing: String(this.clock.playing), colour: this.colour, updates: String(this.updates) });
  }

  /** Energy beside entropy, and the entropy of the true singular values beside that of λ. @param {Model} model @param {number} record */
  numbersOf(model, record) {
    const m = this.selected;
    const truth = model.trueEntropy(record, m);
    const gap = Number.isFinite(truth) ? ` (of σ ${formatEntropy(truth)})` : "";
    return `rank ${model.rank(record, m)}${describeSoft(model, record, m)} · entropy ${formatEntropy(model.entropy(record, m))}${gap} · energy ${formatNumber(model.energy(record, m))} · s = ${formatNumber(model.scale)}`;
  }

  destroy() {
    window.cancelAnimationFrame(this.frame);
    window.clearTimeout(this.commitTimer);
    this.resizer?.disconnect();
    document.removeEventListener("keydown", /** @type {any} */ (this.onKey));
    window.removeEventListener("resize", /** @type {any} */ (this.onWindow));
    this.root.remove();
  }
}
