/** `Training`: FlexLoRA on task `planted`, one step at a time, in float64, as docs/planted.md specifies it. */

import { Adapter } from "./adapter.js";
import { Allocator } from "./allocator.js";
import { History } from "./history.js";
import { energyOf, spectralEntropy } from "./importance.js";
import { Network } from "./network.js";
import { Optimizer } from "./optimizer.js";
import { meanSquare, padded, Planted, ROWS } from "./planted.js";
import { shareOut } from "./scenario.js";
import { budgetOf, isEvent } from "./schedule.js";
import { distance, WayThere } from "./scores.js";
import { changed, completed } from "./settings.js";
import { trueSingularValues } from "./singular_values.js";

/** @import { Event } from "./allocator.js" */
/** @import { Evaluation } from "./history.js" */
/** @import { Way } from "./scores.js" */
/** @import { Given, Settings } from "./settings.js" */

/**
 * @typedef {object} Snapshot where a training stands; plain values and typed arrays of its own, so that it can be sent
 * @property {number} step finished optimizer steps
 * @property {number} steps T
 * @property {boolean} finished
 * @property {number | null} loss task loss of the last step's batch, before the step; null before the first
 * @property {number | null} regularizer unweighted, before the last step
 * @property {number | null} validationLoss of the latest evaluation
 * @property {number | null} testLoss of the test split, once training is finished
 * @property {number} since what follows begins after this step
 * @property {Float64Array} losses task loss of steps since + 1 … step
 * @property {Event[]} events those after `since`
 * @property {Evaluation[]} evaluations those after `since`; with since = 0, the one before the first step too
 * @property {Uint8Array} ranks of each matrix, in module order
 * @property {Uint8Array} trueRanks r*
 * @property {{values: Float64Array, offsets: Int32Array}} spectra λ of the directions in slot order, one matrix after another; offsets (matrices + 1)
 * @property {Float64Array} entropy normalised spectral entropy of each matrix, NaN = undefined
 * @property {Float64Array} energy Σλ²
 * @property {string} measure what decides: importance or policy
 * @property {Float64Array} importances score of each matrix by setting `importance` now, NaN = undefined
 * @property {number} budget b(t) of the last step; 0 outside the window
 * @property {Way} scores how ranks moved towards the truth
 */

/** Training cannot go on. */
export class TrainingFailed extends Error {}

export class Training {
  /**
   * @param {Given} [given] what is left out has its default
   * @param {Planted} [planted] the task, where another training of the same task has it already
   * @throws {import("./settings.js").SettingError | import("./scenario.js").ScenarioError}
   */
  constructor(given = {}, planted) {
    this.settings = completed(given);
    /** As it began: some may have changed since. */
    this.begun = this.settings;
    this.planted = planted ?? new Planted(this.settings);
    const { truth, names } = this.planted;
    const { initial_rank: rank, width } = this.settings;
    const ranks = this.settings.policy === "true_ranks" ? shareOut(truth.ranks, rank * names.length, this.settings.max_rank ?? width) : names.map(() => rank);
    this.adapter = new Adapter(this.planted, this.settings, ranks);
    this.network = new Network(this.planted, this.adapter, this.settings.batch_size);
    this.optimizer = new Optimizer(this.adapter, this.settings);
    this.allocator = new Allocator(this.adapter, this.optimizer, this.settings, truth.ranks);
    this.way = new WayThere(ranks, truth.ranks);
    this.history = new History();
    /** Finished steps. */
    this.done = 0;
    this.remember();
    this.measureSpectra();
    this.evaluate("validation");
  }

  get finished() {
    return this.done >= this.settings.steps;
  }

  /**
   * Make the next step, and let the event follow that is due; nothing once training is finished.
   * @param {Network} [drawn] network of another training of the same task that holds the batch of this step already
   * @throws {TrainingFailed} the loss or the gradient is not finite; the values are as they were
   */
  step(drawn) {
    if (this.finished) return;
    const { settings, history, network, optimizer, allocator } = this;
    const step = this.done + 1;
    if (drawn) network.take(drawn);
    else this.planted.draw("train", ((step - 1) * settings.batch_size) % ROWS.train, settings.batch_size, network.inputs, network.targets);
    const loss = network.step();
    const norm = optimizer.clip();
    if (!Number.isFinite(norm) || !Number.isFinite(loss)) {
      throw new TrainingFailed(`Non-finite loss or gradient at step ${step}. Try a lower learning_rate than ${settings.learning_rate}.`);
    }
    const rate = settings.learning_rate * this.rateFactor(step);
    history.losses.push(loss);
    history.regularizers.push(optimizer.regularize());
    history.rates.push(rate);
    history.budgets.push(settings.schedule === "adaptive" ? budgetOf(settings, step) >> allocator.adaptive.halvings : budgetOf(settings, step));
    optimizer.step(rate);
    allocator.watch(step);
    this.done = step;
    this.remember();
    if (isEvent(settings, step)) {
      this.measureSpectra();
      const event = allocator.event(step);
      history.events.push(event);
      this.way.follow(event);
    }
    if (this.finished) {
      this.measureSpectra();
      this.evaluate("validation");
      this.evaluate("test");
    } else if (step % settings.eval_interval === 0) this.evaluate("validation");
  }

