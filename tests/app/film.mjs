/** Moments of a film without a browser: reads {player, payload, events, moments, sizes} as JSON, answers with what was drawn and told. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { player, payload, events, moments, sizes } = JSON.parse(readFileSync(0, "utf-8"));
const load = (name) => import(`${pathToFileURL(player)}/${name}.js`);
const names = ["model/container", "model/model", "model/stages", "film/cast", "film/choreography", "film/draw", "film/side", "film/words", "pen/draw", "ui/sentence"];
const views = Object.assign({}, ...(await Promise.all(names.map(load))));
const { MAPS } = await load("views/maps");

const open = () => new views.Model(views.openPayload(new Uint8Array(readFileSync(payload))));
const COLOURS = ["background", "text", "muted", "faint", "line", "accent", "pruned", "extended"];
const palette = Object.fromEntries(COLOURS.map((name) => [name, "#888888"]));
const EM = 0.56; // of a letter's width in its size: wider than most

/** Draws nothing, and keeps what is written and where. */
class Written {
  texts = [];

  text(x, y, string, { maxWidth = Infinity, align = "left", size = 11, alpha = 1 } = {}) {
    const shown = views.cutText(string, maxWidth, (part) => this.measure(part, { size }));
    const w = this.measure(shown, { size });
    const left = x - { left: 0, center: w / 2, right: w }[align];
    if (shown && alpha > 0.02) this.texts.push({ shown, size, left, right: left + w, top: y - size * 0.42, bottom: y + size * 0.42 });
  }

  measure(string, { size = 11 } = {}) {
    return string.length * size * EM;
  }

  clipped(_box, draw) {
    draw();
  }

  shifted(_x, _y, draw) {
    draw();
  }
}
for (const name of ["rect", "line", "glyph", "hatch", "path"]) Written.prototype[name] = () => {};

function sceneOf(model, event, moment, [width, height], selected = 0) {
  const place = Math.min(4, Math.floor(moment));
  const { step } = model.events[event];
  const stage = views.stageOf(model, event, place, moment - place);
  return { model, palette, width, height, step, time: step, record: model.recordAt(step), selected, hovered: -1, stage, slow: true };
}

function shotOf(model, event, moment, size = sizes[0]) {
  const shot = views.shotOf(sceneOf(model, event, moment, size), moment);
  const { cast, frame } = shot;
  return { ...shot, bars: cast.tokens.map((token) => views.barsAt(token, frame, views.longestBar(model), cast.ahead)) };
}

function outside(model) {
  const found = [];
  for (const size of sizes) for (const event of events) for (const moment of moments) {
    shotOf(model, event, moment, size).frame.boxes.forEach(({ x, y, w, h }, m) => {
      const inside = x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= size[0] && y + h <= size[1];
      if (!inside) found.push([size, event, moment, m, x, y, w, h]);
    });
  }
  return found;
}

function crowded(model) {
  const found = [];
  let written = 0;
  for (const size of sizes) for (const event of events) for (const moment of moments) {
    const pen = new Written();
    MAPS.map.draw(pen, sceneOf(model, event, moment, size));
    written += pen.texts.length;
    pen.texts.forEach((a, i) => {
      if (a.size < 11 || a.left < -0.5 || a.right > size[0] + 0.5) found.push([size, moment, a]);
      for (const b of pen.texts.slice(i + 1)) {
        const apart = a.left >= b.right || b.left >= a.right || a.top >= b.bottom || b.top >= a.bottom;
        if (!apart) found.push([size, moment, a.shown, b.shown]);
      }
    });
  }
  return { written, found };
}

/** Rectangles of each stack, and how wide: those of a pixel's height are the ground it stands on. */
function stacked(model, event, moment) {
  const { layout, frame, bars } = shotOf(model, event, moment);
  return bars.map((own, m) => {
    const drawn = [];
    const pen = Object.assign(new Written(), { rect: (_x, _y, w, h) => h > 1 && drawn.push(w) });
    views.drawStack(pen, palette, frame.boxes[m], layout.most, frame.away, own, 1, false);
    return { drawn, stored: own.reduce((sum, { count }) => sum + count, 0), lengths: own.map(({ length }) => Math.max(1, length * frame.boxes[m].w)) };
  });
}

function rowOf(model, event) {
  const { cast, frame } = shotOf(model, event, 1.6);
  return { thin: frame.row.thin, stacks: stacked(model, event, 1.97), known: cast.known, step: model.events[event].step, row: cast.row, aside: cast.aside, boxes: frame.boxes, away: frame.away };
}

/** Both ways through the film, each with a run of its own. */
function steady() {
  const told = (model, event) => (moment) => {
    const { frame, bars, cast } = shotOf(model, event, moment);
    return JSON.stringify([frame, bars, views.balanceWords(cast, moment)]);
  };
  return events.map((event) => {
    const forward = moments.map(told(open(), event));
    const backward = [...moments].reverse().map(told(open(), event)).reverse();
    return { different: new Set(forward).size, same: forward.every((frame, i) => frame === backward[i]) };
  });
}

function ranksAt(model, event, moment) {
  const { cast, bars } = shotOf(model, event, moment);
  // A direction that falls does not count any more; the frame and the direction that grows in it are one.
  const counts = ({ look, fall }) => look === "plain" || look === "new" || (look === "pruned" && fall <= views.SHOWN ** 2);
  return {
    step: model.events[event].step, moment,
    ranks: cast.tokens.map((_, m) => views.rankAt(cast, m, moment)),
    bars: bars.map((own) => own.filter(counts).reduce((sum, { count }) => sum + count, 0)),
    side: cast.tokens.map((_, m) => {
      const { directions, coming } = views.sideOf(sceneOf(model, event, moment, sizes[0], m));
      return directions.filter(({ gate }) => gate > 0).length + coming;
    }),
    balance: views.balanceWords(cast, moment),
  };
}

function words(model, event, moment) {
  const { stage, step } = sceneOf(model, event, moment, sizes[0]);
  return { moment, caption: stage.caption, sentence: views.sentenceAt(model, step, stage) };
}

const model = open();
const each = (tell) => events.flatMap((event) => moments.map((moment) => tell(model, event, moment)));
process.stdout.write(JSON.stringify({
  outside: outside(model), crowded: crowded(model), steady: steady(), ranks: each(ranksAt), words: each(words), rows: events.map((event) => rowOf(model, event)),
}));
