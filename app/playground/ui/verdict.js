/** How a race ended, in words that come from its numbers. */

import { formatNumber } from "../../player/model/format.js";
import { evenly, wrongWords } from "./words.js";

/** @import { Ledger } from "./ledger.js" */

/** Share of the larger loss below which two are as good as equal. */
const ALIKE = 0.03;

/** @param {Ledger[]} ledgers of A, B and of who had the true ranks from the start @param {string[]} names of the rules @returns {string} */
export function verdictWords(ledgers, names) {
  const [a, b, knowing] = ledgers;
  const of = (/** @type {Ledger} */ { way, last }, /** @type {number} */ i) => {
    const [first, now] = [way.misplaced[0], way.misplaced[way.misplaced.length - 1]];
    const even = !last || evenly(last.ranks, last.trueRanks);
    return `${"AB"[i]} (${names[i]}) ended with ${wrongWords(now, even)}, from ${formatNumber(even ? first : 2 * first)}, and a loss of ${formatNumber(last?.testLoss)}`;
  };
  const [lossA, lossB, best] = [a, b, knowing].map(({ last }) => last?.testLoss ?? NaN);
  const moved = Math.max(...[a, b].map(({ lastMove }) => lastMove ?? -1));
  const ended = moved < 0 ? "Nothing moved" : `Moves ended at step ${moved}`;
  return `${ended}. ${of(a, 0)}. ${of(b, 1)}. ${difference(lossA, lossB)}${apart(a, b)}; with the true ranks from the start it would be ${formatNumber(best)}. One seed is one seed: change it under All settings.`;
}

/** Nearer to the true ranks, but no lower loss: said, for it is what most expect. @param {Ledger} a @param {Ledger} b @returns {string} */
function apart(a, b) {
  const [offA, offB] = [a, b].map(({ way }) => way.misplaced[way.misplaced.length - 1]);
  const [nearer, other] = offA < offB ? [a, b] : [b, a];
  const [loss, against] = [nearer, other].map(({ last }) => last?.testLoss ?? NaN);
  if (offA === offB || !(loss >= (1 - ALIKE) * against)) return "";
  return `. The ranks of ${nearer === a ? "A" : "B"} are nearer to the true ones, its loss is not ${loss > against ? "lower" : "clearly lower"}`;
}

/** @param {number} lossA @param {number} lossB @returns {string} */
function difference(lossA, lossB) {
  const share = 1 - Math.min(lossA, lossB) / Math.max(lossA, lossB);
  if (share === 0) return "Both have the same loss";
  if (!(share >= ALIKE)) return `Their losses are within ${100 * ALIKE} % of each other: what moved hardly mattered for the loss`;
  return `The loss of ${lossA < lossB ? "A is lower than B's" : "B is lower than A's"} by ${Math.round(100 * share)} %`;
}
