/** The gutters left and right of the time axis, in CSS pixels: as wide as the words in them are in the page's font. */

const LEAST = { left: 88, right: 84, words: 62 };
const LONGEST = { words: "net of gross", number: "0.01", value: "−16 +16, b 16" };
const GAP = 6;

/** @typedef {{left: number, right: number, words: number}} Gutter words: room for a name beside a panel, the rest is its scale's */

/** @type {CanvasRenderingContext2D | null} */
let ruler = null;

/** A report has no font of its own: whatever stands in for it may be a quarter wider. @param {string} font family @returns {Gutter} */
export function gutterOf(font) {
  ruler ??= document.createElement("canvas").getContext("2d");
  const room = (/** @type {string} */ text, style = "400 11px") => {
    if (!ruler) return 0;
    ruler.font = `${style} ${font}`;
    return Math.ceil(ruler.measureText(text).width);
  };
  const words = Math.max(LEAST.words, room(LONGEST.words));
  return {
    words,
    left: Math.max(LEAST.left, 2 + words + GAP + room(LONGEST.number) + GAP),
    right: Math.max(LEAST.right, room(LONGEST.value, "600 11.5px") + 2 * GAP),
  };
}
