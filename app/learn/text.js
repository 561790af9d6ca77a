/** A text of a lesson as nodes: **bold**, *emphasis* and `code`, nothing else. */

import { element } from "../player/pen/draw.js";

const MARK = /\*\*(.+?)\*\*|\*(.+?)\*|`(.+?)`/g;

/** @param {string} text @returns {(Node | string)[]} */
export function marked(text) {
  const parts = [];
  let before = 0;
  for (const found of text.matchAll(MARK)) {
    parts.push(text.slice(before, found.index), element(found[1] ? "b" : found[2] ? "em" : "code", { text: found[1] ?? found[2] ?? found[3] }));
    before = found.index + found[0].length;
  }
  return [...parts, text.slice(before)];
}

/** @param {string[]} texts @returns {HTMLElement[]} */
export function paragraphs(texts) {
  return texts.map((text) => element("p", {}, marked(text)));
}
