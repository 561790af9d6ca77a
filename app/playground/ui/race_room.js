/** The race: a truth to paint, two contestants, and how they stand. */

import { element, penFor } from "../../player/pen/draw.js";
import { iconButton } from "../../player/ui/icons.js";
import { drawChart, endsOf } from "../pictures/chart.js";
import { budgetOf, isEvent } from "../engine/schedule.js";
import { commandOf } from "../engine/settings.js";
import { Runner } from "../runner.js";
import { copyOf, ruleOf, settingsOf, SIDES, trouble, truthOfChoices, withSetting } from "./choices.js";
import { Contestant, sideColour } from "./contestant.js";
import { experimentOf } from "./experiment_of.js";
import { EXPERIMENTS } from "./experiments.js";
import { Ledger } from "./ledger.js";
import { Painter } from "./painter.js";
import { PRUNED } from "./reasons.js";
import { ruleName } from "./rules.js";
import { ScheduleDesk } from "./schedule_desk.js";
import { SettingsPanel } from "./settings_panel.js";
import { verdictWords } from "./verdict.js";
import { evenly, eventWords, matrixName, ownWords } from "./words.js";
import { POLICIES } from "../engine/policies.js";

/** @import { Palette } from "../../player/pen/palette.js" */
/** @import { Report } from "../driver.js" */
/** @import { Choices, Side } from "./choices.js" */
/** @typedef {{palette: () => Palette, still: boolean, changed: () => void, copy: () => Promise<string>, served: boolean, take: (name: string, text: string) => void}} Hall */

/** Name, steps a second (null = as fast as it goes), and ms to halt where rank moved. */
const PACES = /** @type {[string, number | null, number][]} */ ([["30 a second, halting at moves", 30, 2000], ["10 steps a second", 10, 0], ["20 steps a second", 20, 0], ["40 steps a second", 40, 0], ["80 steps a second", 80, 0], ["as fast as it goes", null, 0]]);
const PRESETS = ["agree", "disagree", "spike", "uniform"];
const LOOK = "Two trainings look for the left map: how many directions (its rank) each weight matrix needs. In A and B, 4/7 means: has 4, needs 7; a purple frame: has what it needs; a black one: told of below. The small number is the score, here entropy: the lowest loses, the highest gains. Press a matrix to read why it moved or stayed. The left map is yours to paint.";
const CHART_HEIGHT = 210;
const LEAST_TOP = 9;

export class RaceRoom {
  /** @param {Hall} hall @param {Choices} choices */
  constructor(hall, choices) {
    this.hall = hall;
    this.choices = choices;
    this.frame = 0;
    this.runner = new Runner((report) => this.hear(report));
    this.playing = false;
    this.finished = false;
    /** A race was begun, and nothing of it came yet: what comes may still be of the last one. */
    this.waiting = true;
    /** A, B, and who has the true ranks from the start. */
    this.ledgers = [new Ledger(), new Ledger(), new Ledger()];
    /** @type {string[]} */
    this.names = [];
    this.shownEvents = 0;
    /** After which nothing can move; null where nothing ever can. @type {number | null} */
    this.lastEvent = null;
    /** Of each contestant, which direction goes. */
    this.pruned = ["", ""];
    /** Of each, what it has otherwise than the other, where both follow one rule. */
    this.apart = ["", ""];
    this.truth = truthOfChoices(choices);
    this.given = 0;
    this.look = element("p", { text: LOOK });
    this.verdict = element("p", { class: "pg-ended" });
    this.painter = new Painter((scenario) => this.offer({ ...copyOf(this.choices), scenario }));
    this.contestants = SIDES.map((side) => new Contestant(side, (rule) => this.giveRule(side, rule)));
    for (const contestant of this.contestants) contestant.changed = () => this.schedule();
    this.charts = [element("canvas", { role: "img" }), element("canvas", { role: "img" })];
    this.moves = element("ol", { class: "pg-moves", tabindex: "0", "aria-label": "Moves of each event" });
    this.settings = new SettingsPanel((next) => this.offer(next));
    this.schedules = SIDES.map((side) => new ScheduleDesk(side, (own) => this.offer({ ...copyOf(this.choices), [side]: { ...this.choices[side], ...own } })));
    this.commands = element("div", { class: "pg-commands" });
    this.host = this.build();
  }

