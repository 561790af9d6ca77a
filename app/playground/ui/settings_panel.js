/** Everything that can be set, for both and for each contestant. */

import { element } from "../../player/pen/draw.js";
import { SETTINGS } from "../engine/settings.js";
import { MOST_SHARED, OWN, settingsOf, SHARED, SIDES, withSetting } from "./choices.js";

/** @import { Settings } from "../engine/settings.js" */
/** @import { Choices, Side } from "./choices.js" */

/** @type {Record<string, string>} */
const LABELS = {
  seed: "seed", steps: "steps", layers: "layers", initial_rank: "rank at the start", true_rank: "mean true rank", profile: "profile of the truth", noise: "noise of the targets",
  preset: "preset", direction: "direction", schedule: "schedule of b(t)", exponent: "exponent", initial_budget: "first budget b0", warmup_steps: "warm-up steps", final_steps: "final steps",
  interval: "steps between events", new_direction: "a new direction starts", prune_rule: "what is pruned", rank_one: "entropy of rank 1", regularizer: "regulariser", regularization_weight: "its weight γ",
};
/** The rule stands above, and knots are dragged. */
const ELSEWHERE = ["policy", "points"];

export class SettingsPanel {
  /** @param {(choices: Choices) => string | null} offer takes the choices, or says why they cannot be */
  constructor(offer) {
    this.offer = offer;
    this.told = element("p", { class: "pg-trouble", role: "alert" });
    this.shared = element("div", { class: "pg-shared" });
    this.table = element("table", { class: "pg-table pg-settings" });
    this.node = element("div", { class: "pg-settingsbox" }, [this.told, element("h3", { text: "Both share" }), this.shared, element("h3", { text: "Each has its own" }), element("div", { class: "pg-scroll" }, [this.table])]);
    this.shown = "";
  }

  /** @param {Choices} choices */
  show(choices) {
    const shown = JSON.stringify(choices);
    if (shown === this.shown) return;
    this.shown = shown;
    const whole = { a: settingsOf(choices, "a"), b: settingsOf(choices, "b") };
    const put = (/** @type {(next: Choices) => void} */ change) => {
      const next = structuredClone(choices);
      change(next);
      const trouble = this.offer(next);
      this.told.textContent = trouble ?? "";
      this.shown = "";
      if (trouble) this.show(choices);
    };
    const focused = /** @type {HTMLElement | null} */ (/** @type {ShadowRoot | Document} */ (this.node.getRootNode()).activeElement)?.dataset?.setting;
    this.shared.replaceChildren(...SHARED.map((key) => element("label", { title: SETTINGS[key].help }, [
      element("span", { text: LABELS[key] }), control(key, whole.a, "", (value) => put((next) => (next.shared = withSetting(next.shared, key, value)))),
    ])));
    const rows = OWN.filter((key) => !ELSEWHERE.includes(key)).map((key) => element("tr", {}, [
      element("th", { scope: "row", title: SETTINGS[key].help }, [LABELS[key], element("small", { text: SETTINGS[key].help })]),
      ...SIDES.map((side) => element("td", {}, [control(key, whole[side], side, (value) => put((next) => (next[side] = withSetting(next[side], key, value))))])),
    ]));
    const head = element("tr", {}, [element("th", { scope: "col", text: "setting" }), ...SIDES.map((side) => element("th", { scope: "col", text: side.toUpperCase() }))]);
    this.table.replaceChildren(element("thead", {}, [head]), element("tbody", {}, rows));
    if (focused) /** @type {HTMLElement | null} */ (this.node.querySelector(`[data-setting="${focused}"]`))?.focus();
  }
}

/** @param {keyof Settings} key @param {Settings} settings @param {Side | ""} side @param {(value: unknown) => void} put undefined = as the preset has it @returns {HTMLElement} */
function control(key, settings, side, put) {
  const { kind, choices, optional } = SETTINGS[key];
  const named = { "aria-label": `${LABELS[key]}${side ? ` of ${side.toUpperCase()}` : ""}`, "data-setting": `${side}.${key}` };
  const value = settings[key];
  if (kind === "choice") {
    const none = "as the scenario has it";
    const options = [...(optional ? [element("option", { value: "", text: none })] : []), ...(choices ?? []).map((choice) => element("option", { value: choice, text: choice.replaceAll("_", " ") }))];
    const list = element("select", { class: "fl-select", ...named, onchange: () => put(list.value === "" ? undefined : list.value) }, options);
    list.value = value === null ? "" : String(value);
    return list;
  }
  const { least, most } = SETTINGS[key];
  const here = MOST_SHARED[/** @type {keyof typeof MOST_SHARED} */ (key)] ?? most;
  const ends = { ...(least === undefined ? {} : { min: String(least) }), ...(here === undefined ? {} : { max: String(here) }) };
  const field = element("input", { type: "number", class: "fl-select pg-number", step: kind === "whole" ? "1" : "any", ...ends, ...named, onchange: () => put(field.value === "" ? undefined : Number(field.value)) });
  field.value = String(value ?? "");
  return field;
}
