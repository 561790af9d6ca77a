"""A run in a notebook's page in a real browser: it plays in its frame, is told what is new, and keeps its view."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.notebook.frame import frame_html, framed, news_since, page_of
from analysis.notebook.show import bridge_html
from analysis.runs import load_run
from flexlora.run_log import RunWriter

TIMEOUT_MS = 40_000
START_TIMEOUT_S = 60


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens HTML as a saved notebook shows it: no server, no network; errors in the page fail the test."""
    contexts, errors, asked = [], [], []

    def go(body: str):
        path = tmp_path / "notebook.html"
        path.write_text(f'<!doctype html><meta charset="utf-8"><body>{body}</body>', encoding="utf-8")
        context = browser.new_context(viewport={"width": 1060, "height": 860}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert not errors
    assert all(url.startswith(("file:", "blob:", "data:", "about:")) for url in asked)


@pytest.fixture
def writer(tmp_path, logged):
    """A log that is being written, of two matrices."""
    names = [logged.name(layer, "query") for layer in range(2)]
    rows = [
        {"name": name, "layer": layer, "module_type": "query", "in_features": 8, "out_features": 8}
        for layer, name in enumerate(names)
    ]
    config = {"total_steps": 40, "initial_rank": 3}
    with RunWriter(tmp_path / "live", {"name": "live", "matrices": rows, "config": config}) as writer:
        yield writer


def write(writer: RunWriter, *steps: int) -> None:
    for step in steps:
        writer.step(step, 1 / step, 0.0, 1 / step, 1e-3, 0)
        writer.spectrum(step, [np.array([3.0, 2.0, 1.0]) * step] * 2)
    writer.flush()


def test_a_saved_notebook_plays_with_the_network_off(make_run, logged, open_page, tmp_path):
    run = load_run(make_run(tmp_path / "run", name='an "odd" <name> & more'))
    page = open_page(f"<pre>run</pre>{frame_html(run)}")
    frame = page.frame_locator("iframe")
    frame.locator(".fl-player[data-step]").wait_for(timeout=TIMEOUT_MS)
    assert frame.locator(".fl-copy").is_hidden()
    frame.locator(".fl-event").nth(1).click()
    frame.locator(f'.fl-player[data-step="{logged.events[1]}"]').wait_for(timeout=TIMEOUT_MS)
    frame.locator(".fl-choose-side select").select_option("why")
    frame.locator(".fl-move.fl-minus").first.click()
    frame.locator(".fl-verdict").wait_for(timeout=TIMEOUT_MS)
    assert frame.locator(".fl-verdict").inner_text().startswith("Pruned")
    frame.get_by_label("Playback speed").select_option("8")
    frame.locator(".fl-play").click()
    frame.locator(f'.fl-player[data-step="{logged.steps}"]').wait_for(timeout=TIMEOUT_MS)


def test_the_clock_is_in_sight_in_a_narrow_output(make_run, open_page, tmp_path):
    frame = frame_html(load_run(make_run(tmp_path / "run")))
    page = open_page(f'<div style="width:600px;overflow-x:auto">{frame}</div>')
    inner = page.frame_locator("iframe")
    inner.locator(".fl-player[data-step]").wait_for(timeout=TIMEOUT_MS)
    play, outer = inner.locator(".fl-play").bounding_box(), page.locator("iframe").bounding_box()
    assert play["y"] + play["height"] < outer["y"] + outer["height"]


def test_a_frame_reaches_nothing_of_the_notebook_around_it(make_run, open_page, tmp_path):
    page = open_page(frame_html(load_run(make_run(tmp_path / "run"))))
    page.frame_locator("iframe").locator(".fl-player[data-step]").wait_for(timeout=TIMEOUT_MS)
    reached = page.frames[1].evaluate("() => { try { return window.parent.document.title } catch { return null } }")
    assert reached is None


def test_a_frame_follows_what_it_is_told_and_hands_its_view_to_the_next(writer, open_page):
    write(writer, *range(1, 6))
    first = page_of(load_run(writer.folder))
    page = open_page(f'<div id="out">{framed(first.html, "flexlora-0", "live")}</div>')
    # A notebook runs the scripts of an output that it updates.
    run_script = "html => document.body.append(document.createRange().createContextualFragment(html))"
    frame = page.frame_locator("iframe")
    page.evaluate(run_script, bridge_html("flexlora-0", None))
    frame.locator('.fl-player[data-step="5"]').wait_for(timeout=TIMEOUT_MS)
    for last in (9, 14):
        write(writer, *range(last - 3, last + 1))
        news = news_since(first, load_run(writer.folder))
        page.evaluate(run_script, bridge_html("flexlora-0", news))
        # The clock follows the run: every record is there, also those of news before.
        frame.locator(f'.fl-player[data-step="{last}"].fl-live').wait_for(timeout=TIMEOUT_MS)
    frame.locator(".fl-choose-colour select").select_option("entropy")
    wanted = load_run(writer.folder).matrices[1].name
    frame.get_by_label("Matrix", exact=True).select_option("1")
    page.wait_for_function("() => Object.values(window.flexloraLab.views).some((view) => view.colour === 'entropy')")
    # News of another page are none of this one's.
    page.evaluate(run_script, bridge_html("flexlora-0", json.dumps({**json.loads(news), "base": "other"})))
    write(writer, 15)
    writer.end("completed", wall_s=1.0)
    whole = framed(page_of(load_run(writer.folder)).html, "flexlora-0", "live")
    page.evaluate("html => { document.getElementById('out').innerHTML = html }", whole)
    frame.locator(f'.fl-player[data-matrix="{wanted}"]').wait_for(timeout=TIMEOUT_MS)
    assert frame.locator(".fl-choose-colour select").input_value() == "entropy"
    assert frame.locator(".fl-live").count() == 0
