"""A report in a real browser: from a file, without a server, with the network off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.report import write_report
from analysis.report.contents import report_contents
from analysis.report.page import report_html
from analysis.runs import load_run

TIMEOUT_MS = 40_000


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return load_run(make_run(tmp_path_factory.mktemp("reported") / "run"))


@pytest.fixture
def open_file(browser):
    """Opens a file as from a stick: no network; errors in the page fail the test."""
    contexts, errors, asked = [], [], []

    def go(path: Path, place: str = ""):
        context = browser.new_context(viewport={"width": 1024, "height": 768}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{path.as_uri()}{place}")
        page.wait_for_selector(".fl-player[data-step]", timeout=TIMEOUT_MS)
        return page

    yield go
    for context in contexts:
        context.close()
    assert not errors
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)


def test_a_report_plays_with_the_network_off_and_explains_each_matrix(run, open_file, logged, tmp_path):
    page = open_file(write_report(run, tmp_path / "report.html").path)
    player = page.locator(".fl-player")
    assert int(player.get_attribute("data-step")) in logged.events
    page.keyboard.press("Home")
    page.get_by_label("Playback speed").select_option("8")
    page.keyboard.press("Escape")
    page.locator(".fl-play").click()
    page.wait_for_selector(f'.fl-player[data-step="{logged.steps}"]', timeout=TIMEOUT_MS)
    page.locator(".fl-event").nth(1).click()
    page.locator(".fl-choose-side select").select_option("why")
    page.locator(".fl-move.fl-minus").first.click()
    page.locator(".fl-verdict").wait_for(timeout=TIMEOUT_MS)
    assert page.locator(".fl-verdict").inner_text().startswith("Pruned")
    page.wait_for_url("**side=why**", timeout=TIMEOUT_MS)


def test_a_place_in_a_report_is_a_link(run, open_file, logged, tmp_path):
    path = write_report(run, tmp_path / "report.html").path
    wanted = {"step": str(logged.events[2]), "matrix": logged.name(0, "value"), "colour": "entropy"}
    page = open_file(path, "#" + "&".join(f"{key}={value}" for key, value in wanted.items()))
    for key, value in wanted.items():
        page.wait_for_selector(f'.fl-player[data-{key}="{value}"]', timeout=TIMEOUT_MS)


def test_a_report_with_spectra_at_events_only_shows_them_there(run, open_file, logged, tmp_path):
    path = tmp_path / "thin.html"
    path.write_text(report_html(run, report_contents(run, whole_bytes=6_000)), encoding="utf-8")
    page = open_file(path, f"#step={logged.events[1]}&matrix={logged.name(1, 'value')}")
    assert "Spectra are shown at events only" in page.locator(".note").first.inner_text()
    page.wait_for_selector(f'.fl-player[data-step="{logged.events[1]}"]', timeout=TIMEOUT_MS)
    box = page.locator(".fl-side").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.locator(".fl-tip", has_text="λ").wait_for(timeout=TIMEOUT_MS)


def test_all_spectra_of_a_large_report_are_those_of_the_latest_event(run, open_file, logged, tmp_path):
    path = tmp_path / "thin.html"
    path.write_text(report_html(run, report_contents(run, whole_bytes=6_000)), encoding="utf-8")
    step = logged.events[1]
    page = open_file(path, f"#step={step + 1}&map=spectra&matrix={logged.name(1, 'value')}")
    page.locator(f'.fl-map[aria-label^="Spectra of 6 matrices at step {step}. "]').wait_for(timeout=TIMEOUT_MS)
    told = page.locator(".fl-map").get_attribute("aria-label").rpartition("largest |λ| ")[2].split(", ")
    values = np.sort(np.abs(run.singular_values(step)[logged.name(1, "value")]))[::-1]
    assert [float(text) for text in told] == pytest.approx(values, rel=0.01)
