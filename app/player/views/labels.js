/** Labels beside what they name: moved apart until none covers another, with a line to where they belong. */

/** @import { CanvasPen, Box } from "../pen/draw.js" */

export const LABEL_HEIGHT = 12;
const LEADER = 10; // pixels that a leader line takes

/**
 * @template {{y: number}} Label
 * @param {Label[]} labels y: where they belong
 * @param {Box} box y and height that they keep to
 * @returns {Array<Label & {at: number}>} from top to bottom; at: the middle of the label
 */
export function spread(labels, box) {
  const placed = labels.map((label) => ({ ...label, at: label.y })).sort((a, b) => a.y - b.y);
  let floor = box.y + LABEL_HEIGHT / 2;
  for (const label of placed) {
    label.at = Math.max(label.at, floor);
    floor = label.at + LABEL_HEIGHT;
  }
  let ceiling = box.y + box.h - LABEL_HEIGHT / 2;
  for (const label of [...placed].reverse()) {
    label.at = Math.min(label.at, ceiling);
    ceiling = label.at - LABEL_HEIGHT;
  }
  return placed;
}

/** @param {Box} box @returns {number} labels that fit, at least 1 */
export function labelsIn(box) {
  return Math.max(1, Math.floor(box.h / LABEL_HEIGHT));
}

/**
 * A label right of a picture, and its leader.
 * @param {CanvasPen} pen @param {number} right edge of the picture @param {{y: number, at: number}} label @param {string} text
 * @param {{fill: string, weight?: number, room: number}} style room: pixels right of the edge
 */
export function drawLabel(pen, right, { y, at }, text, { fill, weight, room }) {
  const x = right + 3;
  pen.path([x, x + 2, x + LEADER - 2, x + LEADER], [y, y, at, at], { stroke: fill, width: 1, alpha: 0.75 });
  pen.text(x + LEADER + 2, at, text, { fill, size: 11, weight, maxWidth: room - LEADER - 5 });
}
