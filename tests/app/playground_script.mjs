/** Functions of the playground: reads {app, cases} as JSON, a case is [module, function, ...arguments]; answers with the results. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { app, cases } = JSON.parse(readFileSync(0, "utf-8"));
const modules = new Map();
for (const [name] of cases) if (!modules.has(name)) modules.set(name, await import(`${pathToFileURL(app)}/playground/${name}.js`));

const OWN = {
  /** Distance to the truth at the start and at the end, the share of changes of rank towards it, and the loss on the test split. */
  "engine/training": ({ Training }, given) => {
    const training = new Training(given);
    while (!training.finished) training.step();
    const { scores: { first, last, towards }, testLoss } = training.snapshot();
    return [first, last, towards, testLoss];
  },
  /** Moves of events that pruned and extended so many. */
  "ui/ledger": ({ Ledger }, counts) => {
    const ledger = new Ledger();
    ledger.events = counts.map(([pruned, extended]) => ({ prune: Array(pruned).fill({}), extend: Array(extended).fill({}) }));
    return ledger.moves;
  },
  "ui/experiments": ({ EXPERIMENTS }) => EXPERIMENTS,
  /** A start from given draws, its gradient, and what is left after steps. */
  "toys/direction": ({ WAYS, gradientOf, stepped, lossOf }, start, wanted, [p, q, P, Q], steps) => {
    const first = WAYS[start].start(p, q, P, Q);
    let direction = first;
    for (let i = 0; i < steps; i += 1) direction = stepped(wanted, direction, 0.1);
    return { starts: Object.keys(WAYS), first, gradient: gradientOf(wanted, first), loss: lossOf(wanted, first), last: direction, lastGradient: gradientOf(wanted, direction) };
  },
  "toys/fit": ({ Fit }, wanted, P, Q, lam, weight) => {
    const fit = new Fit(wanted, P, Q, weight, 0.03);
    fit.lam = lam;
    return { gradients: fit.gradients(), loss: fit.loss, departure: fit.departure };
  },
  "toys/price": ({ fits, readFit }, steps) => fits().map((fit) => {
    for (let i = 0; i < steps; i += 1) fit.step();
    return { ...readFit(fit), weight: fit.weight, loss: fit.loss };
  }),
};

const answer = ([name, called, ...given]) => (OWN[name] ? OWN[name](modules.get(name), called, ...given) : [modules.get(name)[called]].map((found) => found(...given))[0]);
process.stdout.write(JSON.stringify(cases.map(answer)));