  build() {
    const button = (/** @type {string} */ text, /** @type {() => void} */ act) => element("button", { type: "button", class: "fl-button fl-text", text, onclick: act });
    this.playButton = element("button", { type: "button", class: "fl-button fl-text fl-primary pg-play", text: "Play", onclick: () => this.toggle() });
    this.readout = element("output", { class: "fl-readout" });
    this.pace = element("select", { class: "fl-select", "aria-label": "Pace", onchange: () => this.setPace() }, PACES.map(([label], i) => element("option", { value: String(i), text: label })));
    this.pace.value = "0";
    this.presets = element("select", { class: "fl-select", "aria-label": "Truth", onchange: () => this.presets && this.offer({ ...copyOf(this.choices), scenario: this.presets.value }) }, [...PRESETS, "painted"].map((key) => element("option", { value: key, text: key })));
    const copy = button("Copy link", async () => {
      copy.textContent = await this.hall.copy();
      window.setTimeout(() => (copy.textContent = "Copy link"), 1600);
    });
    this.bar = element("div", { class: "pg-row pg-bar", role: "toolbar", "aria-label": "Race" }, [
      this.playButton, iconButton("forward", "One step (→)", () => this.move({ kind: "step", count: 1 })), iconButton("eventForward", "To the next event (shift →)", () => this.move({ kind: "event" })),
      iconButton("first", "From the start (Home)", () => this.restart(false)), element("label", { class: "fl-label" }, [element("span", { text: "Pace" }), this.pace]), this.readout, element("span", { class: "fl-space" }), copy,
    ]);
    this.tries = EXPERIMENTS.map((experiment) => element("button", { type: "button", class: "fl-button fl-text pg-try", "aria-pressed": "false", text: experiment.label, onclick: () => this.try(experiment) }));
    this.takers = element("div", { class: "pg-row" }, SIDES.map((side, lane) => button(this.hall.served ? `Open ${side.toUpperCase()} in the player` : `Save ${side.toUpperCase()} as a file`, () => this.runner.send({ kind: "record", lane }))));
    this.takers.append(element("span", { class: "pg-small", text: `${this.hall.served ? "as a run of yours" : "that Runs of the Lab imports"}, up to this step: every spectrum, event and reason. The commands make the same runs in Python.` }));
    const truth = element("section", { class: "pg-panel" }, [element("header", {}, [element("h3", { text: "What is needed" }), this.presets]), this.painter.node]);
    const charts = this.charts.map((canvas) => element("section", { class: "pg-chart" }, [canvas]));
    const details = (/** @type {string} */ label, /** @type {Node[]} */ nodes) => element("details", { class: "pg-details" }, [element("summary", { text: label }), ...nodes]);
    this.planned = details("The schedules: drag them", [element("div", { class: "pg-columns pg-two-even" }, this.schedules.map((desk) => desk.node))]);
    this.planned.addEventListener("toggle", () => this.showSchedules());
    return element("div", { class: "pg-race" }, [
      element("div", { class: "pg-look", "aria-live": "polite" }, [this.look, this.verdict]), this.bar,
      element("div", { class: "pg-row pg-tries" }, [element("h3", { text: "Try:" }), ...this.tries]),
      element("div", { class: "pg-maps" }, [truth, ...this.contestants.map((contestant) => contestant.node)]),
      element("div", { class: "pg-below" }, [...charts, element("section", { class: "pg-panel" }, [element("h3", { text: "What moved, the latest first" }), this.moves])]),
      this.planned, details("All settings", [this.settings.node]), details("Take it along: the player, Python", [this.takers, this.commands]),
    ]);
  }

  /** Once it is on the page, and has a width. */
  begin() {
    this.keys = (/** @type {KeyboardEvent} */ event) => this.pressed(event);
    document.addEventListener("keydown", this.keys);
    const experiment = experimentOf(this.choices);
    this.restart(!this.hall.still && !experiment?.waits);
    this.ask(experiment);
  }

  close() {
    this.runner.close();
    cancelAnimationFrame(this.frame);
    if (this.keys) document.removeEventListener("keydown", this.keys);
  }

  get values() {
    return [];
  }

  /** @param {Choices} next @returns {string | null} why it cannot be */
  offer(next) {
    const told = trouble(next);
    if (told) return told;
    this.choices = next;
    this.ask();
    this.hall.changed();
    this.restart(this.playing || this.finished);
    return null;
  }

  /** @param {Side} side @param {string} rule */
  giveRule(side, rule) {
    const next = copyOf(this.choices);
    next[side] = withSetting(next[side], "policy", rule === "spectral_entropy" ? undefined : rule);
    // What belonged to another rule would be refused.
    if (POLICIES[rule].kind !== "moves" || next[side].direction === "both") return void this.offer(next);
    delete next[side].direction;
    this.offer(next);
  }

