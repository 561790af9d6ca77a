/** What arrives later than a player's run, through the page's post office. */

import { openPayload } from "../model/container.js";
import { Model } from "../model/model.js";

/** @typedef {import("./parcels.js").Parcel} Parcel */

/** By kind of parcel. @type {Record<string, (player: any, parcel: any, payload: Uint8Array) => void>} */
const PARCELS = {
  why: (player, parcel) => {
    player.why = parcel;
  },
  matrix: (player, _parcel, payload) => {
    player.model?.spectra.accept(payload);
  },
  order: (player, parcel) => {
    if (player.model?.M !== parcel.order.length) return;
    player.model.similar = parcel.order;
    player.resize();
  },
  // A second run under the same clock; an empty parcel takes it away.
  pin: (player, parcel, payload) => {
    player.pinned = payload.byteLength ? { model: new Model(openPayload(payload)), name: parcel.name } : null;
    player.resize();
  },
};

export class Mailbox {
  /** @param {any} player */
  constructor(player) {
    this.player = player;
    /** @type {Map<string, [Parcel, Uint8Array]>} of each kind the latest that came before the run it is about */
    this.early = new Map();
  }

  /** @param {Parcel} parcel @param {Uint8Array} payload */
  receive(parcel, payload) {
    if (parcel.run !== this.player.request?.run) {
      // The messages of a rerun may overtake each other.
      this.early.set(parcel.kind, [parcel, payload]);
      return;
    }
    PARCELS[parcel.kind]?.(this.player, parcel, payload);
    this.player.redraw();
  }

  /** Another run is there. */
  unpackEarly() {
    const early = [...this.early.values()];
    this.early.clear();
    for (const [parcel, payload] of early) this.receive(parcel, payload);
  }
}
