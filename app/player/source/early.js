/** The run that the address names, drawn while Streamlit still loads; handover.js says how the page goes on with it. */

import { isEarly, putUp, takeDown, viewOf } from "./handover.js";
import { Player } from "../ui/player.js";
import { readLink } from "../ui/view_state.js";

const PATIENCE_MS = 3000;
const LOOK_MS = 200;
// The script has run, and shows something; if not the player, an error for instance.
const DONE = '[data-testid="stApp"][data-test-script-state="notRunning"] [data-testid="stMain"] [data-testid="stElementContainer"]';

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
  const { pathname } = window.location;
  let waited = 0;
  const watch = window.setInterval(() => {
    waited = document.querySelector(DONE) ? waited + LOOK_MS : 0;
    if (window.location.pathname !== pathname || waited > PATIENCE_MS) takeDown(early);
    if (!host.isConnected) window.clearInterval(watch);
  }, LOOK_MS);
}

// Without it the page draws the run by itself, a second later.
drawEarly().catch(() => {});
