/** The run that the address names, drawn while Streamlit still loads; handover.js says how the page goes on with it. */

import { isEarly, putUp, takeDown, viewOf } from "./handover.js";
import { Player } from "./player.js";
import { readLink } from "./view_state.js";

const PATIENCE_MS = 8000; // the page shows something else, an error for instance
const LOOK_MS = 200;

/** @returns {Promise<void>} */
export default async function drawEarly() {
  const { run, source } = /** @type {Record<string, string>} */ (/** @type {HTMLElement} */ (document.getElementById("lab-early")).dataset);
  const answer = await fetch(new URL(source, document.baseURI));
  const payload = new Uint8Array(await answer.arrayBuffer());
  const style = /** @type {HTMLTemplateElement | null} */ (document.getElementById("lab-early-style"));
  if (!answer.ok || !style || !isEarly()) return;
  const host = Object.assign(document.createElement("div"), { className: "lab-early" });
  const place = host.attachShadow({ mode: "open" });
  place.append(style.content.cloneNode(true));
  document.body.append(host);
  const player = new Player(place, () => {});
  const asked = new URLSearchParams(window.location.search);
  const beside = asked.get("with");
  const link = { run, ...(beside ? { with: beside } : {}) };
  player.accept(/** @type {any} */ ({ ...readLink(asked), run, link, id: "", content: source }), payload, player.setStateValue);
  const early = { source, host, player, view: viewOf(player) };
  putUp(early);
  const began = performance.now();
  const { pathname } = window.location;
  const watch = window.setInterval(() => {
    if (window.location.pathname !== pathname || performance.now() - began > PATIENCE_MS) takeDown(early);
    if (!host.isConnected) window.clearInterval(watch);
  }, LOOK_MS);
}

// Without it the page draws the run by itself, a second later.
drawEarly().catch(() => {});
