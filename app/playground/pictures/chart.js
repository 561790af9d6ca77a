/** Lines over an axis: losses over steps, or what a setting does. */

import { formatNumber, niceTicks } from "../../player/model/format.js";

/** @import { CanvasPen, Box } from "../../player/pen/draw.js" */
/** @import { Palette } from "../../player/pen/palette.js" */

/**
 * @typedef {object} Series
 * @property {ArrayLike<number>} xs
 * @property {ArrayLike<number>} ys a gap where one is not a number, or not above 0 on a log scale
 * @property {string} colour
 * @property {string} [label] at its end
 * @property {number[]} [dash]
 * @property {number} [width]
 * @property {boolean} [dots]
 * @property {boolean} [steps] each value holds until the next
 */

/**
 * @typedef {object} ChartInput
 * @property {Series[]} series
 * @property {[number, number]} x ends of the axis
 * @property {[number, number]} y ends of the axis; above 0 on a log scale
 * @property {boolean} [log]
 * @property {string} title
 * @property {string} [below] what the x axis counts
 * @property {string[]} [places] words below the x axis at 0, 1, 2, …, instead of the numbers at its ends
 * @property {number} [now] a line across
 * @property {number[]} [marks] ticks at the foot
 * @property {number} [right] room for the names of the lines
 */

const MARGIN = { left: 46, right: 64, top: 24, bottom: 20 };
const LABEL_GAP = 13;

/** @param {ArrayLike<number>[]} lists @param {boolean} [log] @returns {[number, number]} ends that hold all of them */
export function endsOf(lists, log = false) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (let i = 0; i < list.length; i += 1) {
      if (!Number.isFinite(list[i]) || (log && list[i] <= 0)) continue;
      low = Math.min(low, list[i]);
      high = Math.max(high, list[i]);
    }
  }
  if (!(low <= high)) return log ? [0.01, 1] : [0, 1];
  if (log) return [low / 1.25, Math.max(high * 1.25, low * 2)];
  return [Math.min(0, low), high > 0 ? high * 1.08 : 1];
}

/** @param {[number, number]} ends @param {boolean | undefined} log @param {number} from @param {number} to @returns {(value: number) => number} */
function scale([low, high], log, from, to) {
  const place = log ? Math.log : (/** @type {number} */ value) => value;
  const span = place(high) - place(low) || 1;
  return (value) => (log && value <= 0 ? NaN : from + ((place(value) - place(low)) / span) * (to - from));
}

/** @param {[number, number]} ends @param {boolean | undefined} log @returns {number[]} */
function ticksOf([low, high], log) {
  if (!log) return niceTicks(low, high, 3);
  const powers = niceTicks(Math.ceil(Math.log10(low)), Math.floor(Math.log10(high)), 3).filter(Number.isInteger).map((power) => 10 ** power);
  return powers.length > 1 ? powers : [low * 1.1, high / 1.1].map((end) => Number(end.toPrecision(1))).filter((end, i, all) => end >= low && end <= high && all.indexOf(end) === i);
}

/** @param {CanvasPen} pen @param {Palette} palette @param {Box} box @param {ChartInput} input */
export function drawChart(pen, palette, box, input) {
  const [left, right] = [box.x + MARGIN.left, box.x + box.w - (input.right ?? MARGIN.right)];
  const [top, bottom] = [box.y + MARGIN.top, box.y + box.h - MARGIN.bottom];
  const x = scale(input.x, false, left, right);
  const y = scale(input.y, input.log, bottom, top);
  pen.text(box.x, box.y + 10, `${input.title}${input.log ? ", log scale" : ""}`, { fill: palette.text, size: 12, weight: 600, maxWidth: box.w });
  for (const tick of ticksOf(input.y, input.log)) {
    pen.line(left, y(tick), right, y(tick), { stroke: palette.line, dash: [2, 3] });
    pen.text(left - 6, y(tick), formatNumber(tick), { fill: palette.muted, align: "right", size: 11 });
  }
  pen.line(left, bottom, right, bottom, { stroke: palette.faint });
  for (const mark of input.marks ?? []) pen.line(x(mark), bottom, x(mark), bottom + 4, { stroke: palette.muted });
  if (input.places) input.places.forEach((word, i) => pen.text(x(i), bottom + 12, word, { fill: palette.muted, align: "center", size: 11 }));
  else {
    pen.text(left, bottom + 12, formatNumber(input.x[0]), { fill: palette.muted, size: 11 });
    pen.text(right, bottom + 12, formatNumber(input.x[1]), { fill: palette.muted, align: "right", size: 11 });
  }
  if (input.below) pen.text((left + right) / 2, bottom + 12, input.below, { fill: palette.muted, align: "center", size: 11 });
  if (input.now !== undefined) pen.line(x(input.now), top, x(input.now), bottom, { stroke: palette.faint });
  pen.clipped({ x: left - 4, y: top - 4, w: right - left + 8, h: bottom - top + 8 }, () => {
    for (const { xs, ys, colour, dash, width, dots, steps } of input.series) {
      const across = Array.from(xs, x);
      const up = Array.from(ys, y);
      pen.path(across, up, { stroke: colour, width: width ?? 2, dash, steps });
      if (dots || across.length === 1) across.forEach((place, i) => Number.isFinite(up[i]) && pen.glyph("circle", place, up[i], 3, { fill: colour }));
    }
  });
  drawLabels(pen, palette, input, right, (value) => Math.min(bottom, Math.max(top, y(value))), [top, bottom]);
}

/** Names at the ends of lines, pushed apart. @param {CanvasPen} pen @param {Palette} palette @param {ChartInput} input @param {number} right @param {(value: number) => number} y @param {[number, number]} ends */
function drawLabels(pen, palette, input, right, y, [top, bottom]) {
  const labels = input.series.flatMap(({ ys, label, colour }) => {
    const known = Array.from(ys).filter((value) => Number.isFinite(value) && (!input.log || value > 0));
    return label && known.length ? [{ label, colour, at: y(known[known.length - 1]) }] : [];
  });
  labels.sort((a, b) => a.at - b.at);
  labels.forEach((item, i) => {
    if (i) item.at = Math.max(item.at, labels[i - 1].at + LABEL_GAP);
  });
  const over = labels.length ? Math.max(0, labels[labels.length - 1].at - bottom) : 0;
  for (const { label, at, colour } of labels) {
    const place = Math.max(top, at - over);
    pen.line(right + 4, place, right + 10, place, { stroke: colour, width: 3 });
    pen.text(right + 13, place, label, { fill: palette.text, size: 11, maxWidth: (input.right ?? MARGIN.right) - 14 });
  }
}