  /** @param {import("./experiments.js").Experiment} experiment */
  try(experiment) {
    this.choices = copyOf(experiment.choices);
    this.hall.changed();
    this.restart(!this.hall.still && !experiment.waits);
    this.ask(experiment);
    this.look.parentElement?.scrollIntoView({ block: "nearest", behavior: this.hall.still ? "auto" : "smooth" });
  }

  /** The question of an experiment; undefined = what is shown is none. @param {import("./experiments.js").Experiment} [experiment] */
  ask(experiment) {
    this.look.textContent = experiment?.look ?? LOOK;
    this.tries?.forEach((node, i) => node.setAttribute("aria-pressed", String(EXPERIMENTS[i] === experiment)));
  }

  /** @param {boolean} playing */
  restart(playing) {
    const { choices } = this;
    this.ledgers = [new Ledger(), new Ledger(), new Ledger()];
    this.moves.replaceChildren();
    this.shownEvents = 0;
    this.host.dataset.finished = "false";
    this.verdict.textContent = "";
    this.look.hidden = false;
    if (this.presets) this.presets.value = PRESETS.includes(choices.scenario) ? choices.scenario : "painted";
    const [a, b] = SIDES.map((side) => settingsOf(choices, side));
    const due = [a, b].map((own) => Array.from({ length: own.steps }, (_, i) => i + 1).filter((step) => isEvent(own, step) && budgetOf(own, step)));
    this.pruned = [a, b].map(({ prune_rule: rule }) => PRUNED[rule]);
    const alike = ruleOf(choices.a) === ruleOf(choices.b);
    this.apart = alike ? [ownWords(a, b), ownWords(b, a)] : ["", ""];
    SIDES.forEach((side, i) => this.contestants[i].follow(ruleOf(choices[side]), this.pruned[i], due[i][0] ?? null, 3 * a.layers, this.apart[i]));
    this.lastEvent = due.flat().reduce((/** @type {number | null} */ last, step) => Math.max(last ?? 0, step), null);
    const oracle = settingsOf({ ...choices, a: { policy: "true_ranks" } }, "a");
    Object.assign(this, { waiting: true, playing, finished: false });
    this.runner.send({ kind: "start", lanes: [a, b, oracle] });
    this.truth = truthOfChoices(choices);
    this.given = 3 * a.layers * a.initial_rank;
    this.names = Array.from({ length: 3 * a.layers }, (_, place) => matrixName(place));
    this.settings.show(choices);
    this.showSchedules();
    this.commands.replaceChildren(...[a, b].map((settings, i) => element("p", {}, [element("b", { text: `${SIDES[i].toUpperCase()} ` }), element("code", { class: "fl-command", text: commandOf(settings, `runs/playground-${SIDES[i]}`) })])));
    this.setPace();
    if (playing) this.runner.send({ kind: "play" });
    this.draw();
  }

  showSchedules() {
    if (this.planned?.open) this.schedules.forEach((desk, i) => desk.show(settingsOf(this.choices, SIDES[i])));
  }

  setPace() {
    const [, stepsPerSecond, hold] = PACES[Number(this.pace?.value ?? 0)];
    this.runner.send({ kind: "speed", stepsPerSecond, hold });
  }

  toggle() {
    if (this.finished) return this.restart(true);
    this.playing = !this.playing;
    this.runner.send({ kind: this.playing ? "play" : "pause" });
    this.schedule();
  }

