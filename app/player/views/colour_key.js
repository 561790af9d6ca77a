/** What the colours of a picture mean, in one line: the name of the quantity, the scale in force, numbers at its ends. */

import { colourName, colourTable, decisionIndex, ENTROPY_SCALES, entropyEnds, entropyShare, isDecided, isEntropy, legendMarks, shownColour } from "../pen/colour.js";
import { decidedAt, farthest } from "../model/thresholds.js";
import { tableColour } from "../pen/palette.js";
import { isWhole, shortNumber } from "../model/value_text.js";
import { drawScale } from "./tiles.js";

/** @import { Model } from "../model/model.js" */
/** @import { Palette, Colour } from "../pen/palette.js" */
/** @import { CanvasPen, Box } from "../pen/draw.js" */
/** @typedef {{w: number, draw: (x: number) => void, spare?: number}} Part spare: where the room is short, the largest go first */
/** @typedef {{pen: CanvasPen, palette: Palette, model: Model, shown: Colour, y: number}} Place */

const SIZE = 11;
const APART = 6;
const RAMP = 84;

/** @param {CanvasPen} pen @param {{model: Model, palette: Palette, step: number}} scene @param {Colour} colour as chosen @param {Box} box @param {string} [title] instead of the quantity's name */
export function drawColourKey(pen, { model, palette, step }, colour, box, title = colourName(model, colour)) {
  const shown = shownColour(model, colour);
  if (!isEntropy(shown)) {
    const range = shown === "change" ? ` (${model.run.state === "running" ? "allowed" : "over the run"}: ±${model.maxChange})` : "";
    drawScale(pen, palette, palette.tables[shown], legendMarks(model, shown), box, `${title}${range}`, isWhole(shown));
    return;
  }
  const place = { pen, palette, model, shown, y: box.y + box.h / 2 };
  let parts = isDecided(model, shown) ? decisionParts(place, step, title) : rangeParts(place, title);
  const width = () => parts.reduce((sum, part) => sum + part.w + APART, -APART);
  while (width() > box.w && parts.some(({ spare }) => spare)) {
    const most = Math.max(...parts.map(({ spare = 0 }) => spare));
    parts = parts.filter(({ spare = 0 }) => spare !== most);
  }
  let x = box.x;
  for (const part of parts) {
    part.draw(x);
    x += part.w + APART;
  }
}

/** @param {Place} place @param {string} words @param {number} [spare] @returns {Part} */
function textPart({ pen, palette, y }, words, spare) {
  const style = { fill: palette.muted, size: SIZE };
  return { w: pen.measure(words, style), draw: (x) => pen.text(x, y, words, style), spare };
}

/** @param {Place} place @param {number} w @param {(share: number) => number} indexAt place in the table of colours @returns {Part} */
function rampPart({ pen, palette, model, shown, y }, w, indexAt) {
  const table = colourTable(model, palette, shown);
  const draw = (/** @type {number} */ x) => {
    for (let i = 0; i < w; i += 1) pen.rect(x + i, y - 5, Math.min(1.5, w - i), 10, { fill: tableColour(table, indexAt(w > 1 ? i / (w - 1) : 0)) });
  };
  return { w, draw };
}

/** @param {Place} place @returns {Part[]} what is hatched */
function undefinedParts(place) {
  const { pen, palette, y } = place;
  const swatch = { w: 14, draw: (/** @type {number} */ x) => pen.hatch({ x, y: y - 5, w: 14, h: 10 }, palette.faint), spare: 2 };
  return [swatch, textPart(place, "undefined, as at rank 1", 2)];
}

/** @param {Place} place @param {string} title @returns {Part[]} */
function rangeParts(place, title) {
  const { model, shown } = place;
  const absolute = model.entropyScale === "absolute";
  const [low, high] = entropyEnds(model, shown);
  const scale = absolute ? ENTROPY_SCALES.absolute : ENTROPY_SCALES.range;
  return [
    textPart(place, `${title}, ${scale.label}:`),
    textPart(place, `${low > 0 ? "≤ " : ""}${shortNumber(low)}`),
    rampPart(place, RAMP, (share) => Math.round(255 * (absolute ? entropyShare(share) : share))),
    textPart(place, `${high < 1 ? "≥ " : ""}${shortNumber(high)}`),
    ...undefinedParts(place),
  ];
}

/** @param {Place} place @param {number} step @param {string} title @returns {Part[]} */
function decisionParts(place, step, title) {
  const { model, palette } = place;
  const decided = decidedAt(model, step);
  if (!decided) return [textPart(place, title)];
  const { low, high } = decided;
  const lowest = Math.max(0, low - farthest(model));
  const highest = Math.min(1, high + farthest(model));
  const half = (/** @type {number} */ from, /** @type {number} */ to) => rampPart(place, RAMP / 2, (share) => decisionIndex(model, decided, from + (to - from) * share));
  const pruned = Number.isFinite(low) ? [textPart(place, model.words.pruned), textPart(place, shortNumber(lowest), 1), half(lowest, low), textPart(place, shortNumber(low))] : [];
  const extended = Number.isFinite(high) ? [textPart(place, shortNumber(high)), half(high, highest), textPart(place, shortNumber(highest), 1), textPart(place, model.words.extended)] : [];
  const neither = { w: 14, draw: (/** @type {number} */ x) => place.pen.rect(x, place.y - 5, 14, 10, { fill: tableColour(palette.tables.change, 128), stroke: palette.line }) };
  return [textPart(place, `${title}, by step ${decided.step}:`), ...pruned, neither, textPart(place, "neither", 3), ...extended, ...undefinedParts(place)];
}
