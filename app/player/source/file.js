/** A run that lies in the page, as in a report: what the server would tell later is there already. */

import { openPayload } from "../model/container.js";
import { lastAtOrBefore } from "../model/model.js";

/** @import { Content } from "../model/container.js" */
/** @import { Source } from "./server.js" */

/** @typedef {Record<string, Record<string, import("../views/why_card.js").Card>>} Cards step of an event → matrix → card */

/** @param {string} id of a script element that holds base64 of gzip @returns {Promise<Uint8Array>} */
export async function unpacked(id) {
  return unpackedText(document.getElementById(id)?.textContent?.trim() ?? "");
}

/** @param {string} text base64 of gzip @returns {Promise<Uint8Array>} */
export async function unpackedText(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

/** @param {Uint8Array} bytes parcels, each after its length @returns {Map<string, Content>} by matrix */
export function unboxed(bytes) {
  const parcels = new Map();
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let place = 0; place < bytes.length; ) {
    const length = view.getUint32(place, true);
    const content = openPayload(bytes.slice(place + 4, place + 4 + length));
    parcels.set(content.header.matrix, content);
    place += 4 + length;
  }
  return parcels;
}

/** @typedef {{tour: import("./server.js").Tour, terms: Record<string, import("../ui/term_card.js").Explained>}} Told terms by matrix, "" for any other */

/**
 * All matrices at one step, from the parcels of each.
 * @param {Content[]} parcels @param {number} step @returns {Content | null} of the latest record at or before it that all have
 */
function joinedAt(parcels, step) {
  const steps = parcels[0]?.arrays.steps ?? [];
  const row = lastAtOrBefore(steps, step);
  if (row < 0 || parcels.some(({ arrays }) => arrays.steps[row] !== steps[row])) return null;
  const parts = parcels.map(({ arrays }) => {
    const start = arrays.counts.subarray(0, row).reduce((/** @type {number} */ sum, /** @type {number} */ count) => sum + count, 0);
    const end = start + arrays.counts[row];
    const slots = Array.from(arrays.staySlot).filter((_, i) => arrays.stayAfter[i] < steps[row] && steps[row] <= arrays.stayUntil[i]).sort((/** @type {any} */ a, /** @type {any} */ b) => a - b);
    const known = slots.length === end - start && slots[0] !== -1;
    return { lam: arrays.lam.subarray(start, end), gates: arrays.gates?.subarray(start, end), slots: known ? slots : Array(end - start).fill(-1) };
  });
  const all = (/** @type {"lam" | "gates" | "slots"} */ name) => parts.flatMap((part) => Array.from(part[name]));
  const gates = parts[0].gates ? { gates: Uint8Array.from(all("gates")) } : {};
  return { header: { step: steps[row] }, arrays: { lam: Float32Array.from(all("lam")), slots: Int32Array.from(all("slots")), ...gates } };
}

/** @implements {Source} */
export class FileSource {
  /** @param {string} name @param {Uint8Array[]} parts run, parcels, cards, what is told @param {number[]} order by similarity */
  constructor(name, [run, parcels, cards, told], order) {
    this.name = name;
    this.cost = 0;
    this.content = openPayload(run);
    this.parcels = unboxed(parcels);
    /** @type {Cards} */
    this.cards = JSON.parse(new TextDecoder().decode(cards));
    /** @type {Told} */
    this.told = JSON.parse(new TextDecoder().decode(told));
    this.similar = order;
  }

  /** @param {Content | null} held */
  async run(held) {
    return held ? null : this.content;
  }

  /** @param {string} matrix */
  async matrix(matrix) {
    return this.parcels.get(matrix) ?? null;
  }

  /** @param {number} step */
  async spectra(step) {
    return joinedAt([...this.parcels.values()], step);
  }

  /** @param {number} step @param {string} matrix */
  async why(step, matrix) {
    const { header } = this.content;
    const event = header.events.findLast((/** @type {{step: number}} */ own) => own.step <= step)?.step ?? null;
    return { event, matrix, card: this.cards[String(event)]?.[matrix] ?? null };
  }

  /** A file cannot ask: it has the numbers of one moment, and says which. @param {number} _step @param {string} matrix */
  async terms(_step, matrix) {
    return this.told.terms[matrix] ?? this.told.terms[""];
  }

  async tour() {
    return this.told.tour;
  }

  async order() {
    return this.similar;
  }
}
