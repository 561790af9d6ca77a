/** Bars of λ that can be dragged: what normalised spectral entropy sees of them, and what it does not. */

import { element } from "../../player/pen/draw.js";
import { formatEntropy, formatNumber } from "../../player/model/format.js";
import { Bars } from "../pictures/bars.js";
import { Gauge } from "../pictures/gauge.js";
import { energyOf, sharesOf, spectralEntropy } from "../engine/importance.js";
import { effectiveRank, energyKept } from "./measures.js";
import { button, Facts, row, Verdict } from "./toy.js";

/** @import { Desk, OpenToy, Toy } from "./toy.js" */

const FIRST = [1, 0.8, 0.62, 0.45, 0.3, 0.2, 0.1, 0.05];
const GOAL = 0.5;
const NEAR = 0.01;
const CARRIES = 1e-3; // share of the energy from which a direction counts as one that carries some
const OTHERWISE = 2; // directions more or fewer that make it another way
const TIMES = 10;

/**
 * Which ways to reach the goal have been found: another one has clearly more or fewer directions with energy.
 * @param {number[]} found number of directions that carry energy, of each way so far @param {number[]} values @returns {number[]} the same list where nothing is new
 */
export function waysWith(found, values) {
  const entropy = spectralEntropy(values);
  if (entropy === null || Math.abs(entropy - GOAL) > NEAR) return found;
  const carrying = (sharesOf(values) ?? []).filter((share) => share > CARRIES).length;
  return found.every((other) => Math.abs(other - carrying) >= OTHERWISE) ? [...found, carrying] : found;
}

class SpectrumToy {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.values = desk.given.length ? desk.given : FIRST;
    /** @type {number[]} */
    this.ways = [];
    this.times = 1;
    this.told = "";
    /** Energy and entropy before the scale, while its words stand. @type {(number | null)[]} */
    this.before = [null, null];
    this.bars = new Bars({
      name: (i) => `λ of direction ${i + 1}`, most: 1, label: "λ of eight directions, which can be dragged", onchange: (values) => this.put(values, ""),
    });
    this.shares = new Bars({ name: (i) => `share ${i + 1}`, most: 1, label: "share of each direction in the energy" });
    this.gauges = [new Gauge({ name: "energy Σλ²", ticks: [0.001, 0.01, 0.1, 1, 10, 100, 1000], log: true }), new Gauge({ name: "entropy I", ticks: [0, 0.25, 0.5, 0.75, 1] })];
    this.facts = new Facts();
    this.verdict = new Verdict();
    this.scaleButton = button("Scale × 10", () => this.scale());
    const panel = (/** @type {string} */ title, /** @type {Node[]} */ ...nodes) => element("section", {}, [element("h3", { text: title }), ...nodes]);
    const shapes = /** @type {[string, (i: number) => number][]} */ ([["All equal", () => 0.7], ["Each half of the last", (i) => 2 ** -i], ["One alone", (i) => Number(i === 0)]]);
    desk.host.append(
      row([this.scaleButton, ...shapes.map(([name, shape]) => button(name, () => this.put(FIRST.map((_, i) => shape(i) * this.times), ""))), button("Flip a sign", () => this.flip())]),
      element("div", { class: "pg-columns pg-halves" }, [panel("λ: drag them", this.bars.node, this.gauges[0].node), panel("their shares of the energy, s = λ² / Σλ²: all that entropy sees", this.shares.node, this.gauges[1].node)]),
      this.facts.node, this.verdict.node,
    );
    this.bars.options.most = Math.max(1, ...this.values.map(Math.abs)) > 1 ? TIMES : 1;
    this.times = this.bars.options.most;
    this.bars.options.signed = this.values.some((value) => value < 0);
    this.draw();
  }

  scale() {
    const by = this.times === 1 ? TIMES : 1 / TIMES;
    this.times = this.times === 1 ? TIMES : 1;
    this.bars.options.most = this.times;
    const before = energyOf(this.values);
    const entropy = spectralEntropy(this.values);
    const next = this.values.map((value) => Number((value * by).toPrecision(6)));
    this.put(next, `Every λ times ${by === TIMES ? "10" : "0.1"}: the energy went from ${formatNumber(before)} to ${formatNumber(energyOf(next))}, entropy and effective rank did not move. They read shares, not sizes. The left axis now ends at ${this.times}.`, [before, entropy]);
  }

  flip() {
    const largest = this.values.reduce((best, value, i) => (value > this.values[best] ? i : best), 0);
    const signed = this.values.some((value) => value < 0);
    this.bars.options.signed = !signed;
    const next = signed ? this.values.map(Math.abs) : this.values.map((value, i) => (i === largest ? -value : value));
    this.put(next, "A sign turned, and no number moved: λ² does not know it.");
  }

  /** @param {number[]} values @param {string} told @param {(number | null)[]} [before] energy and entropy, to be shown beside those of now */
  put(values, told, before = [null, null]) {
    this.before = before;
    this.values = values;
    this.told = told;
    this.bars.options.signed = this.bars.options.signed && values.some((value) => value < 0);
    this.ways = waysWith(this.ways, values);
    this.draw();
    this.desk.changed();
  }

  draw() {
    const { values } = this;
    const palette = this.desk.palette();
    const kept = energyKept(values);
    this.bars.draw(palette, values, { fill: (i) => (values[i] < 0 ? palette.pruned : palette.extended) });
    const energies = energyOf(values);
    this.shares.draw(palette, values.map((value) => (energies ? value ** 2 / energies : 0)), { fill: () => palette.accent });
    [energies || null, spectralEntropy(values)].forEach((now, i) => this.gauges[i].draw(palette, now, this.before[i]));
    this.scaleButton.textContent = this.times === 1 ? "Scale × 10" : "Scale × 0.1";
    const effective = effectiveRank(values);
    this.facts.tell([
      ["entropy I of λ²", formatEntropy(spectralEntropy(values) ?? NaN), "−1/log r · Σ s log s, s = λ²/Σλ²"],
      ["effective rank", effective === null ? "undefined" : `${effective.toFixed(2)} of ${values.length}`, "exp(−Σ s log s)"],
      ["energy Σλ²", formatNumber(energies), "what a scale changes"],
      ["energy kept", `${(100 * kept[values.length - 1]).toFixed(1)} %`, "if the smallest goes"],
    ]);
    const entropy = spectralEntropy(values);
    this.verdict.tell(this.told || this.challenge(entropy), this.ways.length > 1);
  }

  /** @param {number | null} entropy */
  challenge(entropy) {
    if (entropy === null) return "All λ are 0: there is no energy to share, so entropy is undefined.";
    const [first, second] = this.ways;
    if (second !== undefined) return `Both found: I = 0.50 with ${first} directions that carry energy, and with ${second}. One number, two very different matrices.`;
    if (first !== undefined) return `I = 0.50 with ${first} directions that carry energy. Now a second way, with at least ${OTHERWISE} more or fewer.`;
    return `Challenge: bring I to 0.50 in two ways. It is ${entropy.toFixed(2)} now. (A few equal bars and nothing else? One tall bar and a long tail?)`;
  }
}

/** @type {Toy} */
export const SPECTRUM = {
  key: "spectrum",
  label: "Spectrum",
  question: "What does entropy see? Drag the bars: λ of the eight directions of one matrix.",
  open: (desk) => {
    const toy = new SpectrumToy(desk);
    return /** @type {OpenToy} */ ({ draw: () => toy.draw(), close: () => undefined, values: () => (toy.values === FIRST ? [] : toy.values) });
  },
};
