/** Long curves, thinned to what a screen can show: the extremes of each pixel column, so that no spike is lost. */

const FULL = 4; // points that stay of a column: the first, the least, the largest, the last

/**
 * @param {ArrayLike<number>} xs ascending, in pixels
 * @param {ArrayLike<number>} ys NaN = a gap
 * @returns {[ArrayLike<number>, ArrayLike<number>]} the same where there are few
 */
export function perColumn(xs, ys) {
  const count = xs.length;
  if (!count || count <= FULL * (xs[count - 1] - xs[0] + 1)) return [xs, ys];
  const keptX = [];
  const keptY = [];
  let start = 0;
  while (start < count) {
    const column = Math.floor(xs[start]);
    let end = start + 1;
    while (end < count && Math.floor(xs[end]) === column) end += 1;
    for (const i of extremes(ys, start, end)) {
      keptX.push(xs[i]);
      keptY.push(ys[i]);
    }
    start = end;
  }
  return [keptX, keptY];
}

/** @param {ArrayLike<number>} ys @param {number} start @param {number} end @returns {number[]} ascending places */
function extremes(ys, start, end) {
  let low = -1;
  let high = -1;
  let gap = -1;
  for (let i = start; i < end; i += 1) {
    if (Number.isNaN(ys[i])) gap = i;
    else {
      if (low < 0 || ys[i] < ys[low]) low = i;
      if (high < 0 || ys[i] > ys[high]) high = i;
    }
  }
  const kept = new Set([start, low, high, gap, end - 1].filter((i) => i >= 0));
  return [...kept].sort((a, b) => a - b);
}
