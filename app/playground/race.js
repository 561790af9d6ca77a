/** `Race`: trainings side by side on one task: same seed, same network, same truth, same batches; only how rank moves differs. */

import { Planted } from "./engine/planted.js";
import { completed, SettingError } from "./engine/settings.js";
import { Training } from "./engine/training.js";

/** @import { Given, Settings } from "./engine/settings.js" */
/** @import { Snapshot } from "./engine/training.js" */

/** Settings that all lanes share: what is learned from what, and for how long. @type {(keyof Settings)[]} */
export const SHARED = ["steps", "seed", "scenario", "profile", "true_rank", "width", "layers", "noise", "batch_size"];

/** @typedef {{step: number, finished: boolean, lanes: Snapshot[]}} RaceSnapshot */

export class Race {
  /**
   * @param {Given[]} lanes settings of each training; those that all share are told by the first
   * @throws {SettingError | import("./engine/scenario.js").ScenarioError} also where a lane has a shared setting of its own
   */
  constructor(lanes) {
    if (!lanes.length) throw new SettingError("A race needs at least one training.");
    const first = completed(lanes[0]);
    const common = Object.fromEntries(SHARED.map((key) => [key, first[key]]));
    const planted = new Planted(first);
    this.lanes = lanes.map((given) => {
      const other = SHARED.find((key) => given[key] !== undefined && given[key] !== null && given[key] !== first[key]);
      if (other) throw new SettingError(`${other}=${given[other]}: all trainings of a race have the same ${other}, here ${first[other]}.`);
      return new Training({ ...given, ...common }, planted);
    });
  }

  /** Finished steps. */
  get done() {
    return this.lanes[0].done;
  }

  get finished() {
    return this.lanes[0].finished;
  }

  /** Make the next step of every training; the batch is drawn once. @throws {import("./engine/training.js").TrainingFailed} */
  step() {
    const [first, ...others] = this.lanes;
    first.step();
    for (const lane of others) lane.step(first.network);
  }

  /** @param {number} [since] what came up to this step is left out @returns {RaceSnapshot} */
  snapshot(since = 0) {
    return { step: this.done, finished: this.finished, lanes: this.lanes.map((lane) => lane.snapshot(since)) };
  }
}
