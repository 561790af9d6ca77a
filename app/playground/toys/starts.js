/** Four ways to start a new direction on one small loss: who gets a gradient, who learns, who stays dead. */

import { element, penFor } from "../../player/pen/draw.js";
import { formatNumber } from "../../player/model/format.js";
import { drawChart, endsOf } from "../pictures/chart.js";
import { gradientOf, lossOf, WAYS, stepped } from "./direction.js";
import { gaussianRows } from "./draws.js";
import { dot, orthonormal, update } from "./small_matrix.js";
import { button, row, Verdict } from "./toy.js";

/** @import { Desk, OpenToy, Toy } from "./toy.js" */
/** @import { Direction } from "./direction.js" */

const [OUT, IN] = [6, 5];
const LEFT = orthonormal(gaussianRows(21, 3, OUT));
const RIGHT = orthonormal(gaussianRows(22, 3, IN));
const WANTED = update(LEFT.slice(1), [1.6, 0.5], RIGHT.slice(1));
const P = LEFT.slice(0, 1);
const Q = RIGHT.slice(0, 1);
const RATE = 0.3;
const FRAME_STEPS = 1;
const LAST = 60;
const SLOW = 3; // frames a step
const LEARNED = 0.5; // of the first loss
const LENGTH = (/** @type {number[]} */ vector) => Math.sqrt(dot(vector, vector));

/** @returns {Record<string, Direction>} each start, from the same two draws */
function begun() {
  const [p, q] = [gaussianRows(23, 1, OUT)[0], gaussianRows(24, 1, IN)[0]];
  return Object.fromEntries(Object.entries(WAYS).map(([key, way]) => [key, way.start(p, q, P, Q)]));
}

class StartsToy {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.canvas = element("canvas", { role: "img", "aria-label": "loss of each start over steps" });
    this.table = element("table", { class: "pg-table" });
    this.verdict = new Verdict();
    this.frame = 0;
    this.waited = 0;
    this.play = button("Play", () => this.toggle(), true);
    desk.host.append(
      row([this.play, button("One step", () => this.advance(1)), button("Ten steps", () => this.advance(10)), button("From the start", () => this.restart())]),
      element("div", { class: "pg-columns pg-two" }, [element("div", { class: "pg-scroll" }, [this.table]), element("section", { class: "pg-chart" }, [this.canvas])]), this.verdict.node,
    );
    this.restart();
  }

  restart() {
    this.pause();
    this.directions = begun();
    this.steps = 0;
    /** @type {Record<string, number[]>} */
    this.losses = Object.fromEntries(Object.entries(this.directions).map(([key, direction]) => [key, [lossOf(WANTED, direction)]]));
    this.draw();
  }

  toggle() {
    if (this.frame) return this.pause();
    if (this.desk.still) return this.advance(LAST - (this.steps ?? 0));
    this.play.textContent = "Pause";
    this.frame = requestAnimationFrame(() => this.tick());
  }

  pause() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.play.textContent = "Play";
  }

  tick() {
    this.waited += 1;
    if (this.waited % SLOW === 0) this.advance(FRAME_STEPS);
    if ((this.steps ?? 0) >= LAST) return this.pause();
    this.frame = requestAnimationFrame(() => this.tick());
  }

  /** @param {number} count of steps */
  advance(count) {
    for (let i = 0; i < count; i += 1) {
      this.steps = (this.steps ?? 0) + 1;
      for (const [key, direction] of Object.entries(this.directions ?? {})) {
        const next = stepped(WANTED, direction, RATE);
        Object.assign(direction, next);
        this.losses?.[key].push(lossOf(WANTED, next));
      }
    }
    this.draw();
  }

  draw() {
    const palette = this.desk.palette();
    const rows = Object.entries(this.directions ?? {}).map(([key, direction]) => ({ key, direction, slope: gradientOf(WANTED, direction), losses: this.losses?.[key] ?? [] }));
    const cell = (/** @type {number} */ size, /** @type {boolean} */ slope) => element("td", { ...(slope ? { style: `--share:${Math.min(1, Math.abs(size) / 2)}` } : {}), text: formatNumber(size) });
    this.table.replaceChildren(
      element("thead", {}, [element("tr", {}, ["start", "λ", "‖∂p‖", "|∂λ|", "‖∂q‖", "loss"].map((text) => element("th", { scope: "col", text })))]),
      element("tbody", {}, rows.map(({ key, direction, slope, losses }) => element("tr", {}, [
        element("th", { scope: "row" }, [WAYS[key].label, element("small", { text: `${key}: ${WAYS[key].hint}` })]), cell(direction.lam, false), cell(LENGTH(slope.p), true), cell(Math.abs(slope.lam), true), cell(LENGTH(slope.q), true), element("td", { text: losses[losses.length - 1].toFixed(4) }),
      ]))),
    );
    const [width, height] = [Math.max(200, this.canvas.parentElement?.clientWidth ?? 0), 240];
    const colours = [palette.extended, palette.pruned, palette.text, palette.evaluation];
    const dashes = [undefined, [2, 3], undefined, [6, 3]];
    const series = rows.map(({ key, losses }, i) => ({ xs: losses.map((_, step) => step), ys: losses, colour: colours[i], dash: dashes[i], width: 2.25, label: WAYS[key].label }));
    drawChart(penFor(this.canvas, width, height, palette.font), palette, { x: 0, y: 0, w: width, h: height }, { series, x: [0, Math.max(40, this.steps ?? 0)], y: endsOf(series.map(({ ys }) => ys)), title: "loss", below: "step", right: 118 });
    this.verdict.tell(this.words(rows));
  }

  /** @param {{key: string, slope: Direction, losses: number[]}[]} rows */
  words(rows) {
    const dead = rows.find(({ key }) => key === "all_zero")?.slope;
    const none = dead && [...dead.p, dead.lam, ...dead.q].every((value) => value === 0);
    if (!this.steps) return "Step 0: with p and q random and λ = 0 only λ has a gradient, for ∂p and ∂q are multiplied by λ. With all three 0, every gradient is. Take a step.";
    const learned = rows.filter(({ losses }) => losses[losses.length - 1] < LEARNED * losses[0]).map(({ key }) => `“${WAYS[key].label}”`);
    const dull = none ? `“${WAYS.all_zero.label}” has gradients of exactly 0 after ${this.steps} steps, and will have for ever: each is a product that holds two of p, λ and q.` : "";
    if (!learned.length) return `λ moved first; now p and q have gradients, too, and grow. ${dull}`;
    return `${learned.join(", ")} ${learned.length > 1 ? "have" : "has"} taken more than half of the loss away. ${dull}`;
  }
}

/** @type {Toy} */
export const STARTS = {
  key: "starts",
  label: "Four starts",
  question: "How should a new direction p, λ, q begin? Four ways, one small loss, plain gradient descent.",
  open: (desk) => {
    const toy = new StartsToy(desk);
    return /** @type {OpenToy} */ ({ draw: () => toy.draw(), close: () => toy.pause(), values: () => [] });
  },
};
