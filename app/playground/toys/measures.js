/** What the toys say of a spectrum beside the engine's importance measures. */

import { SCORES, sharesOf } from "../engine/importance.js";

/** exp(H) of the shares of the energy, in [1, r]; null without energy. @param {ArrayLike<number>} values @returns {number | null} */
export const effectiveRank = (values) => SCORES.effective_rank(values, 0);

/** As `analysis.adapters.energy_kept`. @param {ArrayLike<number>} values @returns {number[]} share of the energy in the k largest, k = 0 … r; all 1 without energy */
export function energyKept(values) {
  const shares = sharesOf(values);
  if (!shares) return Array.from({ length: values.length + 1 }, () => 1);
  const kept = [0];
  for (const share of shares.sort((a, b) => b - a)) kept.push(kept[kept.length - 1] + share);
  return kept;
}

/** By what the entropy falls when a direction at λ = 0 joins r others: log r / log(r + 1); 0 for r = 1, where I was 1 by definition. @param {number} rank @returns {number} */
export function zeroFactor(rank) {
  return Math.log(rank) / Math.log(rank + 1);
}
