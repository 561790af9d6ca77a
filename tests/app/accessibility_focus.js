/** Where the keyboard goes: in reading order, each stop seen and named; needs accessibility_dom.js. */

const NEAR_PX = 4;
const LOOKS = ["outline", "boxShadow", "borderColor", "backgroundColor", "color", "textDecorationLine"];

function activeElement() {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at;
}

/** Of the element and of what may carry its sign: those around it. */
function lookOf(node) {
  const around = [...ancestors(node)].slice(0, 4);
  const beside = [...(node.parentElement?.children ?? [])].filter((other) => other.tabIndex < 0);
  const all = [...around, ...beside];
  return all.map((one) => LOOKS.map((name) => getComputedStyle(one)[name]).join()).join("|");
}

/** In the page as if nothing were scrolled. */
function placeIn(node) {
  const box = node.getBoundingClientRect();
  const scrolled = [...ancestors(node)].reduce((sum, at) => sum + at.scrollTop, 0);
  return { left: box.left, right: box.right, top: box.top + scrolled, bottom: box.bottom + scrolled };
}

/** @returns {boolean} whether b is read before a */
function isBack(a, b) {
  const above = b.bottom <= a.top + NEAR_PX && b.left < a.right - NEAR_PX;
  const shared = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const beside = shared > 0.5 * Math.min(a.bottom - a.top, b.bottom - b.top) && b.right <= a.left + NEAR_PX;
  return above || beside;
}

const wordsOf = (node) => `${placeOf(node)} “${(node.getAttribute("aria-label") ?? node.textContent ?? "").trim().slice(0, 30)}”`;

class Walk {
  /** @type {{node: Element, look: string, place: any}[]} */
  stops = [];
  /** @type {string[]} */
  faults = [];

  constructor() {
    for (const node of elements(document.body)) if (node.tabIndex > 0) this.faults.push(`${wordsOf(node)}: tabindex ${node.tabIndex}`);
    // A sign that fades in is not there yet when it is looked at.
    document.head.append(Object.assign(document.createElement("style"), { textContent: "*, *::before, *::after { transition: none !important; animation: none !important; }" }));
  }

  /** @returns {boolean} whether the keyboard came to a new place of the page */
  stop() {
    const node = activeElement();
    const last = this.stops[this.stops.length - 1];
    // Streamlit's table paints the sign of its cell inside of its picture.
    const seen = last?.node.isConnected && !last.node.matches("[data-testid=data-grid-canvas]");
    if (seen && lookOf(last.node) === last.look) this.faults.push(`${wordsOf(last.node)}: nothing shows that it has the focus`);
    if (!node || node === document.body || this.stops.some((stop) => stop.node === node)) return false;
    const place = placeIn(node);
    if (last && isBack(last.place, place)) this.faults.push(`from ${wordsOf(last.node)} back to ${wordsOf(node)}`);
    this.stops.push({ node, look: lookOf(node), place });
    return true;
  }
}

export function startWalk() {
  const walk = new Walk();
  activeElement()?.blur?.();
  return walk;
}
