/** Importance measures: how much a matrix deserves its rank, as `flexlora.importance` scores it; null = undefined. */

/** @typedef {ArrayLike<number>} Values */

/** |values| over the largest, and that one. @param {Values} values @returns {{scaled: number[], peak: number} | null} null = empty or not finite */
function scaledOf(values) {
  const sizes = Array.from(values, Math.abs);
  if (!sizes.length || !sizes.every(Number.isFinite)) return null;
  const peak = Math.max(...sizes);
  return { scaled: peak ? sizes.map((size) => size / peak) : sizes, peak };
}

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Shares of the energy; null where there is none. @param {Values} values */
export function sharesOf(values) {
  const found = scaledOf(values);
  if (!found?.peak) return null;
  const squares = found.scaled.map((value) => value * value);
  const total = sum(squares);
  return squares.map((square) => square / total);
}

/** Entropy of shares in nats. @param {number[]} shares */
const entropyOf = (shares) => -sum(shares.map((share) => (share > 0 ? share * Math.log(share) : 0)));

/** The normalised spectral entropy of λ²: 0 = all energy in one direction, 1 = spread evenly. @param {Values} values @param {number} [epsilon] inside the logarithm */
export function spectralEntropy(values, epsilon = 0) {
  const shares = sharesOf(values);
  if (!shares) return null;
  if (shares.length === 1) return 1;
  if (epsilon) return -sum(shares.map((share) => share * Math.log(share + epsilon))) / Math.log(shares.length);
  return Math.min(1, Math.max(0, entropyOf(shares) / Math.log(shares.length)));
}

/** Σλ². @param {Values} values */
export const energyOf = (values) => Array.from(values).reduce((total, value) => total + value * value, 0);

/** @param {Values} values */
function frobeniusNorm(values) {
  const found = scaledOf(values);
  return found && found.peak * Math.sqrt(energyOf(found.scaled));
}

/** @param {Values} values */
function nuclearNorm(values) {
  const found = scaledOf(values);
  return found && found.peak * sum(found.scaled);
}

/** @param {Values} values */
function effectiveRank(values) {
  const shares = sharesOf(values);
  return shares && Math.min(shares.length, Math.max(1, Math.exp(entropyOf(shares))));
}

/** @param {Values} values */
function energyGatedEntropy(values) {
  const [entropy, norm] = [spectralEntropy(values), frobeniusNorm(values)];
  return entropy === null || norm === null ? null : entropy * norm;
}

/** @param {Values} values λ · ∂L/∂λ */
function sensitivity(values) {
  const found = scaledOf(values);
  return found && (found.peak * sum(found.scaled)) / values.length;
}

/** Measure → f(values of one matrix, ε) → score. @type {Record<string, (values: Values, epsilon: number) => number | null>} */
export const SCORES = {
  spectral_entropy: spectralEntropy,
  nuclear_norm: nuclearNorm,
  frobenius_norm: frobeniusNorm,
  sensitivity,
  energy_gated_entropy: energyGatedEntropy,
  effective_rank: effectiveRank,
  true_spectral_entropy: (values) => spectralEntropy(values),
};

/** Names of the measures. */
export const MEASURES = Object.keys(SCORES);

/** Whether a measure says nothing about a matrix of rank 1. @param {string} measure */
export const silentAtRankOne = (measure) => measure === "spectral_entropy" || measure === "true_spectral_entropy";
