/** Why the latest event did what it did with the selected matrix: analysis.why writes the card, this shows it. */

import { element } from "../pen/draw.js";
import { formatNumber } from "../model/format.js";

/**
 * @typedef {object} Card
 * @property {number} event
 * @property {number} step
 * @property {string} matrix
 * @property {string} verdict
 * @property {string} headline
 * @property {Array<{key: string, label: string, text: string, detail?: string, value?: number | null}>} lines
 * @property {Array<{rule: string, text: string}>} rules
 * @property {Array<{measure: string, label: string, score: number | null, place: number | null, end?: string, of: number, verdict: string, agrees: boolean}>} alternatives what each logged measure would have done at this event
 * @property {string} [alternatives_note] why there are none
 */

/** @typedef {{event: number | null, matrix: string, card: Card | null}} WhyParcel event: the step of one; no card: the log does not hold what it saw */

/** Verdict of a measure that this log does not hold: it neither agrees nor differs. */
const NOT_LOGGED = "not logged";

/** @param {WhyParcel} parcel @param {import("../model/model.js").Model} model @param {number} step @param {number} selected @returns {boolean} */
export function whyFits(parcel, model, step, selected) {
  const event = model.events[model.eventBefore(step)];
  return parcel.matrix === model.matrices[selected]?.name && parcel.event === (event?.step ?? null);
}

/** @param {Card | null} card @returns {import("../model/scene.js").Table} */
export function cardTable(card) {
  const { lines = [], rules = [], alternatives = [] } = card ?? {};
  return {
    head: ["kind", "label", "text", "detail", "score", "place", "places"],
    rows: [
      ...lines.map(({ label, text, detail }) => ["line", label, text, detail ?? null, NaN, NaN, NaN]),
      ...rules.map(({ rule, text }) => ["rule", rule, text, null, NaN, NaN, NaN]),
      ...alternatives.map(({ label, verdict, score, place, of }) => ["measure", label, verdict, null, score, place, of]),
    ],
  };
}

export class WhyCard {
  constructor() {
    this.root = element("div", { class: "fl-why", role: "region", "aria-label": "Why?", tabindex: "0" });
    /** @type {Card | string | null} */
    this.shown = null;
    this.note = "";
  }

  /** @param {Card | null} card @param {string} waiting what to say without a card @param {string} [note] what to say above one that is not of now */
  update(card, waiting, note = "") {
    const wanted = card ?? waiting;
    if (wanted === this.shown && note === this.note) return;
    this.shown = wanted;
    this.note = note;
    if (!card) {
      this.root.replaceChildren(element("p", { class: "fl-none", text: waiting }));
      return;
    }
    this.root.replaceChildren(
      ...(note ? [element("p", { class: "fl-rule", text: note })] : []),
      element("p", { class: `fl-verdict fl-verdict-${card.verdict.split(" ")[0]}`, text: card.headline }),
      element("dl", { class: "fl-lines" }, card.lines.flatMap(whyLine)),
      ...card.rules.map(({ rule, text }) => element("p", { class: "fl-rule" }, [element("b", { text: rule.replace(/_/g, " ") }), ` ${text}`])),
      ...(card.alternatives.length ? [otherMeasures(card)] : []),
      ...(card.alternatives_note ? [element("p", { class: "fl-none", text: card.alternatives_note })] : []),
    );
  }
}

/** @param {Card["lines"][number]} line @returns {Node[]} */
function whyLine({ label, text, detail }) {
  const value = element("dd", {}, [element("span", { text })]);
  if (detail) value.append(element("small", { text: detail }));
  return [element("dt", { text: label }), value];
}

/** @param {Card} card */
function otherMeasures(card) {
  const rows = card.alternatives.map(({ label, score, place, end, of, verdict, agrees }) =>
    element("tr", agrees || verdict === NOT_LOGGED ? {} : { class: "fl-differs" }, [
      element("th", { scope: "row", text: label }),
      element("td", { text: formatNumber(score) }),
      element("td", { text: place === null ? "–" : `${end === "highest" ? "↑" : "↓"}${place} of ${of}` }),
      element("td", { text: verdict === NOT_LOGGED ? verdict : `${agrees ? "=" : "≠"} ${verdict}` }),
    ]),
  );
  const head = ["Measure", "score", "place ↓lowest ↑highest", "it would"].map((text) => element("th", { scope: "col", text }));
  return element("table", { class: "fl-others" }, [element("thead", {}, [element("tr", {}, head)]), element("tbody", {}, rows)]);
}
