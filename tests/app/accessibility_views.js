/** Every view of a run in every colour, on a page of its own, in the Lab's theme; needs accessibility_dom.js and accessibility_canvas.js. */

/** A run that asks no server: what is not in it is not shown. */
function sourceOf(content) {
  const nothing = () => Promise.reject(new Error("not here"));
  const order = async () => content.header.matrices.map((_, m) => m);
  return { name: "one", cost: 0, run: async (held) => (held ? null : content), matrix: nothing, spectra: nothing, why: nothing, order, terms: nothing };
}

const unpack = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));

/** Where much differs: the first record, an event that prunes and extends, one between events, the last. */
function stepsOf({ events, steps }) {
  const moved = events.filter(({ prune, extend }) => prune.length && extend.length);
  const event = moved[Math.floor(moved.length / 2)] ?? events[0];
  return { event, steps: [...new Set([event?.step ?? steps[0], steps[0], steps[Math.floor(steps.length * 0.7)], steps[steps.length - 1]])] };
}

/** Draws, then looks at what was drawn. */
class Looker {
  count = 0;
  /** @type {Map<string, string>} fault → where it was seen first */
  found = new Map();

  constructor(player) {
    this.player = player;
    this.first = { ...player.chosen };
  }

  /** @param {Record<string, string>} choice @param {string} place in words @param {(player: any) => void} draw */
  look(choice, place, draw) {
    const { player } = this;
    const before = `${player.chosen.map} ${player.chosen.band}`;
    Object.assign(player.chosen, this.first, choice);
    if (before !== `${player.chosen.map} ${player.chosen.band}`) player.layOut();
    draw(player);
    const { count, faults } = canvasFaults();
    this.count += count;
    for (const fault of faults) if (!this.found.has(fault)) this.found.set(fault, place);
  }

  get faults() {
    return [...this.found].map(([fault, place]) => `${place}: ${fault}`);
  }
}

function drawMap(player) {
  player.mapPicture.drawn = "";
  player.mapPicture.draw(player.mapView, player.scene(player.mapSize), player.updates);
}

/** @param {any} views of the player @returns {{count: number, faults: string[]}} count: of the texts that were seen */
function lookAtAll(player, { STAGES, penFor }) {
  const looker = new Looker(player);
  const pen = (canvas, size) => penFor(canvas, ...size, player.palette.font);
  const drawTime = () => {
    player.timeline.drawStill(pen(player.nodes.still, player.timeSize), player.scene(player.timeSize));
    player.timeline.drawMoving(pen(player.nodes.moving, player.timeSize), player.scene(player.timeSize));
  };
  const drawSide = () => player.sideView.draw(pen(player.nodes.sideCanvas, player.sideSize), player.scene(player.sideSize));
  const { event, steps } = stepsOf(player.model);
  const [maps, colours, bands] = ["map", "colour", "band"].map((name) => player.possible(name));
  for (const [i, step] of steps.entries()) {
    player.clock.seek(step);
    // All colours at the event; elsewhere each with one of the maps.
    for (const [a, map] of maps.entries()) for (const [b, colour] of colours.entries()) {
      if (i === 0 || (a + b) % (steps.length - 1) === i - 1) looker.look({ map, colour }, `${map} by ${colour} at ${step}`, drawMap);
    }
    for (const [a, band] of bands.entries()) if (i === 0 || a % (steps.length - 1) === i - 1) looker.look({ band }, `${band} at ${step}`, drawTime);
    for (const m of new Set([0, player.model.firstMatrix(step), player.model.M - 1])) {
      player.selected = m;
      looker.look({}, `spectrum of ${m} at ${step}`, drawSide);
    }
  }
  if (event) for (const [stage, { key }] of STAGES.entries()) {
    player.setSlow(true);
    player.clock.setSlow(true, stage);
    player.clock.seek(event.step);
    for (const share of [0, 1]) {
      player.clock.settle(stage, share);
      looker.look({}, `stage ${key} ${share} at ${event.step}`, drawMap);
    }
  }
  return looker;
}

/** @param {any} modules of the player @param {{payload: string, other: string, theme: Record<string, string>}} wanted */
export async function viewFaults(modules, { payload, other, theme }) {
  document.body.innerHTML = "<div></div>";
  for (const [name, value] of Object.entries(theme)) document.documentElement.style.setProperty(name, value);
  document.body.style.background = theme["--st-background-color"];
  const [content, second] = [payload, other].map((text) => modules.openPayload(unpack(text)));
  const player = new modules.Player(document.body.firstElementChild, () => sourceOf(content));
  player.ask({ run: "one", id: "1", step: null, matrix: null, link: null }, () => undefined);
  for (let i = 0; i < 200 && !player.model; i += 1) await new Promise((done) => window.setTimeout(done, 10));
  player.pinned = { model: new modules.Model(second), name: "the other run" };
  player.layOut();
  const { count, faults } = lookAtAll(player, modules);
  const told = textFaults();
  player.destroy();
  return { count, faults: [...faults, ...told] };
}
