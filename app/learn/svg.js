/** Pictures of lessons: nodes of SVG, and a plot with two axes that fits its place. */

/** @param {string} tag @param {Record<string, string | number>} [attributes] "text" for its text @param {Node[]} [children] @returns {SVGElement} */
export function svg(tag, attributes = {}, children = []) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = String(value);
    else node.setAttribute(name, String(value));
  }
  node.append(...children);
  return node;
}

/** Of an axis, at most. */
const LEVELS = 6;

/** @typedef {{left: number, right: number, top: number, bottom: number}} Edges */

/**
 * @typedef {object} Plot
 * @property {SVGElement} root
 * @property {number} width @property {number} height
 * @property {Edges} edges
 * @property {(share: number) => number} x from 0 to 1 across
 * @property {(value: number) => number} y from the lowest value to the highest
 */

/** @param {number} width @param {number} height @param {string} label what is seen, in words @param {number} low @param {number} high @param {Partial<Edges>} [margins] @returns {Plot} */
export function plot(width, height, label, low, high, margins = {}) {
  const edges = { left: 56, right: 20, top: 16, bottom: 42, ...margins };
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  const [inner, tall] = [width - edges.left - edges.right, height - edges.top - edges.bottom];
  const span = high - low || 1;
  return { root, width, height, edges, x: (share) => edges.left + share * inner, y: (value) => edges.top + (1 - (value - low) / span) * tall };
}

/** @param {Plot} own @param {number} low @param {number} high @param {(value: number) => string} say */
export function drawLevels({ root, width, edges, y }, low, high, say) {
  const step = niceStep((high - low) / LEVELS);
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * step; value += step) {
    root.append(
      svg("line", { class: "ln-grid", x1: edges.left, x2: width - edges.right, y1: y(value), y2: y(value) }),
      svg("text", { class: "ln-tick", x: edges.left - 8, y: y(value) + 4, "text-anchor": "end", text: say(value) }),
    );
  }
}

/** @param {number} rough @returns {number} 1, 2 or 5 times a power of ten, at least as large */
export function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  return power * (/** @type {number} */ ([1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9))) ?? 10);
}

/** @param {number} value @returns {string} a level of an axis */
export function level(value) {
  const text = Math.abs(value) >= 1000 ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

/** @param {number} share @returns {string} */
export function percent(share) {
  return `${level(share * 100)} %`;
}
