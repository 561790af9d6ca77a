/** One contestant: its rule, the ranks that it has now, and how it stands. */

import { element, penFor } from "../../player/pen/draw.js";
import { formatNumber } from "../../player/model/format.js";
import { drawRankMap } from "../pictures/rank_map.js";
import { misplaced } from "./ledger.js";
import { ruleName, RULES, ruleWords } from "./rules.js";

/** @import { Palette } from "../../player/pen/palette.js" */
/** @import { Ledger } from "./ledger.js" */
/** @import { Side } from "./choices.js" */

const GLOW_MS = 1400;

/** @param {Palette} palette @param {Side} side @returns {string} its colour in every picture */
export function sideColour(palette, side) {
  return side === "a" ? palette.extended : palette.pruned;
}

export class Contestant {
  /** @param {Side} side @param {(rule: string) => void} choose */
  constructor(side, choose) {
    this.side = side;
    this.name = side.toUpperCase();
    this.rule = element("select", { class: "fl-select", "aria-label": `Rule of contestant ${this.name}`, onchange: () => choose(this.rule.value) }, RULES.map((key) => element("option", { value: key, text: ruleName(key) })));
    this.canvas = element("canvas", { role: "img" });
    this.box = element("div", { class: "pg-map" }, [this.canvas]);
    this.does = element("p", { class: "pg-small pg-does" });
    this.score = element("p", { class: "pg-score" });
    this.node = element("section", { class: `pg-panel pg-side-${side}` }, [element("header", {}, [element("h3", {}, [element("span", { class: "pg-badge", text: this.name })]), this.rule]), this.box, this.score, this.does]);
    this.seen = 0;
    this.told = "";
    this.glowing = 0;
  }

  /** @param {string} rule */
  follow(rule) {
    this.rule.value = rule;
    this.does.textContent = ruleWords(rule);
    this.seen = 0;
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
    const left = event ? (still ? 0.7 : 1 - (now - this.glowing) / GLOW_MS) : 0;
    const of = (/** @type {"prune" | "extend"} */ way) => new Set(event?.[way].map(({ matrix }) => matrix));
    const truth = [...last.trueRanks];
    drawRankMap(penFor(this.canvas, width, height, palette.font), palette, width, height, { ranks: last.ranks, truth: last.trueRanks, most, moves: { pruned: of("prune"), extended: of("extend"), share: left } });
    const wrong = misplaced(last.ranks, truth);
    const right = truth.filter((rank, place) => rank === last.ranks[place]).length;
    const loss = last.testLoss ?? last.validationLoss;
    const share = Number.isFinite(last.scores.towards) ? `${Math.round(100 * last.scores.towards)} % of ${last.scores.moves} moves went towards the truth` : "no move yet";
    const first = `${formatNumber(wrong)} directions misplaced · loss ${formatNumber(loss)}`;
    const told = `${first}. ${right} of ${truth.length} found · ${share}`;
    if (this.told !== told) {
      this.told = told;
      this.score.replaceChildren(first, element("small", { text: `${right} of ${truth.length} found · ${share}` }));
      this.canvas.setAttribute("aria-label", `Ranks of contestant ${this.name}: ${told}`);
    }
    return left > 0 && !still;
  }
}
