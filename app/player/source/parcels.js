/** The page's post office: what a second component brings for a player, by the player's key. */

/**
 * @typedef {object} Parcel
 * @property {string} kind "matrix" (λ of one matrix), "why" (one card), "pin" (a second run)
 * @property {string} run which run it is about
 */

/** @typedef {{receive: (parcel: Parcel, payload: Uint8Array) => void}} Receiver */

// Components are separate scripts; the page is what they share.
const OFFICE = Symbol.for("flexlora.parcels");

/** @returns {{receivers: Map<string, Receiver>, waiting: Map<string, Map<string, [Parcel, Uint8Array]>>}} */
function postOffice() {
  const page = /** @type {any} */ (globalThis);
  page[OFFICE] ??= { receivers: new Map(), waiting: new Map() };
  return page[OFFICE];
}

/** Brings a parcel, or keeps it until its receiver is there; of one kind only the latest. @param {string} to @param {Parcel} parcel @param {Uint8Array} payload */
export function deliver(to, parcel, payload) {
  const { receivers, waiting } = postOffice();
  const receiver = receivers.get(to);
  if (receiver) receiver.receive(parcel, payload);
  else waiting.set(to, (waiting.get(to) ?? new Map()).set(parcel.kind, [parcel, payload]));
}

/** @param {string} key @param {Receiver} receiver */
export function openLetterbox(key, receiver) {
  const { receivers, waiting } = postOffice();
  receivers.set(key, receiver);
  for (const [parcel, payload] of waiting.get(key)?.values() ?? []) receiver.receive(parcel, payload);
  waiting.delete(key);
}

/** @param {string} key @param {Receiver} receiver a newer one of the same key stays */
export function closeLetterbox(key, receiver) {
  const { receivers } = postOffice();
  if (receivers.get(key) === receiver) receivers.delete(key);
}
