/** Payload bytes to a header and typed arrays, and what is new behind what was there. Layout: analysis/payload/container.py. */

/** Array types by the name that the header uses. */
const ARRAY_TYPES = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, i32: Int32Array, f32: Float32Array };

/** @typedef {{header: any, arrays: Record<string, any>}} Content as it was sent: nothing is worked out yet */

/**
 * @param {Uint8Array} bytes
 * @returns {Content} arrays are views of one aligned copy
 */
export function openPayload(bytes) {
  if (bytes.byteLength < 4) throw new Error("The run's data is empty.");
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (4 + length > bytes.byteLength) throw new Error("The run's data is cut short.");
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  if (header.version !== 3) throw new Error(`This page reads payload version 3, not ${header.version}.`);
  const data = bytes.slice(Math.ceil((4 + length) / 8) * 8).buffer;
  /** @type {Record<string, any>} */
  const arrays = {};
  let place = 0;
  for (const [name, dtype, size] of header.arrays) {
    const Type = ARRAY_TYPES[/** @type {keyof typeof ARRAY_TYPES} */ (dtype)];
    if (!Type) throw new Error(`Array ${name} has the unknown type ${dtype}.`);
    arrays[name] = new Type(data, place, size);
    place += Math.ceil(arrays[name].byteLength / 8) * 8;
  }
  return { header, arrays };
}

/**
 * @param {Content | null} before what the reader has
 * @param {Content} news what it was sent: all there is, or what it lacked
 * @returns {Content} all there is
 */
export function joined(before, news) {
  if (!before || !news.header.from) return news;
  const { from: _, lists, arrays: places, ...told } = news.header;
  const header = { ...before.header, ...told };
  for (const name of Object.keys(lists)) header[name] = [...before.header[name], ...told[name]];
  const arrays = { ...before.arrays };
  for (const [name, , , by] of places) arrays[name] = by === null ? news.arrays[name] : behind(before.arrays[name], news.arrays[name]);
  return { header, arrays };
}

/** @param {any} before @param {any} news of the same type @returns {any} */
function behind(before, news) {
  const all = new before.constructor(before.length + news.length);
  all.set(before);
  all.set(news, before.length);
  return all;
}
