/**
 * Steps a second of the playground's engine beside the Python task with the same settings, events included.
 *
 *     node benchmarks/playground_speed.mjs [rounds=8] [python=python] [setting=value ...]
 *
 * The two take turns, block by block, so that both meet the same machine; the best block of each counts: on a machine that
 * others use too, the rest says how busy they were. Seconds are those of the process (user and system), and of the clock.
 */

import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { Training } = await import(join(root, "app/playground/engine/training.js"));

const given = Object.fromEntries(process.argv.slice(2).map((word) => word.split("=")));
const { rounds = "8", python = "python", ...own } = given;
const settings = { layers: 8, width: 24, batch_size: 64, initial_rank: 4, steps: 400, ...Object.fromEntries(Object.entries(own).map(([key, value]) => [key, Number.isNaN(Number(value)) ? value : Number(value)])) };
const BLOCK = 50;

const SCRIPT = `
import json, sys, time
from flexlora.job import build_job
from flexlora.session import Session
own = json.loads(sys.argv[1])
block = int(sys.argv[2])
job = build_job("planted", "flexlora", steps=own.pop("steps"), settings=own)
session, step = None, 0
for line in sys.stdin:
    if session is None or step + block > job.steps:
        session, step = Session(job), 0
    cpu, clock = time.process_time(), time.perf_counter()
    for step in range(step + 1, step + block + 1):
        session.train_step(step)
        if session.is_event(step):
            session.event(step)
        session.finish_step()
        if step % job.loop.eval_interval == 0:
            session.trained.evaluate(session.data.validation)
    print(time.process_time() - cpu, time.perf_counter() - clock, flush=True)
`;

function engine() {
  let training = new Training(settings);
  return () => {
    if (training.done + BLOCK > settings.steps) training = new Training(settings);
    const cpu = process.cpuUsage();
    const clock = performance.now();
    for (let i = 0; i < BLOCK; i += 1) training.step();
    const { user, system } = process.cpuUsage(cpu);
    return [(user + system) / 1e6, (performance.now() - clock) / 1e3];
  };
}

function task() {
  const env = { ...process.env, PYTHONPATH: root, OMP_NUM_THREADS: "1" };
  const child = spawn(python, ["-c", SCRIPT, JSON.stringify(settings), String(BLOCK)], { env, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    block: async () => {
      child.stdin.write("\n");
      const { value, done } = await lines.next();
      if (done) throw new Error(`${python} could not train the task: pass python=PATH of one that has torch.`);
      return value.split(" ").map(Number);
    },
    end: () => child.stdin.end(),
  };
}

const [ours, theirs] = [engine(), task()];
const best = { engine: [Infinity, Infinity], python: [Infinity, Infinity] };
const least = (/** @type {number[]} */ a, /** @type {number[]} */ b) => a.map((value, place) => Math.min(value, b[place]));
for (let round = 0; round < Number(rounds); round += 1) {
  for (let block = 0; block < settings.steps / BLOCK; block += 1) {
    best.engine = least(best.engine, ours());
    best.python = least(best.python, await theirs.block());
  }
}
theirs.end();
const pace = ([cpu, clock]) => `${(BLOCK / cpu).toFixed(0)} steps/s of processor time, ${(BLOCK / clock).toFixed(0)} by the clock`;
console.log(`${3 * settings.layers} matrices, width ${settings.width}, batch ${settings.batch_size}, rank ${settings.initial_rank}; best of ${rounds} rounds of ${settings.steps} steps in blocks of ${BLOCK}`);
console.log(`engine: ${pace(best.engine)}`);
console.log(`python: ${pace(best.python)}`);
console.log(`engine / python: ${(best.python[0] / best.engine[0]).toFixed(2)} (processor time), ${(best.python[1] / best.engine[1]).toFixed(2)} (clock)`);
