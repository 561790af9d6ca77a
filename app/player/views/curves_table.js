/** The numbers of the curves, one row a step; the columns are those of analysis.tables. */

import { lastAtOrBefore } from "../model/model.js";

/** @typedef {import("../model/model.js").Model} Model */

/** @param {Model} model @returns {import("../model/scene.js").Table} every step that has a loss, a record or an evaluation; what a step did not record is empty */
export function curvesTable(model) {
  const { lossSteps, derived } = model;
  const found = model.evaluationSeries();
  const budget = model.budgetCurve();
  const steps = [...new Set([...lossSteps, ...model.steps, ...(found?.steps ?? [])])].sort((a, b) => a - b);
  const at = (/** @type {ArrayLike<number> | undefined} */ own, /** @type {ArrayLike<number> | null | undefined} */ values) => (/** @type {number} */ step) => {
    const place = own && values ? lastAtOrBefore(own, step) : -1;
    return own && values && own[place] === step ? values[place] : NaN;
  };
  const moved = (/** @type {"gross" | "net" | "churn"} */ key) => at(model.steps, Array.from(model.steps, (_, t) => model.moved(t)[key]));
  const moves = (/** @type {"prune" | "extend"} */ key) => at(model.eventSteps, model.events.map((event) => event[key].length));
  const measured = at(found?.steps, found?.values);
  const columns = /** @type {Array<[string, (step: number) => number | string | null]>} */ ([
    ["task_loss", at(lossSteps, model.taskLoss)],
    ["task_loss_trailing_mean", at(lossSteps, derived.taskLossMean)],
    ["regularizer", at(lossSteps, model.regularizer)],
    ["penalty", at(lossSteps, model.penalty)],
    ["evaluation", measured],
    ["evaluated", (step) => (found && !Number.isNaN(measured(step)) ? `${found.split} ${found.metric}` : null)],
    ["budget", at(budget?.steps, budget?.values)],
    ["total_rank", at(model.steps, model.totalRank)],
    ["target_rank", at(lossSteps, model.targetRank)],
    ["extended", moves("extend")],
    ["pruned", moves("prune")],
    ["gross_moves", moved("gross")],
    ["net_moves", moved("net")],
    ["churn", moved("churn")],
  ]);
  return { head: ["step", ...columns.map(([name]) => name)], rows: steps.map((step) => [step, ...columns.map(([, value]) => value(step))]) };
}
