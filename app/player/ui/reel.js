/** The bar of an event's stages: shows where slow motion stands, and is dragged to any moment. */

import { element } from "../pen/draw.js";
import { STAGES } from "../model/stages.js";

const FINE = 0.005; // of a stage

export class Reel {
  /** @param {{scrub: (moment: number) => void, done: () => void}} actions */
  constructor(actions) {
    this.slider = element("input", {
      type: "range", class: "fl-scrub", min: "0", max: String(STAGES.length), step: String(FINE), "aria-label": "Moment in the event",
      oninput: () => actions.scrub(Number(this.slider.value)),
      onchange: () => actions.done(),
    });
    this.fill = element("i", { class: "fl-passed" });
    const labels = STAGES.map(({ label }, i) => element("span", { text: `${i + 1} ${label}` }));
    this.labels = labels;
    this.root = element("div", { class: "fl-reel", hidden: "" }, [this.fill, ...labels, this.slider]);
  }

  /** @param {import("../model/stages.js").Stage | null} stage null between events */
  update(stage) {
    const moment = stage ? stage.index + stage.share : 0;
    this.slider.disabled = !stage;
    this.slider.value = String(moment);
    this.slider.setAttribute("aria-valuetext", stage ? `${STAGES[stage.index].label}, ${Math.round(100 * stage.share)} %` : "between events");
    this.fill.style.width = `${(100 * moment) / STAGES.length}%`;
    this.labels.forEach((label, i) => label.classList.toggle("fl-now", i === stage?.index));
  }
}
