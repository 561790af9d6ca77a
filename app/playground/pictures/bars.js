/** Bars whose ends can be dragged or moved by keys: a spectrum that answers at once. */

import { element, penFor } from "../../player/pen/draw.js";
import { formatNumber } from "../../player/model/format.js";

/** @import { Palette } from "../../player/pen/palette.js" */

/**
 * @typedef {object} BarsLook
 * @property {(i: number) => string} [fill] of a bar
 * @property {(i: number) => string} [mark] a word under a bar, instead of its number
 * @property {(i: number) => boolean} [gone] drawn as an outline alone
 * @property {ArrayLike<number>} [ghost] other heights, as lines across
 */

const MARGIN = { left: 34, right: 8, top: 16, bottom: 22 };
const WIDEST = 64;
const STEP = 0.01; // of the largest height, for a key

export class Bars {
  /**
   * @param {{name: (i: number) => string, most: number, signed?: boolean, height?: number, label: string, onchange?: (values: number[]) => void}} options without `onchange` nothing can be moved
   */
  constructor(options) {
    this.options = options;
    this.height = options.height ?? 190;
    /** @type {number[]} */
    this.values = [];
    this.dragging = -1;
    this.canvas = element("canvas", { role: "img", "aria-label": options.label });
    this.layer = element("div", { class: "pg-handles" });
    this.node = element("div", { class: `pg-bars${options.onchange ? " pg-draggable" : ""}`, style: `height:${this.height}px` }, [this.canvas, this.layer]);
    if (options.onchange) this.listen();
  }

  listen() {
    this.node.addEventListener("pointerdown", (event) => {
      const at = this.placeOf(event);
      if (at.i < 0 || event.button) return;
      event.preventDefault();
      this.node.setPointerCapture(event.pointerId);
      this.dragging = at.i;
      /** @type {HTMLElement | undefined} */ (this.layer.children[at.i])?.focus({ preventScroll: true });
      this.put(at.i, at.value);
    });
    this.node.addEventListener("pointermove", (event) => {
      if (this.dragging >= 0) this.put(this.dragging, this.placeOf(event).value);
    });
    for (const end of ["pointerup", "pointercancel"]) this.node.addEventListener(end, () => (this.dragging = -1));
  }

  get width() {
    return Math.max(160, this.node.clientWidth);
  }

  get column() {
    return Math.min(WIDEST, (this.width - MARGIN.left - MARGIN.right) / Math.max(1, this.values.length));
  }

  get low() {
    return this.options.signed ? -this.options.most : 0;
  }

  /** @param {number} value @returns {number} */
  y(value) {
    const { most } = this.options;
    return MARGIN.top + ((most - value) / (most - this.low)) * (this.height - MARGIN.top - MARGIN.bottom);
  }

  /** @param {PointerEvent} event @returns {{i: number, value: number}} */
  placeOf(event) {
    const box = this.node.getBoundingClientRect();
    const i = Math.floor((event.clientX - box.left - MARGIN.left) / this.column);
    const share = (event.clientY - box.top - MARGIN.top) / (this.height - MARGIN.top - MARGIN.bottom);
    const { most } = this.options;
    return { i: i >= 0 && i < this.values.length ? i : -1, value: most - share * (most - this.low) };
  }

  /** @param {number} i @param {number} value */
  put(i, value) {
    const { most, onchange } = this.options;
    const next = Math.min(most, Math.max(this.low, value));
    // Near zero it is zero: otherwise nobody hits it.
    const kept = Math.abs(next) < most * 0.015 ? 0 : Number(next.toPrecision(3));
    if (kept === this.values[i]) return;
    onchange?.(this.values.map((own, k) => (k === i ? kept : own)));
  }

  /** @param {Palette} palette @param {number[]} values @param {BarsLook} [look] */
  draw(palette, values, look = {}) {
    this.values = values;
    const { width, height, column } = this;
    const pen = penFor(this.canvas, width, height, palette.font);
    const zero = this.y(0);
    const right = MARGIN.left + column * values.length;
    for (const mark of this.options.signed ? [-this.options.most, 0, this.options.most] : [0, this.options.most / 2, this.options.most]) {
      pen.line(MARGIN.left, this.y(mark), right, this.y(mark), { stroke: palette.line, ...(mark ? { dash: [2, 3] } : {}) });
      pen.text(MARGIN.left - 6, this.y(mark), formatNumber(mark), { fill: palette.muted, align: "right", size: 11 });
    }
    values.forEach((value, i) => {
      const x = MARGIN.left + i * column;
      const gap = Math.min(8, column * 0.14);
      const fill = look.fill?.(i) ?? palette.extended;
      const top = Math.min(zero, this.y(value));
      const size = Math.max(1.5, Math.abs(this.y(value) - zero));
      if (look.gone?.(i)) pen.rect(x + gap, top, column - 2 * gap, size, { stroke: palette.muted, radius: 2 });
      else pen.rect(x + gap, top, column - 2 * gap, size, { fill, radius: 3 });
      if (look.ghost) pen.line(x + gap / 2, this.y(look.ghost[i]), x + column - gap / 2, this.y(look.ghost[i]), { stroke: palette.text, width: 2 });
      const word = look.mark?.(i) ?? formatNumber(value);
      pen.text(x + column / 2, height - 9, word, { fill: palette.text, align: "center", size: 11, maxWidth: column - 1 });
    });
    if (this.options.onchange) this.placeHandles();
  }

  placeHandles() {
    while (this.layer.children.length > this.values.length) this.layer.lastElementChild?.remove();
    while (this.layer.children.length < this.values.length) this.layer.append(this.newHandle(this.layer.children.length));
    this.values.forEach((value, i) => {
      const node = /** @type {HTMLElement} */ (this.layer.children[i]);
      node.style.transform = `translate(${MARGIN.left + (i + 0.5) * this.column}px, ${this.y(value)}px)`;
      const told = { "aria-label": this.options.name(i), "aria-valuenow": String(value), "aria-valuemin": String(this.low), "aria-valuemax": String(this.options.most), "aria-valuetext": formatNumber(value) };
      for (const [name, text] of Object.entries(told)) node.setAttribute(name, text);
    });
  }

  /** @param {number} i @returns {HTMLElement} */
  newHandle(i) {
    const keys = (/** @type {KeyboardEvent} */ event) => {
      const { most } = this.options;
      const by = most * STEP * (event.shiftKey ? 10 : 2);
      const to = { ArrowUp: this.values[i] + by, ArrowRight: this.values[i] + by, ArrowDown: this.values[i] - by, ArrowLeft: this.values[i] - by, Home: this.low, End: most, 0: 0 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.put(i, to);
    };
    return element("div", { class: "pg-handle", role: "slider", tabindex: "0", "aria-orientation": "vertical", onkeydown: keys });
  }
}
