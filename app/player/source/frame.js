/** The player in a notebook: the page of a frame, which the notebook around it may tell more of its run. */

import { joined, openPayload } from "../model/container.js";
import { Player } from "../ui/player.js";
import { FileSource, unboxed, unpacked, unpackedText } from "./file.js";

/** @import { Content } from "../model/container.js" */

/** @typedef {{base: string, run: string, parcels: string, cards: string, live: boolean}} News all since the page was made; analysis/notebook/frame.py */

class GrowingSource extends FileSource {
  /** @param {string} name @param {Uint8Array[]} parts @param {number[]} order */
  constructor(name, parts, order) {
    super(name, parts, order);
    this.first = this.content;
  }

  /** @override @param {Content | null} held */
  async run(held) {
    return held === this.content ? null : this.content;
  }

  /** @param {News} news @returns {Promise<boolean>} whether it belongs to this page */
  async grow({ base, run, parcels, cards }) {
    if (base !== this.first.header.state) return false;
    const [lacking, why] = await Promise.all([run, cards].map(unpackedText));
    if (parcels) this.parcels = unboxed(await unpackedText(parcels));
    Object.assign(this.cards, JSON.parse(new TextDecoder().decode(why)));
    this.content = joined(this.first, openPayload(lacking));
    return true;
  }
}

/** @returns {Promise<void>} */
async function openFrame() {
  const place = /** @type {HTMLElement} */ (document.getElementById("fl-report-player"));
  const [head, ...parts] = await Promise.all(["fl-request", "fl-run", "fl-parcels", "fl-cards", "fl-told"].map(unpacked));
  let request = JSON.parse(new TextDecoder().decode(head));
  const source = new GrowingSource(request.run, parts, request.order);
  const player = new Player(place, () => source);
  const toNotebook = (/** @type {Record<string, any>} */ message) => window.parent.postMessage({ flexlora: window.name, ...message }, "*");
  const ask = (/** @type {Record<string, any>} */ more) => {
    request = { ...request, ...more };
    player.ask(request, (_, view) => toNotebook({ view }));
  };
  // The notebook's page keeps the view for the frame that takes this one's place.
  ask({ live: source.content.header.run.state === "running" });
  window.addEventListener("message", async ({ source: from, data }) => {
    if (from !== window.parent || data?.flexlora !== window.name) return;
    if (data.view) ask({ ...data.view, run: request.run, id: "kept" });
    if (data.news && (await source.grow(data.news))) {
      // Spectra at events only: those of the new ones are asked for again.
      if (data.news.parcels) player.model?.spectra.parcels.clear();
      ask({ live: data.news.live });
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => ask({}));
  place.removeAttribute("aria-busy");
  toNotebook({ ready: true });
}

await openFrame();
