/** An element without a picture: each of its payloads is a parcel for a player. */

import { openEnvelope } from "../model/container.js";
import { deliver } from "./parcels.js";

/** @param {{data: Uint8Array}} component */
export default function render({ data }) {
  const { request, payload } = openEnvelope(data);
  const { to, ...parcel } = /** @type {any} */ (request);
  deliver(to, parcel, payload);
}
