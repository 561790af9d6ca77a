/** "Take it out": a picture, its numbers, a link or the command for the whole report. */

import { copyLink } from "./address.js";
import { csvOf } from "../model/csv.js";
import { element } from "../pen/draw.js";
import { PICTURES, pngOf, SHEETS, svgOf, tableKeys } from "./pictures.js";

export class TakeOut {
  /** @param {any} player */
  constructor(player) {
    this.player = player;
    this.picture = element("select", { class: "fl-select", "aria-label": "Which picture", onchange: () => this.offerNumbers() });
    this.asOnScreen = element("input", { type: "checkbox" });
    this.screen = element("label", { class: "fl-label" }, [this.asOnScreen, "dark, as on screen"]);
    this.files = element("div", { class: "fl-row" }, [
      textButton("PNG", async () => this.save(await pngOf(this.chosen, player, this.asOnScreen.checked), "png")),
      textButton("SVG", () => this.save(new Blob([svgOf(this.chosen, player, this.asOnScreen.checked)], { type: "image/svg+xml" }), "svg")),
    ]);
    this.numbers = element("div", { class: "fl-row" });
    this.link = textButton("Copy link to this view", () => copyLink(player));
    this.command = element("code", { class: "fl-command" });
    this.report = element("div", {}, [element("p", { text: "The whole run as one file that plays offline:" }), this.command]);
    this.dialog = closable("fl-help fl-takeout", "Take it out", (close) => [
      element("h2", { text: "Take it out" }),
      element("div", { class: "fl-row" }, [this.picture, this.screen]),
      this.files,
      this.numbers,
      this.report,
      element("div", { class: "fl-row fl-closing" }, [this.link, close]),
    ]);
  }

  get chosen() {
    return PICTURES[this.picture.value] ?? PICTURES.map;
  }

  open() {
    const { player } = this;
    if (!player.model?.T) return;
    player.clock.pause();
    const kept = this.picture.value;
    this.picture.replaceChildren(...Object.values(PICTURES).map(({ key, label }) => element("option", { value: key, text: label(player) })));
    this.picture.value = PICTURES[kept] ? kept : "map";
    this.screen.hidden = !player.palette.dark;
    this.link.hidden = !player.request.link;
    // Without a server, the page is the report.
    this.report.hidden = !player.request.served;
    this.command.textContent = reportCommand(player.request.run);
    this.offerNumbers();
    this.dialog.showModal();
  }

  offerNumbers() {
    const { player } = this;
    this.numbers.replaceChildren(...tableKeys(player, this.chosen.tables).map((key) => textButton(`CSV: ${SHEETS[key].label(player)}`, () => saveTable(player, key))));
  }

  /** @param {Blob | null} blob @param {string} suffix */
  save(blob, suffix) {
    if (blob) saveFile(this.player, blob, this.chosen.key, suffix);
  }
}

/** @param {string} text @param {() => void} act @returns {HTMLButtonElement} */
export function textButton(text, act) {
  return element("button", { type: "button", class: "fl-button fl-text", text, onclick: act });
}

/** @param {string} run key of a run @returns {string} */
function reportCommand(run) {
  const folder = run.startsWith("runs/") ? run : `sample_runs/${run}`;
  const quoted = (/** @type {string} */ path) => (/^[\w./-]+$/.test(path) ? path : `'${path.replace(/'/g, "'\\''")}'`);
  return `python -m analysis.report ${quoted(folder)} --out ${quoted(`${folder.split("/").pop()}.html`)}`;
}

/** @param {any} player @param {string} key of `SHEETS` */
export function saveTable(player, key) {
  const view = { map: player.chosen.map, side: player.chosen.side, band: player.timeline.band.key }[key] ?? key;
  saveFile(player, new Blob([csvOf(SHEETS[key].table(player))], { type: "text/csv" }), view, "csv");
}

/** @param {any} player @param {Blob} blob @param {string} view @param {string} suffix */
function saveFile(player, blob, view, suffix) {
  const name = `${player.request.run}_step${player.clock.step}_${view}`.replace(/[^\w.-]+/g, "-");
  const address = URL.createObjectURL(blob);
  const anchor = element("a", { href: address, download: `${name}.${suffix}`, hidden: "" });
  player.root.append(anchor);
  anchor.click();
  anchor.remove();
  window.setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** A dialog that its button closes, and a click beside it. @param {string} name its classes @param {string} label @param {(close: HTMLButtonElement) => HTMLElement[]} children @returns {HTMLDialogElement} */
export function closable(name, label, children) {
  const dialog = element("dialog", { class: name, "aria-label": label, onclick: ({ target, currentTarget }) => target === currentTarget && target.close() });
  dialog.append(...children(textButton("Close", () => dialog.close())));
  return dialog;
}
