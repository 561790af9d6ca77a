/** What Streamlit calls: once to mount the player, and again with each new request or theme. */

import { Player } from "../ui/player.js";
import { takeOver } from "./early.js";
import { ServerSource } from "./server.js";

// Streamlit also calls the clean-up of a render that a newer one overtook, and on a busy machine the newer one may take
// its time: only an element that has left the page is gone.
const FAREWELL_MS = 500;
// What stands above the player takes its room while the page settles, which moves the player but changes no size of it.
const SETTLING_MS = [250, 1000, 3000];

/** @type {WeakMap<object, Player>} */
const PLAYERS = new WeakMap();

/**
 * @param {{data: import("../model/decode.js").Request, parentElement: Element | ShadowRoot, setStateValue: import("../ui/player.js").SetState}} component
 * @returns {() => void} called by Streamlit when the element goes
 */
export default function render({ data: request, parentElement, setStateValue }) {
  const mine = PLAYERS.get(parentElement) ?? takeOver(parentElement, request) ?? new Player(parentElement, (name) => new ServerSource(name));
  if (!PLAYERS.has(parentElement)) performance.mark("flexlora-page");
  PLAYERS.set(parentElement, mine);
  window.clearTimeout(mine.farewell);
  mine.ask(request, setStateValue);
  for (const after of SETTLING_MS) window.setTimeout(() => mine.root.isConnected && mine.observed(), after);
  mine.generation += 1;
  const generation = mine.generation;
  return () => {
    if (mine.generation === generation) farewell(mine, parentElement);
  };
}

/** @param {Player} player @param {object} parentElement */
function farewell(player, parentElement) {
  window.clearTimeout(player.farewell);
  player.farewell = window.setTimeout(() => {
    if (player.root.isConnected) {
      farewell(player, parentElement);
      return;
    }
    player.destroy();
    PLAYERS.delete(parentElement);
  }, FAREWELL_MS);
}
