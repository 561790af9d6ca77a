/** What Streamlit calls: once to mount the player, and again with each new request or theme. */

import { Player } from "../ui/player.js";
import { takeOver } from "./early.js";
import { ServerSource } from "./server.js";

// Streamlit also calls the clean-up of a render that a newer one overtook, and on a busy machine the newer one may take
// its time: only an element that has left the page is gone.
const FAREWELL_MS = 500;

/** @type {WeakMap<object, Player>} */
const PLAYERS = new WeakMap();

/**
 * @param {{data: import("../model/decode.js").Request, parentElement: Element | ShadowRoot, setStateValue: import("../ui/player.js").SetState}} component
 * @returns {() => void} called by Streamlit when the element goes
 */
export default function render({ data: request, parentElement, setStateValue }) {
  const mine = PLAYERS.get(parentElement) ?? takeOver(parentElement, request) ?? new Player(parentElement, (name) => new ServerSource(name));
  if (!PLAYERS.has(parentElement)) {
    performance.mark("flexlora-page");
    // What stands above the player may still take or give room, which changes the page's height and no size of the player.
    const page = (parentElement instanceof ShadowRoot ? parentElement.host : parentElement).closest("[data-testid=stMainBlockContainer]");
    if (page) mine.resizer?.observe(page);
  }
  PLAYERS.set(parentElement, mine);
  window.clearTimeout(mine.farewell);
  mine.ask(request, setStateValue);
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
    if (player.root.isConnected) return farewell(player, parentElement);
    player.destroy();
    PLAYERS.delete(parentElement);
  }, FAREWELL_MS);
}
