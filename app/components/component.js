/** What Streamlit calls: once to mount the player, and again with each new data or theme. */

import { Player } from "./player.js";

// Streamlit also calls the clean-up of a render that a newer one overtook, and on a busy machine the newer one may take
// its time: only an element that has left the page is gone.
const FAREWELL_MS = 500;

/** @type {WeakMap<object, Player>} */
const PLAYERS = new WeakMap();

/**
 * @param {{data: Uint8Array, parentElement: Element | ShadowRoot, setStateValue: (name: string, value: unknown) => void}} component
 * @returns {() => void} called by Streamlit when the element goes
 */
export default function render({ data, parentElement, setStateValue }) {
  let player = PLAYERS.get(parentElement);
  if (!player) {
    player = new Player(parentElement, setStateValue);
    PLAYERS.set(parentElement, player);
  }
  const mine = player;
  window.clearTimeout(mine.farewell);
  mine.accept(data, setStateValue);
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
