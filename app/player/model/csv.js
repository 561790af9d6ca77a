/** A table as CSV, as RFC 4180 has it. */

/** @param {import("./scene.js").Table} table @returns {string} UTF-8 text with one header line; undefined is an empty field */
export function csvOf({ head, rows }) {
  return [head, ...rows].map((row) => row.map(csvField).join(",")).join("\r\n") + "\r\n";
}

/** A text that a spreadsheet would take for a formula has an apostrophe before it, as in analysis.tables: names come from outside. @param {string | number | null} value @returns {string} */
function csvField(value) {
  if (typeof value === "number") return exactText(value);
  const text = (value ?? "").replace(/^(?=[=+\-@\t\r])/, "'");
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

/** @param {number} value @returns {string} the fewest digits that give the same number back, in the precision that it was sent with; empty where undefined */
export function exactText(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "" : value < 0 ? "-inf" : "inf";
  if (Number.isInteger(value) || Math.fround(value) !== value) return String(value);
  for (let digits = 6; digits < 9; digits += 1) if (Math.fround(Number(value.toPrecision(digits))) === value) return String(Number(value.toPrecision(digits)));
  return String(Number(value.toPrecision(9)));
}
