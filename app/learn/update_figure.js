/** What an update is made of: ΔW = s · P diag(λ) Q as blocks, and below it the same as a sum of one matrix a direction. */

import { svg } from "./svg.js";

/** @typedef {{rank: number, rows: number, columns: number, weights: number[]}} Update weights: share of the energy, one a direction */

const SIGNS = ["= s ·", "·", "·"];

/** Sizes of matrices are to no scale; λ is as large as the root of its share. @param {Update} update @param {number} width @param {number} height @returns {SVGElement} */
export function drawUpdate(update, width, height) {
  const { rank, rows, columns } = update;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `ΔW of ${rows} × ${columns} is the product of P with ${rank} columns, ${rank} numbers λ and Q with ${rank} rows; or the sum of ${rank} matrices, each a column times a row` });
  const side = Math.min(200, width * 0.2, height * 0.34);
  drawProduct(root, update, side, width, height * 0.3);
  drawSum(root, update, side * 0.62, width, height * 0.78);
  return root;
}

/** @param {SVGElement} root @param {Update} update @param {number} side of a square matrix @param {number} width @param {number} middle */
function drawProduct(root, { rank, rows, columns, weights }, side, width, middle) {
  const thin = Math.max(8, Math.min(19, side / 9));
  const strip = rank * thin;
  const room = Math.max(22, Math.min(84, (width - 2 * side - 2 * strip - 24) / SIGNS.length));
  const [top, below] = [middle - side / 2, middle + side / 2];
  let x = (width - 2 * side - 2 * strip - room * SIGNS.length) / 2;
  const name = (/** @type {number} */ at, /** @type {string} */ text, /** @type {string} */ note) =>
    root.append(svg("text", { class: "ln-name", x: at, y: below + 22, "text-anchor": "middle", text }), svg("text", { class: "ln-tick", x: at, y: below + 40, "text-anchor": "middle", text: note }));
  const pass = (/** @type {number} */ wide, /** @type {string | undefined} */ sign) => {
    x += wide;
    if (sign) root.append(svg("text", { class: room < 56 ? "ln-name" : "ln-big", x: x + room / 2, y: middle + 7, "text-anchor": "middle", text: room < 56 ? sign.replaceAll(" ", "") : sign }));
    x += room;
  };
  root.append(svg("rect", { class: "ln-block", x, y: top, width: side, height: side, rx: 4 }));
  name(x + side / 2, "ΔW", `${rows} × ${columns}`);
  pass(side, SIGNS[0]);
  for (let i = 0; i < rank; i += 1) root.append(bar(i, x + i * thin, top, thin - 2, side));
  name(x + strip / 2, "P", "columns p");
  pass(strip, SIGNS[1]);
  root.append(svg("rect", { class: "ln-frame", x: x - 4, y: middle - strip / 2 - 4, width: strip + 8, height: strip + 8, rx: 3 }));
  for (let i = 0; i < rank; i += 1) {
    const size = sized(weights, i) * (thin - 2);
    root.append(bar(i, x + (i + 0.5) * thin - size / 2, middle - strip / 2 + (i + 0.5) * thin - size / 2, size, size));
  }
  name(x + strip / 2, "diag(λ)", `${rank} numbers`);
  pass(strip, SIGNS[2]);
  for (let i = 0; i < rank; i += 1) root.append(bar(i, x, middle - strip / 2 + i * thin, side, thin - 2));
  name(x + side / 2, "Q", "rows q");
}

/** @param {SVGElement} root @param {Update} update @param {number} side @param {number} width @param {number} middle */
function drawSum(root, { rank, weights }, side, width, middle) {
  const gap = Math.min(64, (width - rank * side - 60) / rank);
  let x = (width - rank * side - (rank - 1) * gap - 50) / 2 + 50;
  root.append(svg("text", { class: "ln-big", x: x - 12, y: middle + 7, "text-anchor": "end", text: "= s · (" }));
  for (let i = 0; i < rank; i += 1) {
    // p down the left edge and q along the top, in their colours; inside, their product as strong as λ.
    const [top, edge] = [middle - side / 2, Math.max(4, side * 0.07)];
    const block = bar(i, x + edge + 1, top + edge + 1, side - edge - 1, side - edge - 1);
    block.setAttribute("opacity", String(0.12 + 0.88 * sized(weights, i)));
    root.append(bar(i, x, top + edge + 1, edge, side - edge - 1), bar(i, x + edge + 1, top, side - edge - 1, edge), block, svg("text", { class: "ln-tick", x: x + side / 2, y: middle + side / 2 + 20, "text-anchor": "middle", text: `λ${sub(i)}·p${sub(i)}·q${sub(i)}ᵀ` }));
    x += side;
    root.append(svg("text", { class: "ln-big", x: x + (i < rank - 1 ? gap / 2 : 12), y: middle + 7, "text-anchor": "middle", text: i < rank - 1 ? "+" : ")" }));
    x += gap;
  }
}

const SUBSCRIPTS = ["₁", "₂", "₃", "₄", "₅", "₆", "₇", "₈"];

/** @param {number} i @returns {string} */
function sub(i) {
  return SUBSCRIPTS[i] ?? "";
}

/** @param {number[]} weights @param {number} i @returns {number} |λ| as a share of the largest */
function sized(weights, i) {
  return Math.max(0.16, Math.sqrt(weights[i] / Math.max(...weights)));
}

/** @param {number} i which direction @param {number} x @param {number} y @param {number} width @param {number} height @returns {SVGElement} */
function bar(i, x, y, width, height) {
  return svg("rect", { class: `ln-direction ln-direction${i % 4}`, x, y, width, height, rx: 2 });
}
