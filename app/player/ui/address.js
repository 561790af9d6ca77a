/** The address of what a player shows. */

import { linkOf } from "./view_state.js";

/** A report is a file: only what follows # may differ there. @param {any} request @param {URLSearchParams} parameters @param {string | null} [page] another one of the app @returns {string} */
function addressOf(request, parameters, page = null) {
  const place = page === null ? window.location.href.split(/[?#]/)[0] : new URL(page, document.baseURI).href;
  return `${place}${request?.address === "hash" ? "#" : "?"}${parameters}`;
}

/** @param {any} player */
function parametersOf(player) {
  return linkOf(player.request?.link ?? {}, player.view);
}

/** @param {any} player @param {URLSearchParams} [parameters] those of its view, if not others */
export function showAddress(player, parameters = parametersOf(player)) {
  window.history.replaceState({}, "", addressOf(player.request, parameters));
}

/** @param {any} player */
export async function copyLink(player) {
  const address = addressOf(player.request, parametersOf(player), player.request?.shared);
  let done = "Copied";
  try {
    await navigator.clipboard.writeText(address);
  } catch {
    done = "In the address bar";
    player.commit();
  }
  player.root.dataset.link = address;
  player.transport.copy.textContent = done;
  window.setTimeout(() => (player.transport.copy.textContent = "Copy link"), 1600);
}