  /** @param {import("../driver.js").Order} order */
  move(order) {
    if (this.finished) return;
    this.playing = false;
    this.runner.send(order);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || !(target instanceof Element) || target.matches("input, select, textarea, [role=slider], canvas.pg-paint, [role=tab]")) return;
    if (target.closest("button, a, summary") && (event.key === " " || event.key === "Enter")) return;
    const act = { " ": () => this.toggle(), ArrowRight: () => this.move(event.shiftKey ? { kind: "event" } : { kind: "step", count: 1 }), Home: () => this.restart(false) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** @param {Report} report */
  hear(report) {
    if (report.kind === "error") {
      this.playing = false;
      this.look.textContent = report.message;
    }
    if (report.kind === "record") this.hall.take(`playground-${SIDES[report.lane]}`, report.text);
    if (report.kind !== "snapshot") return;
    const { race, playing } = report;
    if (this.waiting && race.step) return;
    this.waiting = false;
    race.lanes.forEach((snapshot, i) => this.ledgers[i].add(snapshot));
    // The order to play may still be on its way.
    if (race.step) this.playing = playing;
    this.finished = race.finished;
    this.schedule();
  }

  schedule() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const last = this.ledgers[0].last;
    if (!last || !this.host.isConnected) return;
    const palette = this.hall.palette();
    const truth = this.truth;
    const most = Math.max(LEAST_TOP, ...truth.ranks);
    this.painter.show(truth, this.given, most, palette);
    const now = performance.now();
    const glows = this.contestants.map((contestant, i) => contestant.draw(this.ledgers[i], most, palette, now, this.hall.still));
    this.drawCharts(palette, last.step, last.steps);
    this.tellMoves();
    const { playing, finished } = this;
    if (this.playButton) this.playButton.textContent = playing ? "Pause" : finished ? "Again" : last.step ? "Go on" : "Play";
    const over = this.lastEvent === null ? "" : last.step > this.lastEvent ? ` · moves ended at step ${this.movesEnded}` : "";
    if (this.readout) this.readout.textContent = `step ${last.step} of ${last.steps}${this.movesEnded === null ? "" : over}`;
    if (finished && this.host.dataset.finished !== "true") this.verdict.textContent = verdictWords(this.ledgers, SIDES.map((side, i) => [ruleName(ruleOf(this.choices[side])), this.apart[i]].filter(Boolean).join(", ")));
    // The question of an experiment stays beside its answer.
    this.look.hidden = finished && this.look.textContent === LOOK;
    Object.assign(this.host.dataset, { step: String(last.step), finished: String(finished), moved: String(this.ledgers[0].moves) });
    if (glows.includes(true)) this.schedule();
  }

  /** Step of the last event that moved something, of both; null where none did. */
  get movesEnded() {
    const steps = this.ledgers.slice(0, 2).flatMap(({ lastMove }) => lastMove ?? []);
    return steps.length ? Math.max(...steps) : null;
  }

  /** @param {Palette} palette @param {number} step @param {number} steps */
  drawCharts(palette, step, steps) {
    const looks = [...SIDES.map((side) => ({ label: side.toUpperCase(), colour: sideColour(palette, side), dash: side === "b" ? [6, 3] : undefined })), { label: "true ranks", colour: palette.muted, dash: [2, 3] }];
    const marks = [...new Set(this.ledgers.slice(0, 2).flatMap(({ events }) => events.map((event) => event.step)))];
    const common = { x: /** @type {[number, number]} */ ([0, steps]), now: step, below: "step", marks };
    const loss = this.ledgers.map(({ validation }, i) => ({ ...looks[i], xs: validation.steps, ys: validation.losses }));
    const even = this.ledgers.slice(0, 2).every(({ last }) => !last || evenly(last.ranks, last.trueRanks));
    const way = this.ledgers.slice(0, 2).map(({ way: { steps: at, misplaced } }, i) => ({ ...looks[i], xs: [...at, step], ys: [...misplaced, misplaced[misplaced.length - 1]].map((wrong) => (even ? wrong : 2 * wrong)), steps: true }));
    const inputs = [
      { ...common, series: way, y: endsOf(way.map(({ ys }) => ys)), title: even ? "directions misplaced: ½ · Σ |has − needs|" : "directions too many or too few: Σ |has − needs|" },
      { ...common, series: loss, y: endsOf(loss.map(({ ys }) => ys), true), log: true, title: "loss on unseen data", right: 76 },
    ];
    this.charts.forEach((canvas, i) => {
      const width = canvas.parentElement?.clientWidth ?? 0;
      if (width) drawChart(penFor(canvas, width, CHART_HEIGHT, palette.font), palette, { x: 0, y: 0, w: width, h: CHART_HEIGHT }, inputs[i]);
      canvas.setAttribute("aria-label", `${inputs[i].title}: ${inputs[i].series.map(({ label, ys }) => `${label} ${Number(ys[ys.length - 1]?.toPrecision(3))}`).join(", ")}`);
    });
  }

  /** The events that came since it was told last. */
  tellMoves() {
    const all = SIDES.flatMap((side, i) => this.ledgers[i].events.filter(({ measure }) => measure !== "still").map((event) => ({ side, event, pruned: this.pruned[i] })));
    if (all.length === this.shownEvents) return;
    this.shownEvents = all.length;
    all.sort((one, other) => other.event.step - one.event.step || one.side.localeCompare(other.side));
    this.moves.replaceChildren(...all.map(({ side, event, pruned }) => element("li", {}, [element("span", { class: `pg-badge pg-badge-${side}`, text: side.toUpperCase() }), ` ${eventWords(event, this.names, pruned)}`])));
  }
}
