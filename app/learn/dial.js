/** A slider over pictures that were computed beforehand: each place has its bars and its numbers. */

import { element } from "../player/pen/draw.js";
import { svg } from "./svg.js";

/** @typedef {{value: number, label: string, bars: number[], words?: string[], numbers: [string, string][]}} Frame value: what a goal is about; bars: from 0 to 1; words: above them */
/** @typedef {{frames: Frame[], start: number, title: string, ends?: [string, string]}} DialData ends: below the first bar and the last */

const [FOOT, FOOT_NAMED, HEAD] = [8, 26, 20];

export class Dial {
  /** @param {DialData} data @param {(frame: Frame) => void} turned by the reader */
  constructor({ frames, start, title, ends }, turned) {
    this.frames = frames;
    this.place = start;
    this.ends = ends ?? [];
    this.picture = element("div", { class: "ln-picture" });
    this.label = element("output", { class: "ln-diallabel" });
    this.numbers = element("dl", { class: "ln-numbers", "aria-live": "polite" });
    this.slider = element("input", { type: "range", class: "ln-slider", min: "0", max: String(frames.length - 1), value: String(start), "aria-label": title });
    this.slider.addEventListener("input", () => {
      this.place = Number(this.slider.value);
      this.draw();
      turned(this.frame);
    });
    this.root = element("div", { class: "ln-dial" }, [element("h3", { text: title }), this.picture, this.label, this.slider, this.numbers]);
  }

  get frame() {
    return this.frames[this.place];
  }

  /** @param {number} place */
  turn(place) {
    this.place = place;
    this.slider.value = String(place);
  }

  /** @param {[number, number]} goal where the value has to lie; it turns to the first such place, unless it stands in one */
  reach([low, high]) {
    const inside = (/** @type {Frame} */ { value }) => low <= value && value <= high;
    if (!inside(this.frame)) this.turn(this.frames.findIndex(inside));
  }

  draw() {
    const { bars, words = [], label, numbers } = this.frame;
    // Texts first: they take their room from the picture.
    this.label.textContent = label;
    this.slider.setAttribute("aria-valuetext", `${label}: ${numbers.map((pair) => pair.join(" ")).join(", ")}`);
    this.numbers.replaceChildren(...numbers.map(([name, text]) => element("div", {}, [element("dt", { text: name }), element("dd", { text })])));
    const [width, height] = [Math.max(200, this.picture.clientWidth), Math.max(120, this.picture.clientHeight)];
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${bars.length} bars: ${label}` });
    const step = width / Math.max(8, bars.length);
    const left = (width - step * bars.length) / 2;
    const thick = Math.min(56, step * 0.7);
    const low = height - (this.ends.length ? FOOT_NAMED : FOOT);
    const across = (/** @type {number} */ i) => left + (i + 0.5) * step;
    root.append(svg("line", { class: "ln-axis", x1: 0, x2: width, y1: low, y2: low }));
    bars.forEach((bar, i) => {
      const tall = Math.max(1.5, bar * (low - HEAD));
      root.append(svg("rect", { class: bar || words[i] ? "ln-bar" : "ln-bar ln-new", x: across(i) - thick / 2, y: low - tall, width: thick, height: tall, rx: 2 }));
      if (words[i]) root.append(svg("text", { class: "ln-tick", x: across(i), y: low - tall - 5, "text-anchor": "middle", text: words[i] }));
    });
    this.ends.forEach((text, end) => root.append(svg("text", { class: "ln-tick", x: end ? across(bars.length - 1) + thick / 2 : across(0) - thick / 2, y: height - 8, "text-anchor": end ? "end" : "start", text })));
    this.picture.replaceChildren(root);
  }
}
