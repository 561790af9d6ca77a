/** The list of matrices. Closed, it shows one of them: of hundreds, most come after the first picture. */

import { element } from "../pen/draw.js";
import { matrixLabel } from "../model/format.js";

/** @import { Model } from "../model/model.js" */

const FEW = 60;

export class Picker {
  constructor() {
    this.root = element("select", { class: "fl-select fl-matrix", "aria-label": "Matrix" });
    this.filled = "";
  }

  /** @param {Model} model @param {number} selected */
  show(model, selected) {
    if (this.filled !== pickerKey(model)) this.fill(model, model.M > FEW ? firstOptions(model, selected) : model.order);
    if (this.root.value !== String(selected)) this.root.value = String(selected);
    if (this.root.selectedIndex < 0) this.complete(model, selected);
  }

  /** @param {Model} model @param {number} selected */
  complete(model, selected) {
    if (this.filled === pickerKey(model) && this.root.length === model.M) return;
    this.fill(model, model.order);
    this.root.value = String(selected);
  }

  /** @param {Model} model @param {number[]} matrices */
  fill(model, matrices) {
    this.filled = pickerKey(model);
    this.root.replaceChildren(
      ...matrices.map((m) => Object.assign(new Option(matrixLabel(model.matrices[m]), String(m)), { title: model.matrices[m].name })),
    );
  }
}

/** @param {Model} model @returns {string} the same while a run grows */
function pickerKey(model) {
  return `${model.M} ${model.matrices[model.order[0]]?.name}`;
}

/** The selected matrix, and those that make the list as wide as all would: the longest name of each type. @param {Model} model @param {number} selected @returns {number[]} */
function firstOptions(model, selected) {
  /** @type {Map<string, number>} */
  const longest = new Map();
  const length = (/** @type {number | undefined} */ m) => (m === undefined ? -1 : matrixLabel(model.matrices[m]).length);
  for (const m of model.order) {
    const { type } = model.matrices[m];
    if (length(m) > length(longest.get(type))) longest.set(type, m);
  }
  const kept = new Set([selected, ...longest.values()]);
  return model.order.filter((m) => kept.has(m));
}
