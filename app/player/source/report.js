/** A report: the player without a server. */

import { Player } from "../ui/player.js";
import { readLink } from "../ui/view_state.js";
import { FileSource, unpacked } from "./file.js";

/** @returns {Promise<void>} */
async function openReport() {
  const place = /** @type {HTMLElement} */ (document.getElementById("fl-report-player"));
  const [asked, ...parts] = await Promise.all(["fl-request", "fl-run", "fl-parcels", "fl-cards", "fl-told"].map(unpacked));
  const request = JSON.parse(new TextDecoder().decode(asked));
  const source = new FileSource(request.run, parts, request.order);
  const player = new Player(place, () => source);
  player.ask({ ...request, ...readLink(new URLSearchParams(window.location.hash.slice(1))) }, () => {});
  place.removeAttribute("aria-busy");
}

openReport().catch((error) => {
  const line = document.getElementById("fl-report-trouble");
  if (line) line.textContent = `The player could not start: ${error.message}. The tables below are complete.`;
});
