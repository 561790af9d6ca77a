/** What Streamlit calls: once to mount the playground, and again with each new theme. */

import { Page } from "./ui/page.js";

/** @type {WeakMap<object, Page>} */
const PAGES = new WeakMap();

/** @param {{data: {trouble: string | null}, parentElement: Element | ShadowRoot, setTriggerValue: (name: string, value: unknown) => void}} component @returns {() => void} called by Streamlit when the element goes */
export default function render({ data, parentElement, setTriggerValue }) {
  const page = PAGES.get(parentElement) ?? new Page(parentElement, (training) => setTriggerValue("opened", training));
  PAGES.set(parentElement, page);
  page.accept(data.trouble, (training) => setTriggerValue("opened", training));
  page.draw();
  // Streamlit also cleans up a render that a newer one overtook: only an element that has left the page is gone.
  return () => window.setTimeout(() => {
    if (page.root.isConnected || PAGES.get(parentElement) !== page) return;
    page.close();
    PAGES.delete(parentElement);
  }, 500);
}
