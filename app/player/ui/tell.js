/** Words, numbers and attributes beside the pictures: for those who read them, hear them, or test them. */

import { seesEntropy } from "../views/bands.js";
import { describeSoft, energyText } from "../views/describe.js";
import { element } from "../pen/draw.js";
import { formatEntropy, formatNumber } from "../model/format.js";
import { methodColour } from "../pen/palette.js";
import { noEvent, sentenceAt } from "./sentence.js";
import { SIDES } from "../views/sides.js";
import { castOf } from "../film/cast.js";
import { laterRecord, rankAt, toldAt } from "../film/choreography.js";
import { decisionOf, STAGES } from "../model/stages.js";
import { whyFits } from "../views/why_card.js";

/** @import { Scene } from "../model/scene.js" */

/** @param {any} player @param {Scene} scene @param {boolean} moved nothing but the clock did */
export function tell(player, scene, moved) {
  const { model, step, selected } = scene;
  const { clock, chosen, root } = player;
  tellAtOnce(player, scene);
  // Lists and descriptions cost a layout: while the clock is dragged they follow a few times a second.
  const rest = () => {
    // The run may be another one by now.
    if (model !== player.model) return;
    tellAtRest(player, scene);
    player.eventList.follow();
    describe(player, scene);
  };
  const turned = root.dataset.stage !== (scene.stage?.key ?? "") || clock.film?.held === 0;
  if (moved && !turned && (clock.moving || clock.dragged)) player.settler.call(rest);
  else player.settler.now(rest);
  root.dataset.drawnAt ??= String(window.performance.now());
  const matrix = model.matrices[selected]?.name ?? "";
  Object.assign(root.dataset, { step: String(step), matrix, playing: String(clock.playing), following: String(clock.following), updates: String(player.updates), since: String(scene.since ?? ""), stage: scene.stage?.key ?? "", pinned: scene.other?.name ?? "", ...chosen });
}

/** Entropy is read from λ: it says little where λ is not the spectrum of ΔW. @param {any} player @param {import("../model/model.js").Model} model */
export function warn({ nodes }, { run: { gap, gapLimit } }) {
  const wide = Number.isFinite(gap) && gap > gapLimit;
  nodes.glossary.say(nodes.warning, wide ? `λ is not a spectrum here: median gap |I(λ) − I(σ)| is ${formatNumber(gap)}` : "");
  nodes.warning.hidden = !wide;
}

/** Slow motion in the map's place: elsewhere all of an event is told at once. @param {any} player @returns {boolean} */
export function inFilm({ clock, mapView }) {
  return clock.slow && mapView.key === "map";
}

/** Whatever takes room, before the room is measured. @param {any} player @param {Scene} scene */
export function tellAll(player, scene) {
  const film = inFilm(player);
  player.nodes.reel.hidden = !film;
  // The film has one palette.
  if (film) player.nodes.choices.colour.root.hidden = true;
  tellAtOnce(player, scene);
  tellAtRest(player, scene);
}

/** @param {any} player @param {Scene} scene */
function tellAtOnce(player, scene) {
  const { model, step } = scene;
  const { nodes, clock, root } = player;
  nodes.sentence.setAttribute("aria-live", clock.playing || clock.following || clock.slow ? "off" : "polite");
  nodes.glossary.say(nodes.sentence, sentenceAt(model, step, inFilm(player) ? scene.stage : null));
  nodes.glossary.say(nodes.numbers, numbersOf(scene));
  nodes.more.hidden = Boolean(model.run.ranksOnly);
  if (nodes.more.open) nodes.glossary.say(nodes.moreNumbers, moreOf(scene));
  tellStage(player, scene);
  player.transport.update();
  root.classList.toggle("fl-live", clock.live || clock.following);
  root.classList.toggle("fl-held", (clock.film?.held ?? null) !== null);
}

/** @param {any} player @param {Scene} scene */
function tellAtRest(player, scene) {
  const { model, step, selected } = scene;
  const { nodes, chosen } = player;
  tellRuns(player, scene);
  player.eventList.update(step, selected);
  player.picker.show(model, selected);
  for (const [name, choice] of Object.entries(nodes.choices)) choice.show(chosen[name]);
  nodes.choices.scale.root.hidden = !player.mapView.spectra;
  nodes.choices.entropy_scale.root.hidden = nodes.choices.colour.root.hidden || !seesEntropy(player.model, player.bandView, chosen.colour);
  nodes.choices.sort.root.hidden = player.timeline.band.key !== "strip";
  nodes.since.hidden = chosen.colour !== "change" || nodes.choices.colour.root.hidden;
  say(nodes.since, scene.since === null ? "since here" : `since ${scene.since}`);
  nodes.since.title = "rank change counts from the clock on; press again to count from the start (p)";
  showCard(player, scene);
  nodes.glossary.mark(player.card.root);
  nodes.glossary.mark(player.eventList.root.firstElementChild);
  nodes.glossary.follow();
  nodes.guide.update();
}

/** Rows and options out of sight: where there are hundreds, they come after the first picture. @param {any} player */
export function tellRest({ model, eventList, picker, selected }) {
  eventList.fill();
  picker.complete(model, selected);
}

