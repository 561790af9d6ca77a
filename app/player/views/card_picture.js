/** The why-card as a picture, for files: on the page it is text. */

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
  for (const [label, text, detail] of cardTable(card).rows) {
    y += 2;
    say(`${label}: ${text}`, { fill: palette.text, size: 12 });
    if (detail) say(String(detail), { fill: palette.muted, size: 11 }, 14);
  }
}
