/** What every view draws from: one moment of one run, and what the user chose. */

/** @import { Model } from "./model.js" */
/** @import { Palette, Colour } from "../pen/palette.js" */
/** @import { Box } from "../pen/draw.js" */
/** @typedef {import("../pen/draw.js").CanvasPen} Pen */

/**
 * @typedef {object} Scene
 * @property {Model} model
 * @property {Palette} palette
 * @property {number} width CSS pixels of the picture
 * @property {number} height
 * @property {number} time the clock; between records while it plays
 * @property {number} record
 * @property {number} step the recorded step that is shown
 * @property {number} selected
 * @property {number} hovered -1 = none
 * @property {number | null} hoverStep
 * @property {Colour} colour
 * @property {string} sort key of the strip's order
 * @property {string} scale key of the scale of bars in a map of spectra
 * @property {number | null} since step from which rank change counts; null = the first record
 * @property {import("./decode.js").RunEvent | undefined} event the event at exactly this step
 * @property {Map<number, number>} prune matrix → directions that this event takes
 * @property {Map<number, number>} extend matrix → directions that it gives
 * @property {Pinned | null} other a second run under the same clock
 * @property {import("./stages.js").Stage | null} stage where slow motion stands in this event
 * @property {boolean} [slow] slow motion: matrices are drawn as their directions, also between events
 * @property {boolean} [lambdaOnly] the spectrum is drawn without the true singular values behind it
 * @property {object | null} card why-card of the selected matrix, null while it is on its way
 */

/** @typedef {{model: Model, name: string, record: number, missing: boolean}} Pinned missing: its log does not reach this step, the nearest record before it (else its first) stands in */

/**
 * A picture in the map's or the spectrum's place.
 * @typedef {object} View
 * @property {string} key
 * @property {string} label
 * @property {string} hint
 * @property {boolean} [wide] several maps side by side: they need more room
 * @property {boolean} [roomy] it takes more of the width where there is enough for what stands beside it
 * @property {boolean} [spectra] the scale of its bars can be chosen
 * @property {(scene: Scene) => number[]} [frames] records of which it shows λ of all matrices, which may have to be asked for, the most needed first
 * @property {(scene: Pick<Scene, "model" | "other">) => boolean} [possible] false where the run has nothing for it
 * @property {(pen: Pen, scene: Scene) => void} draw
 * @property {(scene: Scene) => string | undefined} [sameAs] while it stays, the picture of this run need not be drawn again; undefined = always
 * @property {(scene: Scene, x: number, y: number) => number} [at] matrix under the point, or -1
 * @property {(scene: Scene, x: number, y: number) => string | null} [tip] what is under the pointer, in words
 * @property {(scene: Scene, x: number, y: number) => number | null} [stepAt] where a click takes the clock
 * @property {(scene: Scene, dx: number, dy: number) => number} [neighbour] the matrix beside the selected one, for the arrow keys
 * @property {(scene: Scene) => string} describe the picture in one sentence, for those who do not see it
 * @property {(scene: Scene) => Table} table the numbers of the picture
 */

/** @typedef {{head: string[], rows: Array<Array<string | number | null>>}} Table */

/** @typedef {{x: (step: number) => number, step: (x: number) => number, left: number, right: number, aside: number}} TimeScale aside: width that is free right of the axis */

/**
 * A picture over time, above the curves. What does not move with the clock is drawn once on a layer below.
 * @typedef {object} Band
 * @property {string} key
 * @property {string} label
 * @property {string} hint
 * @property {(scene: Pick<Scene, "model" | "other">) => boolean} [possible]
 * @property {(scene: Scene, box: Box) => any} layout
 * @property {(scene: Scene) => [string, string]} titles above the left and the right gutter
 * @property {(pen: Pen, scene: Scene, layout: any, scale: TimeScale) => void} still
 * @property {(pen: Pen, scene: Scene, layout: any, scale: TimeScale) => void} moving
 * @property {(scene: Scene, layout: any, scale: TimeScale, x: number, y: number) => number} at matrix under the point, or -1
 * @property {(scene: Scene, layout: any, scale: TimeScale, x: number, y: number) => string | null} [tip] what is under the pointer, in words; without it the matrix's numbers
 * @property {number} [panels] share of the height that the curves take at most
 * @property {boolean} [alone] it leaves all of the height to the curves
 * @property {(scene: Scene) => string} describe
 * @property {(scene: Scene) => Table} table
 */

export {};
