/** What was sent in fewer bytes, as it was; analysis/payload/ is the other side. */

/** @typedef {import("./container.js").Content} Content */

/**
 * @typedef {Record<string, any> & object} Request what Python asks the player to show, and what a link to it must hold
 * @property {string} run which run it is; another one resets clock and selection
 * @property {string} id changes when the caller asks for something else; the user's clock stays until then
 * @property {string} content changes when the payload does
 * @property {string | null} [source] address of the payload where it does not come with the request, and how many
 * @property {number} [bytes] it has
 * @property {number | null} step
 * @property {string | null} matrix
 * @property {string} [key] where parcels for this player go
 * @property {number | null} [since]
 * @property {any} [colour] and the other names of `CHOICES`: what to choose, null = leave it
 * @property {"hash"} [address] the link stands after #, as in a file
 * @property {Record<string, string> | null} link query parameters that name the run, null where there is no page to link to
 */

/** @typedef {{layer: number | null, type: string, name: string, inFeatures: number, outFeatures: number}} Matrix */

/**
 * @typedef {object} Move
 * @property {string} matrix
 * @property {number} [slot]
 * @property {number} [singular_value]
 * @property {number} [score] of the direction, where directions are scored
 * @property {string[]} [rules]
 */

/**
 * @typedef {object} RunEvent
 * @property {number} step
 * @property {number} budget
 * @property {number} [target_rank] total rank that the schedule asks for
 * @property {number} [threshold] that decided which directions go
 * @property {string[]} [rules]
 * @property {string} measure importance that decided
 * @property {Record<string, Record<string, number | null>>} importance measure → matrix → value, of the measure that decided
 * @property {Record<string, string>} [refused] matrix → why it could not give or take
 * @property {Record<string, number | string | null>} [decided] matrix → what a rule put in its importance's place: null = undefined, "first" = above all
 * @property {Move[]} prune
 * @property {Move[]} extend
 */

/**
 * A whole run: what was sent in fewer bytes is as it was, events are objects with names again.
 * @param {Content} content stays as it is: what a run goes on with is put behind it
 * @returns {Content}
 */
export function decodePayload({ header: sent, arrays: packed }) {
  const header = { ...sent };
  const arrays = { ...packed };
  const shape = /** @type {const} */ ([arrays.steps.length, header.matrices.length]);
  for (const name of ["ranks", "stored"]) {
    if (arrays[`${name}At`]) arrays[name] = rowsFromChanges(arrays[`${name}At`], arrays[`${name}To`], ...shape);
  }
  if (header.energyScale) arrays.energyOf = valuesOfCodes(arrays.energy, header.energyScale);
  if (header.budget) header.budget = { steps: arrays.planSteps, values: arrays.planBudget };
  header.extras = Object.fromEntries(header.moveExtras);
  header.events = eventsOf(header, arrays);
  return { header, arrays };
}

/** Rows that repeat the one before except where told. @param {Uint32Array} at @param {Uint8Array | Uint16Array} to @param {number} rows @param {number} columns */
function rowsFromChanges(at, to, rows, columns) {
  const Type = /** @type {Uint16ArrayConstructor} */ (to.constructor);
  const all = new Type(rows * columns);
  for (let row = 0, next = 0; row < rows; row += 1) {
    const start = row * columns;
    if (row) all.copyWithin(start, start - columns, start);
    for (; next < at.length && at[next] < start + columns; next += 1) all[at[next]] = to[next];
  }
  return all;
}

/** 0 is 0, the largest code undefined, the others even ratios. @param {number} code @param {number} last the largest @param {[number, number]} scale what 1 and the last but one stand for @returns {number} in single precision */
function fromLogarithm(code, last, [low, high]) {
  if (code === 0 || code === last) return code ? NaN : 0;
  return Math.fround(low * (high / low) ** ((code - 1) / (last - 2)));
}

/** Of a million codes few are ever looked at: a table, and no second array. @param {Uint8Array | Uint16Array} codes @param {[number, number]} scale @returns {Float32Array} the value of each code */
function valuesOfCodes({ BYTES_PER_ELEMENT: bytes }, scale) {
  const last = 256 ** bytes - 1;
  return Float32Array.from({ length: last + 1 }, (_, code) => fromLogarithm(code, last, scale));
}

const NOT_SENT = 65535;

/** @param {any} header @param {Record<string, any>} arrays @returns {RunEvent[]} */
function eventsOf(header, arrays) {
  /** @type {string[]} */
  const names = header.matrices.map((/** @type {Matrix} */ matrix) => matrix.name);
  /** @type {Move[]} */
  const moves = [];
  for (let i = 0; i < (arrays.moveMatrix?.length ?? 0); i += 1) moves.push(moveAt(header, arrays, names, i));
  let next = 0;
  return header.events.map((/** @type {any} */ event, /** @type {number} */ number) => {
    const [pruned, extended] = arrays.moveCounts.subarray(2 * number, 2 * number + 2);
    const prune = moves.slice(next, next + pruned);
    next += pruned + extended;
    const refused = Object.entries(event.refused ?? {}).flatMap(([reason, places]) => places.map((/** @type {number} */ m) => [names[m], reason]));
    const decided = (event.decided ?? []).flatMap((/** @type {[number | string | null, number[]]} */ [value, places]) => places.map((m) => [names[m], value]));
    const own = { ...event, prune, extend: moves.slice(next - extended, next), refused: Object.fromEntries(refused), decided: Object.fromEntries(decided) };
    // Only looked at one event at a time: made when asked for.
    return Object.defineProperty(own, "importance", {
      enumerable: true,
      get: () => ({ [event.measure]: scoresOf(header, arrays.importance, names, number) }),
    });
  });
}

/** @param {any} header @param {Record<string, any>} arrays @param {string[]} names @param {number} i @returns {Move} */
function moveAt(header, arrays, names, i) {
  /** @type {any} */
  const move = {};
  if (arrays.moveMatrix[i] !== NOT_SENT) move.matrix = names[arrays.moveMatrix[i]];
  if (arrays.moveSlot[i] !== NOT_SENT) move.slot = arrays.moveSlot[i];
  if (Number.isFinite(arrays.moveValue?.[i])) move.singular_value = arrays.moveValue[i];
  if (Number.isFinite(arrays.moveScore?.[i])) move.score = arrays.moveScore[i];
  if (arrays.moveRule[i] !== NOT_SENT) move.rules = header.moveRules[arrays.moveRule[i]];
  return header.extras[i] ? Object.assign(move, header.extras[i]) : move;
}

/** @param {any} header @param {Float32Array | Uint16Array | undefined} importance @param {string[]} names @param {number} row @returns {Record<string, number | null>} */
function scoresOf(header, importance, names, row) {
  if (!importance) return {};
  const { importanceScale: scale } = header;
  return Object.fromEntries(
    names.map((name, m) => {
      const told = importance[row * names.length + m];
      const value = scale ? fromLogarithm(told, 65535, scale) : told;
      return [name, Number.isFinite(value) ? value : null];
    }),
  );
}
