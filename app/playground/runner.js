/** `Runner`: a race in a worker, or, where a page may have none, in slices between its frames; the same to whoever uses it. */

import { Driver } from "./driver.js";

/** @import { Order, Report } from "./driver.js" */

/** Milliseconds of work between two frames. */
const SLICE = 9;

export class Runner {
  /**
   * @param {(report: Report) => void} hear
   * @param {() => Worker | null} [make] the worker; null, or what throws, means that there is none
   */
  constructor(hear, make = moduleWorker) {
    this.hear = hear;
    /** Orders that no one has confirmed to have got. @type {Order[] | null} */
    this.sent = [];
    /** @type {Worker | null} */
    this.worker = null;
    /** @type {Driver | null} */
    this.driver = null;
    this.closed = false;
    try {
      this.worker = make();
    } catch {
      this.worker = null;
    }
    if (this.worker) this.listen(this.worker);
    else this.between();
  }

  /** Whether it runs beside the page rather than between its frames. */
  get beside() {
    return this.worker !== null;
  }

  /** @param {Order} order */
  send(order) {
    if (this.closed) return;
    this.sent?.push(order);
    if (this.worker) this.worker.postMessage(order);
    else this.driver?.take(order);
  }

  /** End it. */
  close() {
    this.closed = true;
    this.worker?.terminate();
    this.driver?.take({ kind: "stop" });
  }

  /** @param {Worker} worker */
  listen(worker) {
    worker.addEventListener("message", (/** @type {MessageEvent<Report>} */ { data }) => {
      if (this.closed) return;
      if (data.kind === "ready") this.sent = null;
      else this.hear(data);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      if (this.closed) return;
      worker.terminate();
      this.worker = null;
      // A worker that never began, as under a strict content security policy: the page does its work.
      if (this.sent) this.between();
      else this.hear({ kind: "error", message: event.message || "The worker that trained has ended." });
    });
  }

  /** Work between the page's frames, beginning with what was asked so far. */
  between() {
    this.driver = new Driver((report) => this.closed || this.hear(report), soon, SLICE);
    const orders = this.sent ?? [];
    this.sent = null;
    for (const order of orders) this.driver.take(order);
  }
}

/** @returns {Worker} */
function moduleWorker() {
  // A module that stands in a data URL has no neighbours: this throws there.
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}

/** After the next frame; of a page that is hidden, at the next chance. @param {() => void} slice */
function soon(slice) {
  if (typeof requestAnimationFrame === "undefined" || document.hidden) setTimeout(slice, 0);
  else requestAnimationFrame(() => setTimeout(slice, 0));
}
