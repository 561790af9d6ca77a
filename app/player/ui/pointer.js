/** Mouse, pen and touch on the player's pictures. */

/** @import { Player } from "./player.js" */

/** @param {Player} player */
export function listenToPointer(player) {
  const { mapCanvas, sideCanvas, moving } = player.nodes;
  /** What a picture says of the point under the pointer; null = nothing. @type {(view: any, what: string, size: [number, number] | undefined, event: MouseEvent) => any} */
  const ask = (view, what, size, { offsetX, offsetY }) => (player.model?.T && size ? (view[what]?.(player.scene(size), offsetX, offsetY) ?? null) : null);
  const map = (/** @type {string} */ what, /** @type {MouseEvent} */ event) => ask(player.mapView, what, player.mapSize, event);
  const time = (/** @type {string} */ what, /** @type {MouseEvent} */ event) => ask(player.timeline, what, player.timeSize, event);
  mapCanvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const [m, step] = [map("at", event) ?? -1, map("stepAt", event)];
    if (step !== null) player.seek(step);
    if (m >= 0) player.select(m);
  });
  mapCanvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => player.hover(map("at", event) ?? -1, null, event, map("tip", event)));
  sideCanvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const text = ask(player.sideView, "tip", player.sideSize, event);
    if (text) showTip(player, text, event);
    else hideTip(player);
  });
  moving.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const step = player.timeline.stepAt(event.offsetX);
    if (event.buttons === 1 && step !== null) player.seek(step, false);
    player.hover(time("matrixAt", event) ?? -1, step, event, time("tip", event));
  });
  moving.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    const [m, step] = [time("matrixAt", event) ?? -1, player.timeline.stepAt(event.offsetX)];
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
