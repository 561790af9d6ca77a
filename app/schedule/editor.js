/** The schedule editor: drag what a schedule is made of; the server computes what will be trained. */

import { element } from "../player/pen/draw.js";
import { budgets, eventSteps, readOuts } from "./curve.js";
import { handlesOf, withKnot } from "./handles.js";
import { drawPlot, plotScale } from "./plot.js";

/** @typedef {import("./curve.js").Settings} Settings */
/** @typedef {import("./curve.js").Shape} Shape */

/**
 * @typedef {object} EditorData
 * @property {Shape} shape
 * @property {Settings} settings
 * @property {number} total steps of the run
 * @property {number[]} values b(t) for t = 1 … total, by the function that training uses
 * @property {{matrices: number, rank: number, cost: number | null}} adapter
 * @property {boolean} editable
 * @property {number | null} now finished steps of a run that trains
 * @property {number} serial of the server's state
 */

const HEADROOM = 1.3;
const KEY_PAUSE_MS = 350;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

class ScheduleEditor {
  /** @param {Element | ShadowRoot} parent */
  constructor(parent) {
    this.canvas = /** @type {HTMLCanvasElement} */ (element("canvas", { role: "img" }));
    this.layer = element("div", { class: "fl-handles" });
    this.plot = element("div", { class: "fl-plot" }, [this.canvas, this.layer]);
    this.facts = element("div", { class: "fl-facts", "aria-live": "polite" });
    this.host = element("div", { class: "fl-schedule" }, [this.plot, this.facts]);
    parent.append(this.host);
    /** @type {EditorData} */
    this.data = { shape: FLAT, settings: EMPTY, total: 1, values: [], adapter: { matrices: 0, rank: 0, cost: null }, editable: false, now: null, serial: -1 };
    this.own = EMPTY;
    /** @type {number[]} */
    this.values = [];
    /** @type {string | null} */
    this.dragging = null;
    this.top = 1;
    this.width = 0;
    this.sentAt = 0;
    this.frame = 0;
    this.timer = 0;
    /** @type {(name: string, value: unknown) => void} */
    this.send = () => {};
    new ResizeObserver(() => this.schedule()).observe(this.plot);
    this.plot.addEventListener("dblclick", (event) => this.addKnot(event));
  }

  /** @param {EditorData} data @param {(name: string, value: unknown) => void} send */
  accept(data, send) {
    this.send = send;
    const fresh = data.serial !== this.data.serial;
    this.data = data;
    if (this.sentAt && fresh) {
      this.host.dataset.answerMs = (performance.now() - this.sentAt).toFixed(1);
      this.sentAt = 0;
    }
    // What the user holds, or has not sent yet, is newer than what the server says.
    if (this.dragging || this.timer || (this.sentAt && !fresh)) return this.schedule();
    this.own = structuredClone(data.settings);
    this.values = data.values;
    this.host.dataset.serial = String(data.serial);
    return this.draw();
  }

  /** @param {Partial<Settings>} changes */
  change(changes) {
    Object.assign(this.own, changes);
    this.values = budgets(this.data.shape, this.own, this.data.total);
    this.schedule();
  }

