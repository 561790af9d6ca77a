/** What a reader's browser remembers: place, answers, versions, quiz. It never leaves the browser by itself. */

const PLACE = "flexlora-learn";
/** Of the quiz's questions and of how versions are given: what was answered or drawn before is no part of it. */
const EDITION = 4;

/**
 * @typedef {object} Remembered
 * @property {string} code drawn at random: it joins the quiz before with the quiz after
 * @property {string} lesson
 * @property {string} step
 * @property {Record<string, boolean | null>} done "lesson/step" → whether the first answer was right, null = skipped or told
 * @property {Record<string, string>} versions lesson → the version that a leader or a coin gave; none where no leader asked
 * @property {Record<string, string>} switched lesson → the version that was read instead, where the reader changed it
 * @property {number} edition of the questions that were answered
 * @property {Record<string, number[]>} quiz phase → chosen option of each question, when it was taken first
 * @property {Record<string, number[]>} again phase → the same when it was taken last, if more than once
 */

/** @returns {Remembered} */
function nothing() {
  return { code: randomCode(), lesson: "", step: "", done: {}, versions: {}, switched: {}, quiz: {}, again: {}, edition: EDITION };
}

function randomCode() {
  return [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Memory {
  /** @param {Storage | null} [store] null = nowhere: a page without storage forgets when it closes */
  constructor(store = ownStorage()) {
    this.store = store;
    /** @type {Remembered} */
    this.now = { ...nothing(), ...this.read() };
  }

  /** @returns {Partial<Remembered>} */
  read() {
    try {
      const found = JSON.parse(this.store?.getItem(PLACE) ?? "{}");
      return found && typeof found === "object" ? known(found) : {};
    } catch {
      return {};
    }
  }

  /** @param {Partial<Remembered>} change */
  keep(change) {
    Object.assign(this.now, change);
    try {
      this.store?.setItem(PLACE, JSON.stringify(this.now));
    } catch {
      // A full or closed storage: the page goes on without.
    }
  }

  /** @param {string} lesson @param {string} step @param {boolean | null} right the first answer stays */
  finish(lesson, step, right) {
    const place = `${lesson}/${step}`;
    if (typeof this.now.done[place] !== "boolean") this.keep({ done: { ...this.now.done, [place]: right } });
  }

  forget() {
    this.keep(nothing());
  }
}

/** Only what has the shape that is expected: the storage may be older than this page. @param {any} found @returns {Partial<Remembered>} */
function known(found) {
  const texts = Object.fromEntries(["code", "lesson", "step"].filter((name) => typeof found[name] === "string").map((name) => [name, found[name]]));
  const records = Object.fromEntries(["done", ...(found.edition === EDITION ? ["versions", "switched", "quiz", "again"] : [])].filter((name) => found[name] && typeof found[name] === "object").map((name) => [name, found[name]]));
  return { ...texts, ...records };
}

/** @returns {Storage | null} */
function ownStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