/** The pictures in words. @param {any} player @param {Scene} scene */
function describe({ nodes, mapView, sideView, timeline }, scene) {
  nodes.mapCanvas.setAttribute("aria-label", mapView.describe(scene));
  nodes.sideCanvas.setAttribute("aria-label", sideView.describe(scene));
  nodes.moving.setAttribute("aria-label", `${timeline.band.describe(scene)}; loss, moves and total rank; the clock is at step ${scene.step}${scene.model.drawn && `; ${scene.model.drawn}`}`);
}

/** @param {HTMLElement} node @param {string} text */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Where slow motion stands, in words. @param {any} player @param {Scene} scene */
function tellStage(player, { model, stage, time }) {
  const { nodes, clock, root } = player;
  const told = stage && inFilm(player) ? toldAt(stage.index + stage.share) : null;
  root.classList.toggle("fl-untold-prune", told?.prune === false);
  root.classList.toggle("fl-untold-extend", told?.extend === false);
  if (!clock.slow) return;
  const next = model.eventSteps.find((step) => step > time);
  const between = next === undefined ? "Slow motion: no event after this." : `Slow motion: the next event comes at step ${next}.`;
  player.reel.update(stage);
  nodes.glossary.say(nodes.stage, stage ? `${stage.index + 1}/${STAGES.length} ${STAGES[stage.index].label} · ${stage.caption}` : between);
}

/** Names of the two runs in the colours of their methods. @param {any} player @param {Scene} scene */
function tellRuns({ nodes }, { model, other, palette }) {
  nodes.legend.hidden = !other;
  const key = other ? [model.run.name, other.name, other.missing, palette.key].join("|") : "";
  if (!other || nodes.legend.dataset.key === key) return;
  nodes.legend.dataset.key = key;
  const run = (/** @type {string} */ name, /** @type {string} */ method, /** @type {string} */ line) => {
    const sample = element("i", { class: `fl-line ${line}` });
    sample.style.borderColor = methodColour(palette, method);
    return element("span", { class: "fl-run", title: `${name} (${method})` }, [sample, name]);
  };
  nodes.legend.replaceChildren(
    run(model.run.name ?? "this run", model.run.method, "fl-solid"),
    run(`${other.name}${other.missing ? " (beyond its log)" : ""}`, other.model.run.method, "fl-dashed"),
  );
}

/** What the card says where no event lies at or before the clock. @param {import("../model/model.js").Model} model @returns {string} */
export function beforeAny(model) {
  if (model.events.length) return `No event yet: the first is at step ${model.events[0].step}.`;
  if (model.run.state === "running" && !model.run.ranksOnly) return noEvent(model).whole;
  return model.run.ranksOnly ? "This log tells ranks only: nothing is known of why they changed." : "This run has no events: nothing was decided.";
}

/** @param {any} player @param {Scene} scene */
function showCard(player, { model, step, selected, card }) {
  const shown = player.sideView === SIDES.why;
  player.nodes.sideCanvas.hidden = shown;
  player.card.root.hidden = !shown;
  if (!shown) return;
  const arrived = player.why && whyFits(player.why, model, step, selected);
  const early = model.eventBefore(step) < 0;
  const none = early ? beforeAny(model) : "The log does not hold what this event saw.";
  const waiting = early || arrived ? none : player.clock.playing ? "Pause to see why." : "One moment …";
  // Beside training each card may be overtaken by the next event: the last one stays, and says of which event it is.
  const last = !early && !arrived && model.run.state === "running" && player.why?.matrix === model.matrices[selected]?.name ? player.why.card : null;
  const note = last ? `Of event ${last.event}, step ${last.step}: the card of the latest event is on its way.` : "";
  player.card.update(/** @type {any} */ (card) ?? last, waiting, note);
}

/** Energy beside entropy. @param {Scene} scene */
function numbersOf({ model, record: now, selected: m, stage }) {
  const cast = stage && castOf(model, stage.event);
  const rank = cast ? rankAt(cast, m, stage.index + stage.share) : model.rank(now, m);
  // The last stage shows records that follow.
  const record = cast ? laterRecord(cast, stage.index + stage.share) : now;
  if (model.run.ranksOnly) return `rank ${rank} · λ unknown`;
  const event = stage ? -1 : model.eventAt(model.steps[now]);
  const after = event < 0 ? rank : decisionOf(model, event).after[m];
  return `${record === now ? "" : `step ${model.steps[record]}: `}rank ${rank}${after === rank ? "" : ` → ${after}`}${stage ? "" : describeSoft(model, record, m)} · ${cast && record === now && rank !== model.rank(now, m) ? "before: " : ""}entropy ${formatEntropy(model.entropy(record, m))} · energy ${energyText(model, record, m)}`;
}

/** What experts ask for: is λ the spectrum, what scales it, what is left of the moves. @param {Scene} scene */
function moreOf({ model, record, selected: m }) {
  const truth = model.trueEntropy(record, m);
  const { gross, net, churn } = model.moved(record);
  return [
    Number.isFinite(truth) ? `entropy of σ ${formatEntropy(truth)}, gap ${formatNumber(model.gap(record, m))}` : "",
    `scale s = ${formatNumber(model.scale)}`,
    model.events.length ? `moves: gross ${gross}, net ${net}` : "",
    Number.isFinite(churn) ? `churn ${formatNumber(100 * churn)} %` : "",
  ].filter(Boolean).join(" · ");
}
