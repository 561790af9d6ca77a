/** What the orthogonality regulariser costs and buys: one matrix, learned under seven weights. */

import { element, penFor } from "../../player/pen/draw.js";
import { formatEntropy, formatNumber } from "../../player/model/format.js";
import { Bars } from "../pictures/bars.js";
import { drawChart, endsOf } from "../pictures/chart.js";
import { gaussianRows } from "./draws.js";
import { Fit } from "./fit.js";
import { spectralEntropy } from "../engine/importance.js";
import { orthonormal, trueSingularValues, update } from "./small_matrix.js";
import { button, Facts, row, slider, Verdict } from "./toy.js";

/** @import { Desk, OpenToy, Toy } from "./toy.js" */

const WEIGHTS = [0, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1];
const NAMES = ["0", "10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²", "0.1", "1"];
const SIGMA = [3, 2.2, 1.6, 1, 0.5, 0.2];
const [OUT, IN, RATE] = [16, 12, 0.03];
const LAST = 400;
const FRAME_STEPS = 4;
const LEAST_DRAWN = 1e-6; // loss: what is below stands at the foot
const LARGEST_GAP = 0.02; // above it the Lab says that λ is no spectrum

/** @returns {Fit[]} one a weight, from the same start */
export function fits() {
  const rank = SIGMA.length;
  const wanted = update(orthonormal(gaussianRows(41, rank, OUT)), SIGMA, orthonormal(gaussianRows(42, rank, IN)));
  return WEIGHTS.map((weight) => new Fit(wanted, gaussianRows(43, rank, OUT), gaussianRows(44, rank, IN), weight, RATE));
}

/** @param {Fit} fit @returns {{lam: number[], sigma: number[], gap: number}} |λ| and the true singular values, descending; |I(λ) − I(σ)|, NaN where one is undefined */
export function readFit(fit) {
  const lam = fit.lam.map(Math.abs).sort((a, b) => b - a);
  const sigma = trueSingularValues(fit.P, fit.lam, fit.Q);
  return { lam, sigma, gap: Math.abs((spectralEntropy(lam) ?? NaN) - (spectralEntropy(sigma) ?? NaN)) };
}

class PriceToy {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.place = desk.given.length === 1 && WEIGHTS[desk.given[0]] !== undefined ? desk.given[0] : 0;
    this.frame = 0;
    this.bars = new Bars({ name: (i) => `|λ| ${i + 1}`, most: 3.5, label: "|λ| as bars, the true singular values as lines", height: 212 });
    this.gaps = element("canvas", { role: "img", "aria-label": "gap between λ and σ by weight" });
    this.costs = element("canvas", { role: "img", "aria-label": "loss by weight" });
    this.facts = new Facts();
    this.verdict = new Verdict();
    const weight = slider("weight γ", WEIGHTS.length - 1, (place) => String(WEIGHTS[place]), (place) => {
      this.place = place;
      this.draw();
      desk.changed();
    });
    weight.put(this.place);
    desk.host.append(
      row([weight.node, button("Train again", () => this.restart())]),
      element("div", { class: "pg-columns" }, [
        element("section", {}, [element("h3", { text: "bars: |λ| · lines: true singular values" }), this.bars.node]),
        element("section", { class: "pg-chart" }, [this.gaps]), element("section", { class: "pg-chart" }, [this.costs]),
      ]),
      this.facts.node, this.verdict.node,
    );
    this.restart();
  }

  restart() {
    this.close();
    this.fits = fits();
    if (this.desk.still) for (const fit of this.fits) while (fit.steps < LAST) fit.step();
    else this.frame = requestAnimationFrame(() => this.tick());
    this.draw();
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  tick() {
    for (const fit of this.fits ?? []) for (let i = 0; i < FRAME_STEPS; i += 1) fit.step();
    this.draw();
    this.frame = (this.fits?.[0].steps ?? LAST) < LAST ? requestAnimationFrame(() => this.tick()) : 0;
  }

  draw() {
    const all = this.fits ?? [];
    const palette = this.desk.palette();
    const read = all.map(readFit);
    const { lam, sigma, gap } = read[this.place];
    const fit = all[this.place];
    this.bars.draw(palette, lam, { ghost: sigma, mark: (i) => formatNumber(lam[i]), fill: () => (gap > LARGEST_GAP ? palette.pruned : palette.extended) });
    const xs = WEIGHTS.map((_, i) => i);
    const common = { x: /** @type {[number, number]} */ ([0, xs.length - 1]), places: NAMES, now: this.place };
    for (const [canvas, title, colour, ys, log] of /** @type {[HTMLCanvasElement, string, string, number[], boolean][]} */ ([
      [this.gaps, "bought: gap |I(λ) − I(σ)|, by γ", palette.extended, read.map((one) => one.gap), false],
      [this.costs, `paid: loss after ${fit.steps} steps (at least 10⁻⁶), by γ`, palette.pruned, all.map((one) => Math.max(one.loss, LEAST_DRAWN)), true],
    ])) {
      const [width, height] = [Math.max(160, canvas.parentElement?.clientWidth ?? 0), 236];
      drawChart(penFor(canvas, width, height, palette.font), palette, { x: 0, y: 0, w: width, h: height }, { ...common, title, log, y: endsOf([ys], log), right: 12, series: [{ xs, ys, colour, dots: true }] });
    }
    this.facts.tell([
      ["gap |I(λ) − I(σ)|", Number.isFinite(gap) ? gap.toFixed(3) : "undefined", `I(λ) ${formatEntropy(spectralEntropy(lam) ?? NaN)}, I(σ) ${formatEntropy(spectralEntropy(sigma) ?? NaN)}`],
      ["loss", formatNumber(fit.loss), `step ${fit.steps} of ${LAST}`],
      ["‖PᵀP − I‖² + ‖QQᵀ − I‖²", formatNumber(fit.departure), "0 = orthonormal"],
    ]);
    this.verdict.tell(fit.steps < LAST ? "One matrix is learned under seven weights at once, by Adam, from the same start …" : this.words(gap, fit.loss, Math.min(...all.map((one) => one.loss))));
  }

  /** @param {number} gap @param {number} loss @param {number} least */
  words(gap, loss, least) {
    const weight = WEIGHTS[this.place];
    if (gap > LARGEST_GAP) return `With γ = ${weight}, P and Q took over part of the size, so |λ| (bars) is not the spectrum of ΔW (lines). Whoever ranks or cuts by λ now decides by numbers that are not there. Turn γ up.`;
    if (loss > 1e-3) return `λ is the spectrum now, but the price shows: the loss after as many steps is ${formatNumber(loss)}, against ${formatNumber(least)} at best. P and Q are held so firmly that they hardly turn. Turn γ down.`;
    return `With γ = ${weight}, |λ| and the true singular values agree (gap ${gap.toFixed(3)}), and the loss is small: about the least weight that does is the one to take.`;
  }
}

/** @type {Toy} */
export const PRICE = {
  key: "price",
  label: "Price",
  question: "Is λ what it says? The regulariser keeps P and Q orthonormal. Turn its weight up and see what it buys and costs.",
  open: (desk) => {
    const toy = new PriceToy(desk);
    return /** @type {OpenToy} */ ({ draw: () => toy.draw(), close: () => toy.close(), values: () => (toy.place ? [toy.place] : []) });
  },
};
