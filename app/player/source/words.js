/** A text of a page without a run: its words open what they mean. */

import { dress } from "../style.js";
import { element } from "../pen/draw.js";
import { sayWith, wordsOf } from "../ui/term_text.js";
import { TermCard } from "../ui/term_card.js";

/** @typedef {{text: string, words: Record<string, string[]>, terms: Record<string, import("../ui/term_card.js").Told>}} Data */

/** @type {WeakMap<object, HTMLElement>} */
const TEXTS = new WeakMap();

/** @param {{data: Data, parentElement: Element | ShadowRoot}} component */
export default function render({ data: { text, words, terms }, parentElement }) {
  let root = TEXTS.get(parentElement);
  if (!root) {
    root = element("div", { class: "fl-words" }, [element("p")]);
    parentElement.append(root);
    dress(root);
    // It goes with its page: nothing is left to end.
    new TermCard(root, async () => ({ place: "", terms }), new AbortController().signal);
    TEXTS.set(parentElement, root);
  }
  sayWith(/** @type {HTMLElement} */ (root.firstElementChild), text, wordsOf(words));
}
