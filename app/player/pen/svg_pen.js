/** The drawing interface of draw.js as SVG text: the same calls, a file instead of pixels. */

import { CanvasPen, cutText } from "./draw.js";

/** @import { Style, TextStyle, Box } from "./draw.js" */

// From the alphabetic baseline, as a share of the size: not every program knows dominant-baseline.
const MIDDLE = 0.35;

/** @param {number} value @returns {string} hundredths of a pixel are enough */
function pixels(value) {
  return String(Math.round(value * 100) / 100);
}

/** @param {string} text from outside @returns {string} as XML's text or attribute; what XML forbids is left out */
export function escapeXml(text) {
  const allowed = [...text].filter((sign) => /[\t\n\r\u0020-\uD7FF\uE000-\uFFFD]|[\u{10000}-\u{10FFFF}]/u.test(sign)).join("");
  return allowed.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

/** A path as the text of its commands. */
class SvgPath {
  text = "";

  /** @param {number} x @param {number} y */
  moveTo(x, y) {
    this.text += `M${pixels(x)} ${pixels(y)}`;
  }

  /** @param {number} x @param {number} y */
  lineTo(x, y) {
    this.text += `L${pixels(x)} ${pixels(y)}`;
  }

  /** A whole circle: no other arc is drawn. @param {number} x @param {number} y @param {number} radius */
  arc(x, y, radius) {
    const half = `A${pixels(radius)} ${pixels(radius)} 0 1 0 `;
    this.text += `M${pixels(x - radius)} ${pixels(y)}${half}${pixels(x + radius)} ${pixels(y)}${half}${pixels(x - radius)} ${pixels(y)}Z`;
  }

  closePath() {
    this.text += "Z";
  }
}

/** Its canvas only measures text; nothing is drawn on it. */
export class SvgPen extends CanvasPen {
  /** @type {string[]} */
  parts = [];
  clips = 0;

  /** @override @param {number} x @param {number} y @param {number} w @param {number} h @param {Style} style */
  rect(x, y, w, h, style) {
    const radius = style.radius ? ` rx="${pixels(Math.min(style.radius, w / 2, h / 2))}"` : "";
    this.parts.push(`<rect x="${pixels(x)}" y="${pixels(y)}" width="${pixels(Math.max(0, w))}" height="${pixels(Math.max(0, h))}"${radius}${paintOf(style)}/>`);
  }

  /** @override */
  newPath() {
    return new SvgPath();
  }

  /** @override @param {number} x @param {number} y @param {string} string @param {TextStyle} [style] */
  text(x, y, string, style = {}) {
    const shown = style.maxWidth === undefined ? string : cutText(string, style.maxWidth, (part) => this.measure(part, style));
    if (!shown) return;
    const size = style.size ?? 11;
    const anchor = { left: "", center: ' text-anchor="middle"', right: ' text-anchor="end"' }[style.align ?? "left"];
    const weight = style.weight && style.weight !== 400 ? ` font-weight="${style.weight}"` : "";
    const alpha = style.alpha === undefined ? "" : ` opacity="${style.alpha}"`;
    // Another program may lack the font: its letters then take the room that was planned for them.
    const room = shown.length > 1 ? ` textLength="${pixels(this.measure(shown, style))}" lengthAdjust="spacingAndGlyphs"` : "";
    const at = `x="${pixels(x)}" y="${pixels(y + size * MIDDLE)}"`;
    this.parts.push(`<text ${at} font-size="${size}"${weight}${anchor}${room} fill="${escapeXml(style.fill ?? "#000")}"${alpha}>${escapeXml(shown)}</text>`);
  }

  /** Pixels travel as a PNG inside the file. @override @param {HTMLCanvasElement} source @param {number} firstRow @param {number} rows @param {Box} box */
  image(source, firstRow, rows, box) {
    const part = document.createElement("canvas");
    part.width = source.width;
    part.height = Math.max(1, rows);
    const context = /** @type {CanvasRenderingContext2D} */ (part.getContext("2d"));
    context.drawImage(source, 0, firstRow, source.width, rows, 0, 0, source.width, rows);
    const place = `x="${pixels(box.x)}" y="${pixels(box.y)}" width="${pixels(box.w)}" height="${pixels(box.h)}"`;
    this.parts.push(`<image ${place} preserveAspectRatio="none" style="image-rendering:pixelated" href="${part.toDataURL("image/png")}"/>`);
  }

  /** @override @param {Box} box @param {() => void} draw */
  clipped(box, draw) {
    this.clips += 1;
    const id = `clip${this.clips}`;
    this.parts.push(`<clipPath id="${id}"><rect x="${pixels(box.x)}" y="${pixels(box.y)}" width="${pixels(Math.max(0, box.w))}" height="${pixels(Math.max(0, box.h))}"/></clipPath><g clip-path="url(#${id})">`);
    draw();
    this.parts.push("</g>");
  }

  /** @override @param {number} x @param {number} y @param {() => void} draw with its origin there */
  shifted(x, y, draw) {
    this.parts.push(`<g transform="translate(${pixels(x)} ${pixels(y)})">`);
    draw();
    this.parts.push("</g>");
  }

  /** @override @param {import("./draw.js").Path} path @param {Style} style */
  paint(path, style) {
    const { text } = /** @type {SvgPath} */ (path);
    if (text) this.parts.push(`<path d="${text}"${paintOf(style)}/>`);
  }

  /** @param {number} width @param {number} height @param {string} title @param {string} about the picture in words @returns {string} the whole file */
  document(width, height, title, about) {
    const size = `width="${pixels(width)}" height="${pixels(height)}" viewBox="0 0 ${pixels(width)} ${pixels(height)}"`;
    const head = `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" font-family="${escapeXml(this.font)}">`;
    return `<?xml version="1.0" encoding="UTF-8"?>\n${head}\n<title>${escapeXml(title)}</title>\n<desc>${escapeXml(about)}</desc>\n${this.parts.join("\n")}\n</svg>\n`;
  }
}

/** @param {Style} style @returns {string} attributes */
function paintOf(style) {
  const parts = [` fill="${escapeXml(style.fill || "none")}"`];
  if (style.stroke) parts.push(` stroke="${escapeXml(style.stroke)}" stroke-width="${style.width ?? 1}" stroke-linejoin="round"`);
  if (style.stroke && style.dash?.length) parts.push(` stroke-dasharray="${style.dash.join(" ")}"`);
  if (style.alpha !== undefined && style.alpha !== 1) parts.push(` opacity="${style.alpha}"`);
  return parts.join("");
}
