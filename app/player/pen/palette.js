/** Colours: they follow Streamlit's theme, and every scale can be read without telling red from green. */

/** @typedef {"rank" | "change" | "entropy" | "energy" | "parameters" | "gap" | "true_entropy"} Colour */

// Cividis (Nuñez, Anderton, Renslow 2018): the same lightness order for every kind of colour vision.
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const BLUES = ["#eaf2fb", "#cfe1f4", "#a9cbea", "#79afdc", "#4c90ca", "#2b71b3", "#16539a", "#0b3a78", "#072654"];
const VIOLETS = ["#f3effa", "#ded3ef", "#c4b1e2", "#a78bd2", "#8a67bf", "#6f47a6", "#572d88", "#401a68", "#2b0d49"];
const TEALS = ["#e6f4f3", "#c5e5e2", "#9bd0cc", "#6bb6b1", "#3f9994", "#207c78", "#0d615f", "#064847", "#02302f"];
const ROSES = ["#fbeef4", "#f4d3e2", "#e8aec9", "#d884ac", "#c35b8e", "#a63a72", "#852358", "#651340", "#45072a"];
// What has an order of its own and is no quantity, as layers: no other picture has these.
const DEPTHS = ["#f0f2dd", "#dce2b6", "#c3cd8d", "#a7b566", "#8a9b47", "#6e8031", "#546522", "#3d4b17", "#28330e"];
const ORANGE_BLUE = ["#8a3c00", "#b85a0a", "#de8a3f", "#f2bd8a", "#eeeeee", "#a5c9e8", "#5d9dd0", "#2a6fb0", "#0e4480"];
const ORANGE_BLUE_DARK = ["#ffb066", "#ec8f3a", "#b9661c", "#74431a", "#33363b", "#1f4a73", "#2f74b5", "#5b9fdd", "#9ccbf5"];
// P. Tol, "muted" and "light" qualitative schemes (2021), in an order without red next to green.
const KINDS = ["#332288", "#88ccee", "#aa4499", "#ddcc77", "#44aa99", "#882255", "#999933"];
const KINDS_DARK = ["#77aadd", "#eedd88", "#ffaabb", "#44bb99", "#99ddff", "#ee8866", "#bbcc33"];

/** Method → its colour in every picture; analysis/figures/theme.py has the same. After Okabe and Ito, and three of Paul Tol's muted ones. @type {Record<string, string>} */
export const METHOD_COLOURS = {
  flexlora: "#0072B2",
  lora: "#7F7F7F",
  adalora: "#E69F00",
  elalora: "#D55E00",
  l1ra: "#009E73",
  salora: "#CC79A7",
  autolora: "#56B4E9",
  sora: "#8C6BB1",
  dora_dynamic: "#999933",
  big_then_cut: "#5E9C1F",
  dylora: "#AA4466",
  mlae: "#44AA99",
};
const OTHER_METHOD = "#A0785A";
const LEAST_CONTRAST = 3; // WCAG 1.4.11, for lines

/**
 * @param {string} colour "#rrggbb" or "rgb(…)"
 * @returns {number[]} red, green, blue in 0..255
 */
export function parseColour(colour) {
  const text = colour.trim();
  if (text.startsWith("#")) {
    const hex = text.length === 4 ? [...text.slice(1)].map((digit) => digit + digit).join("") : text.slice(1, 7);
    return [0, 2, 4].map((start) => Number.parseInt(hex.slice(start, start + 2), 16));
  }
  const numbers = text.match(/[\d.]+/g);
  return numbers && numbers.length >= 3 ? numbers.slice(0, 3).map(Number) : [0, 0, 0];
}

/**
 * @param {string[]} stops
 * @returns {Uint8Array} 256 colours, three bytes each
 */
export function ramp(stops) {
  const table = new Uint8Array(256 * 3);
  const parsed = stops.map(parseColour);
  for (let i = 0; i < 256; i += 1) {
    const position = (i / 255) * (parsed.length - 1);
    const low = Math.min(Math.floor(position), parsed.length - 2);
    for (let c = 0; c < 3; c += 1) {
      table[3 * i + c] = Math.round(parsed[low][c] + (parsed[low + 1][c] - parsed[low][c]) * (position - low));
    }
  }
  return table;
}

/** @param {Uint8Array} table @param {number} index 0..255 @returns {string} */
export function tableColour(table, index) {
  return `rgb(${table[3 * index]},${table[3 * index + 1]},${table[3 * index + 2]})`;
}

