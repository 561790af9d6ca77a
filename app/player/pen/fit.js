/** How the player fits into its window. */

/**
 * As high as the window allows, so that map, transport and timeline stand together without scrolling. Measured at what
 * holds the player: that has a place also while the player is hidden, when nothing of it must be laid out for the answer.
 * @param {HTMLElement} root @returns {boolean} whether the height is another than before
 */
export function fitHeight(root) {
  const place = root.getRootNode();
  const host = place instanceof ShadowRoot ? place.host : root;
  const holder = root.parentElement ?? host;
  const top = Math.max(0, holder.getBoundingClientRect().top + (host.closest("[data-testid=stMain]")?.scrollTop ?? 0));
  // The film's row needs its words: what lies below may scroll.
  const least = root.classList.contains("fl-slow") ? 600 : 560;
  const height = `${Math.max(least, Math.min(1100, window.innerHeight - top - 56))}px`;
  if (root.style.getPropertyValue("--fl-height") === height) return false;
  root.style.setProperty("--fl-height", height);
  return true;
}

/** @typedef {[number, number]} Size whole CSS pixels */

/** @param {Record<string, HTMLElement>} nodes of `buildStage` @returns {[Size, Size, Size]} of the map, of what stands beside it, and of the time */
export function sizesOf({ mapBox, sideBox, timeBox }) {
  const size = (/** @type {HTMLElement} */ node) => /** @type {Size} */ ([node.clientWidth, node.clientHeight]);
  return [size(mapBox), size(sideBox), size(timeBox)];
}
