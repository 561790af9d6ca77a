/** The leader's address goes to everybody, and everybody's browser goes there. */

import { here, same } from "./place.js";

/** @import { Conversation, Lead } from "./news.js" */
/** @import { Place } from "./place.js" */

const LOOK_MS = 150; // nothing tells of a changed address
const OWN_PAGE = "class"; // where the leader works: nobody follows there
const FREE = "lab-class-free";

/** Sends the leader's address, one at a time and the latest one last. */
export class Sender {
  /** @param {Conversation} talk */
  constructor(talk) {
    this.talk = talk;
    /** @type {Place | null} what the server has */
    this.sent = null;
    this.busy = false;
    /** @type {Record<string, string>} what Explore shows where the address does not say */
    this.explored = {};
    /** @type {{step: number, search: string} | null} of a clock that moves, until the address tells where it stands */
    this.clock = null;
    window.setInterval(() => this.look(), LOOK_MS);
    document.addEventListener("lab-clock", (event) => (this.clock = { step: /** @type {CustomEvent} */ (event).detail.step, search: window.location.search }));
  }

  /** @returns {Place | null} */
  get place() {
    const place = here();
    if (place.page === "" && !place.query.run) place.query = { ...this.explored, ...place.query };
    if (this.clock?.search !== window.location.search) this.clock = null;
    if (this.clock) place.query.step = String(this.clock.step);
    return place.page === OWN_PAGE ? null : place;
  }

  look() {
    const { news } = this.talk;
    if (!news?.leads || !news.lead.on || document.hidden || this.busy) return;
    const { place } = this;
    if (!this.sent) this.sent = { page: news.lead.page, query: news.lead.query };
    if (place && !same(place, this.sent)) void this.send(true, place);
  }

  /** @param {boolean} on @param {Place | null} [place] null = where the leader was last */
  async send(on, place = this.place) {
    const { page, query } = this.talk.news?.lead ?? { page: "", query: {} };
    place ??= { page, query };
    this.busy = true;
    if (await this.talk.tell("lead", { on, ...place })) this.sent = place;
    this.busy = false;
  }
}

/** Goes where the leader is, unless the member has let go. */
export class Follower {
  /** @param {(place: Place) => void} go leaves for a place that the page itself cannot show */
  constructor(go) {
    this.go = go;
    this.done = -1;
    this.free = window.sessionStorage.getItem(FREE) !== null;
  }

  /** @param {boolean} free */
  setFree(free) {
    this.free = free;
    if (free) window.sessionStorage.setItem(FREE, "");
    else window.sessionStorage.removeItem(FREE);
    this.done = -1;
  }

  /** @param {Lead} lead */
  follow(lead) {
    if (!lead.on || this.free || lead.number === this.done) return;
    this.done = lead.number;
    const place = { page: lead.page, query: lead.query };
    if (!same(place, here()) && !shown(place)) this.go(place);
  }
}

/** A page that can show it at once says so. @param {Place} place @returns {boolean} */
function shown(place) {
  if (place.page !== here().page) return false;
  return !document.dispatchEvent(new CustomEvent("lab-follow", { detail: place, cancelable: true }));
}
