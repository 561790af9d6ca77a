/** Words of the glossary in the page's texts: each the first time that it stands in a text, as a button in disguise. */

import { element } from "../pen/draw.js";

/** @typedef {{pattern: RegExp, keyOf: Map<string, string>}} Words */

/** @param {Record<string, string[]>} told key of a term → how texts spell it @returns {Words} */
export function wordsOf(told) {
  const keyOf = new Map(Object.entries(told).flatMap(([key, words]) => words.map((word) => /** @type {[string, string]} */ ([word.toLowerCase(), key]))));
  // The longest first: "total rank" before "rank".
  const spelled = [...keyOf.keys()].sort((a, b) => b.length - a.length).map((word) => word.replace(/[()]/g, "\\$&"));
  return { keyOf, pattern: new RegExp(`(?<![\\p{L}\\p{N}_])(?:${spelled.join("|")})(?![\\p{L}\\p{N}_])`, "giu") };
}

/** @param {string} text @param {Words} words @param {Set<string>} known terms that are explained already; grows @returns {[string, string | null][]} text, key of a term or null */
export function partsOf(text, { pattern, keyOf }, known = new Set()) {
  /** @type {[string, string | null][]} */
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    const key = /** @type {string} */ (keyOf.get(match[0].toLowerCase()));
    if (known.has(key)) continue;
    known.add(key);
    if (match.index > end) parts.push([text.slice(end, match.index), null]);
    parts.push([match[0], key]);
    end = match.index + match[0].length;
  }
  if (end < text.length || !parts.length) parts.push([text.slice(end), null]);
  return parts;
}

/** @param {string} text @param {string} key */
function term(text, key) {
  return element("button", { type: "button", class: "fl-term", "data-term": key, text });
}

/** A text that changes keeps its words where they are, and with them the one that is open. @param {HTMLElement} node @param {string} text @param {Words | null} words */
export function sayWith(node, text, words) {
  if (node.textContent === text) return;
  const parts = words ? partsOf(text, words) : [/** @type {[string, null]} */ ([text, null])];
  const now = [...node.childNodes];
  const same = now.length === parts.length && parts.every(([, key], i) => key === (now[i] instanceof Element ? /** @type {HTMLElement} */ (now[i]).dataset.term : null));
  if (same) parts.forEach(([part], i) => now[i].textContent !== part && (now[i].textContent = part));
  else node.replaceChildren(...parts.map(([part, key]) => (key ? term(part, key) : document.createTextNode(part))));
}

/** Finds the words in what stands there already. @param {HTMLElement} root @param {Words | null} words */
export function markIn(root, words) {
  if (!words) return;
  const known = new Set([...root.querySelectorAll(".fl-term")].map((node) => /** @type {HTMLElement} */ (node).dataset.term ?? ""));
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const texts = [];
  while (walker.nextNode()) texts.push(/** @type {Text} */ (walker.currentNode));
  for (const text of texts) {
    if (text.parentElement?.closest("button, a, select")) continue;
    const parts = partsOf(text.data, words, known);
    if (parts.some(([, key]) => key)) text.replaceWith(...parts.map(([part, key]) => (key ? term(part, key) : document.createTextNode(part))));
  }
}
