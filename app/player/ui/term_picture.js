/** Tiny pictures of terms: analysis/glossary/pictures.py tells their numbers, all of them shares of the picture. */

const WIDTH = 236;
const HEIGHT = 48;
const PAD = 4;
const COLOURS = { plain: "color-mix(in srgb, var(--st-text-color) 45%, transparent)", own: "var(--st-primary-color)", prune: "var(--fl-pruned)", extend: "var(--fl-extended)" };

/**
 * @typedef {object} Picture
 * @property {"bars" | "shares" | "dots" | "lines"} kind
 * @property {string} note what is drawn, in words
 * @property {number[]} [values]
 * @property {number[]} [marked] places of bars that stand out
 * @property {number[]} [ticks] one height a bar, drawn as a line across it
 * @property {[number, number]} [ends] of the scale of dots
 * @property {{at: number, as: "own" | "prune" | "extend"}[]} [marks]
 * @property {number[]} [at] of the points of lines
 * @property {number[][]} [series]
 * @property {number} [clock]
 */

/** @param {string} tag @param {Record<string, string | number>} attributes @returns {SVGElement} */
function svg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  return node;
}

const across = (/** @type {number} */ share) => PAD + share * (WIDTH - 2 * PAD);
const up = (/** @type {number} */ share) => HEIGHT - PAD - share * (HEIGHT - 2 * PAD);

/** @type {Record<string, (picture: any) => SVGElement[]>} */
const DRAWN = {
  bars: ({ values, marked = [], ticks = [] }) => {
    const step = Math.min(24, (WIDTH - 2 * PAD) / values.length);
    const bars = values.map((/** @type {number} */ value, /** @type {number} */ i) =>
      svg("rect", { x: PAD + i * step, y: Math.min(up(value), up(0) - 1.5), width: Math.max(1, step - 2), height: Math.max(1.5, up(0) - up(value)), fill: marked.includes(i) ? COLOURS.prune : COLOURS.own }));
    const lines = ticks.map((/** @type {number} */ value, /** @type {number} */ i) =>
      svg("line", { x1: PAD + i * step - 1, x2: PAD + (i + 1) * step - 1, y1: up(value), y2: up(value), stroke: "var(--st-text-color)", "stroke-width": 2 }));
    return [...bars, ...lines];
  },
  shares: ({ values }) => {
    let before = 0;
    return values.map((/** @type {number} */ value, /** @type {number} */ i) => {
      const part = svg("rect", { x: across(before), y: 12, width: Math.max(0.5, across(value) - PAD - 1), height: HEIGHT - 24, fill: COLOURS.own, opacity: i % 2 ? 0.45 : 0.9 });
      before += value;
      return part;
    });
  },
  dots: ({ values, ends: [low, high], marks }) => {
    const x = (/** @type {number} */ value) => across((value - low) / (high - low || 1));
    const rise = { own: 12, prune: 24, extend: 24 };
    return [
      svg("line", { x1: PAD, x2: WIDTH - PAD, y1: 24, y2: 24, stroke: COLOURS.plain, "stroke-width": 1 }),
      ...values.map((/** @type {number} */ value) => svg("line", { x1: x(value), x2: x(value), y1: 18, y2: 30, stroke: COLOURS.plain, "stroke-width": 1.5 })),
      ...marks.map((/** @type {{at: number, as: "own" | "prune" | "extend"}} */ { at, as }) =>
        as === "own"
          ? svg("path", { d: `M${x(at)} 32l5 9h-10z`, fill: COLOURS.own })
          : svg("circle", { cx: x(at), cy: rise[as], r: 4.5, fill: COLOURS[as] })),
    ];
  },
  lines: ({ at, series, clock }) => [
    svg("line", { x1: across(clock), x2: across(clock), y1: 0, y2: HEIGHT, stroke: COLOURS.plain, "stroke-width": 1 }),
    ...series.map((/** @type {number[]} */ own, /** @type {number} */ i) =>
      svg("polyline", { points: at.map((/** @type {number} */ x, /** @type {number} */ n) => `${across(x)},${up(own[n])}`).join(" "), fill: "none", stroke: COLOURS.own, "stroke-width": 2, ...(i ? { "stroke-dasharray": "4 3" } : {}) })),
  ],
};

/** @param {Picture | null | undefined} picture @returns {SVGElement | null} */
export function termPicture(picture) {
  if (!picture) return null;
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" });
  root.append(...DRAWN[picture.kind](picture));
  return root;
}
