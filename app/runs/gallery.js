/** Thumbnails of runs: the rank map of each, over and over from its first record to its last. */

import { element, penFor } from "../player/pen/draw.js";
import { readPalette, tableColour } from "../player/pen/palette.js";

const LOOP_MS = 4200;
const HOLD_MS = 1500; // the last record, before it begins anew
const HEIGHT = 86;

/** @typedef {{rows: number, columns: number, cells: [number, number][], steps: number[], ranks: number[][], total: number[]}} Frames */
/** @typedef {{key: string, title: string, line: string, source: string, frames: Frames}} Film */
/** @typedef {{films: Film[], chosen: string}} Data */

/** @type {WeakMap<object, Gallery>} */
const GALLERIES = new WeakMap();

/** @param {{data: Data, parentElement: Element | ShadowRoot, setTriggerValue: (name: string, value: unknown) => void}} component @returns {() => void} */
export default function render({ data, parentElement, setTriggerValue }) {
  const mine = GALLERIES.get(parentElement) ?? new Gallery(parentElement);
  GALLERIES.set(parentElement, mine);
  mine.show(data, (key) => setTriggerValue("picked", key));
  return () => mine.stop();
}

class Gallery {
  /** @param {Element | ShadowRoot} parent */
  constructor(parent) {
    this.still = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.paused = this.still.matches;
    this.began = 0;
    this.frame = 0;
    this.shown = "";
    this.top = 1;
    /** @type {{film: Film, canvas: HTMLCanvasElement, card: HTMLButtonElement, drawn: string}[]} */
    this.cards = [];
    this.grid = element("div", { class: "mg-gallery", role: "group", "aria-label": "Methods" });
    this.scale = element("canvas", { "aria-hidden": "true" });
    this.most = element("span");
    this.pause = element("button", { type: "button", class: "mg-pause", onclick: () => this.turn() });
    this.foot = element("div", { class: "mg-foot" }, [this.pause, element("span", { class: "mg-scale" }, ["rank 0", this.scale, this.most])]);
    parent.append(element("div", {}, [this.grid, this.foot]));
  }

  /** @param {Data} data @param {(key: string) => void} choose */
  show({ films, chosen }, choose) {
    const offered = JSON.stringify(films.map(({ key, source }) => [key, source]));
    if (this.shown !== offered) this.build(films, offered);
    for (const { film, card } of this.cards) {
      card.setAttribute("aria-pressed", String(film.key === chosen));
      card.onclick = () => choose(film.key);
    }
    for (const card of this.cards) card.drawn = "";
    this.say();
    this.run();
  }

  /** @param {Film[]} films @param {string} offered */
  build(films, offered) {
    this.shown = offered;
    this.top = Math.max(1, ...films.flatMap(({ frames }) => frames.ranks.map((ranks) => Math.max(...ranks))));
    this.cards = films.map((film) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const { total } = film.frames;
      const told = total.length ? `total rank ${total.join(" → ")}` : "";
      const card = element("button", { type: "button", class: "mg-card", title: `The run ${film.source}` }, [canvas, element("b", { text: film.title }), element("span", { text: film.line }), element("span", { text: told })]);
      return { film, canvas, card, drawn: "" };
    });
    this.grid.replaceChildren(...this.cards.map(({ card }) => card));
  }

  turn() {
    this.paused = !this.paused;
    this.began = 0;
    this.say();
    this.run();
  }

  say() {
    this.pause.textContent = this.paused ? "Play" : "Pause";
    this.most.textContent = String(this.top);
  }

  run() {
    if (!this.frame) this.frame = window.requestAnimationFrame((now) => this.draw(now));
  }

  /** @param {number} now */
  draw(now) {
    this.frame = 0;
    if (!this.grid.isConnected) return;
    this.began ||= now;
    const share = this.paused ? 1 : Math.min(1, ((now - this.began) % (LOOP_MS + HOLD_MS)) / LOOP_MS);
    const palette = readPalette(this.grid);
    for (const card of this.cards) this.drawCard(card, share, palette);
    const pen = penFor(this.scale, 160, 12, palette.font);
    for (let x = 0; x < 160; x += 4) pen.rect(x, 0, 4, 12, { fill: tableColour(palette.tables.rank, Math.round((x / 156) * 255)) });
    if (!this.paused) this.run();
  }

  /** @param {Gallery["cards"][number]} card @param {number} share of the run @param {import("../player/pen/palette.js").Palette} palette */
  drawCard(card, share, palette) {
    const { film: { frames }, canvas } = card;
    const { rows, columns, cells, ranks, steps } = frames;
    const width = canvas.clientWidth;
    const place = Math.min(ranks.length - 1, Math.floor(share * ranks.length));
    const drawn = [place, width, palette.key].join();
    if (place < 0 || !width || card.drawn === drawn) return;
    card.drawn = drawn;
    const pen = penFor(canvas, width, HEIGHT, palette.font);
    canvas.style.width = "100%";
    const [w, h] = [width / columns, (HEIGHT - 16) / rows];
    cells.forEach(([row, column], m) => {
      const colour = tableColour(palette.tables.rank, Math.round((ranks[place][m] / this.top) * 255));
      pen.rect(column * w, row * h, w - 2, h - 2, ranks[place][m] ? { fill: colour } : { stroke: palette.faint });
    });
    pen.text(0, HEIGHT - 5, `step ${steps[place]}`, { fill: palette.text, size: 11 });
  }

  stop() {
    if (!this.grid.isConnected) window.cancelAnimationFrame(this.frame);
  }
}
