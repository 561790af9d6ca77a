/** How the total rank is shared among module types or layers, over time. */

import { formatNumber, matrixLabel } from "../model/format.js";
import { remembered } from "../model/remembered.js";
import { inkOn, tableColour } from "../pen/palette.js";

/** @import { Model } from "../model/model.js" */
/** @import { Palette } from "../pen/palette.js" */
/** @import { Scene, Pen, TimeScale } from "../model/scene.js" */
/** @import { Box } from "../pen/draw.js" */
/** @import { Group } from "../model/sorts.js" */
/** @typedef {{box: Box, groups: Group[], edges: Float64Array[], by: string}} ShareLayout edges: where each group's share begins at each record, from the top as in the map, and a last one at 1 */

const LABEL_ROOM = 12;

/** @param {Model} model @param {string} by "type" or "layer" @param {number} t @param {number} i @returns {number} total rank of a group */
function groupRank(model, by, t, i) {
  return model.derived[`${by}Ranks`][t * model.header.groups[by].length + i];
}

const sharesOf = remembered((/** @type {Model} */ model, /** @type {string} */ by) => {
  const own = model.derived[`${by}Group`];
  /** @type {Group[]} */
  const groups = model.header.groups[by].map((/** @type {string} */ label, /** @type {number} */ i) => ({ label, members: model.order.filter((m) => own[m] === i) }));
  const edges = [new Float64Array(model.T)];
  for (let i = 0; i < groups.length; i += 1) edges.push(edges[i].map((edge, t) => edge + groupRank(model, by, t, i) / Math.max(1, model.totalRank[t])));
  return { groups, edges };
});

/** @param {Scene} scene @param {Box} box @param {string} by @returns {ShareLayout} */
export function layoutShares({ model }, box, by) {
  return { ...sharesOf(model, by), by, box: { ...box, y: box.y + 3, h: box.h - 3 } };
}

/** Layers have an order, types have none. @param {Palette} palette @param {ShareLayout} layout @param {number} i @returns {string} */
function groupColour(palette, { groups, by }, i) {
  if (by === "type") return palette.kinds[i % palette.kinds.length];
  return tableColour(palette.depths, Math.round(20 + (215 * i) / Math.max(1, groups.length - 1)));
}

/** @param {Pen} pen @param {Scene} scene @param {ShareLayout} layout @param {TimeScale} scale */
export function drawShareBands(pen, { model, palette, selected }, layout, scale) {
  const { box, groups, edges } = layout;
  const corners = steppedCorners(model, scale, edges);
  const y = (/** @type {number} */ share) => box.y + box.h * share;
  let labelled = -Infinity;
  groups.forEach((group, i) => {
    const own = group.members.includes(selected);
    const [xs, ys] = outline(corners, edges[i], edges[i + 1], y);
    pen.path(xs, ys, { fill: groupColour(palette, layout, i), stroke: palette.background, width: 1 });
    const middle = y((edges[i][0] + edges[i + 1][0]) / 2);
    if (middle - labelled >= LABEL_ROOM - 1 && edges[i + 1][0] > edges[i][0]) {
      labelled = middle;
      pen.text(box.x - 8, middle, group.label, { fill: own ? palette.text : palette.muted, size: 11, weight: own ? 600 : 400, align: "right", maxWidth: box.x - 10 });
    }
  });
  const i = groups.findIndex(({ members }) => members.includes(selected));
  if (i < 0) return;
  const own = outline(corners, edges[i], edges[i + 1], y);
  pen.path(...own, { stroke: palette.background, width: 3.5 });
  pen.path(...own, { stroke: palette.text, width: 1.5 });
}

/** Records whose shares differ from those before, as x from and to. @param {Model} model @param {TimeScale} scale @param {Float64Array[]} edges @returns {Array<{t: number, from: number, to: number}>} */
function steppedCorners(model, scale, edges) {
  const corners = [];
  for (let t = 0; t < model.T; t += 1) {
    if (t && edges.every((edge) => edge[t] === edge[t - 1])) continue;
    const from = scale.x(model.steps[t]);
    if (corners.length) corners[corners.length - 1].to = from;
    corners.push({ t, from, to: scale.x(model.lastStep) });
  }
  return corners;
}

