/** A direction that joins at λ = 0: the output stays, the entropy falls. */

import { element, penFor } from "../../player/pen/draw.js";
import { formatEntropy, formatNumber } from "../../player/model/format.js";
import { Bars } from "../pictures/bars.js";
import { drawChart } from "../pictures/chart.js";
import { gaussianRows } from "./draws.js";
import { spectralEntropy } from "../engine/importance.js";
import { zeroFactor } from "./measures.js";
import { dot, transposed, update } from "./small_matrix.js";
import { button, Facts, row, Verdict } from "./toy.js";

/** @import { Desk, OpenToy, Toy } from "./toy.js" */

const FIRST = [0.9, 0.7, 0.5, 0.35];
const MOST = 10;
const [OUT, IN] = [8, 7];
const P = gaussianRows(11, MOST, OUT);
const Q = gaussianRows(12, MOST, IN);
const INPUT = gaussianRows(13, 1, IN)[0].map((value) => value * 5);

/** @param {number[]} lam @returns {number[]} P diag(λ) Q x of one input */
export function outputOf(lam) {
  return update(P.slice(0, lam.length), lam, Q.slice(0, lam.length)).map((line) => dot(line, INPUT));
}

/** @param {number[]} a @param {number[]} b @returns {number} */
function largestDifference(a, b) {
  return Math.max(...a.map((value, i) => Math.abs(value - b[i])));
}

class ZeroToy {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.values = desk.given.length ? desk.given : FIRST;
    /** @type {{entropy: number | null, output: number[], rank: number} | null} before the last direction joined */
    this.before = null;
    this.trail = [spectralEntropy(this.values) ?? NaN];
    this.bars = new Bars({ name: (i) => `λ of direction ${i + 1}`, most: 1, label: "λ of each direction, which can be dragged", onchange: (values) => this.put(values) });
    this.output = new Bars({ name: (i) => `output ${i + 1}`, most: 1.5, signed: true, label: "output of ΔW for one input" });
    this.chart = element("canvas", { role: "img", "aria-label": "entropy after each change" });
    this.facts = new Facts();
    this.verdict = new Verdict();
    this.add = button("Add a direction at λ = 0", () => this.join(), true);
    this.remove = button("Remove the last", () => this.put(this.values.slice(0, -1)));
    const panel = (/** @type {string} */ title, /** @type {Node} */ node) => element("section", {}, [element("h3", { text: title }), node]);
    desk.host.append(
      row([this.add, this.remove, button("From the start", () => this.restart())]),
      element("div", { class: "pg-columns" }, [panel("λ of the matrix", this.bars.node), panel("its output for one input", this.output.node), element("section", { class: "pg-chart" }, [this.chart])]),
      this.facts.node, this.verdict.node,
    );
    this.draw();
  }

  restart() {
    this.values = FIRST;
    this.before = null;
    this.trail = [spectralEntropy(FIRST) ?? NaN];
    this.draw();
    this.desk.changed();
  }

  join() {
    this.before = { entropy: spectralEntropy(this.values), output: outputOf(this.values), rank: this.values.length };
    this.put([...this.values, 0], true);
  }

  /** @param {number[]} values @param {boolean} [joined] */
  put(values, joined = false) {
    if (!joined) this.before = null;
    this.values = values;
    this.trail = [...this.trail, spectralEntropy(values) ?? NaN].slice(-40);
    this.draw();
    this.desk.changed();
  }

  draw() {
    const { values, before, desk } = this;
    const palette = desk.palette();
    const output = outputOf(values);
    this.add.disabled = values.length >= MOST;
    this.remove.disabled = values.length <= 1;
    this.bars.draw(palette, values, { fill: (i) => (before && i === values.length - 1 ? palette.pruned : palette.extended) });
    this.output.draw(palette, output, { fill: () => palette.accent, ghost: before?.output, mark: (i) => String(i + 1) });
    const [width, height] = [Math.max(160, this.chart.parentElement?.clientWidth ?? 0), 190];
    const xs = transposed([this.trail]).map((_, i) => i);
    const series = [{ xs, ys: this.trail, colour: palette.accent, dots: true, label: "I" }];
    drawChart(penFor(this.chart, width, height, palette.font), palette, { x: 0, y: 0, w: width, h: height }, { series, x: [0, Math.max(4, xs.length - 1)], y: [0, 1.02], title: "entropy I", below: "your changes" });
    const now = spectralEntropy(values);
    const rank = values.length;
    const moved = before ? largestDifference(output, before.output) : 0;
    this.facts.tell(before ? [
      ["entropy before", formatEntropy(before.entropy ?? NaN), `rank ${before.rank}`],
      ["× log r / log (r + 1)", zeroFactor(before.rank).toFixed(3), `log ${before.rank} / log ${rank}`],
      ["entropy now", formatEntropy(now ?? NaN), `rank ${rank}`],
      ["largest change of the output", formatNumber(moved), "over all outputs"],
    ] : [
      ["entropy now", formatEntropy(now ?? NaN), `rank ${rank}`],
      ["the next one would make it", rank > 1 ? formatEntropy((now ?? NaN) * zeroFactor(rank)) : "0.000", rank > 1 ? `× log ${rank} / log ${rank + 1} = ${zeroFactor(rank).toFixed(3)}` : "one direction alone counts as 1"],
    ]);
    this.verdict.tell(this.words(before, moved, now));
  }

  /** @param {{entropy: number | null, rank: number} | null} before @param {number} moved @param {number | null} now */
  words(before, moved, now) {
    if (now === null) return "All λ are 0: entropy is undefined.";
    if (!before) return "Press the button: watch the output (its old heights stay as lines) and the entropy.";
    const scored = before.rank > 1 ? `fell by the factor log ${before.rank} / log ${before.rank + 1}` : "fell from 1, which it is by definition at rank 1";
    return `The output changed by ${formatNumber(moved)}: λ = 0 adds nothing yet. The entropy ${scored}, although no energy moved. So a matrix that was just given a direction looks less in need of one. Drag the new bar up: it recovers once λ grows.`;
  }
}

/** @type {Toy} */
export const ZERO = {
  key: "zero",
  label: "Join at zero",
  question: "What happens when a matrix gains a direction at λ = 0?",
  open: (desk) => {
    const toy = new ZeroToy(desk);
    return /** @type {OpenToy} */ ({ draw: () => toy.draw(), close: () => undefined, values: () => (toy.values === FIRST ? [] : toy.values) });
  },
};
