/** A race in a module worker: takes a driver's orders as messages and posts its reports. */

import { Driver } from "./driver.js";

/** @import { Order } from "./driver.js" */

/** Milliseconds of work between two looks at the mail. */
const SLICE = 12;

/** @typedef {{postMessage(message: any, transfer?: any[]): void, addEventListener(kind: "message", listener: (event: MessageEvent<Order>) => void): void}} Scope of a worker */

const scope = /** @type {Scope} */ (/** @type {unknown} */ (globalThis));
// A channel of its own: what is posted to it waits behind the mail, and no timer's least delay is lost.
const channel = new MessageChannel();
/** @type {(() => void) | null} */
let next = null;
channel.port1.onmessage = () => {
  const slice = next;
  next = null;
  slice?.();
};

const driver = new Driver(
  (report, handedOver) => scope.postMessage(report, handedOver),
  (slice) => {
    next = slice;
    // At a chosen speed nothing may be due for a while.
    if (driver.due()) channel.port2.postMessage(null);
    else setTimeout(() => channel.port2.postMessage(null), 4);
  },
  SLICE,
);
scope.addEventListener("message", ({ data }) => driver.take(data));
scope.postMessage({ kind: "ready" });
