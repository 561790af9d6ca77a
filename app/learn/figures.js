/** Pictures of lessons beside the player: what an update is made of, bars, lines, intervals. Their numbers come from Python. */

import { drawBars } from "./bar_figure.js";
import { drawMaps } from "./map_figure.js";
import { drawUpdate } from "./update_figure.js";
import { drawLevels, level, niceStep, plot, svg } from "./svg.js";

/**
 * @typedef {Record<string, any> & object} Figure
 * @property {"update" | "maps" | "bars" | "lines" | "intervals"} kind
 * @property {string} [title]
 * @property {boolean} [hidden] its values are shown only once the reader has answered
 */

const NARROW_PX = 460;

/** @type {Record<string, (figure: any, width: number, height: number, hidden: boolean) => SVGElement>} */
const DRAWN = { update: drawUpdate, maps: drawMaps, bars: drawBars, lines: drawLines, intervals: drawIntervals };

/** @param {Figure} figure @param {number} width @param {number} height @param {boolean} hidden @returns {SVGElement} */
export function drawFigure(figure, width, height, hidden) {
  return DRAWN[figure.kind](figure, width, height, hidden);
}

/** @param {any} figure @param {number} width @param {number} height */
function drawLines({ title, x: steps, series, top, x_label, y_label }, width, height) {
  const own = plot(width, height, `${title}: ${series.map((/** @type {{label: string, values: number[]}} */ { label, values }) => `${label} from ${level(values[0])} to ${level(values[values.length - 1])}`).join("; ")}`, 0, top, { top: 30 + 20 * series.length });
  drawLevels(own, 0, top, level);
  const [first, last] = [steps[0], steps[steps.length - 1]];
  const across = (/** @type {number} */ step) => own.x((step - first) / (last - first));
  series.forEach((/** @type {{label: string, values: number[]}} */ { label, values }, /** @type {number} */ i) => {
    const points = values.map((value, n) => `${across(steps[n])},${own.y(value)}`).join(" ");
    own.root.append(
      svg("polyline", { class: `ln-line ln-line${i}`, points }),
      svg("line", { class: `ln-line ln-line${i}`, x1: own.edges.left, x2: own.edges.left + 28, y1: 14 + 20 * i, y2: 14 + 20 * i }),
      svg("text", { class: "ln-label", x: own.edges.left + 36, y: 18 + 20 * i, text: label }),
    );
  });
  for (const step of [first, steps[Math.floor(steps.length / 2)], last]) own.root.append(svg("text", { class: "ln-tick", x: across(step), y: own.y(0) + 18, "text-anchor": "middle", text: String(step) }));
  own.root.append(svg("text", { class: "ln-tick", x: own.x(0.5), y: height - 4, "text-anchor": "middle", text: x_label }), svg("text", { class: "ln-tick", x: 12, y: own.edges.top - 10, text: y_label }));
  return own.root;
}

/** @param {any} figure @param {number} width @param {number} height @param {boolean} hidden */
function drawIntervals({ title, rows, x_label, margin = 0 }, width, height, hidden) {
  const ends = rows.flatMap((/** @type {any} */ { mean, low = mean, high = mean }) => [low, high]);
  const reach = Math.max(...ends.map(Math.abs), margin, 1e-9) * 1.15;
  const narrow = width < NARROW_PX;
  const left = narrow ? 20 : Math.min(190, 24 + Math.max(...rows.map((/** @type {any} */ row) => row.label.length)) * 7.4);
  const said = rows.map((/** @type {any} */ { label, mean, low, high }) => `${label} ${level(Number(mean.toFixed(4)))}${low === undefined ? "" : ` from ${level(Number(low.toFixed(4)))} to ${level(Number(high.toFixed(4)))}`}`);
  const tall = Math.min(height, 110 + rows.length * 84);
  const own = plot(width, tall, hidden ? `${title}: not shown yet` : `${title}: ${said.join("; ")}`, 0, 1, { left, bottom: margin ? 74 : 56 });
  const across = (/** @type {number} */ value) => own.x((value + reach) / (2 * reach));
  const [top, bottom] = [own.edges.top, tall - own.edges.bottom];
  if (margin) own.root.append(svg("rect", { class: "ln-margin", x: across(-margin), y: top, width: across(margin) - across(-margin), height: bottom - top }));
  const step = niceStep(reach / (narrow ? 1.9 : 3));
  const most = Math.floor(reach / step);
  for (const value of Array.from({ length: 2 * most + 1 }, (_, i) => (i - most) * step)) {
    own.root.append(svg("line", { class: value ? "ln-grid" : "ln-zero", x1: across(value), x2: across(value), y1: top, y2: bottom }), svg("text", { class: "ln-tick", x: across(value), y: bottom + 18, "text-anchor": "middle", text: value ? `${value > 0 ? "+" : ""}${level(value)}` : "0" }));
  }
  rows.forEach((/** @type {any} */ { label, mean, low, high }, /** @type {number} */ i) => {
    const y = top + ((i + 0.5) / rows.length) * (bottom - top);
    own.root.append(svg("text", { class: "ln-label", ...(narrow ? { x: left, y: y - 16 } : { x: left - 12, y: y + 4, "text-anchor": "end" }), text: label }));
    if (hidden) return own.root.append(svg("text", { class: "ln-big ln-muted", x: across(0), y: y + 6, "text-anchor": "middle", text: "?" }));
    if (low !== undefined) own.root.append(svg("line", { class: "ln-interval", x1: across(low), x2: across(high), y1: y, y2: y }));
    return own.root.append(svg("circle", { class: "ln-dot", cx: across(mean), cy: y, r: 6 }));
  });
  const below = margin ? [x_label, `shaded: ± ${margin}, no difference that matters`] : [x_label];
  below.forEach((text, i) => own.root.append(svg("text", { class: "ln-tick", x: own.x(0.5), y: tall - 8 - 18 * (below.length - 1 - i), "text-anchor": "middle", text })));
  return own.root;
}
