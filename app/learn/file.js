/** The lessons as a file: the reader, its book and its runs, without a server. */

import { FileSource, unpacked } from "../player/source/file.js";
import { Reader } from "./reader.js";

const PARTS = ["run", "parcels", "cards", "told"];

/** @param {string} run @returns {Promise<[string, FileSource]>} */
async function sourceOf(run) {
  const parts = await Promise.all(PARTS.map((part) => unpacked(`fl-${part}-${run}`)));
  return [run, new FileSource(run, parts, JSON.parse(document.getElementById(`fl-order-${run}`)?.textContent ?? "[]"))];
}

/** @returns {Promise<void>} */
async function openLessons() {
  const place = /** @type {HTMLElement} */ (document.getElementById("fl-lessons"));
  const book = JSON.parse(new TextDecoder().decode(await unpacked("fl-book")));
  const sources = new Map(await Promise.all(book.runs.map(sourceOf)));
  const reader = new Reader(place, book, { sourceOf: (name) => /** @type {FileSource} */ (sources.get(name)), served: false });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => reader.dress());
  place.removeAttribute("aria-busy");
}

openLessons().catch((error) => {
  const line = document.getElementById("fl-lessons-trouble");
  if (line) line.textContent = `The lessons could not start: ${error.message}.`;
});
