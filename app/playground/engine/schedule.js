/** b(t) and the steps of events: the shapes of `flexlora.schedules`, drawn by the curve that the editor has too. */

import { budgetAt } from "../../schedule/curve.js";

/** @import { Shape } from "../../schedule/curve.js" */
/** @import { Settings } from "./settings.js" */

/** @param {string} family @param {Partial<Shape>} [own] @returns {Shape} */
const shape = (family, own) => ({ family, options: [], power: 1, overEnd: false, decided: false, ...own });

/** Schedule → its shape, as `flexlora.schedules.CONFIGURABLE` has them. @type {Record<string, Shape>} */
export const SCHEDULES = {
  paper: shape("fall", { options: ["exponent"], overEnd: true }),
  reference: shape("hold", { options: ["exponent"] }),
  cubic: shape("fall", { options: ["exponent"] }),
  linear: shape("fall"),
  cosine: shape("cosine"),
  constant: shape("constant"),
  points: shape("points", { options: ["points"] }),
  adaptive: shape("constant", { options: ["adaptive_margin", "adaptive_churn"], decided: true }),
};

/** b(t), the most that may be pruned and the most that may be extended. @param {Settings} settings @param {number} step */
export function budgetOf(settings, step) {
  return budgetAt(step, SCHEDULES[settings.schedule], settings, settings.steps);
}

/** True when rank may move after `step`; never where ranks are only given to start with. @param {Settings} settings @param {number} step */
export function isEvent(settings, step) {
  const { warmup_steps: warmup, final_steps: final, interval, steps, policy, initial_budget: b0 } = settings;
  return warmup < step && step < steps - final && (step - warmup) % interval === 0 && !(policy && !b0);
}
