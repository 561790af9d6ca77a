/** A poll: what is asked, the choices as buttons, the counts as bars. */

import { node } from "./dom.js";

/** @import { Poll } from "./news.js" */

/**
 * @param {Poll} poll
 * @param {(choice: number) => void} vote
 * @returns {HTMLElement}
 */
export function pollCard(poll, vote) {
  const { counts, open } = poll;
  const total = counts?.reduce((sum, count) => sum + count, 0) ?? 0;
  const list = node("div", "cl-choices");
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", poll.question);
  poll.choices.forEach((choice, place) => {
    const button = /** @type {HTMLButtonElement} */ (node("button", "cl-choice"));
    button.type = "button";
    button.disabled = !open;
    button.setAttribute("aria-pressed", String(poll.vote === place));
    button.append(node("span", "cl-mark", poll.vote === place ? "●" : "○"), node("span", "cl-text", choice));
    if (counts) {
      const bar = node("span", "cl-bar");
      bar.style.setProperty("--share", String(total ? counts[place] / total : 0));
      button.append(node("span", "cl-count", String(counts[place])), bar);
    }
    button.addEventListener("click", () => vote(place));
    list.append(button);
  });
  const card = node("section", "cl-poll");
  card.append(node("h2", "cl-question", poll.question), list, node("p", "cl-told", toldOf(poll, total)));
  return card;
}

/** @param {Poll} poll @param {number} total @returns {string} */
function toldOf(poll, total) {
  const votes = poll.counts ? `${total} ${total === 1 ? "vote" : "votes"}` : "";
  if (!poll.open) return [votes, "Closed."].filter(Boolean).join(" · ");
  const own = poll.vote === null ? "One vote each." : "You voted; another choice changes it until the poll is closed.";
  return [votes, own].filter(Boolean).join(" · ");
}
