/** One toy on the page. */

import { element } from "../../player/pen/draw.js";

/** @import { Toy } from "../toys/toy.js" */
/** @import { Palette } from "../../player/pen/palette.js" */

export class ToyRoom {
  /** @param {Toy} toy @param {{palette: () => Palette, still: boolean, changed: () => void}} page @param {number[]} given */
  constructor(toy, page, given) {
    this.host = element("div", { class: "pg-toy" }, [element("p", { class: "pg-question", text: toy.question })]);
    this.toy = toy;
    this.page = page;
    this.given = given;
    /** @type {import("../toys/toy.js").OpenToy | null} */
    this.open = null;
  }

  /** Once it is on the page, and has a width. */
  begin() {
    this.open = this.toy.open({ ...this.page, host: this.host, given: this.given });
  }

  draw() {
    this.open?.draw();
  }

  close() {
    this.open?.close();
  }

  get values() {
    return this.open?.values() ?? [];
  }
}
