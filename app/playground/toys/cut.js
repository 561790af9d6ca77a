/** Which direction goes: the smallest |λ|, or the smallest λ with its sign, as the released code has it. */

import { element, penFor } from "../../player/pen/draw.js";
import { formatNumber } from "../../player/model/format.js";
import { Bars } from "../pictures/bars.js";
import { drawChart, endsOf } from "../pictures/chart.js";
import { gaussianRows } from "./draws.js";
import { difference, orthonormal, singularValues, squaredNorm, update } from "./small_matrix.js";
import { Facts, row, slider, Verdict } from "./toy.js";

/** @import { Desk, OpenToy, Toy } from "./toy.js" */

const FIRST = [0.9, -0.75, 0.6, 0.42, -0.3, 0.2, -0.12, 0.05];
const P = orthonormal(gaussianRows(31, FIRST.length, 12));
const Q = orthonormal(gaussianRows(32, FIRST.length, 10));

/** Places in the order in which they go; the lower one among equals. @type {Record<"size" | "sign", (lam: number[]) => number[]>} */
export const ORDERS = {
  size: (lam) => lam.map((_, i) => i).sort((a, b) => Math.abs(lam[a]) - Math.abs(lam[b]) || a - b),
  sign: (lam) => lam.map((_, i) => i).sort((a, b) => lam[a] - lam[b] || a - b),
};

/** @param {number[]} lam @param {number[]} gone places @returns {number} ‖ΔW − what is left‖ / ‖ΔW‖, 0 where ΔW = 0 */
export function errorOf(lam, gone) {
  const whole = update(P, lam, Q);
  const left = update(P, lam.map((value, i) => (gone.includes(i) ? 0 : value)), Q);
  const size = squaredNorm(whole);
  return size ? Math.sqrt(squaredNorm(difference(whole, left)) / size) : 0;
}

/** @param {number[]} lam @param {number} count of directions that go @returns {number} the least error that any matrix of the rank that is left has (Eckart and Young) */
export function leastError(lam, count) {
  const sigma = singularValues(update(P, lam, Q)).slice(0, lam.length);
  const square = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value * value, 0);
  const all = square(sigma);
  return all ? Math.sqrt(square(sigma.slice(lam.length - count)) / all) : 0;
}

const percent = (/** @type {number} */ share) => `${(100 * share).toFixed(1)} %`;

class CutToy {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.values = desk.given.length ? desk.given : FIRST;
    this.count = 1;
    const made = (/** @type {string} */ label) => new Bars({ name: (i) => `λ of direction ${i + 1}, ${label}`, most: 1, signed: true, label, onchange: (values) => this.put(values) });
    this.bars = { size: made("smallest size goes"), sign: made("smallest signed value goes") };
    this.chart = element("canvas", { role: "img", "aria-label": "error of both rules by how many directions go" });
    this.facts = new Facts();
    this.verdict = new Verdict();
    const count = slider("directions that go", FIRST.length - 2, (place) => String(place + 1), (place) => {
      this.count = place + 1;
      this.draw();
    });
    count.put(0);
    const panel = (/** @type {string} */ title, /** @type {Node} */ node) => element("section", {}, [element("h3", { text: title }), node]);
    desk.host.append(
      row([count.node]),
      element("div", { class: "pg-columns" }, [panel("The smallest |λ| goes (paper)", this.bars.size.node), panel("The smallest signed λ goes (released code)", this.bars.sign.node), element("section", { class: "pg-chart" }, [this.chart])]),
      this.facts.node, this.verdict.node,
    );
    this.draw();
  }

  /** @param {number[]} values */
  put(values) {
    this.values = values;
    this.draw();
    this.desk.changed();
  }

  draw() {
    const { values, count } = this;
    const palette = this.desk.palette();
    const gone = { size: ORDERS.size(values).slice(0, count), sign: ORDERS.sign(values).slice(0, count) };
    for (const rule of /** @type {const} */ (["size", "sign"])) {
      this.bars[rule].draw(palette, values, { fill: () => palette.extended, gone: (i) => gone[rule].includes(i), mark: (i) => (gone[rule].includes(i) ? "gone" : formatNumber(values[i])) });
    }
    const errors = { size: errorOf(values, gone.size), sign: errorOf(values, gone.sign) };
    const counts = values.map((_, i) => i).slice(0, -1);
    const series = /** @type {const} */ (["size", "sign"]).map((rule) => ({
      xs: counts, ys: counts.map((k) => 100 * errorOf(values, ORDERS[rule](values).slice(0, k))), colour: rule === "size" ? palette.extended : palette.pruned, dots: true, label: rule === "size" ? "|λ|" : "signed",
    }));
    const [width, height] = [Math.max(160, this.chart.parentElement?.clientWidth ?? 0), 212];
    drawChart(penFor(this.chart, width, height, palette.font), palette, { x: 0, y: 0, w: width, h: height }, { series, x: [0, counts.length - 1], y: endsOf(series.map(({ ys }) => ys)), title: "error of ΔW, %", below: "directions that go", now: count });
    this.facts.tell([
      ["error, smallest |λ|", percent(errors.size), "‖ΔW − left‖ / ‖ΔW‖"],
      ["error, signed smallest", percent(errors.sign), "the same"],
      ["least error possible", percent(leastError(values, count)), "any matrix of that rank"],
    ]);
    this.verdict.tell(words(errors, values));
  }
}

/** @param {{size: number, sign: number}} errors @param {number[]} values */
function words(errors, values) {
  if (!values.some((value) => value < 0)) return "No λ is negative: both rules cut the same. Drag a bar below 0.";
  if (errors.sign - errors.size < 1e-12) return "Here both rules lose the same. Make a negative λ larger, or a small one positive.";
  const times = errors.size > 0 ? ` ${formatNumber(errors.sign / errors.size)} times as much` : " and the other loses nothing";
  return `A large negative λ carries as much energy as a large positive one, but the signed rule takes it first: it loses${times}. The smallest |λ| is the best cut there is, as long as P and Q are orthonormal.`;
}

/** @type {Toy} */
export const CUT = {
  key: "cut",
  label: "Cut",
  question: "Which direction may go? Drag λ, also below 0.",
  open: (desk) => {
    const toy = new CutToy(desk);
    return /** @type {OpenToy} */ ({ draw: () => toy.draw(), close: () => undefined, values: () => (toy.values === FIRST ? [] : toy.values) });
  },
};
