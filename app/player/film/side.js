/** The selected matrix's directions while an event unfolds: nothing is marked before it is told, and what went is gone. */

import { castOf } from "./cast.js";
import { appeared, fallen, growthAt, laterRecord, SHOWN, toldAt } from "./choreography.js";
import { arriving, directionsAt } from "../views/spectrum.js";

/** @import { Scene } from "../model/scene.js" */
/** @import { Model } from "../model/model.js" */
/** @import { Direction } from "../views/spectrum.js" */

/** @typedef {{directions: Direction[], coming: number, record: number}} Side coming: new directions that have no λ yet; record: whose true singular values stand behind them */

/** @param {Pick<Scene, "model" | "record" | "selected" | "stage">} scene @returns {Side} */
export function sideOf({ model, record, selected: m, stage }) {
  const directions = directionsAt(model, record, m);
  const coming = arriving(model, record, m);
  if (!stage) return { directions, coming, record };
  const τ = stage.index + stage.share;
  const cast = castOf(model, stage.event);
  const token = cast.tokens[m];
  const told = toldAt(τ);
  const [gone, come] = [fallen(token, τ) > SHOWN, appeared(token, τ) > SHOWN];
  const ahead = growthAt(τ) * cast.ahead;
  const grown = directions.flatMap((direction) => {
    const state = stateAt(direction, told.prune, gone, come);
    if (state === "gone") return [];
    const value = ahead > 0 ? valueAt(model, record, m, direction.slot, direction.value, ahead) : direction.value;
    return [{ ...direction, value, state, gate: state === "off" ? 0 : direction.gate || Number(state === "comes back") }];
  });
  if (!(ahead > 0)) return { directions: grown, coming: come ? coming : 0, record };
  const later = laterRecord(cast, τ);
  if (!come) return { directions: shared(grown), coming: 0, record: later };
  const slots = model.events[stage.event].extend.filter((move) => move.matrix === model.matrices[m].name).map(({ slot }) => slot ?? null);
  const fresh = slots.slice(0, coming).map((slot) => ({ value: valueAt(model, record, m, slot, 0, ahead), gate: 1, slot, share: NaN, state: "new" }));
  return { directions: shared([...grown, ...fresh]), coming: 0, record: later };
}

/** Shares of the energy as the values are now. @param {Direction[]} directions @returns {Direction[]} */
function shared(directions) {
  const energies = directions.map(({ value, gate }) => (gate > 0 ? value ** 2 : 0));
  const total = energies.reduce((sum, energy) => sum + energy, 0);
  return directions.map((direction, i) => ({ ...direction, share: total > 0 ? energies[i] / total : NaN }));
}

/** @param {Direction} direction @param {boolean} told what goes is marked @param {boolean} gone @param {boolean} come @returns {string} */
function stateAt({ state, gate }, told, gone, come) {
  if (state === "pruned") return gone ? "gone" : told ? state : "kept";
  if (state === "goes off") return gone ? "off" : told ? state : "kept";
  if (state === "comes back") return come ? state : "off";
  return gate > 0 ? "kept" : "off";
}

/** λ of a slot at the records that follow, also between two. @param {Model} model @param {number} record @param {number} m @param {number | null} slot @param {number} now @param {number} ahead @returns {number} */
function valueAt(model, record, m, slot, now, ahead) {
  const at = (/** @type {number} */ t) => {
    if (t === record) return now;
    const place = model.slots(t, m)?.indexOf(slot ?? -2) ?? -1;
    return place < 0 ? now : model.singularValues(t, m)[place];
  };
  const before = Math.floor(ahead);
  const from = at(record + before);
  const to = ahead > before ? at(record + before + 1) : from;
  return from + (to - from) * (ahead - before);
}
