/** The schedule of one contestant, drawn by dragging: the editor that Train has, with curve.js alone. */

import { element } from "../../player/pen/draw.js";
import { budgets } from "../../schedule/curve.js";
import { ScheduleEditor } from "../../schedule/editor.js";
import { SCHEDULES } from "../engine/schedule.js";

/** @import { Given, Settings } from "../engine/settings.js" */
/** @import { Side } from "./choices.js" */

const DRAGGED = /** @type {const} */ (["initial_budget", "warmup_steps", "final_steps", "exponent", "points"]);

export class ScheduleDesk {
  /** @param {Side} side @param {(own: Given) => string | null} offer takes the settings, or says why they cannot be */
  constructor(side, offer) {
    this.offer = offer;
    this.serial = 0;
    this.told = element("p", { class: "pg-trouble", role: "alert" });
    this.place = element("div");
    this.node = element("section", {}, [element("h3", { text: `${side.toUpperCase()}: directions that may move at each event` }), this.place, this.told]);
    this.editor = new ScheduleEditor(this.place);
    /** @type {Settings | null} */
    this.settings = null;
  }

  /** @param {Settings} settings */
  show(settings) {
    this.settings = settings;
    this.serial += 1;
    const shape = SCHEDULES[settings.schedule];
    const { initial_budget, warmup_steps, final_steps, interval, exponent, points, steps: total } = settings;
    const own = { initial_budget, warmup_steps, final_steps, interval, exponent, points };
    const adapter = { matrices: 3 * settings.layers, rank: settings.initial_rank, cost: null };
    this.editor.accept({ shape, settings: own, total, values: budgets(shape, own, total), adapter, editable: true, direction: settings.direction, here: null, force: null, serial: this.serial }, (_, edit) => this.edited(/** @type {{settings: Record<string, any>}} */ (edit).settings));
  }

  /** @param {Record<string, any>} own */
  edited(own) {
    const { settings } = this;
    if (!settings) return;
    const changed = DRAGGED.filter((key) => JSON.stringify(own[key]) !== JSON.stringify(settings[key]));
    this.told.textContent = this.offer(Object.fromEntries(changed.map((key) => [key, own[key]]))) ?? "";
    if (this.told.textContent) this.show(settings);
  }
}