/** @param {number[]} rgb @returns {number} relative luminance in [0, 1] (WCAG) */
export function luminance(rgb) {
  const [r, g, b] = rgb.map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// A lighter ink would stay below a contrast of 4.5 on some colour of middle lightness; at the split both inks have it.
const DARK_INK = "#050608";
const INK_SPLIT = 0.1832;

/** @type {Map<string, string>} the colours of the tables: a few hundred */
const INKS = new Map();

/** @param {string} colour @returns {string} black or white, whichever reads better on it */
export function inkOn(colour) {
  const known = INKS.get(colour);
  if (known) return known;
  const ink = luminance(parseColour(colour)) > INK_SPLIT ? DARK_INK : "#ffffff";
  INKS.set(colour, ink);
  return ink;
}

/**
 * @param {number[]} a @param {number[]} b @param {number} share of b
 * @returns {string}
 */
function mix(a, b, share) {
  return `rgb(${a.map((part, i) => Math.round(part + (b[i] - part) * share)).join(",")})`;
}

/** @param {string} colour @param {string} below @param {number} alpha @returns {string} what is seen of a colour that lets another through */
export function blend(colour, below, alpha) {
  return alpha < 1 ? mix(parseColour(below), parseColour(colour), alpha) : colour;
}

/** @param {number} a @param {number} b luminances @returns {number} WCAG contrast */
function contrast(a, b) {
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

/** The method's colour, moved towards the text's where the background would swallow it. @param {Palette} palette @param {string | undefined} method @returns {string} */
export function methodColour(palette, method) {
  const own = parseColour(METHOD_COLOURS[method ?? ""] ?? OTHER_METHOD);
  const [background, text] = [parseColour(palette.background), parseColour(palette.text)];
  for (let share = 0; share < 1; share += 0.05) {
    const colour = mix(own, text, share);
    if (contrast(luminance(parseColour(colour)), luminance(background)) >= LEAST_CONTRAST) return colour;
  }
  return palette.text;
}

/**
 * @typedef {object} Palette
 * @property {string} key changes exactly when a colour changes
 * @property {boolean} dark
 * @property {string} font
 * @property {string} background
 * @property {string} text
 * @property {string} muted
 * @property {string} faint
 * @property {string} line
 * @property {string} accent
 * @property {string} pruned
 * @property {string} extended
 * @property {string} task
 * @property {string} regularizer
 * @property {string} evaluation
 * @property {string[]} kinds colours of what has no order
 * @property {Uint8Array} depths colours of what has an order
 * @property {Record<Colour, Uint8Array>} tables
 */

/**
 * @param {Element} root an element inside Streamlit's theme
 * @returns {Palette}
 */
export function readPalette(root) {
  const style = getComputedStyle(root);
  const read = (/** @type {string} */ name, /** @type {string} */ other) => style.getPropertyValue(name).trim() || other;
  const theme = {
    background: read("--st-background-color", LIGHT.background),
    text: read("--st-text-color", LIGHT.text),
    accent: read("--st-primary-color", LIGHT.accent),
    font: read("--st-font", "sans-serif"),
  };
  const key = JSON.stringify(theme);
  const made = PALETTES.get(key) ?? makePalette(theme);
  PALETTES.set(key, made);
  return made;
}

/** @type {Map<string, Palette>} of the themes that the page had: it is asked with each new data, and whenever a player is made */
const PALETTES = new Map();

/** What a printed page takes. */
const LIGHT = { background: "#ffffff", text: "#1c2530", accent: "#0a6e8a" };

/** The light colours whatever the theme, for pictures that leave the page. @param {Palette} palette @returns {Palette} */
export function lightPalette(palette) {
  return palette.dark ? makePalette({ ...LIGHT, font: palette.font }) : palette;
}

/** @param {{background: string, text: string, accent: string, font: string}} theme @returns {Palette} */
function makePalette(theme) {
  const background = parseColour(theme.background);
  const text = parseColour(theme.text);
  const dark = luminance(background) < 0.25;
  const sequential = (/** @type {string[]} */ stops) => ramp(dark ? [...stops].reverse() : stops);
  const palette = {
    dark,
    font: theme.font,
    background: mix(background, background, 0),
    text: mix(text, text, 0),
    muted: mix(background, text, 0.66),
    faint: mix(background, text, 0.3),
    line: mix(background, text, dark ? 0.2 : 0.14),
    accent: theme.accent,
    pruned: dark ? "#ffa04d" : "#ad4700",
    extended: dark ? "#6fb6ff" : "#0b58a8",
    task: dark ? "#e4e7ea" : "#28313c",
    regularizer: dark ? "#b9a3e3" : "#6f47a6",
    evaluation: dark ? "#e58fbd" : "#9a2f6b",
    kinds: dark ? KINDS_DARK : KINDS,
    depths: sequential(DEPTHS),
    tables: {
      rank: sequential(BLUES),
      change: ramp(dark ? ORANGE_BLUE_DARK : ORANGE_BLUE),
      entropy: ramp(CIVIDIS),
      energy: sequential(VIOLETS),
      parameters: sequential(TEALS),
      gap: sequential(ROSES),
      true_entropy: ramp(CIVIDIS),
    },
  };
  return { ...palette, key: [palette.background, palette.text, palette.accent, palette.font].join(";") };
}
