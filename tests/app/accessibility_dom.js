/** Faults of text in a page: too small, or too faint on what lies beneath it. Every answer is a list of sentences. */

const AA = 4.5;
const AA_LARGE = 3; // from 24 px, or 18.66 px in bold
const SMALLEST = 11;
const ICONS = /Material Symbols|Material Icons/;

/** @param {string} css any colour that a computed style has @returns {[number, number, number, number]} 0..255, alpha in 0..1 */
function colourOf(css) {
  if (css.startsWith("#")) return [...[1, 3, 5].map((at) => Number.parseInt(css.slice(at, at + 2), 16)), 1];
  const numbers = (css.match(/-?[\d.]+(e-?\d+)?/g) ?? []).map(Number);
  if (!numbers.length) return [0, 0, 0, 0];
  const scale = css.startsWith("color(") ? 255 : 1;
  const [r, g, b, alpha = 1] = numbers;
  return [r * scale, g * scale, b * scale, alpha];
}

const over = ([r, g, b, a], below) => [r, g, b].map((part, i) => part * a + below[i] * (1 - a));

function luminance(rgb) {
  const [r, g, b] = rgb.map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export function contrast(one, other) {
  const [a, b] = [luminance(one), luminance(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

export function needed(size, weight) {
  return size >= 24 || (size >= 18.66 && weight >= 700) ? AA_LARGE : AA;
}

/** The element that holds it on the screen, out of shadows too. */
const parentOf = (node) => node.assignedSlot ?? node.parentElement ?? node.getRootNode().host ?? null;

function* ancestors(node) {
  for (let at = node; at; at = parentOf(at)) yield at;
}

/** Everything inside, shadows too. */
function* elements(root) {
  for (const node of root.querySelectorAll("*")) {
    yield node;
    if (node.shadowRoot) yield* elements(node.shadowRoot);
  }
}

/** Shapes of a picture that cover something, with the room that they take. */
function shapesOf(svg) {
  return [...svg.querySelectorAll("rect, path, circle, ellipse, polygon")]
    .filter((shape) => !shape.closest("defs, clipPath") && colourOf(getComputedStyle(shape).fill)[3] > 0)
    .map((shape) => [shape, shape.getBoundingClientRect()]);
}

/** What an SVG text stands on, if it is a shape of its picture: the last one before it that holds its middle. */
function shapeBeneath(node, shapes) {
  const box = node.getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const holds = ([shape, { left, right, top, bottom }]) =>
    x >= left && x <= right && y >= top && y <= bottom &&
    shape.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING &&
    shape.isPointInFill(new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse()));
  return shapes.findLast(holds)?.[0] ?? null;
}

/** Colour beneath the text of an element, on the page's own. @param {Map<Element, any[]>} [pictures] with what `shapesOf` told of them */
function beneath(node, pictures = new Map()) {
  const layers = [];
  const svg = node.ownerSVGElement;
  if (svg && !pictures.has(svg)) pictures.set(svg, shapesOf(svg));
  const shape = svg ? shapeBeneath(node, pictures.get(svg)) : null;
  if (shape) {
    const style = getComputedStyle(shape);
    const [r, g, b, a] = colourOf(style.fill);
    layers.push([r, g, b, a * Number(style.fillOpacity) * Number(style.opacity)]);
  }
  for (const at of ancestors(node)) {
    const colour = colourOf(getComputedStyle(at).backgroundColor);
    if (colour[3]) layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255]);
}

function isDisabled(node) {
  for (const at of ancestors(node)) if (at.matches(":disabled, [aria-disabled=true], [inert]")) return true;
  const label = node.closest("label");
  return Boolean(label?.control?.disabled);
}

/** Texts that are seen: [element whose style they have, text, pseudo element if it is one's]. */
function textsOf(node) {
  const found = [];
  const own = [...node.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
  for (const child of own) {
    const range = document.createRange();
    range.selectNodeContents(child);
    if ([...range.getClientRects()].some(({ width, height }) => width > 1 && height > 1)) found.push([child.data.trim(), null]);
  }
  if (node.matches("input:not([type=checkbox], [type=radio], [type=range], [type=hidden]), textarea")) {
    if (node.value) found.push([node.value, null]);
    else if (node.placeholder) found.push([node.placeholder, "::placeholder"]);
  }
  for (const pseudo of ["::before", "::after"]) {
    const { content } = getComputedStyle(node, pseudo);
    if (/^"[^"]*[\p{L}\p{N}]/u.test(content)) found.push([content.slice(1, -1), pseudo]);
  }
  return found;
}

function isSeen(node) {
  const { width, height } = node.getBoundingClientRect();
  if (!node.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || width <= 1 || height <= 1) return false;
  for (const at of ancestors(node)) if (/inset\((50|100)%\)/.test(getComputedStyle(at).clipPath)) return false;
  return true;
}

const placeOf = (node) => `${node.tagName.toLowerCase()}${[...node.classList].slice(0, 2).map((name) => `.${name}`).join("")}`;

/** @returns {string[]} */
export function textFaults() {
  const faults = [];
  const pictures = new Map();
  for (const node of elements(document.body)) {
    if (/^(SCRIPT|STYLE|NOSCRIPT|TITLE|DESC|OPTION|OPTGROUP)$/i.test(node.tagName)) continue;
    const texts = textsOf(node);
    if (!texts.length || !isSeen(node)) continue;
    for (const [text, pseudo] of texts) {
      const style = getComputedStyle(node, pseudo);
      const size = Number.parseFloat(style.fontSize);
      const icon = ICONS.test(style.fontFamily);
      const told = `${placeOf(node)} “${text.slice(0, 40)}”`;
      if (!icon && size < SMALLEST) faults.push(`${told}: ${size} px`);
      if (isDisabled(node)) continue;
      const below = beneath(node, pictures);
      const [r, g, b, alpha] = colourOf(node.ownerSVGElement ? style.fill : style.color);
      const shown = [...ancestors(node)].reduce((share, at) => share * Number(getComputedStyle(at).opacity), alpha);
      const ratio = contrast(over([r, g, b, shown], below), below);
      const least = icon ? AA_LARGE : needed(size, Number(style.fontWeight));
      if (ratio < least - 0.005) faults.push(`${told}: contrast ${ratio.toFixed(2)}, not ${least}`);
    }
  }
  return faults;
}
