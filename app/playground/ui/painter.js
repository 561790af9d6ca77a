/** The truth as a map to paint: how many directions each matrix needs. */

import { element, penFor } from "../../player/pen/draw.js";
import { cellsOf, drawRankMap, KINDS, matrixAt } from "../pictures/rank_map.js";
import { paintedText } from "./choices.js";
import { matrixName } from "./words.js";

/** @import { Palette } from "../../player/pen/palette.js" */
/** @import { Truth } from "../engine/scenario.js" */
/** @typedef {{label: string, hint: string, paint: (truth: {ranks: number[], energies: number[]}, place: number) => void}} Brush */

const MOST = 16;
const ENERGIES = /** @type {[string, number][]} */ ([["½", 0.5], ["2", 2]]);

/** @type {Brush[]} */
const BRUSHES = [
  ...[1, 2, 4, 6, 10, 16].map((rank) => ({ label: String(rank), hint: `paint rank ${rank}`, paint: (/** @type {{ranks: number[]}} */ truth, /** @type {number} */ place) => void (truth.ranks[place] = rank) })),
  ...ENERGIES.map(([label, energy]) => ({ label: `energy ${label}`, hint: `paint energy ${label}: how large the change is that a matrix needs`, paint: (/** @type {{energies: number[]}} */ truth, /** @type {number} */ place) => void (truth.energies[place] = energy) })),
];

export class Painter {
  /** @param {(scenario: string) => void} painted called when a stroke ends */
  constructor(painted) {
    this.painted = painted;
    this.brush = 4;
    this.chosen = 0;
    this.stroke = false;
    this.dirty = false;
    /** @type {{ranks: number[], energies: number[]}} */
    this.truth = { ranks: [], energies: [] };
    this.most = MOST;
    this.given = 0;
    /** @type {Palette | null} */
    this.palette = null;
    this.canvas = element("canvas", { role: "img", tabindex: "0", class: "pg-paint" });
    this.box = element("div", { class: "pg-map" }, [this.canvas]);
    this.told = element("p", { class: "pg-small", "aria-live": "polite" });
    this.brushes = element("div", { class: "fl-choices pg-brushes", role: "group", "aria-label": "Brush" }, BRUSHES.map(({ label, hint }, i) => element("button", { type: "button", class: "fl-choice", title: hint, "aria-label": hint, text: label, onclick: () => this.take(i) })));
    this.node = element("div", { class: "pg-painter" }, [this.box, element("div", { class: "pg-row pg-tight" }, [element("span", { class: "pg-small", text: "Brush" }), this.brushes]), this.told]);
    this.listen();
    this.take(this.brush);
  }

  /** @param {number} brush */
  take(brush) {
    this.brush = brush;
    [...this.brushes.children].forEach((node, i) => node.setAttribute("aria-pressed", String(i === brush)));
  }

  listen() {
    const { canvas } = this;
    const at = (/** @type {PointerEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      return matrixAt(event.clientX - box.left, event.clientY - box.top, box.width, box.height, this.truth.ranks.length / KINDS.length);
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button || at(event) < 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.stroke = true;
      this.paint(at(event));
    });
    canvas.addEventListener("pointermove", (event) => this.stroke && this.paint(at(event)));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.lift());
    canvas.addEventListener("keydown", (event) => this.pressed(event));
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
  }

  /** @param {number} place */
  paint(place) {
    if (place < 0) return;
    const before = paintedText(this.truth.ranks, this.truth.energies);
    BRUSHES[this.brush].paint(this.truth, place);
    this.chosen = place;
    this.dirty ||= paintedText(this.truth.ranks, this.truth.energies) !== before;
    this.draw();
  }

  lift() {
    this.stroke = false;
    if (this.dirty) this.painted(paintedText(this.truth.ranks, this.truth.energies));
    this.dirty = false;
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const { ranks } = this.truth;
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -KINDS.length, ArrowDown: KINDS.length }[event.key];
    const rank = event.key === "+" ? ranks[this.chosen] + 1 : event.key === "-" ? ranks[this.chosen] - 1 : /^[1-9]$/.test(event.key) ? Number(event.key) : undefined;
    if (move === undefined && rank === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (move !== undefined) this.chosen = Math.min(ranks.length - 1, Math.max(0, this.chosen + move));
    else if (rank !== undefined && rank >= 1 && rank <= MOST) {
      this.dirty ||= ranks[this.chosen] !== rank;
      ranks[this.chosen] = rank;
      this.lift();
    }
    this.draw();
  }

  /** @param {Truth} truth @param {number} given directions that each contestant starts with @param {number} most rank of the strongest colour @param {Palette} palette */
  show(truth, given, most, palette) {
    this.given = given;
    if (!this.stroke) this.truth = { ranks: [...truth.ranks], energies: [...truth.energies] };
    this.chosen = Math.min(this.chosen, this.truth.ranks.length - 1);
    this.most = most;
    this.palette = palette;
    this.draw();
  }

  draw() {
    const { truth, palette, box, canvas } = this;
    if (!palette || !box.clientWidth) return;
    const { ranks, energies } = truth;
    const focused = /** @type {ShadowRoot | Document} */ (canvas.getRootNode()).activeElement === canvas && canvas.matches(":focus-visible");
    const largest = Math.max(1, ...energies);
    const [width, height] = [box.clientWidth, box.clientHeight];
    drawRankMap(penFor(canvas, width, height, palette.font), palette, width, height, { ranks, most: this.most, sizes: energies.map((energy) => energy / largest), chosen: focused ? this.chosen : undefined });
    const name = matrixName(this.chosen);
    const own = `${name} needs ${ranks[this.chosen]} of energy ${Number(energies[this.chosen].toPrecision(2))}`;
    const all = ranks.reduce((sum, rank) => sum + rank, 0);
    this.told.textContent = focused ? `${own}. Arrows choose, + and − or a digit change it.` : `${all} directions are needed in all; A and B have ${this.given}. Thin bars: energy.`;
    canvas.setAttribute("aria-label", `True ranks: ${ranks.length / KINDS.length} layers. ${own}. Arrows choose a matrix, plus, minus or a digit change its rank.`);
  }

  /** Middle of a matrix in the picture, for who presses there. @param {number} place @returns {[number, number]} */
  middle(place) {
    const { x, y, w, h } = cellsOf(this.box.clientWidth, this.box.clientHeight, this.truth.ranks.length / KINDS.length);
    return [x(place) + w / 2, y(place) + h / 2];
  }
}
