/** Everything over time on one axis: event ticks, a band, curves; a still layer, and the clock on a layer above it. */

import { gutterOf } from "./gutter.js";
import { BANDS } from "../views/bands.js";
import { panelsOf } from "../views/curves.js";
import { niceTicks } from "../model/format.js";
import { methodColour } from "../pen/palette.js";

/** @import { Palette } from "../pen/palette.js" */
/** @import { Scene, TimeScale, Pen } from "../model/scene.js" */
/** @import { Box } from "../pen/draw.js" */

const TICKS_HEIGHT = 13;
const AXIS_HEIGHT = 17;
const PANEL_GAP = 7;
const PANEL_SHARE = 0.58; // of the height at most, where there is a band above
const PANEL_UNIT = 30; // pixels of a panel of weight 1 at most
const PANEL_LEAST = 12; // pixels that a panel needs to be read
const SNAP = 4; // pixels within which a click means the event

/** Beside a panel: its value at the clock, and under it that of the pinned run. @param {Pen} pen @param {Scene} scene @param {import("../views/curves.js").Panel} panel @param {number} x @param {Box} box @param {number} room pixels */
function drawValues(pen, { palette, model, step, other }, panel, x, box, room) {
  const middle = box.y + box.h / 2;
  const own = panel.value(step);
  const style = { size: 11.5, weight: 600, maxWidth: room };
  if (!other || !panel.otherValue) {
    const second = box.h >= 23 ? panel.aside?.(step) : undefined;
    pen.text(x, middle - (second ? 6 : 0), own, { ...style, fill: palette.text });
    if (second) pen.text(x, middle + 7, second, { fill: palette.muted, size: 11, maxWidth: room });
    return;
  }
  const small = box.h < 20;
  const sample = small ? 0 : 12;
  [own, panel.otherValue(step)].forEach((text, i) => {
    const [left, y] = small ? [x + 38 * i, middle] : [x, middle + (i ? 6.5 : -6.5)];
    const stroke = methodColour(palette, (i ? other.model : model).run.method);
    const below = small ? 7 : 0;
    pen.line(left, y + below, left + (small ? 30 : 9), y + below, { stroke, width: 2, dash: i ? [3, 2] : undefined });
    pen.text(left + sample, y, text, { ...style, size: 11, fill: i && other.missing ? palette.muted : palette.text, maxWidth: small ? 36 : room - sample });
  });
}

/** Where the pinned run's log ends, if that is before the end of the axis. @param {Pen} pen @param {Scene} scene @param {TimeScale} scale @param {number} top @param {number} bottom */
function drawOtherEnd(pen, { model, palette, other }, scale, top, bottom) {
  if (!other || other.model.lastStep >= model.lastStep) return;
  const x = scale.x(other.model.lastStep);
  const stroke = methodColour(palette, other.model.run.method);
  pen.line(x, top, x, bottom, { stroke, width: 1.25, dash: [2, 3] });
  pen.text(x + 4, top + 6, "pinned run ends", { fill: palette.muted, size: 11 });
}

/**
 * Those that can be read in the room; where it is short, the least needed are left out.
 * @param {import("../views/curves.js").Panel[]} panels @param {number} room pixels @param {number} most pixels of a weight of 1
 * @returns {{panels: import("../views/curves.js").Panel[], unit: number, used: number}} unit: pixels of a weight of 1
 */
function fitPanels(panels, room, most) {
  const total = panels.reduce((sum, panel) => sum + panel.weight, 0);
  const gaps = panels.length * PANEL_GAP;
  const unit = Math.min(most, (room - gaps) / total);
  const least = Math.min(...panels.map((panel) => panel.weight)) * unit;
  if (least >= PANEL_LEAST || panels.length <= 2) return { panels, unit, used: unit * total + gaps };
  const needs = panels.map((panel) => panel.need ?? 0);
  const spare = needs.lastIndexOf(Math.max(...needs));
  return fitPanels(panels.filter((_, i) => i !== spare), room, most);
}

