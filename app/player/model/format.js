/** How numbers and matrices are written, the same in every view. */

/**
 * A short number with three significant digits; tiny and huge ones in powers of ten.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function formatNumber(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace("e+", "e").replace("-", "−").replace("e-", "e−");
  if (size >= 100) return value.toFixed(0).replace("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/**
 * A count that needs no more than three digits to be told from others.
 * @param {number} value
 * @returns {string} 950, 12.3k, 4.56M
 */
export function formatCount(value) {
  const size = Math.abs(value);
  const [unit, sign] = size >= 1e6 ? [1e6, "M"] : size >= 1e3 ? [1e3, "k"] : [1, ""];
  return Number.isFinite(value) ? `${Number((value / unit).toPrecision(3))}${sign}` : "–";
}

/**
 * @param {number} value entropy in [0, 1], NaN where undefined
 * @returns {string}
 */
export function formatEntropy(value) {
  return Number.isFinite(value) ? value.toFixed(3) : "undefined";
}

/**
 * @param {number} mean number of directions used
 * @returns {string}
 */
export function formatMean(mean) {
  return mean.toFixed(mean < 99.95 ? 1 : 0);
}

/**
 * @param {number} change
 * @returns {string} a signed whole number; no change is ±0
 */
export function formatChange(change) {
  if (change === 0) return "±0";
  return change > 0 ? `+${change}` : `−${-change}`;
}

/**
 * @param {number | string | null | undefined} layer
 * @returns {string}
 */
export function layerLabel(layer) {
  return layer === null || layer === undefined ? "–" : `L${layer}`;
}

/**
 * @param {{layer: number | null, type: string, name: string}} matrix
 * @returns {string} what the eye needs: "L3 query"
 */
export function matrixLabel(matrix) {
  return matrix.layer === null || matrix.layer === undefined ? matrix.type : `L${matrix.layer} ${matrix.type}`;
}

/**
 * Round numbers between two ends, for an axis.
 * @param {number} low
 * @param {number} high
 * @param {number} count about how many are wanted
 * @returns {number[]}
 */
export function niceTicks(low, high, count) {
  const span = high - low;
  if (!(span > 0) || count < 1) return [low];
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? 10 * power;
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push(tick);
  return ticks;
}

/**
 * The next round number at or above a positive value, so that a growing run changes its scale seldom.
 * @param {number} value
 * @returns {number}
 */
export function niceCeiling(value) {
  if (!(value > 0) || !Number.isFinite(value)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((size) => size * power >= value * 0.999999) ?? 10;
  return factor * power;
}
