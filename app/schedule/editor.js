/** The schedule editor: drag what a schedule is made of; the server computes what will be trained. */

import { element } from "../player/pen/draw.js";
import { budgets, eventSteps, readOuts } from "./curve.js";
import { handlesOf, withKnot } from "./handles.js";
import { drawPlot, plotScale } from "./plot.js";
import { dressSchedule } from "./style.js";

/** @import { Here, Settings, Shape } from "./curve.js" */

/**
 * @typedef {object} EditorData
 * @property {Shape} shape
 * @property {Settings} settings
 * @property {number} total steps of the run
 * @property {number[]} values b(t) for t = 1 … total, by the function that training uses
 * @property {{matrices: number, rank: number, cost: number | null}} adapter
 * @property {boolean} editable
 * @property {string} direction "both", "prune_only" or "extend_only": what an event does; "" = not told
 * @property {Here | null} here of a run that trains: what is past stays
 * @property {number[] | null} force b(t) that is in force until the edit is applied
 * @property {number} serial of the server's state
 */

const HEADROOM = 1.3;
const KEY_PAUSE_MS = 350;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class ScheduleEditor {
  /** @param {Element | ShadowRoot} parent */
  constructor(parent) {
    this.canvas = /** @type {HTMLCanvasElement} */ (element("canvas", { role: "img" }));
    this.layer = element("div", { class: "fl-handles" });
    this.plot = element("div", { class: "fl-plot" }, [this.canvas, this.layer]);
    this.facts = element("div", { class: "fl-facts", "aria-live": "polite" });
    this.host = element("div", { class: "fl-schedule" }, [this.plot, this.facts]);
    parent.append(this.host);
    /** @type {EditorData} */
    this.data = { shape: FLAT, settings: EMPTY, total: 1, values: [], adapter: { matrices: 0, rank: 0, cost: null }, editable: false, direction: "", here: null, force: null, serial: -1 };
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
    dressSchedule(this.host);
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
    this.values = this.joined(data.values);
    this.host.dataset.serial = String(data.serial);
    return this.draw();
  }

  /** @param {Partial<Settings>} changes */
  change(changes) {
    Object.assign(this.own, changes);
    this.values = this.joined(budgets(this.data.shape, this.own, this.data.total));
    this.schedule();
  }

  /** What is past stays as it was. @param {number[]} values @returns {number[]} */
  joined(values) {
    const past = this.data.here?.past ?? [];
    return values.map((value, i) => past[i] ?? value);
  }

  get now() {
    return this.data.here?.now ?? null;
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
    const { shape, total, adapter, here, force } = this.data;
    this.width = Math.max(260, this.plot.clientWidth);
    if (!this.dragging) this.top = Math.max(3, largest(this.values), largest(force ?? []), ...this.knots().map((knot) => knot[1]), this.knotted ? 0 : this.own.initial_budget) * HEADROOM;
    const events = eventSteps(this.own, total);
    drawPlot(this.host, this.canvas, this.width, {
      total, now: this.now, events, values: this.values, top: this.top, knots: this.knots(), force, moves: here?.events ?? [],
      warmup: this.own.warmup_steps, end: total - this.own.final_steps, band: shape.decided,
    });
    const told = this.tell(readOuts(this.values, events, adapter, here));
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
    const { here, direction, adapter } = this.data;
    if (here) return this.tellFrom(here, facts);
    const most = this.data.shape.decided ? "at most " : "";
    const share = facts.share === null ? "" : ` (${Math.round(100 * facts.share)} % of all rank)`;
    const sizes = (/** @type {number} */ rank) => sizeText(adapter.cost, rank);
    /** @type {[string, string][]} */
    const told = [
      ["events", String(facts.events)],
      ["of them with b above 0", String(facts.active)],
      ["directions pruned and as many extended", `${most}${facts.moved}${share}`],
      ["last event that can move", facts.last === null ? "none" : `step ${facts.last}`],
    ];
    Object.entries(facts.ranks ?? {}).forEach(([way, rank], i) => {
      if (direction && way !== direction) return;
      told.push([`total rank at the end${direction ? "" : ` if ${way.replace("_", " ")}`}`, `${most && ["", "at least ", "at most "][i]}${rank}${sizes(rank)}`]);
    });
    return told;
  }

  /** Of a run that trains: what was, from its log, and what the schedule still allows. @param {Here} here @param {ReturnType<typeof readOuts>} facts @returns {[string, string][]} */
  tellFrom(here, facts) {
    const { direction, adapter } = this.data;
    const ends = /** @type {Record<string, number>} */ (facts.ranks ?? {});
    const bound = { prune_only: "at least ", extend_only: "at most " }[direction] ?? "";
    const share = facts.share === null ? "" : ` (${Math.round(100 * facts.share)} % of the ${here.rank} that are there)`;
    const what = { prune_only: "pruned", extend_only: "extended" }[direction] ?? "pruned and as many extended";
    const all = { prune_only: here.pruned, extend_only: here.extended }[direction] ?? here.pruned;
    return [
      [`pruned, ${here.extended} extended until step ${here.now}`, String(here.pruned)],
      ["events from here on", `${facts.active} of ${facts.events}`],
      [`${what} from here on${share}`, `at most ${facts.moved}`],
      ["in the whole run", `at most ${all + facts.moved}`],
      ["last event that can move", facts.last === null ? "none" : `step ${facts.last}`],
      ["total rank now", String(here.rank)],
      ["at the end", `${bound}${ends[direction] ?? here.rank}${sizeText(adapter.cost, ends[direction] ?? here.rank)}`],
    ];
  }

  handles() {
    return handlesOf(this.data.shape, this.own, this.data.total, this.now ?? -1);
  }

  placeHandles() {
    const { x, y } = plotScale(this.width, this.data.total, this.top);
    const handles = this.handles();
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
    const handle = () => this.handles().find((item) => item.key === key);
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
    const changes = withKnot(this.own, Math.max((this.now ?? -1) + 1, Math.min(step(event.clientX - box.left), this.data.total)), budget(event.clientY - box.top));
    if (!changes) return;
    this.change(changes);
    this.commit();
  }
}

/** @param {number[]} values @returns {number} at least 0 */
function largest(values) {
  return values.reduce((most, value) => Math.max(most, value), 0);
}

/** @param {number | null} cost mean parameters of a direction @param {number} rank @returns {string} */
function sizeText(cost, rank) {
  if (cost === null || !rank) return "";
  const count = cost * rank;
  return ` (about ${count >= 1e6 ? `${(count / 1e6).toFixed(2)} M` : `${Math.round(count / 1000)} k`} parameters)`;
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
