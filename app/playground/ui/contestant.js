/** One contestant: its rule, the ranks that it has now, and how it stands. */

import { element, penFor } from "../../player/pen/draw.js";
import { formatNumber } from "../../player/model/format.js";
import { drawRankMap, KINDS, matrixAt } from "../pictures/rank_map.js";
import { misplaced } from "./ledger.js";
import { guessWords, PRUNED, reasonWords, scoredWords, scoreWords } from "./reasons.js";
import { ruleName, RULES, ruleWords } from "./rules.js";
import { evenly, matrixName, wrongWords } from "./words.js";

/** @import { Event } from "../engine/allocator.js" */
/** @import { Palette } from "../../player/pen/palette.js" */
/** @import { Ledger } from "./ledger.js" */
/** @import { Side } from "./choices.js" */

const GLOW_MS = 2000;
/** Share of the glow that stays until the next event. */
const EMBERS = 0.45;

/** @param {Palette} palette @param {Side} side @returns {string} its colour in every picture */
export function sideColour(palette, side) {
  return side === "a" ? palette.extended : palette.pruned;
}

export class Contestant {
  /** @param {Side} side @param {(rule: string) => void} choose */
  constructor(side, choose) {
    this.side = side;
    this.name = side.toUpperCase();
    /** @type {string[]} */
    this.names = [];
    this.rule = element("select", { class: "fl-select", "aria-label": `Rule of contestant ${this.name}`, onchange: () => choose(this.rule.value) }, RULES.map((key) => element("option", { value: key, text: ruleName(key) })));
    this.canvas = element("canvas", { role: "img", tabindex: "0", class: "pg-cells" });
    this.box = element("div", { class: "pg-map" }, [this.canvas]);
    this.apart = element("p", { class: "pg-small pg-apart" });
    this.scored = element("p", { class: "pg-small pg-scored" });
    this.why = element("p", { class: "pg-small pg-why", "aria-live": "polite" });
    this.score = element("p", { class: "pg-score" });
    this.node = element("section", { class: `pg-panel pg-side-${side}` }, [element("header", {}, [element("h3", {}, [element("span", { class: "pg-badge", text: this.name })]), this.rule]), this.apart, this.box, this.scored, this.score, this.why]);
    /** Matrix under the pointer, and the one that was pressed; −1 = none. */
    this.hovered = -1;
    this.pinned = -1;
    /** Pressed before anything moved; −1 = no guess. */
    this.guess = -1;
    this.plan = { rule: "", pruned: "", first: /** @type {number | null} */ (null) };
    this.seen = 0;
    this.told = "";
    this.glowing = 0;
    /** Something else is looked at. @type {() => void} */
    this.changed = () => undefined;
    this.listen();
  }

  listen() {
    const { canvas } = this;
    const at = (/** @type {PointerEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      return matrixAt(event.clientX - box.left, event.clientY - box.top, box.width, box.height, this.names.length / KINDS.length);
    };
    const hover = (/** @type {number} */ matrix) => {
      if (matrix === this.hovered) return;
      this.hovered = matrix;
      this.changed();
    };
    canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && hover(at(event)));
    canvas.addEventListener("pointerleave", () => hover(-1));
    canvas.addEventListener("click", (event) => this.pin(at(/** @type {PointerEvent} */ (event))));
    canvas.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** Keep a matrix in view; again lets it go. @param {number} matrix */
  pin(matrix) {
    this.pinned = matrix === this.pinned ? -1 : matrix;
    if (!this.seen) this.guess = this.pinned;
    this.changed();
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -KINDS.length, ArrowDown: KINDS.length }[event.key];
    const ends = event.key === "Escape" || event.key === "Enter";
    if ((move === undefined && !ends) || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.hovered = -1;
    if (move === undefined) return this.pin(event.key === "Escape" ? this.pinned : Math.max(0, this.pinned));
    const next = this.pinned < 0 ? 0 : this.pinned + move;
    if (next >= 0 && next < this.names.length && next !== this.pinned) this.pin(next);
  }