  commit() {
    window.clearTimeout(this.timer);
    this.timer = 0;
    this.sentAt = performance.now();
    this.send("edit", { settings: this.own, serial: this.data.serial });
  }

  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const { shape, total, now, adapter } = this.data;
    this.width = Math.max(260, this.plot.clientWidth);
    if (!this.dragging) this.top = Math.max(3, ...this.values, ...this.knots().map((knot) => knot[1]), this.knotted ? 0 : this.own.initial_budget) * HEADROOM;
    const events = eventSteps(this.own, total);
    drawPlot(this.host, this.canvas, this.width, {
      total, now, events, values: this.values, top: this.top, knots: this.knots(),
      warmup: this.own.warmup_steps, end: total - this.own.final_steps, band: shape.decided,
    });
    const told = this.tell(readOuts(this.values, events, adapter));
    this.facts.replaceChildren(...told.map(([name, value]) => element("span", {}, [element("b", { text: value }), ` ${name}`])));
    this.canvas.setAttribute("aria-label", `b(t): ${told.map(([name, value]) => `${value} ${name}`).join(", ")}`);
    this.host.dataset.events = String(events.length);
    this.host.dataset.values = this.values.join(",");
    this.host.dataset.frames = String(Number(this.host.dataset.frames ?? 0) + 1);
    if (this.data.editable) this.placeHandles();
  }

  get knotted() {
    return this.data.shape.options.includes("points");
  }

  knots() {
    return this.knotted ? this.own.points : [];
  }

  /** @param {ReturnType<typeof readOuts>} facts @returns {[string, string][]} name and value */
  tell(facts) {
    const most = this.data.shape.decided ? "at most " : "";
    const share = facts.share === null ? "" : ` (${Math.round(100 * facts.share)} % of all rank)`;
    /** @type {[string, string][]} */
    const told = [
      ["events", String(facts.events)],
      ["of them with b above 0", String(facts.active)],
      ["directions pruned and as many extended", `${most}${facts.moved}${share}`],
      ["last event that can move", facts.last === null ? "none" : `step ${facts.last}`],
    ];
    if (facts.ranks) {
      const sizes = facts.parameters?.map((count) => ` (about ${count >= 1e6 ? `${(count / 1e6).toFixed(2)} M` : `${Math.round(count / 1000)} k`} parameters)`) ?? [];
      Object.entries(facts.ranks).forEach(([way, rank], i) => told.push([`total rank at the end if ${way}`, `${most && ["", "at least ", "at most "][i]}${rank}${sizes[i] ?? ""}`]));
    }
    return told;
  }

  placeHandles() {
    const { x, y } = plotScale(this.width, this.data.total, this.top);
    const handles = handlesOf(this.data.shape, this.own, this.data.total);
    const nodes = /** @type {HTMLElement[]} */ ([...this.layer.children]);
    const known = new Map(nodes.map((node) => [node.dataset.key ?? "", node]));
    for (const handle of handles) {
      let node = known.get(handle.key);
      known.delete(handle.key);
      if (!node) {
        node = this.newHandle(handle.key);
        this.layer.append(node);
      }
      node.style.transform = `translate(${x(handle.step)}px, ${y(handle.budget)}px)`;
      node.className = `fl-handle fl-handle-${handle.axes}`;
      const label = `${handle.label}: ${handle.value}`;
      node.setAttribute("aria-label", handle.label);
      node.setAttribute("aria-valuetext", handle.value);
      node.setAttribute("aria-valuenow", String(handle.axes === "x" ? handle.step : handle.budget));
      node.title = handle.remove ? `${label}. Double-click or Delete removes it.` : label;
    }
    for (const node of known.values()) node.remove();
  }

  /** @param {string} key @returns {HTMLElement} */
  newHandle(key) {
    const node = element("div", { role: "slider", tabindex: "0", "data-key": key });
    const handle = () => handlesOf(this.data.shape, this.own, this.data.total).find((item) => item.key === key);
    node.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      node.focus();
      node.setPointerCapture(event.pointerId);
      this.dragging = key;
    });
    node.addEventListener("pointermove", (event) => {
      if (this.dragging !== key) return;
      const box = this.plot.getBoundingClientRect();
      const { step, budget } = plotScale(this.width, this.data.total, this.top);
      this.change(handle()?.drag(step(event.clientX - box.left), budget(event.clientY - box.top)) ?? {});
    });
    const release = () => {
      if (this.dragging !== key) return;
      this.dragging = null;
      this.commit();
    };
    node.addEventListener("pointerup", release);
    node.addEventListener("pointercancel", release);
    node.addEventListener("dblclick", (event) => {
      event.stopPropagation();
      this.remove(handle());
    });
    node.addEventListener("keydown", (event) => this.pressed(event, handle()));
    node.addEventListener("blur", () => this.timer && this.commit());
    return node;
  }

  /** @param {KeyboardEvent} event @param {ReturnType<typeof handlesOf>[number] | undefined} handle */
  pressed(event, handle) {
    if (!handle) return;
    if (event.key === "Delete" || event.key === "Backspace") return this.remove(handle);
    const arrow = ARROWS[/** @type {keyof typeof ARROWS} */ (event.key)];
    if (!arrow) return;
    event.preventDefault();
    event.stopPropagation();
    const far = event.shiftKey ? 10 : 1;
    this.change(handle.nudge(arrow[0] * far, arrow[1] * far));
    window.clearTimeout(this.timer);
    // A held key repeats: the server is asked once it rests.
    this.timer = window.setTimeout(() => this.commit(), KEY_PAUSE_MS);
  }

  /** @param {ReturnType<typeof handlesOf>[number] | undefined} handle */
  remove(handle) {
    if (!handle?.remove) return;
    this.change(handle.remove());
    this.commit();
  }

  /** @param {MouseEvent} event */
  addKnot(event) {
    if (!this.data.editable || !this.knotted) return;
    const box = this.plot.getBoundingClientRect();
    const { step, budget } = plotScale(this.width, this.data.total, this.top);
    const changes = withKnot(this.own, Math.min(step(event.clientX - box.left), this.data.total), budget(event.clientY - box.top));
    if (!changes) return;
    this.change(changes);
    this.commit();
  }
}

/** @type {Shape} */
const FLAT = { family: "constant", options: [], power: 1, overEnd: false, decided: false };
/** @type {Settings} */
const EMPTY = { initial_budget: 0, warmup_steps: 0, final_steps: 0, interval: 1, exponent: 3, points: [] };

/** @type {WeakMap<object, ScheduleEditor>} */
const EDITORS = new WeakMap();

/** @param {{data: EditorData, parentElement: Element | ShadowRoot, setTriggerValue: (name: string, value: unknown) => void}} component */
export default function render({ data, parentElement, setTriggerValue }) {
  const editor = EDITORS.get(parentElement) ?? new ScheduleEditor(parentElement);
  EDITORS.set(parentElement, editor);
  editor.accept(data, setTriggerValue);
}
