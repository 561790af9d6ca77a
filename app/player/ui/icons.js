/** Buttons with a sign. */

import { element } from "../pen/draw.js";

export const ICONS = {
  first: "M3 3h2v10H3zM13 3v10L6 8z",
  eventBack: "M8 3v10L2 8zM14 3v10L8 8z",
  back: "M11 3v10L4 8z",
  play: "M4 2.5v11l9.5-5.5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  forward: "M5 3l7 5-7 5z",
  eventForward: "M2 3l6 5-6 5zM8 3l6 5-6 5z",
  last: "M11 3h2v10h-2zM3 3l7 5-7 5z",
  takeOut: "M7 2h2v6h3.5L8 12.5 3.5 8H7zM2.5 13.5h11V15h-11z",
  table: "M2 3h12v2.5H2zM2 6.8h5.4v2.5H2zM8.6 6.8H14v2.5H8.6zM2 10.6h5.4v2.5H2zM8.6 10.6H14v2.5H8.6z",
};

/** @param {keyof typeof ICONS} name @param {string} label @param {() => void} act @returns {HTMLButtonElement} */
export function iconButton(name, label, act) {
  return element("button", { type: "button", class: `fl-button fl-${name}`, "aria-label": label, title: label, onclick: act }, [icon(name)]);
}

/** @param {keyof typeof ICONS} name @returns {SVGSVGElement} */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
