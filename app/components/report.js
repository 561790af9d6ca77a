/** A report: the player without a server. What the app would bring later lies in the page already. */

import { Player } from "./player.js";

/** @typedef {import("./why_card.js").Card} ReportCard */

/** @param {string} id of a script element that holds base64 of gzip @returns {Promise<Uint8Array>} */
async function unpacked(id) {
  const text = atob(document.getElementById(id)?.textContent?.trim() ?? "");
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

/** @returns {Promise<void>} */
export default async function openReport() {
  const place = /** @type {HTMLElement} */ (document.getElementById("fl-report-player"));
  /** @type {Record<string, Record<string, ReportCard>>} step of an event → matrix → card */
  const cards = JSON.parse(new TextDecoder().decode(await unpacked("fl-cards")));
  const player = new Player(place, (_name, view) => bringCard(/** @type {any} */ (view)));
  const bringCard = (/** @type {{run: string, step: number, matrix: string}} */ { run, step, matrix }) => {
    const model = /** @type {import("./model.js").Model} */ (player.model);
    const event = model.events[model.eventBefore(step)];
    const card = event && cards[String(event.step)]?.[matrix];
    if (card) player.receive(/** @type {any} */ ({ kind: "why", run, card: { ...card, at: event.step === step } }), new Uint8Array());
    else player.receive(/** @type {any} */ ({ kind: "why", run, card: null, missing: cards.missing }), new Uint8Array());
  };
  player.accept(await unpacked("fl-run"), player.setStateValue);
  place.removeAttribute("aria-busy");
  player.commit();
}

openReport().catch((error) => {
  const line = document.getElementById("fl-report-trouble");
  if (line) line.textContent = `The player could not start: ${error.message}. The tables below are complete.`;
});
