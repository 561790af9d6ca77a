"""The film of an event: a function of its moment, in which nothing leaves the picture and no word stands on another."""

from __future__ import annotations

import base64
import random
from itertools import pairwise
from pathlib import Path

import pytest

from analysis.payload import pack_run
from analysis.player_modules import module_closure
from analysis.runs import load_run
from analysis.stages import stages_of

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"
RUNS = ["words-flexlora-paper", "digits-adalora", "digits-l1ra", "digits-salora", "arc-flexlora-seed0"]
SIZES = [(640, 380), (300, 150)]
LOAD = """async () => {
  const views = EXPORTS;
  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  window.views = views;
  window.model = (text) => new views.Model(views.openPayload(bytes(text)));
  const palette = views.readPalette(document.documentElement);
  window.scene = (model, index, moment, [width, height], selected = 0) => {
    const place = Math.min(4, Math.floor(moment));
    const stage = views.stageOf(model, index, place, moment - place);
    const { step } = model.events[index];
    const at = { step, time: step, record: model.recordAt(step), stage, slow: true };
    return { model, palette, width, height, selected, hovered: -1, ...at };
  };
  window.shot = (run, event, moment, size = [640, 380]) => {
    const own = views.shotOf(scene(run, event, moment, size), moment);
    const { cast, frame } = own;
    const drawn = cast.tokens.map((token) => views.barsAt(token, frame, views.longestBar(run), cast.ahead));
    return { ...own, drawn, balance: views.balanceWords(cast, moment) };
  };
  // Draws, and keeps what is written and where.
  window.Written = class extends views.CanvasPen {
    texts = [];
    text(x, y, string, style = {}) {
      const { maxWidth = Infinity, align = "left", size = 11, alpha = 1 } = style;
      const shown = views.cutText(string, maxWidth, (part) => this.measure(part, style));
      const w = this.measure(shown, style);
      const left = x - { left: 0, center: w / 2, right: w }[align];
      const half = size * 0.42;
      const box = { left, right: left + w, top: y - half, bottom: y + half };
      if (shown && alpha > 0.02) this.texts.push({ shown, size, ...box });
      super.text(x, y, string, style);
    }
  };
  window.pen = () => new Written(document.createElement("canvas").getContext("2d"), "sans-serif");
}"""
MOMENTS = [i / 10 for i in range(51)] + [2.55, 2.65, 2.75, 2.85, 3.55, 3.65]


@pytest.fixture(scope="module")
def film(browser, modules):
    """A page with the player's modules and without an app."""
    context = browser.new_context()
    page = context.new_page()
    page.evaluate(LOAD.replace("EXPORTS", modules(*module_closure("player/ui/player.js"))))
    yield page
    context.close()


def events_of(name: str, count: int = 2) -> tuple[str, list[int]]:
    """A run as the player gets it, and some of its events."""
    run = load_run(SAMPLES / name)
    chosen = random.Random(name).sample(range(len(run.events)), min(count, len(run.events)))
    return base64.b64encode(pack_run(run)).decode(), sorted(chosen)


@pytest.mark.parametrize("name", RUNS)
def test_every_stack_stays_in_the_picture_at_every_moment(film, name):
    outside = film.evaluate(
        """([text, events, moments, sizes]) => {
          const run = model(text);
          const found = [];
          for (const size of sizes) for (const event of events) for (const moment of moments) {
            shot(run, event, moment, size).frame.boxes.forEach(({ x, y, w, h }, m) => {
              const inside = x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= size[0] && y + h <= size[1];
              if (!inside) found.push([size, event, moment, m, x, y, w, h]);
            });
          }
          return found.slice(0, 5);
        }""",
        [*events_of(name), MOMENTS, SIZES],
    )
    assert outside == []


@pytest.mark.parametrize("name", RUNS)
def test_the_row_is_sorted_by_score_and_nothing_overlaps_in_it(film, name):
    text, events = events_of(name)
    rows = film.evaluate(
        """([text, events]) => {
          const run = model(text);
          return events.map((event) => {
            const { cast: { row, aside }, frame: { boxes, away } } = shot(run, event, 1.6);
            return { step: run.events[event].step, row, aside, boxes, away };
          });
        }""",
        [text, events],
    )
    for found in rows:
        stages = stages_of(load_run(SAMPLES / name), found["step"])
        assert stages is not None and found["away"] == 1
        scores = [stages.score[m] for m in found["row"]]
        assert scores == sorted(scores)
        assert sorted(found["row"] + found["aside"]) == list(range(len(stages.score)))
        stood = [found["boxes"][m] for m in found["row"] + found["aside"]]
        for left, right in pairwise(stood):
            assert left["x"] + left["w"] <= right["x"] + 1e-9


