/** A run as the server tells it. What every source does is told at `Source`. */

import { openPayload } from "../model/container.js";

/** @import { Content } from "../model/container.js" */

/**
 * @typedef {object} Source of one run; what cannot be had is thrown
 * @property {string} name
 * @property {number} cost milliseconds that the latest answer took the server to make
 * @property {(held: Content | null) => Promise<Content | null>} run what is new since `held`, null = nothing
 * @property {(matrix: string, held: Content | null) => Promise<Content | null>} matrix the same of one matrix's spectrum
 * @property {(step: number) => Promise<Content | null>} spectra of all matrices at the latest record at or before a step that has them; null = there is none
 * @property {(step: number, matrix: string) => Promise<import("../views/why_card.js").WhyParcel>} why
 * @property {() => Promise<number[]>} order matrices by similarity
 * @property {(step: number, matrix: string) => Promise<import("../ui/term_card.js").Explained>} terms what the words of the page mean there
 * @property {() => Promise<Tour>} tour
 */

/** @typedef {{title: string, text: string, at: string, missing: boolean, view: Record<string, any>}[]} Tour moments to show, and what the player shows of each */

/** @implements {Source} */
export class ServerSource {
  /** @param {string} name key of the run */
  constructor(name) {
    this.name = name;
    this.cost = 0;
  }

  /** @param {Content | null} held */
  run(held) {
    const step = held?.arrays.steps[held.arrays.steps.length - 1] ?? 0;
    return this.content("run", held ? { since: String(step), state: held.header.state } : {});
  }

  /** @param {string} matrix @param {Content | null} held */
  matrix(matrix, held) {
    return this.content("matrix", { matrix, ...(held ? { state: held.header.state } : {}) });
  }

  /** @param {number} step */
  spectra(step) {
    return this.content("spectra", { step: String(step) });
  }

  /** @param {number} step @param {string} matrix */
  async why(step, matrix) {
    return (await this.ask("why", { step: String(step), matrix })).json();
  }

  /** @param {number} step @param {string} matrix */
  async terms(step, matrix) {
    return (await this.ask("terms", { step: String(step), matrix })).json();
  }

  async tour() {
    return (await this.ask("tour", {})).json();
  }

  async order() {
    return (await this.ask("order", { by: "similarity" })).json();
  }

  /** @param {string} what @param {Record<string, string>} parameters @returns {Promise<Content | null>} */
  async content(what, parameters) {
    const answer = await this.ask(what, parameters);
    return answer.status === 204 ? null : openPayload(new Uint8Array(await answer.arrayBuffer()));
  }

  /** @param {string} what @param {Record<string, string>} parameters @returns {Promise<Response>} */
  async ask(what, parameters) {
    const asked = String(new URLSearchParams(parameters));
    const place = `lab/${what}/${this.name.split("/").map(encodeURIComponent).join("/")}${asked && "?"}${asked}`;
    const answer = await fetch(new URL(place, document.baseURI)).catch(({ message }) => {
      throw new Error(`The server does not answer: ${message}`);
    });
    this.cost = Number(/dur=([\d.]+)/.exec(answer.headers.get("server-timing") ?? "")?.[1] ?? 0);
    if (!answer.ok) throw new Error(`${answer.status === 404 ? "This run is gone" : "The server refuses"}: ${(await answer.text()).slice(0, 200)}`);
    return answer;
  }
}