export class Timeline {
  constructor() {
    /** @type {import("../model/scene.js").Band} */
    this.band = BANDS.directions;
    this.width = 0;
    this.height = 0;
    this.hidden = 0;
    this.words = 0;
  }

  /** @param {Scene} scene with the size of the whole timeline @returns {import("./gutter.js").Gutter} */
  layout(scene) {
    const { model, width, height } = scene;
    this.model = model;
    this.width = width;
    this.height = height;
    const gutter = gutterOf(scene.palette.font);
    const { left } = gutter;
    const right = Math.max(left + 50, width - gutter.right);
    const [from, to] = model.domain;
    /** @type {TimeScale} */
    this.scale = {
      left,
      right,
      aside: gutter.right - 12,
      x: (step) => left + ((step - from) / (to - from)) * (right - left),
      step: (x) => from + ((x - left) / (right - left)) * (to - from),
    };
    const room = height - TICKS_HEIGHT - AXIS_HEIGHT;
    const all = panelsOf(model, scene.other);
    const { panels, unit, used } = fitPanels(all, this.band.alone ? room : room * (this.band.panels ?? PANEL_SHARE), this.band.alone ? Infinity : PANEL_UNIT);
    this.hidden = all.length - panels.length;
    this.panels = panels;
    this.bandBox = { x: left, y: TICKS_HEIGHT, w: right - left, h: room - used };
    this.bandLayout = this.band.layout(scene, this.bandBox);
    let y = TICKS_HEIGHT + room - used;
    /** @type {Box[]} */
    this.boxes = this.panels.map((panel) => {
      y += PANEL_GAP;
      const box = { x: left, y, w: right - left, h: panel.weight * unit };
      y += box.h;
      return box;
    });
    this.words = gutter.words;
    return gutter;
  }

  /** @param {Pen} pen @param {Scene} scene */
  drawStill(pen, scene) {
    const { scale, boxes, panels } = this;
    const { model, palette } = scene;
    if (!scale || !boxes || !panels) return;
    const [title, aside] = this.band.titles(scene);
    pen.text(scale.left - 8, 6, title, { fill: palette.text, size: 11, weight: 600, align: "right", maxWidth: scale.left - 10 });
    pen.text(scale.right + 8, 6, aside, { fill: palette.text, size: 11, weight: 600, maxWidth: scale.aside });
    for (const step of model.eventSteps) pen.line(scale.x(step), 4, scale.x(step), TICKS_HEIGHT - 2, { stroke: palette.muted });
    // A schedule that was edited while it trained: without the mark, the curve of b(t) would just jump.
    for (const note of model.header.notes ?? []) {
      if (note.kind === "edited") pen.glyph("down", scale.x(note.step), 5, 5, { fill: palette.accent });
    }
    this.band.still(pen, scene, this.bandLayout, scale);
    if (scene.other) drawOtherEnd(pen, scene, scale, boxes[0]?.y ?? 0, this.height - AXIS_HEIGHT);
    panels.forEach((panel, i) => {
      const box = boxes[i];
      panel.draw(pen, palette, box, scale);
      const inner = box.h >= 23 && panel.note;
      const labelled = { fill: palette.text, size: 11, maxWidth: this.words };
      pen.text(2, box.y + box.h / 2 - (inner ? 5 : 0), inner ? panel.label : (panel.terse ?? panel.label), labelled);
      if (inner) pen.text(2, box.y + box.h / 2 + 8, panel.note ?? "", { fill: palette.muted, size: 11, maxWidth: this.words + 4 });
    });
    const axis = this.height - AXIS_HEIGHT + 10;
    for (const tick of niceTicks(model.domain[0], model.domain[1], Math.max(2, (scale.right - scale.left) / 110))) {
      pen.line(scale.x(tick), this.height - AXIS_HEIGHT, scale.x(tick), this.height - AXIS_HEIGHT + 3, { stroke: palette.faint });
      pen.text(scale.x(tick), axis, String(Math.round(tick * 1000) / 1000), { fill: palette.muted, size: 11, align: "center" });
    }
    pen.text(scale.left - 8, axis, "step", { fill: palette.muted, size: 11, align: "right" });
    if (this.hidden) pen.text(2, axis, `+${this.hidden} more`, { fill: palette.muted, size: 11, maxWidth: 54 });
    if (model.drawn) pen.text(this.width - 1, axis, model.drawn, { fill: palette.muted, size: 11, align: "right" });
  }

