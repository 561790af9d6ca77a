/** What Streamlit calls: once to mount the player, and again with each new data or theme. */

import { openEnvelope } from "../model/container.js";
import { takeOver } from "./handover.js";
import { Player } from "../ui/player.js";

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
  const { request, payload } = openEnvelope(data);
  const mine = PLAYERS.get(parentElement) ?? takeOver(parentElement, request) ?? new Player(parentElement, setStateValue);
  if (!PLAYERS.has(parentElement)) performance.mark("flexlora-page");
  PLAYERS.set(parentElement, mine);
  window.clearTimeout(mine.farewell);
  mine.wanted = request;
  if (!request.source || mine.request?.content === request.content) mine.accept(request, payload, setStateValue);
  else fetchRun(mine, request, setStateValue);
  mine.generation += 1;
  const generation = mine.generation;
  return () => {
    if (mine.generation === generation) farewell(mine, parentElement);
  };
}

/** The server hands the run out beside the page; where that fails, as behind a proxy, Python sends it. @param {Player} player @param {import("../model/decode.js").Request} request @param {import("../ui/player.js").SetState} setStateValue */
async function fetchRun(player, { content, source, bytes }, setStateValue) {
  if (player.fetching === content) return;
  player.fetching = content;
  try {
    const answer = await fetch(new URL(String(source), document.baseURI));
    const payload = new Uint8Array(await answer.arrayBuffer());
    if (!answer.ok || payload.byteLength !== bytes) throw new Error(`${answer.status}, ${payload.byteLength} bytes`);
    // Another run may have been asked for meanwhile; of the same one, the newest request counts.
    const { wanted } = player;
    if (wanted && wanted.content === content) player.accept(wanted, payload, setStateValue);
  } catch {
    setStateValue("unfetched", content);
  } finally {
    if (player.fetching === content) player.fetching = null;
  }
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
