/** Faults of text on canvases: too small, too faint on the very pixels beneath it, or over another text. */

const BAD_SHARE = 0.2; // of the pixels beneath a text: a thin line may pass
const OVERLAP_PX = 1.5;
const LETTER_HEIGHT = 0.72; // of the size: from the foot of a letter to its head

/** @type {Map<HTMLCanvasElement, Map<string, {text: string, box: number[], fault: string}>>} what stands on each since it was wiped */
const written = new Map();
/** @type {Set<HTMLCanvasElement>} */
const fresh = new Set();
/** @type {WeakMap<HTMLCanvasElement, number[]>} colour on which each lies */
const grounds = new WeakMap();

function pixelsBeneath(context, { x, y, w, h }) {
  const { width, height } = context.canvas;
  const [left, top] = [Math.max(0, Math.round(x)), Math.max(0, Math.round(y))];
  const [right, bottom] = [Math.min(width, Math.round(x + w)), Math.min(height, Math.round(y + h))];
  return right > left && bottom > top ? context.getImageData(left, top, right - left, bottom - top).data : new Uint8ClampedArray();
}

/** @returns {number} contrast that all but a few of the pixels beneath have at least */
function contrastOn(context, box, ink, ground) {
  const data = pixelsBeneath(context, box);
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (let i = 0; i < data.length; i += 4) {
    const key = ((data[i] << 24) | (data[i + 1] << 16) | (data[i + 2] << 8) | data[i + 3]) >>> 0;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const ratios = [...counts].map(([key, count]) => {
    const below = over([key >>> 24, (key >>> 16) & 255, (key >>> 8) & 255, (key & 255) / 255], ground);
    return [contrast(over(ink, below), below), count];
  });
  ratios.sort((a, b) => a[0] - b[0]);
  let left = (data.length / 4) * BAD_SHARE;
  for (const [ratio, count] of ratios) {
    left -= count;
    if (left < 0) return ratio;
  }
  return Infinity;
}

function boxOf(context, text, x, y, size) {
  const measured = context.measureText(text).width;
  const left = x - { left: 0, start: 0, center: measured / 2, right: measured, end: measured }[context.textAlign];
  const middle = context.textBaseline === "middle" ? y : y - (size * LETTER_HEIGHT) / 2;
  const matrix = context.getTransform();
  const [one, other] = [new DOMPoint(left, middle - (size * LETTER_HEIGHT) / 2), new DOMPoint(left + measured, middle + (size * LETTER_HEIGHT) / 2)].map((point) => point.matrixTransform(matrix));
  return { x: Math.min(one.x, other.x), y: Math.min(one.y, other.y), w: Math.abs(other.x - one.x), h: Math.abs(other.y - one.y), scale: Math.hypot(matrix.a, matrix.b) };
}

/** A canvas that is wiped may stand on another colour since. */
function groundOf(canvas) {
  const known = grounds.get(canvas) ?? beneath(canvas.isConnected ? canvas : document.body);
  grounds.set(canvas, known);
  return known;
}

export function watchCanvases() {
  const pen = CanvasRenderingContext2D.prototype;
  const { fillText, clearRect } = pen;
  const { getContext } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.getContext = function (kind, settings) {
    return getContext.call(this, kind, { ...settings, willReadFrequently: true });
  };
  pen.clearRect = function (...box) {
    written.delete(this.canvas);
    grounds.delete(this.canvas);
    clearRect.apply(this, box);
  };
  pen.fillText = function (text, x, y, ...rest) {
    const size = Number.parseFloat(/([\d.]+)px/.exec(this.font)?.[1] ?? "0");
    const weight = Number(/^(\d+)/.exec(this.font)?.[1] ?? 400);
    const box = boxOf(this, text, x, y, size);
    const shown = size * box.scale * ((this.canvas.clientWidth || this.canvas.width) / this.canvas.width);
    const [r, g, b, alpha] = colourOf(this.fillStyle);
    const ground = groundOf(this.canvas);
    const ratio = contrastOn(this, box, [r, g, b, alpha * this.globalAlpha], ground);
    const told = [shown < SMALLEST - 0.01 ? `${shown.toFixed(1)} px` : "", ratio < needed(shown, weight) - 0.005 ? `contrast ${ratio.toFixed(2)}` : ""];
    fillText.call(this, text, x, y, ...rest);
    fresh.add(this.canvas);
    if (!written.has(this.canvas)) written.set(this.canvas, new Map());
    written.get(this.canvas).set(`${text} ${x} ${y}`, { text, box, fault: told.filter(Boolean).join(", ") });
  };
}

/** @param {boolean} all of what stands there, or only where anything was written since it was asked last @returns {{count: number, faults: string[]}} of the canvases in the page; count: of their texts */
export function canvasFaults(all = false) {
  const faults = [];
  let count = 0;
  for (const [canvas, texts] of written) {
    if (!fresh.delete(canvas) && !all) continue;
    if (!canvas.isConnected || !isSeen(canvas)) continue;
    const own = [...texts.values()].filter(({ text }) => text.trim());
    count += own.length;
    const name = `canvas.${canvas.className}`;
    own.forEach(({ text, box, fault }, i) => {
      if (fault) faults.push(`${name} “${text}”: ${fault}`);
      for (const other of own.slice(i + 1)) {
        const wide = Math.min(box.x + box.w, other.box.x + other.box.w) - Math.max(box.x, other.box.x);
        const high = Math.min(box.y + box.h, other.box.y + other.box.h) - Math.max(box.y, other.box.y);
        if (wide > OVERLAP_PX && high > OVERLAP_PX) faults.push(`${name}: “${text}” and “${other.text}” overlap`);
      }
    });
  }
  return { count, faults };
}
