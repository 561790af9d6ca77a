/** One number as a point on an axis that stays as it is, beside where it was. */

import { element, penFor } from "../../player/pen/draw.js";
import { formatNumber } from "../../player/model/format.js";

/** @import { Palette } from "../../player/pen/palette.js" */

const HEIGHT = 50;
const MARGIN = { left: 34, right: 16 };
const [LINE, NUMBERS] = [26, 42];

export class Gauge {
  /** @param {{name: string, ticks: number[], log?: boolean}} options ticks from one end of the axis to the other */
  constructor(options) {
    this.options = options;
    this.canvas = element("canvas", { role: "img" });
    this.node = element("div", { class: "pg-gauge", style: `height:${HEIGHT}px` }, [this.canvas]);
  }

  /** @param {number} value @returns {number} its place on the axis, from 0 to 1; beyond an end it is at the end */
  share(value) {
    const { ticks, log } = this.options;
    const place = log ? Math.log : (/** @type {number} */ own) => own;
    const [low, high] = [ticks[0], ticks[ticks.length - 1]].map(place);
    return Math.min(1, Math.max(0, (place(value) - low) / (high - low)));
  }

  /** @param {Palette} palette @param {number | null} value null = undefined @param {number | null} before null = it was nowhere else */
  draw(palette, value, before) {
    const { name, ticks, log } = this.options;
    const width = Math.max(160, this.node.clientWidth);
    const pen = penFor(this.canvas, width, HEIGHT, palette.font);
    const x = (/** @type {number} */ own) => MARGIN.left + this.share(own) * (width - MARGIN.left - MARGIN.right);
    pen.text(0, 9, `${name}${log ? ", log scale" : ""}`, { fill: palette.muted, size: 12 });
    pen.line(x(ticks[0]), LINE, x(ticks[ticks.length - 1]), LINE, { stroke: palette.faint });
    for (const tick of ticks) {
      pen.line(x(tick), LINE, x(tick), LINE + 5, { stroke: palette.muted });
      pen.text(x(tick), NUMBERS, formatNumber(tick), { fill: palette.muted, align: "center", size: 11 });
    }
    const moved = value !== null && before !== null;
    if (moved) {
      pen.line(x(before), LINE, x(value), LINE, { stroke: palette.accent, width: 2, dash: [3, 3] });
      pen.glyph("circle", x(before), LINE, 7, { stroke: palette.accent, width: 1.5 });
    }
    if (value !== null) pen.glyph("circle", x(value), LINE, 4.5, { fill: palette.accent });
    this.canvas.setAttribute("aria-label", `${name}: ${value === null ? "undefined" : formatNumber(value)}${moved ? `, before ${formatNumber(before)}` : ""}`);
  }
}
