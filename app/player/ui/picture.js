/** A canvas and what was drawn on it last. */

import { penFor } from "../pen/draw.js";

/** @import { Scene, View } from "../model/scene.js" */

export class Picture {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.drawn = "";
  }

  /** A view that can tell when its picture is still the same is left as it is. @param {View} view @param {Scene} scene @param {number} updates of the run's data */
  draw(view, scene, updates) {
    const { width, height, palette } = scene;
    const same = view.sameAs?.(scene);
    const key = same === undefined ? "" : [view.key, updates, palette.key, width, height, window.devicePixelRatio, same].join("|");
    if (key && key === this.drawn) return;
    this.drawn = key;
    view.draw(penFor(this.canvas, width, height, palette.font), scene);
  }
}
