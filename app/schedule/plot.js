/** The picture of a schedule: b(t), its events, its window, and what of it is already past. */

import { penFor } from "../player/pen/draw.js";
import { readPalette } from "../player/pen/palette.js";

const MOST_MARKS = 3000;
export const PLOT_HEIGHT = 190;
export const PLOT_MARGIN = { left: 38, right: 16, top: 24, bottom: 26 };

/**
 * @typedef {object} PlotInput
 * @property {number} total steps of the run
 * @property {number[]} values b(t) for t = 1 … total
 * @property {number[]} events steps at which rank may move
 * @property {number} warmup no event up to this step
 * @property {number} end no event from this step on
 * @property {number} top budget at the upper edge
 * @property {boolean} band b is decided while training: only its ceiling is known
 * @property {number | null} now finished steps of a run that trains; before it nothing changes
 * @property {number[] | null} force b(t) that holds until an edit is applied
 * @property {[number, number, number][]} moves step, pruned, extended of the events that are past
 * @property {[number, number][]} knots
 */

/** Pixels of a step and of a budget. @param {number} width @param {number} total @param {number} top */
export function plotScale(width, total, top) {
  const { left, right, top: above, bottom } = PLOT_MARGIN;
  const across = width - left - right;
  const floor = PLOT_HEIGHT - bottom;
  return {
    x: (/** @type {number} */ step) => left + (step / Math.max(1, total)) * across,
    y: (/** @type {number} */ budget) => floor - (budget / top) * (floor - above),
    step: (/** @type {number} */ x) => ((x - left) / across) * total,
    budget: (/** @type {number} */ y) => ((floor - y) / (floor - above)) * top,
  };
}

/** @param {HTMLElement} host @param {HTMLCanvasElement} canvas @param {number} width @param {PlotInput} input */
export function drawPlot(host, canvas, width, input) {
  const palette = readPalette(host);
  const pen = penFor(canvas, width, PLOT_HEIGHT, palette.font);
  const { x, y } = plotScale(width, input.total, input.top);
  const { left, right, top } = PLOT_MARGIN;
  const bottom = PLOT_HEIGHT - PLOT_MARGIN.bottom;
  for (const [from, to] of [[0, input.warmup], [input.end, input.total]]) {
    pen.rect(x(from), top, Math.max(0, x(to) - x(from)), bottom - top, { fill: palette.faint, alpha: 0.25 });
  }
  if (input.now !== null) pen.rect(left, top, Math.max(0, x(input.now) - left), bottom - top, { fill: palette.faint, alpha: 0.16 });
  pen.line(left, bottom, width - right, bottom, { stroke: palette.line });
  for (const budget of ticks(input.top)) {
    pen.line(left, y(budget), width - right, y(budget), { stroke: palette.line, dash: [2, 3] });
    pen.text(left - 7, y(budget), String(budget), { fill: palette.muted, align: "right", size: 11 });
  }
  const now = input.now ?? 0;
  for (const step of thinned(input.events)) {
    const budget = input.values[step - 1] ?? 0;
    if (step > now && budget && !input.band) pen.line(x(step), bottom, x(step), y(budget), { stroke: palette.extended, width: 2, alpha: 0.85 });
    pen.line(x(step), bottom, x(step), bottom + 4, { stroke: budget ? palette.extended : palette.muted });
  }
  for (const [step, pruned, extended] of input.moves) pen.line(x(step), bottom, x(step), y(Math.max(pruned, extended)), { stroke: palette.muted, width: 3 });
  const from = Math.max(input.warmup, now);
  if (input.band) pen.rect(x(from), y(highest(input)), Math.max(0, x(input.end) - x(from)), bottom - y(highest(input)), { fill: palette.extended, alpha: 0.16 });
  const curve = (/** @type {number[]} */ values, /** @type {number} */ first, /** @type {number} */ last, /** @type {import("../player/pen/draw.js").Style & {steps?: boolean}} */ style) => {
    const steps = thinned(values.map((_, index) => index + 1)).filter((step) => step >= first && step <= last);
    pen.path(steps.map(x), steps.map((step) => y(values[step - 1])), { ...style, steps: true });
  };
  // A ghost is what was, or what would be without the edit.
  curve(input.values, 1, now, { stroke: palette.muted, width: 1.25, dash: [3, 3] });
  if (input.force) curve(input.force, Math.max(1, now), input.total, { stroke: palette.muted, width: 1.25, dash: [3, 3] });
  curve(input.values, Math.max(1, now), input.total, { stroke: palette.accent, width: 1.75, dash: input.band ? [5, 4] : undefined });
  if (input.knots.length) pen.path(input.knots.map((knot) => x(knot[0])), input.knots.map((knot) => y(knot[1])), { stroke: palette.muted, dash: [2, 3] });
  if (input.now !== null) pen.line(x(input.now), top, x(input.now), bottom, { stroke: palette.text, width: 1.5 });
  drawLabels(pen, palette, width, input, x);
}

/** @param {import("../player/pen/draw.js").CanvasPen} pen @param {import("../player/pen/palette.js").Palette} palette @param {number} width @param {PlotInput} input @param {(step: number) => number} x */
function drawLabels(pen, palette, width, input, x) {
  const { left, right, top } = PLOT_MARGIN;
  const told = input.band ? "b(t) is decided while training, at most the dashed line" : "b(t): directions an event may move";
  const { now } = input;
  pen.text(left, top - 13, told, { fill: palette.muted, size: 11 });
  for (const [step, label, side] of [[input.warmup, "warm-up", "right"], [input.end, "final", "left"]]) {
    const room = side === "right" ? x(Number(step)) - left : width - right - x(Number(step));
    if (room > 50) pen.text(x(Number(step)) + (side === "left" ? 5 : -5), top + 8, String(label), { fill: palette.text, align: /** @type {"left" | "right"} */ (side), size: 11 });
  }
  pen.text(left, PLOT_HEIGHT - 8, "0", { fill: palette.muted, align: "center", size: 11 });
  pen.text(width - right, PLOT_HEIGHT - 8, String(input.total), { fill: palette.muted, align: "right", size: 11 });
  pen.text((left + width - right) / 2, PLOT_HEIGHT - 8, "step", { fill: palette.muted, align: "center", size: 11 });
  if (now === null) return;
  const room = (/** @type {number} */ pixels) => pixels > 40;
  pen.text(x(now) + (room(width - right - x(now)) ? 5 : -5), PLOT_HEIGHT - PLOT_MARGIN.bottom - 8, `now ${now}`, { fill: palette.text, align: room(width - right - x(now)) ? "left" : "right", size: 11, weight: 600 });
  if (room(x(now) - left)) pen.text(left + 4, PLOT_HEIGHT - PLOT_MARGIN.bottom - 8, "past", { fill: palette.muted, size: 11 });
}

/** @param {PlotInput} input @returns {number} the most that b can be from here on */
function highest({ values, now }) {
  return values.reduce((most, value, i) => (i >= (now ?? 0) ? Math.max(most, value) : most), 0);
}

/** A long run has more steps than the plot has pixels. @param {number[]} steps @returns {number[]} */
function thinned(steps) {
  const stride = Math.ceil(steps.length / MOST_MARKS);
  return stride > 1 ? steps.filter((_, index) => index % stride === 0) : steps;
}

/** A few round budgets up to the top. @param {number} top @returns {number[]} */
function ticks(top) {
  const rough = top / 3;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const distance = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? power);
  const found = [];
  for (let budget = 0; budget <= top; budget += distance) found.push(budget);
  return found;
}
