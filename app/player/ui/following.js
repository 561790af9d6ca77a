/** A class follows its leader's player: where its clock is goes out, where the leader's is comes in. */

import { showAddress } from "./address.js";
import { CHOICES, readLink } from "./view_state.js";

/** @import { Player } from "./player.js" */

const CLOCK_MS = 500;

/** The class's bar asks by `lab-follow` {page, query} and hears by `lab-clock` where a clock is that moves: the address tells only where one stands. @param {Player} player */
export function followClass(player) {
  const { signal } = player.gone;
  document.addEventListener("lab-follow", (event) => follow(player, /** @type {CustomEvent} */ (event)), { signal });
  const timer = window.setInterval(() => {
    if (player.clock.playing && player.request?.link && !document.hidden) document.dispatchEvent(new CustomEvent("lab-clock", { detail: { step: player.clock.step } }));
  }, CLOCK_MS);
  signal.addEventListener("abort", () => window.clearInterval(timer));
}

/** Shows what the leader's player shows of the same run; of another one this player knows nothing. @param {Player} player @param {CustomEvent<{query: Record<string, string>}>} event */
function follow(player, event) {
  const { query } = event.detail;
  const link = player.request?.link;
  if (!link || !player.model || player.root.hidden || query.run !== link.run || query.with !== link.with) return;
  event.preventDefault();
  const asked = readLink(new URLSearchParams(query));
  player.clock.pause();
  if (!query.stage) player.setSlow(false);
  for (const [name, keys] of Object.entries(CHOICES)) player.chosen[name] = keys.includes(query[name]) ? query[name] : keys[0];
  player.obey(/** @type {any} */ (asked));
  player.resize();
  showAddress(player, new URLSearchParams(query));
}
