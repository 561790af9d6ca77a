/** A picture that stands before Streamlit's page does, and how the page's player goes on with it. */

/**
 * @typedef {object} Early
 * @property {string} source address of the run
 * @property {HTMLElement} host where the player stands meanwhile
 * @property {import("../ui/player.js").Player} player
 * @property {string} view as it was drawn first
 */

// Two scripts, one page.
const PLACE = Symbol.for("flexlora.early");

/** @returns {{early: Early | null, over: boolean}} over: the page has a player of its own */
function page() {
  const all = /** @type {any} */ (globalThis);
  all[PLACE] ??= { early: null, over: false };
  return all[PLACE];
}

/** @returns {boolean} false once the page has a player of its own */
export function isEarly() {
  return !page().over;
}

/** @param {import("../ui/player.js").Player} player @returns {string} */
export function viewOf(player) {
  return JSON.stringify(player.view);
}

/** @param {Early} early */
export function putUp(early) {
  page().early = early;
}

/** @param {Early} early nobody took it over */
export function takeDown(early) {
  if (page().early !== early) return;
  page().early = null;
  early.player.destroy();
  early.host.remove();
}

/**
 * @param {Element | ShadowRoot} parent of the page's player
 * @param {import("../model/decode.js").Request} request
 * @returns {import("../ui/player.js").Player | null} the early player when it shows what the page asks for; where the user has moved meanwhile, the page is told instead of obeyed
 */
export function takeOver(parent, request) {
  const { early } = page();
  page().over = true;
  if (!early) return null;
  if (early.source !== request.source) {
    takeDown(early);
    return null;
  }
  page().early = null;
  const { player, host, view } = early;
  parent.append(player.root);
  host.remove();
  // What moves in the page forgets how far it was scrolled.
  player.eventList.astray = true;
  const moved = player.clock.playing || viewOf(player) !== view;
  player.request = { .../** @type {any} */ (player.request), content: request.content, id: moved ? request.id : "" };
  if (moved) player.commitSoon();
  return player;
}
