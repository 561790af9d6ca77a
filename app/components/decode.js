/** Payload bytes to typed arrays. Layout: analysis/payload.py; the envelope before it: app/components/__init__.py. */

/** Array types by the name that the header uses. */
const ARRAY_TYPES = {
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
};

/**
 * @typedef {Record<string, any> & object} Request what Python asks the player to show, and what a link to it must hold
 * @property {string} run which run it is; another one resets clock and selection
 * @property {string} id changes when the caller asks for something else; the user's clock stays until then
 * @property {string} content changes when the payload does
 * @property {number | null} step
 * @property {string | null} matrix
 * @property {string} [key] where parcels for this player go
 * @property {number | null} [since]
 * @property {any} [colour] and the other names of `CHOICES`: what to choose, null = leave it
 * @property {"hash"} [address] the link stands after #, as in a file
 * @property {Record<string, string> | null} link query parameters that name the run, null where there is no page to link to
 */

/** @typedef {{layer: number | null, type: string, name: string, inFeatures: number, outFeatures: number}} Matrix */

/**
 * @typedef {object} Move
 * @property {string} matrix
 * @property {number} [slot]
 * @property {number} [singular_value]
 * @property {number} [score] of the direction, where directions are scored
 * @property {string[]} [rules]
 */

/**
 * @typedef {object} RunEvent
 * @property {number} step
 * @property {number} budget
 * @property {number} [target_rank] total rank that the schedule asks for
 * @property {number} [threshold] that decided which directions go
 * @property {string[]} [rules]
 * @property {Move[]} prune
 * @property {Move[]} extend
 */

/**
 * @param {Uint8Array} bytes
 * @returns {{json: any, next: number}} a length-prefixed JSON block and the 8-byte-aligned place after it
 */
function readBlock(bytes) {
  if (bytes.byteLength < 4) throw new Error("The run's data is empty.");
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (4 + length > bytes.byteLength) throw new Error("The run's data is cut short.");
  const json = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { json, next: Math.ceil((4 + length) / 8) * 8 };
}

/**
 * @param {Uint8Array} bytes
 * @returns {{request: Request, payload: Uint8Array}}
 */
export function openEnvelope(bytes) {
  const { json, next } = readBlock(bytes);
  return { request: json, payload: bytes.subarray(next) };
}

/**
 * @param {Uint8Array} payload
 * @returns {{header: any, arrays: Record<string, any>}} arrays are views of one aligned copy
 */
export function decodePayload(payload) {
  const { json: header, next } = readBlock(payload);
  if (header.version !== 1) throw new Error(`This page reads payload version 1, not ${header.version}.`);
  const data = payload.slice(next).buffer;
  /** @type {Record<string, any>} */
  const arrays = {};
  for (const { name, dtype, offset, length } of header.arrays) {
    const Type = ARRAY_TYPES[/** @type {keyof typeof ARRAY_TYPES} */ (dtype)];
    if (!Type) throw new Error(`Array ${name} has the unknown type ${dtype}.`);
    arrays[name] = new Type(data, offset, length);
  }
  return { header, arrays };
}
