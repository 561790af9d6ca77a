/** The transport bar: buttons, the slider on the time axis, speed, keys. */

import { castOf } from "../film/cast.js";
import { laterRecord } from "../film/choreography.js";
import { element } from "../pen/draw.js";
import { icon, iconButton } from "./icons.js";
import { noEvent } from "./sentence.js";
import { closable } from "./take_out.js";

/** @import { Clock } from "./clock.js" */

export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];
const SLOW = "slow";

const KEYS = [
  ["space", "play or pause"],
  ["f", "follow the run while it trains: whatever else moves the clock leaves that"],
  ["← →", "one record back or forward"],
  ["shift ← →", "previous or next event"],
  ["s", "slow motion: each event in five stages, ← → turn them over; Esc leaves"],
  ["Home End", "first or last record"],
  ["↑ ↓", "previous or next matrix"],
  ["1 2 3 …", "colour of the map"],
  ["c", "next scale of entropy: run's range, decision, from 0 to 1"],
  ["m", "next picture in the map's place"],
  ["w", "spectrum, or why the event did that"],
  ["t", "next picture over time"],
  ["p", "rank change counts from here"],
  ["e", "take it out: PNG, SVG, CSV, link"],
  ["shift T", "the numbers as a table"],
  ["− +", "slower or faster"],
  ["?", "this list"],
];

export class Transport {
  /**
   * @param {Clock} clock
   * @param {{commit: () => void, copyLink: () => void, help: () => void, slow: (on: boolean) => void}} actions
   */
  constructor(clock, actions) {
    this.clock = clock;
    const button = (/** @type {keyof typeof import("./icons.js").ICONS} */ name, /** @type {string} */ label, /** @type {() => void} */ move) =>
      iconButton(name, label, () => {
        move();
        actions.commit();
      });
    this.playButton = button("play", "Play (space)", () => clock.toggle());
    this.playButton.classList.add("fl-primary");
    const slid = () => {
      clock.pause();
      clock.seek(Number(this.slider.value), true);
    };
    this.slider = element("input", { type: "range", class: "fl-slider", "aria-label": "Step", step: "1", oninput: slid, onchange: actions.commit });
    this.readout = element("output", { class: "fl-readout" });
    this.speed = element(
      "select",
      { class: "fl-select", "aria-label": "Playback speed" },
      [...SPEEDS.map((speed) => element("option", { value: String(speed), text: `${speed}×` })), element("option", { value: SLOW, text: "slow motion" })],
    );
    this.copy = element("button", { type: "button", class: "fl-button fl-text fl-copy", text: "Copy link", onclick: actions.copyLink });
    const help = element("button", { type: "button", class: "fl-button", "aria-label": "Keys (?)", title: "Keys (?)", text: "?", onclick: actions.help });
    this.speed.value = "1";
    let pointed = false;
    this.speed.addEventListener("pointerdown", () => (pointed = true));
    this.speed.addEventListener("keydown", () => (pointed = false));
    this.speed.addEventListener("change", () => {
      actions.slow(this.speed.value === SLOW);
      clock.speed = this.speed.value === SLOW ? 1 : Number(this.speed.value);
      // The arrow keys turn over what was chosen with the mouse, not the list.
      if (pointed) this.speed.blur();
      actions.commit();
    });
    this.tools = element("span", { class: "fl-tools" });
    const followed = () => {
      clock.follow();
      actions.commit();
    };
    this.follow = element("button", { type: "button", class: "fl-button fl-primary fl-follow", text: "Follow the run", title: "Behind the log again, from where you left it (f)", onclick: followed });
    this.unfold = element("button", { type: "button", class: "fl-button fl-text fl-unfold", text: "Slow motion", title: "Each event in five stages, however far the run is (s)", onclick: () => actions.slow(true) });
    const eventBack = button("eventBack", "Previous event (shift ←)", () => clock.eventBy(-1));
    const eventForward = button("eventForward", "Next event (shift →)", () => clock.eventBy(1));
    const jumps = [
      button("first", "First record (Home)", () => clock.seek(-Infinity)),
      button("back", "Step back (←)", () => clock.stepBy(-1)),
      button("forward", "Step forward (→)", () => clock.stepBy(1)),
      button("last", "Last record (End)", () => clock.seek(Infinity)),
    ];
    this.speedLabel = element("label", { class: "fl-label" }, [element("span", { text: "Speed" }), this.speed]);
    /** Away while the clock follows: the run has its own pace. */
    this.free = [...jumps, eventForward, this.speedLabel];
    /** Beside the buttons of a training these would be taken for its own. @type {[HTMLButtonElement, string][]} */
    this.watching = [[eventBack, "Previous event"], [eventForward, "Next event"]];
    this.bar = element("div", { class: "fl-bar", role: "toolbar", "aria-label": "Playback" }, [
      this.follow,
      jumps[0],
      eventBack,
      jumps[1],
      this.playButton,
      ...jumps.slice(2, 3),
      eventForward,
      jumps[3],
      this.readout,
      element("span", { class: "fl-space" }),
      this.unfold,
      this.tools,
      this.speedLabel,
      this.copy,
      help,
    ]);
    this.track = element("div", { class: "fl-track" }, [this.slider]);
  }

