/** What the user chose to look at, as a link and the server know it. Python's side: app/player/view.py. */

import { BANDS } from "../views/bands.js";
import { COLOURS, ENTROPY_SCALES } from "../pen/colour.js";
import { MAPS } from "../views/maps.js";
import { SIDES } from "../views/sides.js";
import { SCALES } from "../views/spectra_map.js";
import { SORTS } from "../model/sorts.js";

/** Name → keys that may be chosen; the first is the default and stands in no link. @type {Record<string, string[]>} */
export const CHOICES = {
  colour: COLOURS.map(({ key }) => key),
  map: Object.keys(MAPS),
  side: Object.keys(SIDES),
  band: Object.keys(BANDS),
  sort: Object.keys(SORTS),
  scale: SCALES.map(({ key }) => key),
  entropy_scale: Object.keys(ENTROPY_SCALES),
};

/** Name → views or scales that may have nothing to show of a run. @type {Record<string, Record<string, {possible?: (scene: any) => boolean}>>} */
const LIMITED = { map: MAPS, side: SIDES, band: BANDS, entropy_scale: ENTROPY_SCALES };

/** Asked several times a frame, hence with no more of a scene than it takes. @param {string} name of `CHOICES` @param {any} model null = no run yet @param {any} other @returns {string[]} the keys that a run has something for */
export function possibleKeys(name, model, other) {
  const entries = LIMITED[name];
  return entries && model ? CHOICES[name].filter((key) => entries[key].possible?.({ model, other }) ?? true) : CHOICES[name];
}

/** @typedef {Record<string, string>} Chosen one of the keys for each name of `CHOICES` */

/** @returns {Chosen} */
export function firstChoices() {
  return Object.fromEntries(Object.entries(CHOICES).map(([name, keys]) => [name, keys[0]]));
}

/**
 * @param {Record<string, string>} link what names the run
 * @param {{step: number | null, matrix: string | null, since: number | null, stage?: string | null} & Record<string, any>} view
 * @returns {URLSearchParams}
 */
export function linkOf(link, view) {
  const parameters = new URLSearchParams({ ...link, ...(view.step === null ? {} : { step: String(view.step) }) });
  if (view.matrix) parameters.set("matrix", view.matrix);
  for (const [name, keys] of Object.entries(CHOICES)) if (view[name] !== keys[0]) parameters.set(name, view[name]);
  if (view.since !== null) parameters.set("since", String(view.since));
  if (view.stage) parameters.set("stage", view.stage);
  return parameters;
}

/** What a link without a server behind it asks for; `Player.obey` leaves out what is not allowed. @param {URLSearchParams} parameters @returns {Record<string, any>} */
export function readLink(parameters) {
  const whole = (/** @type {string} */ name) => {
    const text = parameters.get(name);
    return text !== null && /^\d+$/.test(text) ? Number(text) : null;
  };
  return { ...Object.fromEntries(parameters), step: whole("step"), since: whole("since"), matrix: parameters.get("matrix") };
}
