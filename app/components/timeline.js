/** Everything over time on one axis: event ticks, strip, curves; a still layer, and the clock on a layer above it. */

import { penFor } from "./draw.js";
import { drawRowBars, drawStrip, layoutStrip, paintStrip, stripMatrixAt } from "./entropy_strip.js";
import { panelsOf } from "./curves.js";
import { stripColour } from "./colour.js";
import { niceTicks } from "./format.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./palette.js").Palette} Palette */
/** @typedef {import("./palette.js").Colour} Colour */
/** @typedef {import("./entropy_strip.js").TimeScale} TimeScale */
/** @typedef {import("./draw.js").Box} Box */

/** Gutters left and right of the time axis, in CSS pixels; the slider keeps to them too. */
export const GUTTER = { left: 88, right: 84 };
const TICKS_HEIGHT = 13;
const AXIS_HEIGHT = 17;
const PANEL_GAP = 7;
const SNAP = 4; // pixels within which a click means the event

export class Timeline {
  /** @param {HTMLCanvasElement} still @param {HTMLCanvasElement} moving */
  constructor(still, moving) {
    this.still = still;
    this.moving = moving;
    this.width = 0;
    this.height = 0;
    /** @type {string} what the strip's picture was painted from */
    this.painted = "";
    /** @type {HTMLCanvasElement | null} */
    this.image = null;
  }

  /** @param {Model} model @param {number} width @param {number} height */
  layout(model, width, height) {
    this.model = model;
    this.width = width;
    this.height = height;
    const left = GUTTER.left;
    const right = Math.max(left + 50, width - GUTTER.right);
    const [from, to] = model.domain;
    /** @type {TimeScale} */
    this.scale = {
      left,
      right,
      x: (step) => left + ((step - from) / (to - from)) * (right - left),
      step: (x) => from + ((x - left) / (right - left)) * (to - from),
    };
    this.panels = panelsOf(model);
    const room = height - TICKS_HEIGHT - AXIS_HEIGHT;
    const total = this.panels.reduce((sum, panel) => sum + panel.weight, 0);
    const panelRoom = Math.min(room * 0.54, total * 30 + this.panels.length * PANEL_GAP);
    const unit = (panelRoom - this.panels.length * PANEL_GAP) / total;
    this.strip = layoutStrip(model, { x: left, y: TICKS_HEIGHT, w: right - left, h: room - panelRoom });
    let y = TICKS_HEIGHT + room - panelRoom;
    /** @type {Box[]} */
    this.boxes = this.panels.map((panel) => {
      y += PANEL_GAP;
      const box = { x: left, y, w: right - left, h: panel.weight * unit };
      y += box.h;
      return box;
    });
  }

