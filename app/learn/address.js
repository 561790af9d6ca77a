/** Addresses of lessons: which step a link opens, and links out of a step. */

import { linkOf, firstChoices } from "../player/ui/view_state.js";

/** @param {boolean} served else the page is a file, where only what follows # may differ @returns {{lesson: string, step: string, version: string | null, quiz: "before" | "after" | null}} */
export function askedPlace(served) {
  const asked = new URLSearchParams(served ? window.location.search : window.location.hash.slice(1));
  const quiz = asked.get("quiz");
  return { lesson: asked.get("lesson") ?? "", step: asked.get("step") ?? "", version: asked.get("version"), quiz: quiz === "before" || quiz === "after" ? quiz : null };
}

/** @param {boolean} served @param {Record<string, string>} place @returns {string} */
export function addressOf(served, place) {
  return `${window.location.href.split(/[?#]/)[0]}${served ? "?" : "#"}${new URLSearchParams(place)}`;
}

/** @param {string} page of the app @returns {string} */
export function pageLink(page) {
  return new URL(page, document.baseURI).href;
}

/** @param {Record<string, any>} view of a step @returns {string} the same in Explore */
export function exploreLink({ run, ...view }) {
  return pageLink(`explore?${linkOf({ run }, { step: null, matrix: null, since: null, ...firstChoices(), ...view })}`);
}
