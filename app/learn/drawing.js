/** A curve that the reader draws before the true one is shown: by pointer, or point by point with the arrow keys. */

import { element } from "../player/pen/draw.js";
import { completed, judged } from "./judge.js";
import { drawLevels, level, plot, svg } from "./svg.js";

/**
 * @typedef {object} DrawAsk
 * @property {number[]} x ascending
 * @property {number[]} truth one value each
 * @property {number} low @property {number} high of the axis
 * @property {number} [tolerance] mean distance that still counts as right, as a share of the axis
 * @property {boolean} [by_jump] right is who draws the event as the truth has it, as a jump or as none, whatever the heights
 * @property {number} given how many points from the left are told
 * @property {number} [mark] x of the event
 * @property {string} unit
 * @property {string} [button] that shows the true curve
 * @property {string} named what the true curve is, in the middle of a sentence
 */

const KEY_SHARE = 1 / 24;
/** Of the picture: steeper than this is straight up or down; further aside than this is another height. */
const [UPRIGHT, TREMBLE] = [4, 0.008];

export class Drawing {
  /** @param {DrawAsk} ask @param {string} question @param {(judged: import("./judge.js").Judged) => void} done */
  constructor(ask, question, done) {
    this.ask = ask;
    /** @type {(number | null)[]} */
    this.drawn = ask.x.map((_, i) => (i < ask.given ? ask.truth[i] : null));
    this.revealed = false;
    /** @type {{share: number, value: number} | null} where the hand was last */
    this.hand = null;
    /** @type {Map<number, number>} how near the hand came to each point, across, since it came down */
    this.nearness = new Map();
    this.picture = element("div", { class: "ln-picture ln-drawing" });
    this.button = element("button", { type: "button", class: "ln-button ln-main", text: ask.button ?? "Show what happened" });
    this.button.addEventListener("click", () => {
      const found = judged(ask, this.drawn);
      if (this.mine) this.drawn = completed(this.drawn);
      this.reveal();
      done(found);
    });
    this.hint = element("p", { class: "ln-hint", text: `${ask.given ? `${ask.given > 1 ? `The first ${ask.given} dots are` : "The first dot is"} given. ` : ""}Drag across the picture. With keys: Tab to a point, ↑ ↓ move it, ← → go to the next.` });
    this.root = element("div", { class: "ln-dial" }, [element("h3", { text: question }), this.picture, element("div", { class: "ln-row" }, [this.button, this.hint])]);
    this.picture.addEventListener("pointerdown", (event) => this.press(event));
    this.picture.addEventListener("pointermove", (event) => event.buttons && this.trace(event));
    for (const kind of ["pointerup", "pointercancel"]) this.picture.addEventListener(kind, () => this.lift());
    this.picture.addEventListener("keydown", (event) => this.key(event));
  }

  /** Shows the truth; a reader who drew nothing sees it alone. */
  reveal() {
    this.revealed = true;
    this.button.hidden = true;
    this.hint.textContent = this.mine ? `Dashed: what you drew. Solid: ${this.ask.named}.` : `${this.ask.named[0].toUpperCase()}${this.ask.named.slice(1)}.`;
    this.draw();
  }

  /** The reader has drawn something. */
  get mine() {
    return this.drawn.some((value, i) => value !== null && i >= this.ask.given);
  }

  get open() {
    return !this.revealed;
  }

  draw() {
    const { x, truth, low, high, mark, unit } = this.ask;
    const [width, height] = [Math.max(240, this.picture.clientWidth), Math.max(180, this.picture.clientHeight)];
    const own = plot(width, height, this.revealed ? `${unit}: ${truth.map((value, i) => `step ${x[i]} ${level(Number(value.toPrecision(3)))}`).join(", ")}` : `${unit}, to be drawn`, low, high, { top: 30 });
    if (this.open) own.root.removeAttribute("role");
    this.plot = own;
    drawLevels(own, low, high, level);
    const across = this.across;
    const before = mark === undefined ? -1 : x.indexOf(mark);
    // A step is measured before its event: the event lies between it and the next.
    const event = before < 0 ? 0 : (across(before) + across(Math.min(before + 1, x.length - 1))) / 2;
    if (before >= 0) own.root.append(svg("line", { class: "ln-event", x1: event, x2: event, y1: own.edges.top, y2: own.y(low) }), svg("text", { class: "ln-tick", x: event, y: own.edges.top - 12, "text-anchor": "middle", text: "event" }));
    x.forEach((step, i) => own.root.append(svg("text", { class: "ln-tick", x: across(i), y: own.y(low) + 20, "text-anchor": "middle", text: i % Math.ceil((x.length * 34) / width) ? "" : String(step) })));
    own.root.append(svg("text", { class: "ln-tick", x: 8, y: 16, text: unit }), svg("text", { class: "ln-tick", x: own.x(0.5), y: height - 4, "text-anchor": "middle", text: "step" }));
    if (this.revealed) own.root.append(svg("polyline", { class: "ln-line ln-line0", points: truth.map((value, i) => `${across(i)},${own.y(value)}`).join(" ") }));
    const mine = this.revealed && !this.mine ? [] : this.drawn.flatMap((value, i) => (value === null ? [] : [`${across(i)},${own.y(value)}`]));
    own.root.append(svg("polyline", { class: "ln-line ln-mine", points: mine.join(" ") }));
    this.drawPoints(own);
    const held = this.held;
    this.picture.replaceChildren(own.root);
    if (held >= 0) this.point(held)?.focus();
  }

