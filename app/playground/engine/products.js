/** Matrix products over Float64Array in blocks of registers. Rows lie one after another; nothing is allocated. */

/**
 * C = A Bᵀ: both are read along their rows.
 * @param {Float64Array} C (m, n)
 * @param {Float64Array} A (at least m rounded up to a multiple of 4, k)
 * @param {Float64Array} B (n, k)
 * @param {number} m rows of A
 * @param {number} n rows of B
 * @param {number} k
 */
export function rowsByRows(C, A, B, m, n, k) {
  // Rows of A beyond m are computed with the last four and never read; those of C must be there.
  for (let i = 0; i < m; i += 4) {
    const a0 = i * k;
    const a1 = a0 + k;
    const a2 = a1 + k;
    const a3 = a2 + k;
    const c0 = i * n;
    const c1 = c0 + n;
    const c2 = c1 + n;
    const c3 = c2 + n;
    let j = 0;
    for (; j + 1 < n; j += 2) {
      const b0 = j * k;
      const b1 = b0 + k;
      let s00 = 0;
      let s01 = 0;
      let s10 = 0;
      let s11 = 0;
      let s20 = 0;
      let s21 = 0;
      let s30 = 0;
      let s31 = 0;
      for (let p = 0; p < k; p += 1) {
        const y0 = B[b0 + p];
        const y1 = B[b1 + p];
        let x = A[a0 + p];
        s00 += x * y0;
        s01 += x * y1;
        x = A[a1 + p];
        s10 += x * y0;
        s11 += x * y1;
        x = A[a2 + p];
        s20 += x * y0;
        s21 += x * y1;
        x = A[a3 + p];
        s30 += x * y0;
        s31 += x * y1;
      }
      C[c0 + j] = s00;
      C[c0 + j + 1] = s01;
      C[c1 + j] = s10;
      C[c1 + j + 1] = s11;
      C[c2 + j] = s20;
      C[c2 + j + 1] = s21;
      C[c3 + j] = s30;
      C[c3 + j + 1] = s31;
    }
    if (j < n) {
      const b0 = j * k;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let p = 0; p < k; p += 1) {
        const y = B[b0 + p];
        s0 += A[a0 + p] * y;
        s1 += A[a1 + p] * y;
        s2 += A[a2 + p] * y;
        s3 += A[a3 + p] * y;
      }
      C[c0 + j] = s0;
      C[c1 + j] = s1;
      C[c2 + j] = s2;
      C[c3 + j] = s3;
    }
  }
}

/**
 * C = Aᵀ B: both are read down their rows.
 * @param {Float64Array} C (m, n)
 * @param {Float64Array} A (k, m)
 * @param {Float64Array} B (k, n)
 * @param {number} m columns of A
 * @param {number} n columns of B
 * @param {number} k
 */
export function columnsByColumns(C, A, B, m, n, k) {
  let i = 0;
  for (; i + 1 < m; i += 2) {
    const c0 = i * n;
    const c1 = c0 + n;
    let j = 0;
    for (; j + 3 < n; j += 4) {
      let s00 = 0;
      let s01 = 0;
      let s02 = 0;
      let s03 = 0;
      let s10 = 0;
      let s11 = 0;
      let s12 = 0;
      let s13 = 0;
      for (let p = 0, a = i, b = j; p < k; p += 1, a += m, b += n) {
        const x0 = A[a];
        const x1 = A[a + 1];
        let y = B[b];
        s00 += x0 * y;
        s10 += x1 * y;
        y = B[b + 1];
        s01 += x0 * y;
        s11 += x1 * y;
        y = B[b + 2];
        s02 += x0 * y;
        s12 += x1 * y;
        y = B[b + 3];
        s03 += x0 * y;
        s13 += x1 * y;
      }
      C[c0 + j] = s00;
      C[c0 + j + 1] = s01;
      C[c0 + j + 2] = s02;
      C[c0 + j + 3] = s03;
      C[c1 + j] = s10;
      C[c1 + j + 1] = s11;
      C[c1 + j + 2] = s12;
      C[c1 + j + 3] = s13;
    }
    for (; j < n; j += 1) {
      let s0 = 0;
      let s1 = 0;
      for (let p = 0, a = i, b = j; p < k; p += 1, a += m, b += n) {
        s0 += A[a] * B[b];
        s1 += A[a + 1] * B[b];
      }
      C[c0 + j] = s0;
      C[c1 + j] = s1;
    }
  }
  if (i < m) {
    for (let j = 0; j < n; j += 1) {
      let s = 0;
      for (let p = 0, a = i, b = j; p < k; p += 1, a += m, b += n) s += A[a] * B[b];
      C[i * n + j] = s;
    }
  }
}

/**
 * C = A B, small: of few rows A.
 * @param {Float64Array} C (m, n)
 * @param {Float64Array} A (m, k)
 * @param {Float64Array} B (k, n)
 * @param {number} m
 * @param {number} n
 * @param {number} k
 */
export function rowsByColumns(C, A, B, m, n, k) {
  for (let i = 0; i < m; i += 1) {
    const c = i * n;
    C.fill(0, c, c + n);
    for (let p = 0; p < k; p += 1) {
      const x = A[i * k + p];
      const b = p * n;
      for (let j = 0; j < n; j += 1) C[c + j] += x * B[b + j];
    }
  }
}

const STEPS = 256;
const END = 20;
/** tanh at every 1/256 from −20 to 20. */
const TABLE = Float64Array.from({ length: 2 * END * STEPS + 1 }, (_, place) => Math.tanh((place - END * STEPS) / STEPS));

/**
 * Write tanh of each of the first values: from the nearest value of a table by the addition theorem, exact to 1e-15.
 * @param {Float64Array} into
 * @param {Float64Array} from
 * @param {number} count
 */
export function fillTanh(into, from, count) {
  for (let i = 0; i < count; i += 1) {
    const x = from[i];
    if (x > -END && x < END) {
      const place = (x * STEPS + (END * STEPS + 0.5)) | 0;
      const d = x - (place - END * STEPS) * (1 / STEPS);
      const d2 = d * d;
      const t = d + d * d2 * (d2 * (2 / 15) - 1 / 3);
      const T = TABLE[place];
      into[i] = (T + t) / (1 + T * t);
    } else {
      // Also what is no number.
      into[i] = Math.tanh(x);
    }
  }
}
