/** How a race ended, in words that come from its numbers. */

import { formatNumber } from "../../player/model/format.js";

/** @import { Ledger } from "./ledger.js" */

/** @param {Ledger[]} ledgers of A, B and of who had the true ranks from the start @param {string[]} names of the rules @returns {string} */
export function verdictWords(ledgers, names) {
  const [a, b, knowing] = ledgers;
  const of = (/** @type {Ledger} */ { way, last }, /** @type {number} */ i) => {
    const [first, now] = [way.misplaced[0], way.misplaced[way.misplaced.length - 1]];
    return `${"AB"[i]} (${names[i]}) ended with ${formatNumber(now)} directions misplaced, from ${formatNumber(first)}, and a loss of ${formatNumber(last?.testLoss)}`;
  };
  const [lossA, lossB, best] = [a, b, knowing].map(({ last }) => last?.testLoss ?? NaN);
  const lower = lossA === lossB ? "Both have the same loss" : `${lossA < lossB ? "A" : "B"} has the lower loss`;
  return `${of(a, 0)}. ${of(b, 1)}. ${lower}; with the true ranks from the start it would be ${formatNumber(best)}. One seed is one seed: change it under All settings.`;
}
