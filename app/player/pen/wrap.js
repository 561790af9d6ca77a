/** Text in lines that fit a width. */

/**
 * @param {import("./draw.js").CanvasPen} pen @param {string} text @param {import("./draw.js").TextStyle} style @param {number} width
 * @param {number} [most] lines; the last one is left whole, for the pen to cut
 * @returns {string[]}
 */
export function wrapped(pen, text, style, width, most = Infinity) {
  const lines = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    if (line && lines.length + 1 < most && pen.measure(longer, style) > width) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return most > 0 && line ? [...lines, line] : [];
}