  /** @param {import("./svg.js").Plot} own */
  drawPoints(own) {
    const { x, low, high, given, unit } = this.ask;
    this.drawn.forEach((value, i) => {
      // What was told is told no more once everything is.
      if (this.revealed && (value === null || i < given)) return;
      const attributes = { class: `ln-point${value === null ? " ln-undrawn" : ""}`, cx: this.across(i), cy: own.y(value ?? (low + high) / 2), r: i < given ? 4 : 7 };
      const free = this.open && i >= given;
      const spoken = { tabindex: 0, role: "slider", "data-point": i, "aria-label": `${unit} at step ${x[i]}`, "aria-orientation": "vertical", "aria-valuemin": low, "aria-valuemax": high, "aria-valuenow": value ?? (low + high) / 2, "aria-valuetext": value === null ? "not drawn" : level(Number(value.toPrecision(3))) };
      own.root.append(svg("circle", free ? { ...attributes, ...spoken } : attributes));
    });
  }

  /** @type {(place: number) => number} */
  across = (place) => /** @type {import("./svg.js").Plot} */ (this.plot).x(this.shareOf(place));

  /** @param {number} place @returns {number} where it lies across the picture: steps keep their distances */
  shareOf(place) {
    const { x } = this.ask;
    return 0.03 + (0.94 * (x[place] - x[0])) / (x[x.length - 1] - x[0]);
  }

  /** @param {number} i @returns {SVGElement | null} */
  point(i) {
    return this.picture.querySelector(`[data-point="${i}"]`);
  }

  /** Place of the point that has the keyboard, −1 = none. */
  get held() {
    const active = /** @type {Document | ShadowRoot} */ (this.picture.getRootNode()).activeElement;
    return active && this.picture.contains(active) ? Number(active.getAttribute("data-point") ?? -1) : -1;
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (!this.open) return;
    event.preventDefault();
    this.picture.setPointerCapture(event.pointerId);
    this.nearness.clear();
    this.hand = null;
    this.trace(event);
  }

  /** A point gets the height that the hand had where it came nearest to it, across; between two places of the hand it went straight. @param {PointerEvent} event */
  trace(event) {
    const { low, high } = this.ask;
    const own = this.plot;
    if (!this.open || !own) return;
    const box = own.root.getBoundingClientRect();
    const share = (event.clientX - box.left - own.x(0)) / (own.x(1) - own.x(0));
    const value = low + ((own.y(low) - (event.clientY - box.top)) / (own.y(low) - own.y(high))) * (high - low);
    const before = this.hand;
    const crossed = before ? this.free().filter((i) => (this.shareOf(i) - before.share) * (this.shareOf(i) - share) <= 0 && share !== before.share) : [];
    for (const i of crossed) if (before) this.put(i, before.value + ((value - before.value) * (this.shareOf(i) - before.share)) / (share - before.share), 0);
    const upright = before && Math.abs(value - before.value) / (high - low) > UPRIGHT * Math.abs(share - before.share);
    this.hand = { share, value };
    const near = this.nearest(share);
    const away = Math.abs(this.shareOf(near) - share);
    // A hand that goes straight up or down lifts one point, also when it trembles.
    const known = (this.nearness.get(near) ?? Infinity) + (upright ? TREMBLE : 0);
    if (!before || (upright && !crossed.length && away <= known)) this.put(near, value, away);
    this.draw();
  }

  /** Where the hand rises short of a point, that point was meant. */
  lift() {
    const { hand } = this;
    this.hand = null;
    if (!hand || !this.open) return;
    const near = this.nearest(hand.share);
    const away = Math.abs(this.shareOf(near) - hand.share);
    if (away < (this.nearness.get(near) ?? Infinity)) this.put(near, hand.value, away);
    this.draw();
  }

  /** @returns {number[]} places that are not told */
  free() {
    return [...this.ask.x.keys()].slice(this.ask.given);
  }

  /** @param {number} share @returns {number} */
  nearest(share) {
    const away = (/** @type {number} */ i) => Math.abs(this.shareOf(i) - share);
    return this.free().reduce((best, i) => (away(i) < away(best) ? i : best));
  }

  /** @param {number} place @param {number} value @param {number} away how far from the point, across */
  put(place, value, away) {
    this.drawn[place] = Math.min(this.ask.high, Math.max(this.ask.low, value));
    this.nearness.set(place, away);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const place = this.held;
    const { x, low, high, given } = this.ask;
    const turn = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (place < 0 || !this.open || (turn === undefined && move === undefined)) return;
    event.preventDefault();
    event.stopPropagation();
    if (move !== undefined) return this.point(Math.min(x.length - 1, Math.max(given, place + move)))?.focus();
    const before = this.drawn[place] ?? this.drawn.slice(0, place).filter((value) => value !== null).at(-1) ?? (low + high) / 2;
    this.drawn[place] = Math.min(high, Math.max(low, before + /** @type {number} */ (turn) * (high - low) * KEY_SHARE));
    return this.draw();
  }
}
