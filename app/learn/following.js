/** A class's leader turns the steps of everybody who follows. */

/** What the class's bar asks: `lab-follow` {query}, the leader's address on this page, and `lab-step` {by}, a presenter's key. @param {import("./reader.js").Reader} reader */
export function followClass(reader) {
  const { signal } = reader.gone;
  document.addEventListener("lab-step", (event) => reader.step(/** @type {CustomEvent} */ (event).detail.by), { signal });
  document.addEventListener(
    "lab-follow",
    (event) => {
      const { lesson, step, quiz, version } = /** @type {CustomEvent<{query: Record<string, string>}>} */ (event).detail.query;
      if (version) reader.asked.version = version;
      if (quiz === "before" || quiz === "after") reader.showQuiz(quiz);
      else if (lesson) reader.go(lesson, step ?? "", false);
      else return;
      event.preventDefault();
    },
    { signal },
  );
}
