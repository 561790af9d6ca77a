/** b(t) of a schedule that is being edited: the curve, its events and where it ends. */

import { element, penFor } from "./draw.js";
import { readPalette } from "./palette.js";

/**
 * @typedef {object} Preview
 * @property {number} total steps of the run
 * @property {number[]} values b(t) for t = 1 … total, as the server's schedule computes it
 * @property {number[]} events steps at which rank may move
 * @property {number} warmup no event up to this step
 * @property {number} end no event from this step on
 * @property {string} summary the same in words
 */

const HEIGHT = 132;
const MARGIN = { left: 34, right: 12, top: 20, bottom: 24 };

/** @param {HTMLElement} host @param {Preview} preview */
function drawPreview(host, preview) {
  const palette = readPalette(host);
  const canvas = /** @type {HTMLCanvasElement} */ (host.querySelector("canvas"));
  const width = Math.max(240, host.clientWidth);
  const pen = penFor(canvas, width, HEIGHT, palette.font);
  const top = Math.max(1, ...preview.values);
  const bottom = HEIGHT - MARGIN.bottom;
  const x = (/** @type {number} */ step) => MARGIN.left + (step / Math.max(1, preview.total)) * (width - MARGIN.left - MARGIN.right);
  const y = (/** @type {number} */ budget) => bottom - (budget / top) * (bottom - MARGIN.top);
  for (const [from, to] of [[0, preview.warmup], [preview.end, preview.total]]) {
    pen.rect(x(from), MARGIN.top, Math.max(0, x(to) - x(from)), bottom - MARGIN.top, { fill: palette.faint, alpha: 0.25 });
  }
  pen.line(MARGIN.left, bottom, width - MARGIN.right, bottom, { stroke: palette.line });
  pen.line(MARGIN.left, y(top), width - MARGIN.right, y(top), { stroke: palette.line, dash: [2, 3] });
  pen.text(MARGIN.left - 6, y(top), String(top), { fill: palette.muted, align: "right" });
  pen.text(MARGIN.left - 6, bottom, "0", { fill: palette.muted, align: "right" });
  for (const step of preview.events) {
    const budget = preview.values[step - 1] ?? 0;
    pen.line(x(step), bottom, x(step), y(budget), { stroke: palette.extended, width: 2, alpha: budget ? 0.9 : 0.3 });
    if (!budget) pen.line(x(step), bottom, x(step), bottom + 4, { stroke: palette.muted });
  }
  const steps = preview.values.map((_, index) => x(index + 1));
  pen.path(steps, preview.values.map(y), { stroke: palette.accent, width: 1.5, steps: true });
  for (const [step, label] of [[preview.warmup, "warm-up"], [preview.end, "final"]]) {
    const place = x(Number(step));
    const outside = label === "final" ? "left" : "right";
    if (Number(step) > 0 && Number(step) < preview.total) {
      pen.text(place + (outside === "left" ? 4 : -4), MARGIN.top + 7, String(label), { fill: palette.muted, align: outside, size: 10 });
    }
  }
  pen.text(MARGIN.left, HEIGHT - 8, "0", { fill: palette.muted, align: "center" });
  pen.text(width - MARGIN.right, HEIGHT - 8, String(preview.total), { fill: palette.muted, align: "right" });
  pen.text((MARGIN.left + width - MARGIN.right) / 2, HEIGHT - 8, "step", { fill: palette.muted, align: "center" });
  pen.text(MARGIN.left + 2, MARGIN.top - 10, "b(t): directions an event may move", { fill: palette.muted, size: 10 });
  canvas.setAttribute("aria-label", preview.summary);
  host.dataset.events = String(preview.events.length);
  host.dataset.top = String(top);
}

/** @type {WeakMap<object, {host: HTMLElement, preview: Preview, observer: ResizeObserver}>} */
const PREVIEWS = new WeakMap();

/** @param {{data: Preview, parentElement: Element | ShadowRoot}} component */
export default function render({ data, parentElement }) {
  let own = PREVIEWS.get(parentElement);
  if (!own) {
    const host = element("div", { class: "schedule-preview" }, [element("canvas", { role: "img" })]);
    parentElement.append(host);
    const fresh = { host, preview: data, observer: new ResizeObserver(() => drawPreview(host, fresh.preview)) };
    fresh.observer.observe(host);
    own = fresh;
    PREVIEWS.set(parentElement, own);
  }
  own.preview = data;
  drawPreview(own.host, data);
}
