/** Races, drivers and runners of the playground without a browser: reads {playground} as JSON, answers with what each did. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { playground } = JSON.parse(readFileSync(0, "utf-8"));
const load = (name) => import(`${pathToFileURL(playground)}/${name}.js`);
const [{ Training }, { Race }, { Driver }, { Runner }] = await Promise.all(["engine/training", "race", "driver", "runner"].map(load));

const SMALL = { width: 6, layers: 1, true_rank: 2, initial_rank: 2, batch_size: 8, steps: 60, seed: 3 };
const LANES = [SMALL, { ...SMALL, policy: "random" }, { policy: "adalora_rule", initial_rank: 2 }];

const message = (act) => {
  try {
    act();
    return null;
  } catch (error) {
    return error.message;
  }
};

function race() {
  const found = new Race(LANES);
  while (!found.finished) found.step();
  const alone = LANES.map((lane) => {
    const training = new Training({ ...SMALL, ...lane });
    while (!training.finished) training.step();
    return [...training.history.losses.from()];
  });
  return { together: found.lanes.map((lane) => [...lane.history.losses.from()]), alone };
}

/** A driver whose clock stands still until it is told to work: each slice takes what it takes, each step a millisecond. */
function driven(slice = 5) {
  const reports = [];
  const waiting = [];
  const time = { now: 0 };
  const driver = new Driver((report) => reports.push(structuredClone(report)), (work) => waiting.push(work), slice, () => (time.now += 0.5));
  const run = (slices = Infinity) => {
    let count = 0;
    for (; waiting.length && count < slices; count += 1) waiting.shift()();
    return count;
  };
  return { driver, reports, run, time };
}

function played() {
  const { driver, reports, run } = driven();
  driver.take({ kind: "play" });
  driver.take({ kind: "start", lanes: LANES.slice(0, 2) });
  driver.take({ kind: "step", count: 3 });
  run();
  driver.take({ kind: "event" });
  run();
  const atEvent = reports.at(-1).race;
  driver.take({ kind: "play" });
  run(1);
  driver.take({ kind: "pause" });
  const slicesAfterPause = run();
  driver.take({ kind: "change", lane: 1, changes: { initial_budget: 0 } });
  driver.take({ kind: "change", lane: 0, changes: { width: 3 } });
  driver.take({ kind: "change", lane: 7, changes: {} });
  driver.take({ kind: "play" });
  run();
  const lossesTold = [];
  for (const { kind, race: shown } of reports) {
    if (kind !== "snapshot") continue;
    if (shown.lanes[0].since === 0) lossesTold.length = 0;
    lossesTold.push(...shown.lanes[0].losses);
  }
  const alone = new Training(LANES[0]);
  while (!alone.finished) alone.step();
  return {
    errors: reports.filter(({ kind }) => kind === "error").map((report) => report.message),
    afterSteps: reports.find(({ race: shown }) => shown?.step === 3)?.playing,
    atEvent: { step: atEvent.step, events: atEvent.lanes[0].events.length },
    slicesAfterPause,
    finished: reports.at(-1).race.finished,
    playing: reports.at(-1).playing,
    lossesTold,
    alone: [...alone.history.losses.from()],
    moves: reports.at(-1).race.lanes[1].scores.changes,
  };
}

function paced() {
  const { driver, reports, run, time } = driven();
  driver.take({ kind: "start", lanes: [SMALL] });
  driver.take({ kind: "speed", stepsPerSecond: 100 });
  driver.take({ kind: "play" });
  const began = time.now;
  while (driver.race.done < 40) run(1);
  const took = time.now - began;
  const wrong = reports.length;
  driver.take({ kind: "speed", stepsPerSecond: 0 });
  return { took, wrong: reports.slice(wrong).map((report) => report.message) };
}

function held() {
  const { driver, run, time } = driven();
  driver.take({ kind: "start", lanes: [{ ...SMALL, initial_budget: 2 }] });
  driver.take({ kind: "speed", stepsPerSecond: 100, hold: 1000 });
  driver.take({ kind: "play" });
  const began = time.now;
  run();
  const moves = driver.race.lanes[0].history.events.filter(({ prune, extend }) => prune.length + extend.length).length;
  return { took: time.now - began, moves };
}

/** A worker that only writes down what it is told. */
class Mail {
  constructor() {
    this.got = [];
    this.listeners = {};
    this.ended = false;
  }
  addEventListener(kind, listener) {
    this.listeners[kind] = listener;
  }
  postMessage(order) {
    this.got.push(order);
  }
  terminate() {
    this.ended = true;
  }
}

async function run() {
  const heard = { none: [], refused: [], good: [] };
  const orders = [{ kind: "start", lanes: [SMALL] }, { kind: "step", count: 2 }];
  const none = new Runner((report) => heard.none.push(report), () => null);
  const mail = new Mail();
  const refused = new Runner((report) => heard.refused.push(report), () => mail);
  const other = new Mail();
  const good = new Runner((report) => heard.good.push(report), () => other);
  for (const runner of [none, refused, good]) for (const order of orders) runner.send(order);
  const first = refused.beside;
  mail.listeners.error({ preventDefault() {}, message: "refused" });
  other.listeners.message({ data: { kind: "ready" } });
  other.listeners.message({ data: { kind: "error", message: "told" } });
  other.listeners.error({ preventDefault() {}, message: "gone" });
  for (let turn = 0; turn < 200 && [heard.none, heard.refused].some((own) => own.at(-1)?.race?.step !== 2); turn += 1) await new Promise((done) => setTimeout(done, 5));
  const steps = (own) => own.map((report) => report.race.step);
  none.close();
  none.send(orders[0]);
  return {
    beside: [none.beside, first, refused.beside],
    none: steps(heard.none),
    refused: steps(heard.refused),
    ended: mail.ended,
    good: heard.good,
    got: other.got.length,
  };
}

process.stdout.write(
  JSON.stringify({
    race: race(),
    played: played(),
    paced: paced(),
    held: held(),
    runner: await run(),
    wrong: [message(() => new Race([])), message(() => new Race([SMALL, { ...SMALL, seed: 4 }]))],
  }),
);
