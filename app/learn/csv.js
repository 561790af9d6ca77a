/** The answers of a quiz as a file, without a name. */

import { element } from "../player/pen/draw.js";

/** @import { Memory } from "./memory.js" */

const HEAD = ["code", "phase", "concept", "right", "chosen", "versions"];

/** @param {Record<string, import("./quiz.js").Question[]>} quiz @param {Memory} memory @returns {string} one line an answer */
export function answersCsv(quiz, { now }) {
  const versions = Object.entries(now.versions).map((pair) => pair.join("=")).sort().join(" ");
  const rows = Object.entries(quiz).flatMap(([phase, questions]) =>
    (now.quiz[phase] ?? []).map((chosen, i) => [now.code, phase, questions[i].concept, Number(chosen === questions[i].right), chosen, versions]),
  );
  return [HEAD, ...rows].map((row) => row.join(",")).join("\n") + "\n";
}

/** @param {Record<string, import("./quiz.js").Question[]>} quiz @param {Memory} memory */
export function takeAway(quiz, memory) {
  const address = URL.createObjectURL(new Blob([answersCsv(quiz, memory)], { type: "text/csv" }));
  element("a", { href: address, download: `quiz-${memory.now.code}.csv` }).click();
  URL.revokeObjectURL(address);
}
