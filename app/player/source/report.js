/** A report: the player without a server. */

import { Player } from "../ui/player.js";
import { readLink } from "../ui/view_state.js";
import { FileSource, unpacked } from "./file.js";

/** @returns {Promise<void>} */
async function openReport() {
  const place = /** @type {HTMLElement} */ (document.getElementById("fl-report-player"));
  const [head, ...parts] = await Promise.all(["fl-request", "fl-run", "fl-parcels", "fl-cards", "fl-told"].map(unpacked));
  const request = JSON.parse(new TextDecoder().decode(head));
  const source = new FileSource(request.run, parts, request.order);
  const player = new Player(place, () => source);
  const asked = { ...request, ...readLink(new URLSearchParams(window.location.hash.slice(1))) };
  player.ask(asked, () => {});
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => player.ask(asked, () => {}));
  place.removeAttribute("aria-busy");
}

openReport().catch((error) => {
  const line = document.getElementById("fl-report-trouble");
  if (line) line.textContent = `The player could not start: ${error.message}. The tables below are complete.`;
});