  /** @param {Palette} palette @param {Colour} colour @param {number} selected @param {string} content what the data is */
  drawStill(palette, colour, selected, content) {
    const { model, scale, strip } = this;
    if (!model || !scale || !strip || !this.boxes || !this.panels) return;
    const pen = penFor(this.still, this.width, this.height, palette.font);
    const wanted = [content, palette.key, stripColour(colour), this.width].join("|");
    if (wanted !== this.painted || !this.image) {
      this.image = paintStrip(model, palette, colour, scale, window.devicePixelRatio || 1);
      this.painted = wanted;
    }
    pen.text(scale.left - 8, 6, stripColour(colour) === "change" ? "rank change" : stripColour(colour), { fill: palette.text, size: 11, weight: 600, align: "right" });
    const other = stripColour(colour) === "energy" ? "entropy now" : "energy now";
    pen.text(scale.right + 8, 6, other, { fill: palette.text, size: 11, weight: 600 });
    for (const step of model.eventSteps) pen.line(scale.x(step), 4, scale.x(step), TICKS_HEIGHT - 2, { stroke: palette.muted });
    // A schedule that was edited while it trained: without the mark, the curve of b(t) would just jump.
    for (const note of model.header.notes ?? []) {
      if (note.kind === "edited") pen.glyph("down", scale.x(note.step), 5, 5, { fill: palette.accent });
    }
    drawStrip(pen, model, palette, strip, this.image, scale, selected);
    this.panels.forEach((panel, i) => {
      const box = /** @type {Box[]} */ (this.boxes)[i];
      panel.draw(pen, palette, box, scale);
      const inner = box.h >= 23 && panel.note;
      const labelled = { fill: palette.text, size: 11, maxWidth: 62 };
      pen.text(2, box.y + box.h / 2 - (inner ? 5 : 0), panel.label, labelled);
      if (inner) pen.text(2, box.y + box.h / 2 + 8, panel.note ?? "", { fill: palette.muted, size: 9.5, maxWidth: 70 });
    });
    const axis = this.height - AXIS_HEIGHT + 10;
    for (const tick of niceTicks(model.domain[0], model.domain[1], Math.max(2, (scale.right - scale.left) / 110))) {
      pen.line(scale.x(tick), this.height - AXIS_HEIGHT, scale.x(tick), this.height - AXIS_HEIGHT + 3, { stroke: palette.faint });
      pen.text(scale.x(tick), axis, String(Math.round(tick * 1000) / 1000), { fill: palette.muted, size: 10, align: "center" });
    }
    pen.text(scale.left - 8, axis, "step", { fill: palette.muted, size: 10, align: "right" });
  }

  /** @param {Palette} palette @param {{time: number, record: number, colour: Colour, hoverStep: number | null}} state */
  drawMoving(palette, state) {
    const { model, scale, strip } = this;
    if (!model || !scale || !strip || !this.boxes || !this.panels) return;
    const pen = penFor(this.moving, this.width, this.height, palette.font);
    const bottom = this.height - AXIS_HEIGHT;
    if (state.hoverStep !== null) {
      const x = scale.x(state.hoverStep);
      pen.line(x, TICKS_HEIGHT, x, bottom, { stroke: palette.muted, dash: [3, 3] });
    }
    const x = scale.x(state.time);
    pen.line(x, 0, x, bottom + 3, { stroke: palette.background, width: 4, alpha: 0.45 });
    pen.line(x, 0, x, bottom + 3, { stroke: palette.text, width: 1.5 });
    const step = String(model.steps[state.record] ?? 0);
    const width = pen.measure(step, { size: 10.5, weight: 600 }) + 10;
    pen.rect(x - width / 2, bottom + 2, width, AXIS_HEIGHT - 2, { fill: palette.text, radius: 3 });
    pen.text(x, bottom + AXIS_HEIGHT / 2 + 1.5, step, { fill: palette.background, size: 10.5, weight: 600, align: "center" });
    drawRowBars(pen, model, palette, strip, state.colour, state.record, scale.right + 8, GUTTER.right - 12);
    this.panels.forEach((panel, i) => {
      const box = /** @type {Box[]} */ (this.boxes)[i];
      const value = panel.value(model.steps[state.record] ?? 0);
      pen.text(scale.right + 8, box.y + box.h / 2, value, { fill: palette.text, size: 11.5, weight: 600, maxWidth: GUTTER.right - 10 });
    });
  }

  /** @param {number} x @returns {number | null} the step under the pointer: an event close by, else the nearest record */
  stepAt(x) {
    const { model, scale } = this;
    if (!scale || !model || x < scale.left - 6 || x > scale.right + 6) return null;
    const event = model.eventSteps.find((step) => Math.abs(scale.x(step) - x) <= SNAP);
    if (event !== undefined) return event;
    const record = model.recordAt(scale.step(x));
    const next = Math.min(record + 1, model.T - 1);
    const nearer = scale.x(model.steps[next]) - x < x - scale.x(model.steps[record]);
    return model.steps[nearer ? next : record];
  }

  /** @param {number} x @param {number} y @returns {number} matrix of the strip's row under the pointer, or -1 */
  matrixAt(x, y) {
    if (!this.strip || !this.scale || x < 0) return -1;
    return stripMatrixAt(this.strip, y);
  }
}
