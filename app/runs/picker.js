/** Two lists of runs, the browser's own: which one is shown, and which one beside it. */

/** @typedef {{key: string, label: string, group: string}} Choice */

/**
 * @param {{data: {runs: Choice[], others: Choice[], run: string, other: string | null}, parentElement: Element | ShadowRoot, setTriggerValue: (name: string, value: unknown) => void}} component
 */
export default function render({ data, parentElement, setTriggerValue }) {
  const [run, other] = listsOf(parentElement);
  offer(run, data.runs, data.run);
  offer(other, [{ key: "", label: "Compare with …", group: "" }, ...data.others.map((choice) => ({ ...choice, label: `with ${choice.label}` }))], data.other ?? "");
  run.onchange = () => setTriggerValue("picked", { run: run.value });
  other.onchange = () => setTriggerValue("picked", { other: other.value || null });
}

/** @param {Element | ShadowRoot} parent @returns {HTMLSelectElement[]} of what is shown, and of what is compared with */
function listsOf(parent) {
  const known = parent.querySelector(".fl-pickers");
  const row = known ?? Object.assign(document.createElement("div"), { className: "fl-pickers" });
  if (!known) {
    for (const name of ["Run", "Compare with"]) {
      const list = Object.assign(document.createElement("select"), { className: "fl-picker" });
      list.setAttribute("aria-label", name);
      row.append(list);
    }
    parent.append(row);
  }
  return /** @type {HTMLSelectElement[]} */ ([...row.children]);
}

/** An open list stays as it is unless there is something new to choose. @param {HTMLSelectElement} list @param {Choice[]} choices in the order of their groups @param {string} chosen */
function offer(list, choices, chosen) {
  const offered = JSON.stringify(choices);
  if (list.dataset.offered !== offered) {
    list.dataset.offered = offered;
    list.replaceChildren();
    for (const { key, label, group } of choices) {
      const last = /** @type {HTMLOptGroupElement | null} */ (list.lastElementChild);
      const own = last?.label === group ? last : Object.assign(document.createElement("optgroup"), { label: group });
      (group ? own : list).append(new Option(label, key));
      if (group && own !== last) list.append(own);
    }
  }
  list.value = chosen;
  list.title = list.selectedOptions[0]?.label ?? "";
}
