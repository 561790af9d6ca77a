/** What a spectrum says, as `flexlora.importance` and `analysis.adapters.spectra` compute it: a test holds both against each other. */

/** @param {ArrayLike<number>} values λ, signed or not @returns {number[] | null} shares of the energy, ascending; null where there is none */
export function energyShares(values) {
  const sizes = Array.from(values, Math.abs).sort((a, b) => a - b);
  const largest = sizes[sizes.length - 1];
  if (!sizes.length || !Number.isFinite(largest) || largest === 0) return null;
  // Scaled first: squares of tiny or huge values would vanish or overflow.
  const squares = sizes.map((size) => (size / largest) ** 2);
  const sum = squares.reduce((all, square) => all + square, 0);
  return squares.map((square) => square / sum);
}

/** @param {number[]} shares @returns {number} in nats; 0 · log 0 = 0 */
function entropyOfShares(shares) {
  return -shares.reduce((sum, share) => (share > 0 ? sum + share * Math.log(share) : sum), 0);
}

/** @param {ArrayLike<number>} values @returns {number | null} I in [0, 1]; 1 for one value; null without energy */
export function spectralEntropy(values) {
  const shares = energyShares(values);
  if (!shares) return null;
  if (shares.length === 1) return 1;
  return Math.min(1, Math.max(0, entropyOfShares(shares) / Math.log(shares.length)));
}

/** @param {ArrayLike<number>} values @returns {number | null} exp(H) in [1, r]; null without energy */
export function effectiveRank(values) {
  const shares = energyShares(values);
  return shares && Math.min(shares.length, Math.max(1, Math.exp(entropyOfShares(shares))));
}

/** @param {ArrayLike<number>} values @returns {number[]} share of the energy in the k largest, k = 0 … r; all 1 without energy */
export function energyKept(values) {
  const shares = energyShares(values);
  if (!shares) return Array.from({ length: values.length + 1 }, () => 1);
  const kept = [0];
  for (const share of [...shares].reverse()) kept.push(kept[kept.length - 1] + share);
  return kept;
}

/** @param {ArrayLike<number>} values @returns {number} Σλ² */
export function energy(values) {
  return Array.from(values).reduce((sum, value) => sum + value * value, 0);
}

/** By what the entropy falls when a direction at λ = 0 joins r others: log r / log(r + 1); 0 for r = 1, where I was 1 by definition. @param {number} rank @returns {number} */
export function zeroFactor(rank) {
  return Math.log(rank) / Math.log(rank + 1);
}
