/** The class's bar at the top of every page: for members whom they follow and what is asked, for the leader what they lead. */

import { button, node } from "./dom.js";
import { Follower, Sender } from "./following.js";
import { Conversation } from "./news.js";
import { here } from "./place.js";
import { pollCard } from "./poll_card.js";
import { Presenter, turn } from "./presenter.js";

/** @import { News, Poll } from "./news.js" */
/** @typedef {(name: string, value: unknown) => void} Trigger */

const talk = new Conversation();
/** @type {Trigger} of the bar that stands now */
let trigger = () => {};
const follower = new Follower((place) => trigger("follow", place));
const sender = new Sender(talk);
const presenter = new Presenter(() => draw());
/** @type {HTMLElement | null} */
let root = null;
/** Number of the poll that this member has folded. */
let folded = 0;
let drawn = "";

talk.changed = () => {
  if (talk.news && !talk.news.leads) follower.follow(talk.news.lead);
  draw();
};
document.addEventListener("lab-progress", (event) => void talk.tell("progress", /** @type {CustomEvent} */ (event).detail));

/**
 * @param {{data: {title: string, explored: Record<string, string>}, parentElement: Element | ShadowRoot, setTriggerValue: Trigger}} component
 */
export default function render({ data, parentElement, setTriggerValue }) {
  trigger = setTriggerValue;
  const known = /** @type {HTMLElement | null} */ (parentElement.querySelector(".cl-bar-root"));
  if (!known || known !== root) {
    known?.remove();
    root = node("div", "cl-bar-root");
    parentElement.append(root);
    drawn = "";
  }
  root.dataset.title = data.title;
  sender.explored = data.explored;
  draw();
  void talk.listen();
}

/** Draws what has changed: who is about to press a button finds it in its place. */
function draw() {
  const { news, trouble } = talk;
  if (!root) return;
  const state = JSON.stringify([here().page, news && { ...news, version: 0, lead: news.lead.on }, trouble, follower.free, presenter.on, folded]);
  if (state === drawn) return;
  drawn = state;
  const held = /** @type {HTMLElement | null} */ (/** @type {ShadowRoot} */ (root.getRootNode()).activeElement)?.textContent;
  const parts = [news ? (news.leads ? leaderRow(news) : memberRow(news)) : row([])];
  if (trouble) parts.push(Object.assign(node("p", "cl-trouble", trouble), { role: "alert" }));
  const poll = news?.poll;
  // The leader's own page has the polls already.
  const there = news?.leads && !presenter.on && here().page === "class";
  if (news && poll && !there && folded !== poll.number && (poll.open || poll.counts)) parts.push(panel(news, poll));
  root.replaceChildren(...parts);
  root.dataset.large = String(presenter.on);
  // The keyboard stays where it was.
  if (held) [...root.querySelectorAll("button")].find((made) => made.textContent === held)?.focus();
}

/** @param {(Node | string)[]} parts */
function row(parts) {
  const made = node("div", "cl-row");
  made.append(node("b", "cl-title", root?.dataset.title ?? ""), ...parts);
  return made;
}

/** @param {News} news */
function memberRow({ name, lead, poll }) {
  const told = !lead.on ? "The leader lets everybody look around." : follower.free ? "You look around on your own." : "You follow the leader.";
  const parts = [node("span", "cl-told", told)];
  if (lead.on) parts.push(button(follower.free ? "Follow again" : "Let go", () => free(!follower.free), "The leader's page, run, clock and step, or your own"));
  parts.push(...pollButton(poll), node("span", "cl-name", name));
  return row(parts);
}

/** @param {News} news */
function leaderRow({ lead, members, poll }) {
  const parts = [
    node("span", "cl-told", `${members} ${members === 1 ? "member" : "members"}`),
    button(lead.on ? "Stop leading" : "Follow me", () => void sender.send(!lead.on), "Everybody's browser goes where yours is"),
    button(presenter.on ? "End presenting" : "Present", () => presenter.toggle(), "Large type; PageUp and PageDown, or p and n, turn the steps; Escape ends it"),
  ];
  if (presenter.on) parts.push(button("‹ Step", () => turn(-1), "The step before (PageUp, p)"), button("Step ›", () => turn(1), "The next step (PageDown, n)"));
  parts.push(...pollButton(poll));
  if (lead.on) parts.push(node("span", "cl-on", "● everybody follows"));
  return row(parts);
}

/** @param {Poll | null} poll @returns {HTMLElement[]} */
function pollButton(poll) {
  if (!poll || !(poll.open || poll.counts)) return [];
  const hidden = folded === poll.number;
  return [button(hidden ? "Show the poll" : "Fold the poll", () => fold(hidden ? 0 : poll.number))];
}

/** @param {News} news @param {Poll} poll */
function panel(news, poll) {
  const card = pollCard(poll, (choice) => void talk.tell("vote", { poll: poll.number, choice }));
  if (news.leads) {
    const tell = (/** @type {object} */ what) => () => void talk.tell("poll", { poll: poll.number, ...what });
    const controls = node("div", "cl-leads");
    controls.append(
      button(poll.open ? "Close it" : "Open it again", tell({ open: !poll.open })),
      button(poll.revealed ? "Hide the counts" : "Show everybody the counts", tell({ revealed: !poll.revealed })),
      node("span", "cl-told", poll.revealed ? "Everybody sees the counts." : "Only you see the counts."),
    );
    card.append(controls);
  }
  return card;
}

/** @param {boolean} on */
function free(on) {
  follower.setFree(on);
  if (talk.news) follower.follow(talk.news.lead);
  draw();
}

/** @param {number} number */
function fold(number) {
  folded = number;
  draw();
}
