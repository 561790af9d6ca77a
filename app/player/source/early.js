/** The run that the address names, drawn while Streamlit still loads; the page's own player then goes on with it. */

import { Player } from "../ui/player.js";
import { readLink } from "../ui/view_state.js";
import { ServerSource } from "./server.js";
import { dress } from "../style.js";

const PATIENCE_MS = 3000;
const LOOK_MS = 200;
// The script has run, and shows something; if not the player, an error for instance.
const DONE = '[data-testid="stApp"][data-test-script-state="notRunning"] [data-testid="stMain"] [data-testid="stElementContainer"]';

/** @type {{host: HTMLElement, player: Player, view: string} | null} view: as it was drawn first */
let early = null;

/** The page asks for its font with its scripts, but names it much later. */
function nameFont() {
  const file = /** @type {HTMLLinkElement | null} */ (document.querySelector('link[rel="preload"][as="font"]'))?.href;
  if (file) document.fonts.add(new FontFace("Source Sans", `url("${file}")`, { weight: "200 900" }));
}

/** @param {string} run key of it */
function drawEarly(run) {
  const host = Object.assign(document.createElement("div"), { className: "lab-early" });
  const player = new Player(host.attachShadow({ mode: "open" }), (name) => new ServerSource(name));
  const mine = { host, player, view: "" };
  early = mine;
  // Until the run is there, Streamlit's page has nothing in its place.
  player.accept = (...given) => {
    delete (/** @type {any} */ (player).accept);
    nameFont();
    if (early === mine) document.body.append(host);
    player.accept(...given);
    mine.view = viewOf(player);
  };
  const asked = new URLSearchParams(window.location.search);
  const beside = asked.get("with");
  player.ask(/** @type {any} */ ({ ...readLink(asked), run, guide: {}, served: true, link: { run, ...(beside ? { with: beside } : {}) }, id: "" }), () => {});
  const { pathname } = window.location;
  let waited = 0;
  const watch = window.setInterval(() => {
    waited = document.querySelector(DONE) ? waited + LOOK_MS : 0;
    if (window.location.pathname !== pathname || waited > PATIENCE_MS) takeDown();
    if (!early) window.clearInterval(watch);
  }, LOOK_MS);
}

/** @param {Player} player @returns {string} */
function viewOf(player) {
  return JSON.stringify(player.view);
}

function takeDown() {
  early?.player.destroy();
  early?.host.remove();
  early = null;
}

/**
 * @param {Element | ShadowRoot} parent of the page's player
 * @param {import("../model/decode.js").Request} request
 * @returns {Player | null} the early player when it shows what the page asks for; where the user has moved meanwhile, the page is told instead of obeyed
 */
export function takeOver(parent, request) {
  if (early?.player.wanted?.run !== request.run) takeDown();
  if (!early) return null;
  const { player, host, view } = early;
  early = null;
  delete (/** @type {any} */ (player).accept);
  parent.append(player.root);
  dress(player.root);
  host.remove();
  // What moves in the page forgets how far it was scrolled.
  player.eventList.astray = true;
  if (player.request && view && (player.clock.playing || viewOf(player) !== view)) {
    player.request = { ...player.request, id: request.id };
    player.commitSoon();
  }
  return player;
}

const tag = document.getElementById("lab-early");
if (tag?.dataset.run) drawEarly(tag.dataset.run);
