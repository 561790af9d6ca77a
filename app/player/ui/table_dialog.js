/** The numbers of a picture as a table that can be read aloud or copied. */

import { element } from "../pen/draw.js";
import { formatNumber } from "../model/format.js";
import { captionOf, SHEETS, tableKeys } from "./pictures.js";
import { closeOnBackdrop, saveTable } from "./take_out.js";

const MOST_ROWS = 200;
const MOST_COLUMNS = 40;

export class TableDialog {
  /** @param {any} player */
  constructor(player) {
    this.player = player;
    this.which = element("select", { class: "fl-select", "aria-label": "Numbers of" });
    this.note = element("p", { class: "fl-tablenote" });
    this.place = element("div", { class: "fl-tableplace", tabindex: "0", role: "region", "aria-label": "Table" });
    const save = element("button", { type: "button", class: "fl-button fl-text", text: "CSV" });
    const close = element("button", { type: "button", class: "fl-button fl-text", text: "Close" });
    this.dialog = element("dialog", { class: "fl-help fl-tabledialog", "aria-label": "Numbers" }, [
      element("div", { class: "fl-row" }, [this.which, save, element("span", { class: "fl-space" }), close]),
      this.note,
      this.place,
    ]);
    this.which.addEventListener("change", () => this.fill());
    save.addEventListener("click", () => saveTable(player, this.which.value));
    close.addEventListener("click", () => this.dialog.close());
    closeOnBackdrop(this.dialog);
  }

  open() {
    const { player } = this;
    if (!player.model?.T) return;
    player.clock.pause();
    const keys = tableKeys(player);
    const kept = this.which.value;
    this.which.replaceChildren(...keys.map((key) => element("option", { value: key, text: SHEETS[key].label(player) })));
    this.which.value = keys.includes(kept) ? kept : keys[0];
    this.fill();
    this.dialog.showModal();
  }

  fill() {
    const { head, rows } = SHEETS[this.which.value].table(this.player);
    const columns = Math.min(head.length, MOST_COLUMNS);
    const cut = [rows.length > MOST_ROWS ? `the first ${MOST_ROWS} of ${rows.length} rows` : `${rows.length} rows`];
    if (columns < head.length) cut.push(`${columns} of ${head.length} columns`);
    const rest = rows.length > MOST_ROWS || columns < head.length ? "; the CSV has all" : "";
    this.note.textContent = `${captionOf(this.player)}: ${cut.join(", ")}${rest}.`;
    const top = element("tr", {}, head.slice(0, columns).map((text) => element("th", { scope: "col", text })));
    const body = rows.slice(0, MOST_ROWS).map((row) => element("tr", {}, row.slice(0, columns).map((value, i) => element(i ? "td" : "th", { ...(i ? {} : { scope: "row" }), text: cellWords(value) }))));
    this.place.replaceChildren(element("table", { class: "fl-sheet" }, [element("thead", {}, [top]), element("tbody", {}, body)]));
    this.place.scrollTo(0, 0);
  }
}

/** @param {string | number | null} value */
function cellWords(value) {
  if (typeof value !== "number") return value ?? "–";
  return Number.isInteger(value) ? String(value).replace("-", "−") : formatNumber(value);
}
