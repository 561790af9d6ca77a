/** Keys: they work anywhere on the page, except where the user is typing or using another control. */

import { COLOURS } from "../pen/colour.js";

const TYPING = "input:not([type=range]), textarea, select, [contenteditable=true], [role=combobox], [role=listbox], [role=slider]";

/**
 * @param {any} player
 * @param {KeyboardEvent} event
 */
export function keyAction(player, event) {
  const target = event.composedPath()[0];
  const inside = event.composedPath().includes(player.root);
  if (event.ctrlKey || event.metaKey || event.altKey || !(target instanceof Element) || !player.model) return;
  if (target.matches(TYPING) || player.root.querySelector("dialog[open]")) return;
  const button = target.closest("button, a, summary, [role=button], [role=tab]");
  if (!inside && (button || target.matches("input"))) return;
  if (button && (event.key === " " || event.key === "Enter")) return;
  if (!inside && (event.key === "ArrowUp" || event.key === "ArrowDown")) return;
  if (event.key === "Escape" && !player.clock.slow) return;
  const act = ACTIONS[event.shiftKey && event.key.startsWith("Arrow") ? `Shift${event.key}` : event.key];
  if (!act) return;
  event.preventDefault();
  act(player);
  player.commitSoon();
}

/** @type {Record<string, (player: any) => void>} */
const ACTIONS = {
  " ": (player) => player.clock.toggle(),
  ArrowLeft: (player) => player.clock.stepBy(-1),
  ArrowRight: (player) => player.clock.stepBy(1),
  ShiftArrowLeft: (player) => player.clock.eventBy(-1),
  ShiftArrowRight: (player) => player.clock.eventBy(1),
  ArrowUp: (player) => player.moveSelection(0, -1),
  ArrowDown: (player) => player.moveSelection(0, 1),
  Home: (player) => player.seek(-Infinity),
  End: (player) => player.seek(Infinity),
  f: (player) => player.clock.follow(),
  "-": (player) => player.transport.changeSpeed(-1),
  "+": (player) => player.transport.changeSpeed(1),
  "?": (player) => player.help.showModal(),
  m: (player) => chooseNext(player, "map"),
  w: (player) => chooseNext(player, "side"),
  t: (player) => chooseNext(player, "band"),
  c: (player) => chooseNext(player, "entropy_scale"),
  p: (player) => player.pinTime(),
  s: (player) => player.setSlow(!player.clock.slow),
  Escape: (player) => player.setSlow(false),
  e: (player) => player.nodes.takeOut.open(),
  T: (player) => player.nodes.tableDialog.open(),
};

/** @param {any} player @param {string} name of `CHOICES` */
function chooseNext(player, name) {
  const possible = player.possible(name);
  const now = possible.indexOf(player.chosen[name]);
  player.choose(name, possible[(now + 1) % possible.length]);
}

COLOURS.forEach(({ key }, i) => {
  ACTIONS[String(i + 1)] = (player) => player.choose("colour", key);
});