/** @param {Array<{t: number, from: number, to: number}>} corners @param {Float64Array} low @param {Float64Array} high @param {(share: number) => number} y @returns {[number[], number[]]} a closed outline */
function outline(corners, low, high, y) {
  /** @type {number[]} */
  const xs = [];
  /** @type {number[]} */
  const ys = [];
  for (const { t, from, to } of corners) {
    xs.push(from, to);
    ys.push(y(high[t]), y(high[t]));
  }
  for (const { t, from, to } of [...corners].reverse()) {
    xs.push(to, from);
    ys.push(y(low[t]), y(low[t]));
  }
  return [xs, ys];
}

/** What each has at the clock. @param {Pen} pen @param {Scene} scene @param {ShareLayout} layout @param {TimeScale} scale */
export function drawSharesNow(pen, { model, palette, record }, layout, scale) {
  const { box, groups, edges } = layout;
  pen.text(scale.right + 8, 6, `Σ ${model.totalRank[record]}`, { fill: palette.text, size: 11, weight: 600 });
  groups.forEach((_, i) => {
    const [low, high] = [edges[i][record], edges[i + 1][record]];
    const h = (high - low) * box.h;
    if (!(h > 0)) return;
    const fill = groupColour(palette, layout, i);
    const y = box.y + box.h * low;
    pen.rect(scale.right + 8, y, scale.aside, Math.max(0.5, h - 1), { fill });
    if (h >= LABEL_ROOM - 2) pen.text(scale.right + 8 + scale.aside / 2, y + h / 2, percentage(high - low), { fill: inkOn(fill), size: 11, align: "center" });
  });
}

/** @param {number} share @returns {string} */
export function percentage(share) {
  return `${formatNumber(Math.round(1000 * share) / 10)} %`;
}

/** @param {Scene} scene @param {ShareLayout} layout @param {TimeScale} scale @param {number} x @param {number} y @returns {{group: Group, rank: number, share: number, record: number} | null} */
function groupAt({ model, record }, { box, groups, edges, by }, scale, x, y) {
  const share = (y - box.y) / box.h;
  if (share < 0 || share > 1 || x < scale.left) return null;
  const t = x > scale.right ? record : model.recordAt(scale.step(x));
  const i = groups.findIndex((_, at) => share >= edges[at][t] && share < edges[at + 1][t]);
  return i < 0 ? null : { group: groups[i], rank: groupRank(model, by, t, i), share: edges[i + 1][t] - edges[i][t], record: t };
}

/** @param {Scene} scene @param {ShareLayout} layout @param {TimeScale} scale @param {number} x @param {number} y @returns {number} the largest matrix of the group, or -1 */
export function largestInShare(scene, layout, scale, x, y) {
  const found = groupAt(scene, layout, scale, x, y);
  if (!found) return -1;
  const rank = (/** @type {number} */ m) => scene.model.rank(found.record, m);
  return found.group.members.reduce((best, m) => (rank(m) > rank(best) ? m : best));
}

/** @param {Scene} scene @param {ShareLayout} layout @param {TimeScale} scale @param {number} x @param {number} y @returns {string | null} */
export function describeShare(scene, layout, scale, x, y) {
  const found = groupAt(scene, layout, scale, x, y);
  if (!found) return null;
  const { model } = scene;
  const m = largestInShare(scene, layout, scale, x, y);
  return `${found.group.label} · step ${model.steps[found.record]} · ${percentage(found.share)} of the total rank (${found.rank} of ${model.totalRank[found.record]}) · largest: ${matrixLabel(model.matrices[m])}, rank ${model.rank(found.record, m)}`;
}

/** @param {Scene} scene @param {string} by @returns {string} */
export function describeShares({ model, record }, by) {
  const { groups, edges } = sharesOf(model, by);
  const parts = groups.map(({ label }, i) => `${label} ${percentage(edges[i + 1][record] - edges[i][record])}`);
  return `Share of the total rank, ${model.totalRank[record]} at the clock: ${parts.join(", ")}`;
}

/** @param {Scene} scene @param {string} by @returns {import("../model/scene.js").Table} one row a record and group */
export function sharesTable({ model }, by) {
  const labels = /** @type {string[]} */ (model.header.groups[by]);
  const row = (/** @type {number} */ t, /** @type {string} */ label, /** @type {number} */ i) => {
    const [rank, total] = [groupRank(model, by, t, i), model.totalRank[t]];
    return [model.steps[t], label, rank, total ? rank / total : NaN, total];
  };
  return { head: ["step", "group", "rank", "rank_share", "total_rank"], rows: Array.from(model.steps).flatMap((_, t) => labels.map((label, i) => row(t, label, i))) };
}
