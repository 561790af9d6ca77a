/** What is slow to tell is told at once when things are calm, and once more when a burst is over. */

const BURST_MS = 120;

export class Settler {
  constructor() {
    this.timer = 0;
    /** @type {(() => void) | null} */
    this.waiting = null;
  }

  /** @param {() => void} act the latest one holds */
  call(act) {
    if (this.timer) {
      this.waiting = act;
      return;
    }
    act();
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      const next = this.waiting;
      this.waiting = null;
      if (next) this.call(next);
    }, BURST_MS);
  }

  /** Without waiting: what the user did, not what the clock did. @param {() => void} act */
  now(act) {
    this.waiting = null;
    act();
  }

  stop() {
    window.clearTimeout(this.timer);
    this.timer = 0;
    this.waiting = null;
  }
}
