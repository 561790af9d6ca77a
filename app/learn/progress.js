/** What a reader has done, told to whoever listens: a class server, for one. */

export const PROGRESS = "lab-progress";

/**
 * @typedef {object} Progress told once for each answer, and for a step without a question when it is opened
 * @property {string} lesson key of it, or "quiz"
 * @property {string} step key of it, or the phase of the quiz
 * @property {boolean | null} right null = nothing was asked, or it was told at once
 * @property {string} version of the lesson that was read; "one" where there is no other
 * @property {number} [score] of a quiz: how many answers were right
 */

export const ONLY_VERSION = "one";

/** @param {{key: string, steps: {key: string}[]}} lesson @param {import("./memory.js").Remembered} remembered @param {boolean} told nothing is asked: what was seen is done @returns {string} what its tab says: else only what was answered counts */
export function progressOf({ key, steps }, { done }, told) {
  const found = steps.map((step) => done[`${key}/${step.key}`]);
  const answered = found.filter((right) => typeof right === "boolean").length;
  const seen = found.filter((right) => right !== undefined).length;
  if (answered === steps.length || (told && seen === steps.length)) return "✓";
  if (told && seen) return `${seen}/${steps.length}`;
  if (answered) return `${answered}/${steps.length}`;
  return found.some((right) => right === undefined) ? "" : "seen";
}

/** @param {Element} root of the reader; the event rises out of it, also out of a shadow @param {Progress} progress */
export function tellProgress(root, progress) {
  root.dispatchEvent(new CustomEvent(PROGRESS, { detail: progress, bubbles: true, composed: true }));
}

/** @param {EventTarget} target such as the document @param {(progress: Progress) => void} hear @param {AbortSignal} [signal] */
export function onProgress(target, hear, signal) {
  target.addEventListener(PROGRESS, (event) => hear(/** @type {CustomEvent<Progress>} */ (event).detail), { signal });
}
