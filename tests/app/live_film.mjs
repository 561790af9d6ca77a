/** The film of a run that trains, driven without a browser: reads {film, cases} as JSON, answers with every frame of each. */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { film: path, cases } = JSON.parse(readFileSync(0, "utf-8"));
const { Arrivals, filmFrom, isShown, nextFrame, opening } = await import(pathToFileURL(path));

/** @param {{arrivals: [number, number, number[]][], frames: number[], still: boolean}} told arrivals: millisecond, last record, events up to it; frames: milliseconds between them */
function played({ arrivals, frames, still, from }) {
  const log = { events: [], first: 1, last: 1 };
  const behind = new Arrivals();
  let film = from === undefined ? opening(log) : filmFrom(from, log.events);
  let now = 0;
  let next = 0;
  const shot = [];
  for (const passed of frames) {
    now += passed;
    for (; next < arrivals.length && arrivals[next][0] <= now; next += 1) {
      [, log.last, log.events] = arrivals[next];
      behind.add(log.last, now);
    }
    film = nextFrame(film, log, passed, still);
    behind.update(film.time, now);
    shot.push([now, film.time, film.held, behind.waiting.length ? now - behind.waiting[0].at : 0, behind.catching]);
  }
  return { shot, shown: isShown(film, log) };
}

const opened = [0, 3, 8, 9, 40].map((count) => opening({ events: Array.from({ length: count }, (_, i) => 10 * (i + 1)), first: 1, last: 500 }).time);
process.stdout.write(JSON.stringify({ played: cases.map(played), opened }));
