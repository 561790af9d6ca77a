/** Gaussian numbers for the toys, the same at each visit: the generator of docs/planted.md. */

/** @param {number} word @returns {number} */
function mix(word) {
  let x = word >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}
/** @param {number} seed @param {number} count @returns {number[]} */
export function normals(seed, count) {
  let key = 0;
  for (const word of [seed, 7, 0, 0]) key = mix(((key ^ word) >>> 0) + 0x9e3779b9);
  const own = mix(key + 0x9e3779b9);
  const uniform = (/** @type {number} */ i) => (mix(mix(i + key) ^ own) + 0.5) / 2 ** 32;
  return Array.from({ length: count }, (_, i) => {
    const pair = i - (i % 2);
    const angle = 2 * Math.PI * uniform(pair + 1);
    return Math.sqrt(-2 * Math.log(uniform(pair))) * (i % 2 ? Math.sin(angle) : Math.cos(angle));
  });
}

/** @param {number} seed @param {number} rows @param {number} columns @returns {number[][]} rows with a norm of about 1 */
export function gaussianRows(seed, rows, columns) {
  const all = normals(seed, rows * columns);
  return Array.from({ length: rows }, (_, i) => all.slice(i * columns, (i + 1) * columns).map((value) => value / Math.sqrt(columns)));
}
