/** Ranks of two runs side by side, each as a map: rows are layers, columns the kinds of matrices in a layer. */

import { svg } from "./svg.js";

/** @typedef {{label: string, ranks: number[][]}} RankMap */

const [HEAD, FOOT, GAP] = [34, 44, 20];
const LETTER_PX = 6.4;

/** @param {{title: string, maps: RankMap[], columns: string[]}} figure @param {number} width @param {number} height @returns {SVGElement} */
export function drawMaps({ title, maps, columns }, width, height) {
  const said = maps.map(({ label, ranks }) => `${label} from ${Math.min(...ranks.flat())} to ${Math.max(...ranks.flat())}`).join("; ");
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}: ranks of ${said}` });
  const most = Math.max(...maps.flatMap(({ ranks }) => ranks.flat()));
  const below = width < 520;
  const own = below ? [width - 8, (height - GAP) / maps.length] : [(width - GAP * (maps.length - 1)) / maps.length, Math.min(height, 420)];
  maps.forEach((map, i) => drawMap(root, map, columns, most, { x: below ? 4 : i * (own[0] + GAP), y: below ? i * (own[1] + GAP) : 0, width: own[0], height: own[1] }));
  return root;
}

/** @param {SVGElement} root @param {RankMap} map @param {string[]} columns @param {number} most @param {{x: number, y: number, width: number, height: number}} box */
function drawMap(root, { label, ranks }, columns, most, { x, y, width, height }) {
  const [wide, tall] = [width / columns.length, (height - HEAD - FOOT) / ranks.length];
  root.append(svg("text", { class: "ln-name", x, y: y + 20, text: label }));
  ranks.forEach((row, r) =>
    row.forEach((rank, c) => {
      const cell = { x: x + c * wide + 1, y: y + HEAD + r * tall + 1 };
      root.append(
        svg("rect", { class: "ln-frame", ...cell, width: wide - 2, height: tall - 2, rx: 3 }),
        svg("rect", { class: "ln-direction", ...cell, width: wide - 2, height: tall - 2, rx: 3, opacity: (0.5 * rank) / most }),
        svg("text", { class: "ln-value", x: cell.x + wide / 2 - 1, y: cell.y + tall / 2 + 4, "text-anchor": "middle", text: String(rank) }),
      );
    }),
  );
  columns.forEach((name, c) => {
    for (const [line, text] of linesOf(name, wide).entries()) root.append(svg("text", { class: "ln-tick", x: x + (c + 0.5) * wide, y: y + height - FOOT + 16 + 14 * line, "text-anchor": "middle", text }));
  });
}

/** @param {string} name @param {number} wide pixels @returns {string[]} broken after an underscore where it has no room */
function linesOf(name, wide) {
  const most = Math.floor(wide / LETTER_PX);
  const lines = name.length > most ? name.split(/(?<=_)/) : [name];
  return lines.map((text) => (text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text));
}