  /** Share of the peak learning rate at a step. @param {number} step */
  rateFactor(step) {
    const { lr_warmup_steps: warmup, lr_decay: decay, steps } = this.settings;
    if (this.allocator.released) return 1;
    if (step <= warmup) return step / (warmup + 1);
    return decay === "constant" ? 1 : (steps - step + 1) / Math.max(1, steps - warmup);
  }

  /**
   * Set anew what may change while training; it holds from the next step on.
   * @param {Given} changes
   * @throws {import("./settings.js").SettingError} the settings stay as they were
   */
  change(changes) {
    const before = this.settings;
    this.settings = changed(before, changes);
    this.allocator.settings = this.settings;
    const keys = /** @type {(keyof Settings)[]} */ (Object.keys(before)).filter((key) => JSON.stringify(before[key]) !== JSON.stringify(this.settings[key]));
    const of = (/** @type {Settings} */ own) => Object.fromEntries(keys.map((key) => [key, own[key]]));
    if (keys.length) this.history.edits.push({ step: this.done, old: of(before), new: of(this.settings) });
  }

  /** Mean squared error on a split, remembered as an evaluation. @param {"validation" | "test"} split */
  evaluate(split) {
    const { network, planted, history } = this;
    const { inputs, targets } = planted.evaluated(split);
    network.fold();
    const outputs = planted.room("outputs", padded(ROWS[split]) * planted.width);
    planted.forward(network.folded.map(({ weight }) => weight), inputs, outputs, ROWS[split]);
    const loss = meanSquare(outputs, targets, ROWS[split] * planted.width);
    history.evaluations.push({ step: this.done, split, loss, distance: distance(this.adapter.ranks(), planted.truth.ranks) });
    return loss;
  }

  /** Keep λ and ranks as they are now. */
  remember() {
    for (const matrix of this.adapter.matrices) {
      for (let slot = 0; slot < matrix.used; slot += 1) if (matrix.active[slot]) this.history.values.push(matrix.lam[slot]);
      this.history.ranks.push(matrix.rank);
    }
  }

  /** Keep the true singular values of every matrix. */
  measureSpectra() {
    const { matrices, scale } = this.adapter;
    if (this.history.spectra.at(-1)?.record === this.done) return;
    this.history.spectra.push({ record: this.done, values: matrices.flatMap((matrix) => trueSingularValues(matrix, scale)) });
  }

  /** Where the training stands. @param {number} [since] losses, events and evaluations up to this step are left out @returns {Snapshot} */
  snapshot(since = 0) {
    const { history, settings, adapter, done } = this;
    const latest = (/** @type {string} */ split) => history.evaluations.filter((one) => one.split === split).at(-1)?.loss ?? null;
    const logged = adapter.matrices.map((matrix) => matrix.logged());
    const undefinedAsNaN = (/** @type {(number | null)[]} */ values) => Float64Array.from(values, (value) => value ?? NaN);
    const offsets = new Int32Array(logged.length + 1);
    logged.forEach((own, matrix) => {
      offsets[matrix + 1] = offsets[matrix] + own.length;
    });
    return {
      step: done,
      steps: settings.steps,
      finished: this.finished,
      loss: done ? history.losses.held[done - 1] : null,
      regularizer: done ? history.regularizers.held[done - 1] : null,
      validationLoss: latest("validation"),
      testLoss: latest("test"),
      since,
      losses: history.losses.from(since),
      events: history.events.filter((event) => event.step > since),
      evaluations: history.evaluations.filter((one) => one.step > since || !since),
      ranks: Uint8Array.from(adapter.ranks()),
      trueRanks: Uint8Array.from(this.planted.truth.ranks),
      spectra: { values: Float64Array.from(logged.flat()), offsets },
      entropy: undefinedAsNaN(logged.map((values) => spectralEntropy(values))),
      energy: Float64Array.from(logged, energyOf),
      measure: settings.policy ?? settings.importance,
      importances: undefinedAsNaN(this.allocator.scores(settings.importance, logged)),
      budget: done ? history.budgets.held[done - 1] : 0,
      scores: { ...this.way.way },
    };
  }
}

/** The arrays of a snapshot that can be handed over rather than copied. @param {Snapshot} snapshot @returns {ArrayBufferLike[]} */
export const transferable = ({ losses, ranks, trueRanks, spectra, entropy, energy, importances }) =>
  [losses, ranks, trueRanks, spectra.values, spectra.offsets, entropy, energy, importances].map((array) => array.buffer);
