/** The address of what a player shows. */

import { linkOf } from "./view_state.js";

/** A report is a file: only what follows # may differ there. @param {any} request @param {URLSearchParams} parameters @returns {string} */
function addressOf(request, parameters) {
  const place = window.location.href.split(/[?#]/)[0];
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
  const address = addressOf(player.request, parametersOf(player));
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
