/** Mouse, pen and touch on the player's pictures. */

/** @import { Player } from "./player.js" */

/** @param {Player} player @param {number} x @param {number} y @returns {number} matrix under the point of the map, or -1 */
function mapAt(player, x, y) {
  return player.model && player.mapSize ? player.mapView.at?.(player.scene(player.mapSize), x, y) ?? -1 : -1;
}

/** @param {Player} player @param {number} x @param {number} y @returns {number | null} where a click on the map takes the clock */
function mapStep(player, x, y) {
  return player.model?.T && player.mapSize ? player.mapView.stepAt?.(player.scene(player.mapSize), x, y) ?? null : null;
}

/** @param {Player} player @param {number} x @param {number} y */
function mapTip(player, x, y) {
  return player.model?.T && player.mapSize ? player.mapView.tip?.(player.scene(player.mapSize), x, y) ?? null : null;
}

/** @param {Player} player @param {number} x @param {number} y */
function sideTip(player, x, y) {
  return player.model?.T && player.sideSize ? player.sideView.tip?.(player.scene(player.sideSize), x, y) ?? null : null;
}

/** @param {Player} player @param {number} x @param {number} y @returns {number} matrix under the point of the time axis, or -1 */
function timeAt(player, x, y) {
  return player.model && player.timeSize ? player.timeline.matrixAt(player.scene(player.timeSize), x, y) : -1;
}

/** @param {Player} player @param {number} x @param {number} y */
function timeTip(player, x, y) {
  return player.model?.T && player.timeSize ? player.timeline.tip(player.scene(player.timeSize), x, y) : null;
}

/** @param {Player} player */
export function listenToPointer(player) {
  const { mapCanvas, sideCanvas, moving } = player.nodes;
  const place = (/** @type {PointerEvent | MouseEvent} */ event) => /** @type {const} */ ([event.offsetX, event.offsetY]);
  mapCanvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const m = mapAt(player, ...place(event));
    const step = mapStep(player, ...place(event));
    if (step !== null) player.seek(step);
    if (m >= 0) player.select(m);
  });
  mapCanvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const m = mapAt(player, ...place(event));
    player.hover(m, null, event, mapTip(player, ...place(event)));
  });
  sideCanvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const text = sideTip(player, ...place(event));
    if (text) showTip(player, text, event);
    else hideTip(player);
  });
  moving.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const step = player.timeline.stepAt(event.offsetX);
    if (event.buttons === 1 && step !== null) player.seek(step, false);
    player.hover(timeAt(player, ...place(event)), step, event, timeTip(player, ...place(event)));
  });
  moving.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    const m = timeAt(player, ...place(event));
    const step = player.timeline.stepAt(event.offsetX);
    moving.setPointerCapture(event.pointerId);
    if (m >= 0) player.select(m);
    if (step !== null) player.seek(step, false);
  });
  moving.addEventListener("pointerup", () => player.commitSoon());
  for (const canvas of [mapCanvas, sideCanvas, moving]) canvas.addEventListener("pointerleave", () => player.hover(-1, null, null));
}

/** @param {Player} player @param {string} text @param {MouseEvent} event */
export function showTip(player, text, event) {
  const { tip, root } = player.nodes;
  tip.textContent = text;
  const box = root.getBoundingClientRect();
  const x = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4);
  const y = Math.min(event.clientY - box.top + 18, box.height - tip.offsetHeight);
  tip.style.transform = `translate(${Math.max(0, x)}px, ${y}px)`;
  tip.classList.add("fl-shown");
}

/** @param {Player} player */
export function hideTip(player) {
  player.nodes.tip.classList.remove("fl-shown");
}
