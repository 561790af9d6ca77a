/** The playground as a file: the page without a server. */

import { Page } from "./ui/page.js";

try {
  const page = new Page(/** @type {HTMLElement} */ (document.getElementById("fl-playground")));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.draw());
} catch (error) {
  const line = document.getElementById("fl-playground-trouble");
  if (line) line.textContent = `The playground could not start: ${error instanceof Error ? error.message : error}.`;
}