@pytest.mark.parametrize("name", RUNS)
def test_a_moment_looks_the_same_from_whichever_side_it_is_reached(film, name):
    same = film.evaluate(
        """([text, events, moments]) => {
          const told = (run, event, moment) => {
            const { frame, drawn, balance } = shot(run, event, moment);
            return JSON.stringify([frame, drawn, balance]);
          };
          const [one, two] = [model(text), model(text)];
          return events.every((event) => {
            const forward = moments.map((moment) => told(one, event, moment));
            const backward = [...moments].reverse().map((moment) => told(two, event, moment)).reverse();
            return new Set(forward).size > moments.length / 2 && forward.every((frame, i) => frame === backward[i]);
          });
        }""",
        [*events_of(name), MOMENTS],
    )
    assert same


@pytest.mark.parametrize("name", RUNS)
def test_map_panel_and_balance_agree_on_ranks_at_every_moment(film, name):
    text, events = events_of(name)
    told = film.evaluate(
        """([text, events, moments]) => {
          const run = model(text);
          // A direction that falls does not count any more; the frame and the direction that grows in it are one.
          const here = ["plain", "new"];
          const counts = ({ look, fall }) => here.includes(look) || (look === "pruned" && fall <= 0.2 ** 2);
          return events.flatMap((event) => moments.map((moment) => {
            const { cast, drawn, balance } = shot(run, event, moment);
            const ranks = cast.tokens.map((_, m) => views.rankAt(cast, m, moment));
            const counted = drawn.map((bars) => bars.filter(counts).reduce((sum, { count }) => sum + count, 0));
            const side = cast.tokens.map((_, m) => {
              const { directions, coming } = views.sideOf(scene(run, event, moment, [640, 380], m));
              return directions.filter(({ gate }) => gate > 0).length + coming;
            });
            const { step } = run.events[event];
            return { step, moment, ranks, counted, side, balance, total: views.totalAt(cast, moment) };
          }));
        }""",
        [text, events, MOMENTS],
    )
    run = load_run(SAMPLES / name)
    for moment in told:
        assert moment["side"] == moment["ranks"], moment["moment"]
        assert moment["counted"] == moment["ranks"], moment["moment"]
        assert sum(moment["ranks"]) == moment["total"]
        assert str(moment["total"]) in moment["balance"]
        stages = stages_of(run, moment["step"])
        assert stages is not None
        if moment["moment"] <= 2.5:
            assert moment["ranks"] == stages.rank.tolist()
        elif moment["moment"] == 3:
            assert moment["ranks"] == (stages.rank - stages.pruned).tolist()
        elif moment["moment"] >= 4:
            assert moment["ranks"] == (stages.rank - stages.pruned + stages.extended).tolist()


@pytest.mark.parametrize("name", RUNS)
def test_no_word_stands_on_another_and_none_is_too_small(film, name):
    found = film.evaluate(
        """([text, events, moments, sizes]) => {
          const run = model(text);
          const found = [];
          let written = 0;
          for (const size of sizes) for (const event of events) for (const moment of moments) {
            const own = pen();
            views.MAPS.map.draw(own, scene(run, event, moment, size));
            written += own.texts.length;
            own.texts.forEach((a, i) => {
              if (a.size < 11 || a.left < -0.5 || a.right > size[0] + 0.5) found.push([size, moment, a]);
              for (const b of own.texts.slice(i + 1)) {
                const apart = a.left >= b.right || b.left >= a.right || a.top >= b.bottom || b.top >= a.bottom;
                if (!apart) found.push([size, moment, a.shown, b.shown]);
              }
            });
          }
          return [written, found.slice(0, 8)];
        }""",
        [*events_of(name, 2), MOMENTS, SIZES],
    )
    assert found[0] > 1000
    assert found[1] == []


def test_the_result_is_asked_for_before_it_is_told(film):
    text, _ = events_of("words-flexlora-paper")
    told = film.evaluate(
        """(text) => {
          const run = model(text);
          const at = (moment) => {
            const now = scene(run, 5, moment, [640, 380]);
            return [now.stage.caption, views.sentenceAt(run, now.step, now.stage)];
          };
          return [1.2, 1.97, 2.2, 2.9, 3.2, 3.9].map(at);
        }""",
        text,
    )
    captions, sentences = zip(*told, strict=True)
    assert [caption.endswith("?") for caption in captions] == [True, False] * 3
    assert captions[0] == "Which 6 matrices may lose a direction, which 6 may gain one?"
    assert all("→" not in sentence for sentence in sentences[:5])
    assert "→" in sentences[5]
