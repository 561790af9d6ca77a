/** The numbers of the curves, one row a step. */

import { movesOverTime } from "../model/dynamics.js";
import { lastAtOrBefore } from "../model/model.js";

/** @typedef {import("../model/model.js").Model} Model */

/** @param {Model} model @returns {import("../model/scene.js").Table} every step that has a loss, a record or an evaluation; what a step did not record is empty */
export function curvesTable(model) {
  const found = model.evaluationSeries();
  const steps = [...new Set([...model.lossSteps, ...model.steps, ...(found?.steps ?? [])])].sort((a, b) => a - b);
  const budget = model.budgetCurve();
  const columns = /** @type {Array<[string, (step: number) => number | null]>} */ ([
    ["task loss", (step) => atStep(model.lossSteps, model.taskLoss, step)],
    ["regulariser", (step) => atStep(model.lossSteps, model.regularizer, step)],
  ]);
  const { penalty, targetRank } = model;
  if (penalty) columns.push(["penalty", (step) => atStep(model.lossSteps, penalty, step)]);
  if (found) columns.push([`${found.split} ${found.metric}`, (step) => atStep(found.steps, found.values, step)]);
  if (budget) columns.push(["b(t)", (step) => atStep(budget.steps, budget.values, step)]);
  columns.push(["total rank", (step) => atStep(model.steps, model.totalRank, step)]);
  if (targetRank) columns.push(["target rank", (step) => atStep(model.lossSteps, targetRank, step)]);
  if (model.events.length) columns.push(...moveColumns(model));
  return { head: ["step", ...columns.map(([name]) => name)], rows: steps.map((step) => [step, ...columns.map(([, value]) => value(step))]) };
}

/** @param {Model} model @returns {Array<[string, (step: number) => number | null]>} */
function moveColumns(model) {
  const { gross, net, churn } = movesOverTime(model);
  const own = (/** @type {"prune" | "extend"} */ key) => (/** @type {number} */ step) => {
    const event = model.eventAt(step);
    return event < 0 ? null : model.events[event][key].length;
  };
  const series = (/** @type {ArrayLike<number>} */ values) => (/** @type {number} */ step) => atStep(model.steps, values, step);
  return [["pruned", own("prune")], ["extended", own("extend")], ["gross moves", series(gross)], ["net moves", series(net)], ["churn", series(churn)]];
}

/** @param {ArrayLike<number>} steps @param {ArrayLike<number>} values @param {number} step @returns {number | null} the value at exactly this step */
function atStep(steps, values, step) {
  const place = lastAtOrBefore(steps, step);
  return place >= 0 && steps[place] === step && Number.isFinite(values[place]) ? values[place] : null;
}
