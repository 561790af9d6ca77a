/** What Streamlit calls: once to mount the reader, and again with each rerun or theme. */

import { ServerSource } from "../player/source/server.js";
import { Reader } from "./reader.js";

/** @type {WeakMap<object, {reader: Reader, timer: number}>} */
const READERS = new WeakMap();
// Streamlit also cleans up a render that a newer one overtook: only what has left the page is gone.
const FAREWELL_MS = 500;

/** @param {{data: import("./reader.js").Book, parentElement: Element | ShadowRoot}} component @returns {() => void} */
export default function render({ data, parentElement }) {
  const known = READERS.get(parentElement);
  const mine = known ?? { reader: new Reader(parentElement, data, { sourceOf: (name) => new ServerSource(name), served: true }), timer: 0 };
  READERS.set(parentElement, mine);
  window.clearTimeout(mine.timer);
  if (known) mine.reader.dress();
  return () => {
    window.clearTimeout(mine.timer);
    mine.timer = window.setTimeout(() => {
      if (mine.reader.root.isConnected) return;
      mine.reader.destroy();
      READERS.delete(parentElement);
    }, FAREWELL_MS);
  };
}