  /** @param {Pen} pen @param {Scene} scene */
  drawMoving(pen, scene) {
    const { scale, boxes, panels } = this;
    const { palette } = scene;
    if (!scale || !boxes || !panels) return;
    const bottom = this.height - AXIS_HEIGHT;
    if (scene.hoverStep !== null) {
      const x = scale.x(scene.hoverStep);
      pen.line(x, TICKS_HEIGHT, x, bottom, { stroke: palette.muted, dash: [3, 3] });
    }
    if (scene.since !== null) this.drawSince(pen, palette, scene.since);
    const x = scale.x(scene.time);
    pen.line(x, 0, x, bottom + 3, { stroke: palette.background, width: 4, alpha: 0.45 });
    pen.line(x, 0, x, bottom + 3, { stroke: palette.text, width: 1.5 });
    const step = String(scene.step);
    const width = pen.measure(step, { size: 11, weight: 600 }) + 10;
    pen.rect(x - width / 2, bottom + 2, width, AXIS_HEIGHT - 2, { fill: palette.text, radius: 3 });
    pen.text(x, bottom + AXIS_HEIGHT / 2 + 1.5, step, { fill: palette.background, size: 11, weight: 600, align: "center" });
    this.band.moving(pen, scene, this.bandLayout, scale);
    panels.forEach((panel, i) => {
      const box = boxes[i];
      drawValues(pen, scene, panel, scale.right + 8, box, scale.aside);
    });
  }

  /** The step from which rank change counts. @param {Pen} pen @param {Palette} palette @param {number} since */
  drawSince(pen, palette, since) {
    const scale = /** @type {TimeScale} */ (this.scale);
    const x = scale.x(since);
    pen.line(x, TICKS_HEIGHT - 4, x, this.height - AXIS_HEIGHT, { stroke: palette.accent, width: 1.25, dash: [5, 3] });
    pen.glyph("down", x, TICKS_HEIGHT - 6, 4, { fill: palette.accent });
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

  /** @param {Scene} scene @param {number} x @param {number} y @returns {number} matrix of the band under the pointer, or -1 */
  matrixAt(scene, x, y) {
    return this.scale && this.inBand(y) ? this.band.at(scene, this.bandLayout, this.scale, x, y) : -1;
  }

  /** @param {Scene} scene @param {number} x @param {number} y @returns {string | null} what the band, or a curve, says of the point */
  tip(scene, x, y) {
    if (!this.scale) return null;
    if (this.inBand(y)) return this.band.tip?.(scene, this.bandLayout, this.scale, x, y) ?? null;
    const i = this.boxes?.findIndex((box) => y >= box.y - PANEL_GAP / 2 && y <= box.y + box.h + PANEL_GAP / 2) ?? -1;
    const panel = this.panels?.[i];
    if (!panel) return null;
    const step = (x <= this.scale.right ? this.stepAt(x) : null) ?? scene.step;
    const other = scene.other && panel.otherValue ? `pinned ${panel.otherValue(step)}` : "";
    return [panel.label, `step ${step}`, panel.value(step) || "–", panel.aside?.(step) ?? "", other].filter(Boolean).join(" · ");
  }

  /** @param {number} y */
  inBand(y) {
    return this.bandBox !== undefined && y >= this.bandBox.y && y <= this.bandBox.y + this.bandBox.h;
  }
}
