/** The words of a player: found in its texts, explained with the numbers of its run at its clock. */

import { markIn, sayWith, wordsOf } from "./term_text.js";
import { TermCard } from "./term_card.js";

export class Glossary {
  /** @param {any} player @param {HTMLElement} root its own, with all texts */
  constructor(player, root) {
    this.player = player;
    /** @type {import("./term_text.js").Words | null} */
    this.found = null;
    this.card = new TermCard(root, () => this.ask(), player.gone.signal);
    this.asked = "";
    /** @type {Promise<import("./term_card.js").Explained> | null} */
    this.answer = null;
  }

  /** The same for every run. */
  get words() {
    const told = this.player.model?.header.explained;
    this.found ??= told ? wordsOf(told.words) : null;
    return this.found;
  }

  /** @param {HTMLElement} node @param {string} text */
  say(node, text) {
    sayWith(node, text, this.words);
  }

  /** @param {HTMLElement} root */
  mark(root) {
    markIn(root, this.words);
  }

  /** What the words are explained by: source, step, matrix. */
  get place() {
    const { clock, model, selected, feed } = this.player;
    return { source: feed.run?.source, step: clock.step, matrix: model?.matrices[selected]?.name ?? "" };
  }

  /** @returns {Promise<import("./term_card.js").Explained>} */
  ask() {
    const { source, step, matrix } = this.place;
    const asked = [source?.name, step, matrix].join("|");
    if (this.asked !== asked || !this.answer) {
      this.asked = asked;
      this.answer = source?.terms(step, matrix) ?? Promise.reject(new Error("no run"));
      this.answer?.catch(() => (this.answer = null));
    }
    return /** @type {Promise<import("./term_card.js").Explained>} */ (this.answer);
  }

  /** The clock or the selection may stand elsewhere. */
  follow() {
    const { source, step, matrix } = this.place;
    if (this.card.word && this.asked !== [source?.name, step, matrix].join("|")) this.card.follow();
  }
}
