/** Words, numbers and attributes beside the pictures: for those who read them, hear them, or test them. */

import { describeSoft, energyText } from "./describe.js";
import { formatEntropy, formatNumber } from "./format.js";
import { sentenceAt } from "./sentence.js";
import { SIDES } from "./sides.js";
import { whyFits } from "./why_card.js";

/** @typedef {import("./scene.js").Scene} Scene */

/** @param {any} player @param {Scene} scene */
export function tell(player, scene) {
  const { model, step, selected } = scene;
  const { nodes, clock, chosen, root } = player;
  nodes.sentence.setAttribute("aria-live", clock.playing ? "off" : "polite");
  say(nodes.sentence, sentenceAt(model, step));
  say(nodes.numbers, numbersOf(scene));
  player.transport.update(model.run.state === "running");
  player.eventList.update(step, selected);
  if (nodes.picker.value !== String(selected)) nodes.picker.value = String(selected);
  for (const [name, choice] of Object.entries(nodes.choices)) choice.show(chosen[name]);
  nodes.since.hidden = chosen.colour !== "change";
  say(nodes.since, scene.since === null ? "since here" : `since ${scene.since}`);
  nodes.since.title = "rank change counts from the clock on; press again to count from the start (p)";
  showCard(player, scene);
  nodes.mapCanvas.setAttribute("aria-label", player.mapView.describe(scene));
  nodes.sideCanvas.setAttribute("aria-label", player.sideView.describe(scene));
  nodes.moving.setAttribute("aria-label", `${player.timeline.band.describe(scene)}; loss, moves and total rank; the clock is at step ${step}${model.drawn && `; ${model.drawn}`}`);
  root.dataset.drawnAt ??= String(window.performance.now());
  const matrix = model.matrices[selected]?.name ?? "";
  Object.assign(root.dataset, { step: String(step), matrix, playing: String(clock.playing), updates: String(player.updates), since: String(scene.since ?? ""), ...chosen });
}

/** @param {HTMLElement} node @param {string} text */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {any} player @param {Scene} scene */
function showCard(player, { model, step, selected, card }) {
  const shown = player.sideView === SIDES.why;
  player.nodes.sideCanvas.hidden = shown;
  player.card.root.hidden = !shown;
  if (!shown) return;
  const arrived = player.why && whyFits(player.why, model, step, selected);
  const none = model.eventBefore(step) < 0 ? "No event yet: the first decision is still to come." : "The log does not hold what this event saw.";
  const waiting = model.eventBefore(step) < 0 || arrived ? none : player.clock.playing ? "Pause to see why." : "One moment …";
  player.card.update(/** @type {any} */ (card), waiting);
}

/** Energy beside entropy, and the entropy of the true singular values beside that of λ. @param {Scene} scene */
function numbersOf({ model, record, selected: m }) {
  const truth = model.trueEntropy(record, m);
  const gap = Number.isFinite(truth) ? ` (of σ ${formatEntropy(truth)})` : "";
  return `rank ${model.rank(record, m)}${describeSoft(model, record, m)} · entropy ${formatEntropy(model.entropy(record, m))}${gap} · energy ${energyText(model, record, m)} · s = ${formatNumber(model.scale)}`;
}
