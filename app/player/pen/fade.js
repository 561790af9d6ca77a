/** A short cross-fade of the map from stage to stage; what moves is nothing. */

export class Fade {
  /** @param {HTMLCanvasElement} ghost a canvas over the one that changes */
  constructor(ghost) {
    this.ghost = ghost;
    this.shown = "";
  }

  /** Keeps the picture that is about to be replaced, and lets it go. @param {HTMLCanvasElement} canvas @param {string} stage that is to be drawn @param {boolean} still without the fade */
  before(canvas, stage, still) {
    const changed = stage !== this.shown;
    this.shown = stage;
    if (!changed || still || !stage || !canvas.width) return;
    const { ghost } = this;
    ghost.width = canvas.width;
    ghost.height = canvas.height;
    ghost.style.width = canvas.style.width;
    ghost.style.height = canvas.style.height;
    ghost.getContext("2d")?.drawImage(canvas, 0, 0);
    ghost.classList.add("fl-held");
    // The style must be in force before it is taken away, or there is no transition.
    void ghost.offsetWidth;
    ghost.classList.remove("fl-held");
  }
}
