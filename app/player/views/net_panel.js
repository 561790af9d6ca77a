/** Net and gross moves: how much of all the moving remains. */

import { percentage } from "./rank_share.js";

/** @typedef {import("../model/model.js").Model} Model */

/** Cumulative gross moves above, net moves below; churn is told beside. @param {Model} model @returns {import("./curves.js").Panel} */
export function netPanel(model) {
  const moved = Array.from(model.steps, (_, t) => model.moved(t));
  const top = moved.reduce((most, { gross, net }) => Math.max(most, gross, net), 1);
  return {
    label: "net of gross",
    note: "bold: net",
    weight: 1.3,
    need: 3,
    draw: (pen, palette, box, scale) => {
      const xs = Float64Array.from(model.steps, (step) => scale.x(step));
      const heights = (/** @type {"gross" | "net" | "churn"} */ key, /** @type {number} */ most) => Float64Array.from(moved, (own) => box.y + box.h * (1 - own[key] / most));
      pen.line(box.x, box.y + box.h, box.x + box.w, box.y + box.h, { stroke: palette.line });
      pen.text(box.x - 6, box.y + 4, String(top), { fill: palette.muted, size: 10.5, align: "right" });
      pen.path(xs, heights("churn", 1), { stroke: palette.evaluation, width: 1, dash: [2, 2], steps: true });
      pen.path(xs, heights("gross", top), { stroke: palette.muted, width: 1.25, steps: true });
      pen.path(xs, heights("net", top), { stroke: palette.text, width: 2, steps: true });
    },
    value: (step) => {
      const { net, gross } = model.moved(model.recordAt(step));
      return `${net} of ${gross}`;
    },
    aside: (step) => {
      const { churn } = model.moved(model.recordAt(step));
      return Number.isFinite(churn) ? `churn ${percentage(churn)}` : "";
    },
  };
}
