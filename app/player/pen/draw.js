/** The small drawing interface that every view uses; this file draws it on a canvas. */

/**
 * @typedef {object} Style
 * @property {string} [fill]
 * @property {string} [stroke]
 * @property {number} [width] stroke width in CSS pixels
 * @property {number} [alpha]
 * @property {number} [radius] corner radius of a rectangle
 * @property {number[]} [dash]
 */

/**
 * @typedef {object} TextStyle
 * @property {string} [fill]
 * @property {number} [size] CSS pixels
 * @property {number} [weight]
 * @property {"left" | "center" | "right"} [align]
 * @property {number} [maxWidth] longer text is cut with an ellipsis
 * @property {number} [alpha]
 */

/** @typedef {{x: number, y: number, w: number, h: number}} Box */

/** @typedef {Pick<Path2D, "moveTo" | "lineTo" | "closePath" | "arc">} Path */

export class CanvasPen {
  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} font font family
   */
  constructor(context, font) {
    this.context = context;
    this.font = font;
  }

  /** @param {number} x @param {number} y @param {number} w @param {number} h @param {Style} style */
  rect(x, y, w, h, style) {
    if (!style.radius && !style.stroke && style.fill) {
      // Hundreds of cells a frame: a path for each would cost more than its pixels.
      this.context.globalAlpha = style.alpha ?? 1;
      this.context.fillStyle = style.fill;
      this.context.fillRect(x, y, w, h);
      this.context.globalAlpha = 1;
      return;
    }
    const path = new Path2D();
    if (style.radius) path.roundRect(x, y, w, h, Math.min(style.radius, w / 2, h / 2));
    else path.rect(x, y, w, h);
    this.paint(path, style);
  }

  /** @returns {Path} what a shape is traced on */
  newPath() {
    return new Path2D();
  }

  /** Diagonal lines: the sign for "undefined". @param {Box} box @param {string} stroke @param {number} [gap] */
  hatch(box, stroke, gap = 5) {
    this.clipped(box, () => {
      const path = this.newPath();
      for (let x = box.x - box.h; x < box.x + box.w; x += gap) {
        path.moveTo(x, box.y + box.h);
        path.lineTo(x + box.h, box.y);
      }
      this.paint(path, { stroke, width: 1 });
    });
  }

  /** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {Style} style */
  line(x1, y1, x2, y2, style) {
    const path = this.newPath();
    path.moveTo(x1, y1);
    path.lineTo(x2, y2);
    this.paint(path, style);
  }

  /**
   * @param {ArrayLike<number>} xs
   * @param {ArrayLike<number>} ys a gap wherever one is NaN
   * @param {Style & {steps?: boolean}} style steps: hold each value until the next
   */
  path(xs, ys, style) {
    const path = this.newPath();
    let open = false;
    for (let i = 0; i < xs.length; i += 1) {
      if (!Number.isFinite(ys[i])) open = false;
      else if (!open) {
        path.moveTo(xs[i], ys[i]);
        open = true;
      } else {
        if (style.steps) path.lineTo(xs[i], ys[i - 1]);
        path.lineTo(xs[i], ys[i]);
      }
    }
    this.paint(path, style);
  }

  /**
   * @param {"plus" | "minus" | "circle" | "down" | "up" | "bar"} kind
   * @param {number} x centre @param {number} y centre @param {number} size half of the extent
   * @param {Style} style
   */
  glyph(kind, x, y, size, style) {
    const path = this.newPath();
    if (kind === "circle") path.arc(x, y, size, 0, 2 * Math.PI);
    else if (kind === "down" || kind === "up") {
      const tip = kind === "down" ? size : -size;
      path.moveTo(x - size, y - tip * 0.75);
      path.lineTo(x + size, y - tip * 0.75);
      path.lineTo(x, y + tip);
      path.closePath();
    } else {
      if (kind !== "bar") path.moveTo(x - size, y);
      if (kind !== "bar") path.lineTo(x + size, y);
      if (kind !== "minus") path.moveTo(x, y - size);
      if (kind !== "minus") path.lineTo(x, y + size);
    }
    this.paint(path, style);
  }

  /** @param {number} x @param {number} y @param {string} string @param {TextStyle} [style] */
  text(x, y, string, style = {}) {
    const context = this.context;
    this.useFont(style);
    context.textAlign = style.align ?? "left";
    context.textBaseline = "middle";
    context.fillStyle = style.fill ?? "#000";
    context.globalAlpha = style.alpha ?? 1;
    context.fillText(style.maxWidth === undefined ? string : cutText(string, style.maxWidth, (part) => context.measureText(part).width), x, y);
    context.globalAlpha = 1;
  }

  /** @param {string} string @param {TextStyle} [style] @returns {number} width in CSS pixels */
  measure(string, style = {}) {
    this.useFont(style);
    return this.context.measureText(string).width;
  }

  /**
   * Stretches some pixel rows of a picture over a box; pixels are repeated, never blended.
   * @param {HTMLCanvasElement} source @param {number} firstRow @param {number} rows @param {Box} box
   */
  image(source, firstRow, rows, box) {
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(source, 0, firstRow, source.width, rows, box.x, box.y, box.w, box.h);
  }

  /** @param {Box} box @param {() => void} draw */
  clipped(box, draw) {
    this.context.save();
    this.context.beginPath();
    this.context.rect(box.x, box.y, box.w, box.h);
    this.context.clip();
    draw();
    this.context.restore();
  }

  /** @param {number} x @param {number} y @param {() => void} draw with its origin there */
  shifted(x, y, draw) {
    this.context.save();
    this.context.translate(x, y);
    draw();
    this.context.restore();
  }

  /** @param {Path} traced @param {Style} style */
  paint(traced, style) {
    const context = this.context;
    const path = /** @type {Path2D} */ (traced);
    context.globalAlpha = style.alpha ?? 1;
    if (style.fill) {
      context.fillStyle = style.fill;
      context.fill(path);
    }
    if (style.stroke) {
      context.strokeStyle = style.stroke;
      context.lineWidth = style.width ?? 1;
      context.lineJoin = "round";
      context.setLineDash(style.dash ?? []);
      context.stroke(path);
    }
    context.globalAlpha = 1;
  }

  /** @param {TextStyle} style */
  useFont(style) {
    this.context.font = `${style.weight ?? 400} ${style.size ?? 11}px ${this.font}`;
  }
}

/** @param {string} string @param {number} width @param {(part: string) => number} measure @returns {string} as much as fits, with an ellipsis where that is not all */
export function cutText(string, width, measure) {
  if (measure(string) <= width) return string;
  // Halving: a long text is measured a few times, not once a letter.
  let [end, over] = [0, string.length];
  while (over - end > 1) {
    const middle = (end + over) >> 1;
    if (measure(`${string.slice(0, middle)}…`) <= width) end = middle;
    else over = middle;
  }
  return end > 0 ? `${string.slice(0, end)}…` : "";
}

/**
 * Sizes a canvas for the screen's pixels and returns a pen whose unit is one CSS pixel.
 * @param {HTMLCanvasElement} canvas @param {number} width @param {number} height @param {string} font
 * @returns {CanvasPen}
 */
export function penFor(canvas, width, height, font) {
  const ratio = window.devicePixelRatio || 1;
  const w = Math.max(1, Math.round(width * ratio));
  const h = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return new CanvasPen(context, font);
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | ((event: any) => void)>} [attributes] "class", "aria-…", "text" for its text, "onclick" and the like for what it does, …
 * @param {Array<Node | string>} [children]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, children = []) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
