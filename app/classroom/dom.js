/** Elements of the bar. Whatever people typed is text, never markup. */

/** @param {string} tag @param {string} name of its class @param {string} [text] @returns {HTMLElement} */
export function node(tag, name, text = "") {
  return Object.assign(document.createElement(tag), { className: name, textContent: text });
}

/** @param {string} label @param {() => void} press @param {string} [title] @returns {HTMLButtonElement} */
export function button(label, press, title = "") {
  const made = /** @type {HTMLButtonElement} */ (node("button", "cl-button", label));
  made.type = "button";
  if (title) made.title = title;
  made.addEventListener("click", press);
  return made;
}