  /** Begin anew. @param {string} rule @param {string} pruned which direction goes @param {number | null} first step of the first event, null = none comes @param {number} count of matrices @param {string} apart what it has otherwise than the other, who follows the same rule */
  follow(rule, pruned, first, count, apart) {
    this.apart.textContent = apart;
    this.rule.value = rule;
    this.plan = { rule, pruned, first };
    this.names = Array.from({ length: count }, (_, matrix) => matrixName(matrix));
    Object.assign(this, { hovered: -1, pinned: -1, guess: -1, seen: 0 });
  }

  /** @param {Event | undefined} event the latest @param {boolean} first it is the first @param {ArrayLike<number>} truth @param {number} shown matrix, −1 = none @returns {string} */
  words(event, first, truth, shown) {
    const { rule, pruned, first: due } = this.plan;
    if (shown < 0) return `${ruleWords(rule).replace(PRUNED.magnitude, pruned)}${!event && due !== null && rule !== "still" ? " Guess which matrix loses first: press it." : ""}`;
    const name = this.names[shown];
    if (!event) return due === null ? `${name}: no event comes, for this rule only gives ranks to start with.` : `${name}${this.guess === shown ? " is your pick" : ""}: the first event comes after step ${due}.`;
    const guess = first && this.guess === shown && this.hovered < 0 ? guessWords(event, shown, this.names) : "";
    return `${guess}${name} at step ${event.step}: ${reasonWords(event, shown, truth[shown], pruned)}`;
  }

  /**
   * @param {Ledger} ledger @param {number} most rank of the strongest colour @param {Palette} palette @param {number} now of the clock, in ms @param {boolean} still
   * @returns {boolean} it goes on to change although nothing new came
   */
  draw(ledger, most, palette, now, still) {
    const { last, events } = ledger;
    const [width, height] = [this.box.clientWidth, this.box.clientHeight];
    if (!last || !width) return false;
    if (events.length !== this.seen) this.glowing = now;
    this.seen = events.length;
    const event = events[events.length - 1];
    const left = event ? (still ? 0.7 : Math.max(EMBERS, 1 - (now - this.glowing) / GLOW_MS)) : 0;
    const of = (/** @type {"prune" | "extend"} */ way) => new Set(event?.[way].map(({ matrix }) => matrix));
    const truth = [...last.trueRanks];
    const kept = this.pinned >= 0 ? this.pinned : (event?.prune[0] ?? event?.extend[0])?.matrix ?? -1;
    const shown = this.hovered >= 0 ? this.hovered : kept;
    const moves = { pruned: of("prune"), extended: of("extend"), share: left };
    drawRankMap(penFor(this.canvas, width, height, palette.font), palette, width, height, { ranks: last.ranks, truth: last.trueRanks, most, moves, scores: event && scoreWords(event), chosen: shown < 0 ? undefined : shown });
    const scored = event ? scoredWords(event) : "";
    if (this.scored.textContent !== scored) this.scored.textContent = scored;
    const why = this.words(event, events.length === 1, truth, shown);
    if (this.why.textContent !== why) this.why.textContent = why;
    this.why.dataset.told = String(shown >= 0);
    const wrong = misplaced(last.ranks, truth);
    const right = truth.filter((rank, place) => rank === last.ranks[place]).length;
    const loss = last.testLoss ?? last.validationLoss;
    const { nearer, changes } = last.scores;
    const share = changes ? `${ledger.moves} ${ledger.moves === 1 ? "move" : "moves"}: ${nearer} of ${changes} changes of rank towards the truth` : this.plan.rule === "still" || this.plan.first === null ? "nothing moves" : last.step < last.steps ? "no move yet" : "no move";
    const first = `${wrongWords(wrong, evenly(last.ranks, truth))} · loss ${formatNumber(loss)}`;
    const told = `${first}. ${right} of ${truth.length} found · ${share}`;
    if (this.told !== told) {
      this.told = told;
      this.score.replaceChildren(first, element("small", { text: `${right} of ${truth.length} found · ${share}` }));
      this.canvas.setAttribute("aria-label", `Ranks of contestant ${this.name}: ${told}. Arrows choose a matrix, which tells why it moved or stayed; Enter keeps it or lets it go.`);
    }
    return left > EMBERS && !still;
  }
}
