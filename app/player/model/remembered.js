/** What is worked out once of a run, as long as the run is there. */

/**
 * @template {object} Of
 * @template {any[]} Rest numbers and texts
 * @template Made
 * @param {(of: Of, ...rest: Rest) => Made} make
 * @returns {(of: Of, ...rest: Rest) => Made} the same, made once for each object and what else it was given
 */
export function remembered(make) {
  /** @type {WeakMap<Of, Map<string, any>>} */
  const kept = new WeakMap();
  return (of, ...rest) => {
    const own = kept.get(of) ?? new Map();
    kept.set(of, own);
    const key = rest.join();
    if (!own.has(key)) own.set(key, make(of, ...rest));
    return own.get(key);
  };
}

/** @import { Model } from "./model.js" */

/**
 * @template Made
 * @param {(model: Model, width: number, height: number) => Made} make
 * @returns {(scene: {model: Model, width: number, height: number}) => Made} the layout of a picture, made once for each size
 */
export function sized(make) {
  const layoutOf = remembered(make);
  return ({ model, width, height }) => layoutOf(model, width, height);
}
