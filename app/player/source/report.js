/** A report: the player without a server. What the app would bring later lies in the page already. */

import { openEnvelope } from "../model/container.js";
import { Player } from "../ui/player.js";
import { readLink } from "../ui/view_state.js";

/** @param {string} id of a script element that holds base64 of gzip @returns {Promise<Uint8Array>} */
async function unpacked(id) {
  const text = atob(document.getElementById(id)?.textContent?.trim() ?? "");
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

/** @param {Uint8Array} bytes parcels, each after its length @returns {Uint8Array[]} in the order of the matrices */
function unboxed(bytes) {
  const parcels = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let place = 0; place < bytes.length; ) {
    const length = view.getUint32(place, true);
    parcels.push(bytes.slice(place + 4, place + 4 + length));
    place += 4 + length;
  }
  return parcels;
}

/** @returns {Promise<void>} */
export default async function openReport() {
  const place = /** @type {HTMLElement} */ (document.getElementById("fl-report-player"));
  const [run, parcels, cards] = await Promise.all(["fl-run", "fl-parcels", "fl-cards"].map(unpacked));
  /** @type {Record<string, Record<string, import("../views/why_card.js").Card>>} step of an event → matrix → card */
  const written = JSON.parse(new TextDecoder().decode(cards));
  const boxes = unboxed(parcels);
  const player = new Player(place, (_name, view) => bring(/** @type {any} */ (view)));
  const bring = (/** @type {{run: string, step: number, matrix: string}} */ { run: about, step, matrix }) => {
    const model = /** @type {import("../model/model.js").Model} */ (player.model);
    const event = model.events[model.eventBefore(step)]?.step ?? null;
    const card = written[String(event)]?.[matrix] ?? null;
    player.mailbox.receive(/** @type {any} */ ({ kind: "why", run: about, event, matrix, card }), new Uint8Array());
    const own = boxes[model.indexOf.get(matrix) ?? -1];
    if (own) player.mailbox.receive({ kind: "matrix", run: about }, own);
  };
  const { request, payload } = openEnvelope(run);
  player.accept(request, payload, player.setStateValue);
  player.mailbox.receive(/** @type {any} */ ({ kind: "order", run: player.request?.run, order: player.request?.order ?? [] }), new Uint8Array());
  player.obey(/** @type {any} */ ({ ...player.request, ...readLink(new URLSearchParams(window.location.hash.slice(1))) }));
  place.removeAttribute("aria-busy");
  bring(/** @type {any} */ ({ run: player.request?.run, ...player.view }));
}

openReport().catch((error) => {
  const line = document.getElementById("fl-report-trouble");
  if (line) line.textContent = `The player could not start: ${error.message}. The tables below are complete.`;
});
