/** The why-card as a picture, for files: on the page it is text. */

import { formatNumber } from "../model/format.js";
import { cardTable } from "./why_card.js";
import { wrapped } from "../pen/wrap.js";

/** @typedef {import("../model/scene.js").Scene} Scene */
/** @typedef {import("../model/scene.js").Pen} Pen */
/** @typedef {import("./why_card.js").Card} Card */

const CARD_LINE = 15;

/** As much as fits the height. @param {Pen} pen @param {Scene} scene */
export function drawCard(pen, scene) {
  const { palette, width, height } = scene;
  const card = /** @type {Card | null} */ (scene.card);
  let y = CARD_LINE;
  const say = (/** @type {string} */ text, /** @type {import("../pen/draw.js").TextStyle} */ style, left = 4) => {
    for (const line of wrapped(pen, text, style, width - left - 4)) {
      if (y < height) pen.text(left, y, line, style);
      y += CARD_LINE;
    }
  };
  say(card?.headline ?? "No event yet.", { fill: palette.text, size: 13, weight: 600 });
  if (!card) return;
  for (const [kind, label, text, detail, score, place, places] of cardTable(card).rows) {
    y += 2;
    const before = /** @type {Record<string, string>} */ ({ rule: "rule: ", measure: "by " })[String(kind)] ?? "";
    say(`${before}${label}: ${text}`, { fill: palette.text, size: 12 });
    const told = kind === "measure" ? `${formatNumber(Number(score))}${place === null ? "" : `, ${place} of ${places}`}` : detail;
    if (told) say(String(told), { fill: palette.muted, size: 11 }, 14);
  }
}
