/** Bars of a lesson: side by side, or one below the other where their names need the width. */

import { drawLevels, level, percent, plot, svg } from "./svg.js";

/**
 * @typedef {object} BarFigure
 * @property {string} title
 * @property {number[]} values
 * @property {string[]} [labels]
 * @property {number} top of the axis
 * @property {boolean} [percent] the values are shares
 * @property {[string, number][]} [groups] name of each group of bars that stand together, and how many they are
 * @property {boolean | number[]} [hidden] places of the bars that are shown only once the reader has answered; true = all
 */

const NARROW_PX = 460;
const [LETTER_PX, NUMBERED] = [7.2, 10];
const [ROW_PX, ROW_GAP] = [44, 10];
/** Between two groups, in widths of a bar's place. */
const GROUP_GAP = 0.8;

/** @param {BarFigure} figure @returns {string[]} the group of each bar, "" where there are none */
function groupOf({ values, groups = [] }) {
  const names = groups.flatMap(([name, count]) => Array.from({ length: count }, () => name));
  return values.map((_, i) => names[i] ?? "");
}

/** @param {BarFigure} figure @param {number} i @param {boolean} hidden @returns {boolean} */
function isHidden(figure, i, hidden) {
  return hidden && (!Array.isArray(figure.hidden) || figure.hidden.includes(i));
}

/** @param {BarFigure} figure @param {number} width @param {number} height @param {boolean} hidden @returns {SVGElement} */
export function drawBars(figure, width, height, hidden) {
  const { title, values, labels = [], percent: shares = false } = figure;
  const say = shares ? percent : level;
  const spoken = groupOf(figure).map((group, i) => `${group} ${labels[i] ?? i + 1}`.trim());
  const said = `${title}: ${values.map((value, i) => `${spoken[i]} ${isHidden(figure, i, hidden) ? "not shown yet" : say(value)}`).join(", ")}`;
  const names = labels.map((text) => linesOf(text, (width - 80) / values.length / LETTER_PX));
  const turned = names.some((lines) => lines === null);
  return turned && width < NARROW_PX ? drawRows(figure, width, height, hidden, said) : drawColumns(figure, width, height, hidden, said, turned ? null : /** @type {string[][]} */ (names));
}

/** @param {string} text @param {number} most letters in a line @returns {string[] | null} it in one line or two, null where it has no room; a number stays with its word: "layer 0" */
function linesOf(text, most) {
  if (text.length <= most) return [text];
  const words = text.split(/ (?!\d)/);
  const halves = words.slice(1).map((_, i) => [words.slice(0, i + 1).join(" "), words.slice(i + 1).join(" ")]);
  const longer = (/** @type {string[]} */ [upper, lower]) => Math.max(upper.length, lower.length);
  const best = halves.reduce((even, lines) => (longer(lines) <= longer(even) ? lines : even), [text, ""]);
  return longer(best) <= most ? best : null;
}

/** @param {BarFigure} figure @param {number} value @returns {string} */
function numberOf({ percent: shares }, value) {
  return shares ? percent(Number(value.toPrecision(2))) : level(value);
}

/** @param {BarFigure} figure @param {number} width @param {number} height @param {boolean} hidden @param {string} said @param {string[][] | null} names in lines, null = turned @returns {SVGElement} */
function drawColumns(figure, width, height, hidden, said, names) {
  const { values, labels = [], groups = [], top, percent: shares = false } = figure;
  const longest = Math.max(0, ...labels.map((text) => text.length));
  const lines = names ? Math.max(1, ...names.map((own) => own.length)) + (groups.length ? 1.3 : 0) : 0;
  const own = plot(width, height, said, 0, top, { bottom: names ? 27 + 15 * lines : Math.min(130, 28 + longest * 5.4), left: 68 });
  drawLevels(own, 0, top, shares ? percent : level);
  const all = groupOf(figure);
  const step = 1 / (values.length + GROUP_GAP * Math.max(0, groups.length - 1));
  const across = (/** @type {number} */ i) => own.x((i + 0.5 + GROUP_GAP * new Set(all.slice(0, i + 1)).size - GROUP_GAP) * step);
  const thick = Math.min(64, (own.x(step) - own.x(0)) * 0.66);
  const under = own.y(0) + 18;
  const roomy = values.length <= NUMBERED || Math.max(...values.map((value) => numberOf(figure, value).length)) * LETTER_PX < own.x(step) - own.x(0);
  const largest = values.indexOf(Math.max(...values));
  values.forEach((value, i) => {
    const x = across(i);
    if (isHidden(figure, i, hidden)) own.root.append(svg("text", { class: "ln-big ln-muted", x, y: own.y(0) - 12, "text-anchor": "middle", text: "?" }));
    else {
      const high = Math.max(1.5, own.y(0) - own.y(value));
      own.root.append(svg("rect", { class: "ln-bar", x: x - thick / 2, y: own.y(0) - high, width: thick, height: high, rx: 2 }));
      if (roomy || i === largest) own.root.append(svg("text", { class: "ln-value ln-over", x, y: own.y(0) - high - 6, "text-anchor": "middle", text: numberOf(figure, value) }));
    }
    if (names) (names[i] ?? []).forEach((text, line) => own.root.append(svg("text", { class: "ln-tick", x, y: under + 15 * line, "text-anchor": "middle", text })));
    else own.root.append(svg("text", { class: "ln-tick", x, y: under, "text-anchor": "end", transform: `rotate(-38 ${x} ${under})`, text: labels[i] }));
  });
  let first = 0;
  for (const [text, count] of groups) {
    own.root.append(svg("text", { class: "ln-label", x: (across(first) + across(first + count - 1)) / 2, y: under + 15 * lines - 13, "text-anchor": "middle", text }));
    first += count;
  }
  return own.root;
}

/** @param {BarFigure} figure @param {number} width @param {number} height @param {boolean} hidden @param {string} said @returns {SVGElement} */
function drawRows(figure, width, height, hidden, said) {
  const { values, labels = [], top } = figure;
  const left = Math.min(width * 0.45, 14 + Math.max(...labels.map((text) => text.length)) * (LETTER_PX - 0.6));
  const right = hidden && !Array.isArray(figure.hidden) ? 20 : 12 + Math.max(...values.map((value) => numberOf(figure, value).length)) * LETTER_PX;
  const own = plot(width, height, said, 0, 1, { left, right });
  const tall = Math.min(ROW_PX, height / values.length);
  own.root.append(svg("line", { class: "ln-zero", x1: left, x2: left, y1: 0, y2: tall * values.length }));
  values.forEach((value, i) => {
    const middle = (i + 0.5) * tall;
    const long = Math.max(1.5, (own.x(1) - left) * (value / top));
    own.root.append(svg("text", { class: "ln-tick", x: left - 8, y: middle + 4, "text-anchor": "end", text: labels[i] }));
    if (isHidden(figure, i, hidden)) return own.root.append(svg("text", { class: "ln-big ln-muted", x: left + 12, y: middle + 7, text: "?" }));
    return own.root.append(
      svg("rect", { class: "ln-bar", x: left, y: middle - (tall - ROW_GAP) / 2, width: long, height: tall - ROW_GAP, rx: 2 }),
      svg("text", { class: "ln-value", x: left + long + 6, y: middle + 4, text: numberOf(figure, value) }),
    );
  });
  return own.root;
}