  /** The slider keeps to the time axis. @param {import("./gutter.js").Gutter} gutter */
  align({ left, right }) {
    this.track.style.paddingLeft = `${left - 7}px`;
    this.track.style.paddingRight = `${right - 7}px`;
  }

  /** @param {number} delta places in the list of speeds */
  changeSpeed(delta) {
    const now = SPEEDS.indexOf(this.clock.speed);
    this.clock.speed = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, now + delta))];
    this.clock.leg = null;
    this.clock.changed();
  }

  showSpeed() {
    const { slow, speed } = this.clock;
    const value = slow ? SLOW : String(speed);
    if (this.speed.value !== value) this.speed.value = value;
    const label = slow && speed !== 1 ? `slow motion ${speed}×` : "slow motion";
    const option = /** @type {HTMLOptionElement} */ (this.speed.lastElementChild);
    if (option.text !== label) option.text = label;
  }

  /** Shows the clock as it is. */
  update() {
    const { clock } = this;
    const model = clock.model;
    if (!model) return;
    const [from, to] = model.domain.map(String);
    // Written again, even the same would be laid out again.
    if (this.slider.min !== from) this.slider.min = from;
    if (this.slider.max !== to) this.slider.max = to;
    this.slider.value = String(clock.time);
    const later = laterStep(clock);
    const parts = [`step ${clock.step}${later === clock.step ? "" : `, on to ${later},`} of ${model.domain[1]}`, eventText(model, clock.step)];
    if (clock.live || clock.following) parts.push(followText(clock));
    const text = parts.join(" · ");
    if (this.readout.textContent !== text) {
      this.readout.textContent = text;
      this.slider.setAttribute("aria-valuetext", text);
    }
    this.showSpeed();
    this.showButtons();
  }

  /** While the clock follows a run, nothing but that, and what leaves it. */
  showButtons() {
    const { live, following, slow, playing } = this.clock;
    const key = [live, following, slow, playing].join();
    if (this.bar.dataset.key === key) return;
    this.bar.dataset.key = key;
    this.follow.hidden = !live || following;
    this.unfold.hidden = !following || slow;
    for (const node of this.free) node.hidden = following;
    // Out of slow motion leads the list that it was chosen in.
    if (slow) this.speedLabel.hidden = false;
    const own = live || following ? " in the picture" : "";
    const keys = ["(shift ←)", "(shift →)"];
    this.watching.forEach(([node, label], i) => call(node, `${label}${own} ${keys[i]}`));
    const free = following || playing;
    const wanted = free ? "pause" : "play";
    this.playButton.replaceChildren(icon(wanted));
    this.playButton.dataset.icon = wanted;
    call(this.playButton, `${free ? `Pause${own && " the picture"}` : own ? "Replay from here" : "Play"} (space)`);
    this.playButton.classList.toggle("fl-primary", !live || following);
  }
}

/** @param {HTMLButtonElement} node @param {string} label */
function call(node, label) {
  node.setAttribute("aria-label", label);
  node.title = label;
}

/** @param {import("../model/model.js").Model} model @param {number} step @returns {string} */
function eventText(model, step) {
  const events = model.events.length;
  if (events) return `event ${model.eventBefore(step) + 1} of ${events}`;
  return noEvent(model).readout;
}

/** An event's last stage goes on with the records that follow. @param {Clock} clock @returns {number} step */
function laterStep({ model, stage, share, step }) {
  if (!model || stage === null) return step;
  const event = model.eventAt(step);
  return event < 0 ? step : model.steps[laterRecord(castOf(model, event), stage + share)];
}

/** What the clock does beside a run that trains. @param {Clock} clock @returns {string} */
function followText({ following, live, waiting, arrivals, slow, model, time }) {
  const behind = waiting === 1 ? "1 event behind the log" : `${waiting} events behind the log`;
  if (!following) return `left the run, which is at step ${model?.lastStep}`;
  if (slow && waiting) return behind;
  if (!live && !waiting) return "ended: shows the rest";
  if (arrivals.catching) return `${waiting ? behind : "behind the log"}, catching up`;
  if (!live) return "ended: shows the rest";
  const steps = Math.round((model?.lastStep ?? 0) - time);
  const where = steps > 0 ? `${steps} ${steps === 1 ? "step" : "steps"} behind the run` : "follows the run";
  return model?.run.told === "paused" ? `training paused${steps > 0 ? `, ${where}` : ""}` : where;
}

/** @returns {HTMLDialogElement} */
export function helpDialog() {
  const rows = KEYS.flatMap(([key, meaning]) => [element("dt", { text: key }), element("dd", { text: meaning })]);
  return closable("fl-help", "Keys", (close) => [
    element("h2", { text: "Keys" }),
    element("dl", {}, rows),
    element("p", { text: "Click a cell or a row to select its matrix. Click or drag anywhere on the time axis to move the clock. Tab reaches every control; in the lists of events and of moves ↑ ↓ go from one to the next." }),
    close,
  ]);
}
