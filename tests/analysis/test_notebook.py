"""A run in a notebook: one element that needs nothing, whatever the run is called; news that make a page whole."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.notebook import NotebookError, frame_html, show
from analysis.notebook.frame import Page, framed, news_since, page_of, title_of
from analysis.payload import pack_run
from analysis.payload.container import read_arrays, read_header
from analysis.report.contents import rounded
from analysis.runs import Run, load_run
from flexlora.run_log import RunWriter

SAMPLES = Path(__file__).parents[2] / "sample_runs"
MATRICES, RANK = 3, 4


class Elements(HTMLParser):
    """Tags of a text with their attributes, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Any]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def block(page: str, name: str) -> bytes:
    found = re.search(rf'<script type="text/plain" id="fl-{name}">([^<]*)</script>', page)
    assert found
    return unpacked(found.group(1))


def unpacked(text: str) -> bytes:
    return gzip.decompress(base64.b64decode(text))


def told(page: Page, run: Run, **options) -> str:
    """News that must be there."""
    news = news_since(page, run, **options)
    assert news is not None
    return news


class Growing:
    """A log that is being written: rank moves at every tenth step."""

    def __init__(self, folder: Path, name: str = "growing") -> None:
        self.names = [f"layer.{m}.query" for m in range(MATRICES)]
        rows = [
            {"name": name, "layer": m, "module_type": "query", "in_features": 16, "out_features": 16}
            for m, name in enumerate(self.names)
        ]
        config = {"total_steps": 100, "initial_rank": RANK}
        self.writer = RunWriter(folder, {"name": name, "matrices": rows, "config": config, "method": "flexlora"})
        self.step = 0
        self.slots = [list(range(RANK)) for _ in rows]

    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.step += 1
            step = self.step
            self.writer.step(step, 1 / step, 0.0, 1 / step, 1e-3, 0)
            self.writer.spectrum(
                step, [np.linspace(1, 2, len(own)) * step * (m + 1) for m, own in enumerate(self.slots)]
            )
            if step % 10 == 0:
                scores = {"spectral_entropy": dict.fromkeys(self.names, 0.5)}
                slot = self.slots[0].pop(0)
                self.slots[-1].append(step)
                self.writer.event(
                    step, 1, scores, "spectral_entropy",
                    [{"matrix": self.names[0], "slot": slot, "singular_value": 1.0, "rules": []}],
                    [{"matrix": self.names[-1], "slot": step, "rules": []}], {}, [],
                )  # fmt: skip
        self.writer.flush()


@pytest.fixture
def growing(tmp_path):
    log = Growing(tmp_path / "growing")
    yield log
    log.writer.close()


@pytest.mark.parametrize("name", ["words-flexlora-paper", "digits-adalora", "digits-lora"])
def test_a_run_is_one_element_whose_page_holds_all_of_it_and_refers_to_nothing(name):
    run = load_run(SAMPLES / name)
    shown = run._repr_mimebundle_()
    ((tag, attributes),) = Elements(shown["text/html"]).tags
    assert tag == "iframe" and "allow-same-origin" not in attributes["sandbox"]
    page = attributes["srcdoc"]
    assert "default-src 'none'" in page
    own = [
        value for _, found in Elements(page).tags for key, value in found.items() if key in ("src", "href", "action")
    ]
    modules = block(page, "modules").decode()
    assert own == []
    assert set(re.findall(r"https?://[^\s\"')<\\]+", page + modules)) <= {"http://www.w3.org/2000/svg"}
    payload = block(page, "run")
    assert np.array_equal(read_arrays(payload)["steps"], run.steps)
    assert np.allclose(read_arrays(payload)["lam"], run.log.values, rtol=2e-4, atol=0)
    assert shown["text/plain"].count("\n") == 0 and "finished" in shown["text/plain"]


def test_samples_take_little_room_in_a_notebook():
    sizes = {name: len(frame_html(load_run(SAMPLES / name))) for name in ("words-flexlora-paper", "digits-lora")}
    assert sizes["words-flexlora-paper"] < 650_000 and sizes["digits-lora"] < 260_000


def test_a_run_too_large_for_a_notebook_has_its_spectra_at_events():
    run = load_run(SAMPLES / "words-flexlora-paper")
    whole, thin = page_of(run), page_of(run, whole_bytes=150_000)
    assert thin.on_demand and not whole.on_demand and len(thin.html) < 0.7 * len(whole.html)
    assert block(thin.html, "parcels") and not block(whole.html, "parcels")


def test_why_has_a_card_for_every_move():
    run = load_run(SAMPLES / "words-flexlora-paper")
    cards = json.loads(block(page_of(run).html, "cards"))
    for event in run.events:
        assert set(cards[str(event["step"])]) == {move["matrix"] for move in (*event["prune"], *event["extend"])}


@given(page=st.text(), name=st.text(), title=st.text())
def test_whatever_a_page_and_its_title_hold_the_frame_gives_it_back(page, name, title):
    # Line ends become one newline and NUL has no place in HTML at all; neither is in a page, whose data are base64.
    page, name, title = (re.sub(r"[\r\0\ud800-\udfff]", "", text) for text in (page, name, title))
    found = Elements(framed(page, name, title))
    ((tag, attributes),) = found.tags
    assert tag == "iframe" and found.words == []
    assert (attributes["srcdoc"], attributes["name"], attributes["title"]) == (page, name, title)


@pytest.mark.parametrize(
    "name", ['a "run" </iframe><script>alert(1)</script>', "' onload='x", "$modules & $$", "\ud800 λ &quot;"]
)
def test_names_from_outside_stay_names(tmp_path, name):
    log = Growing(tmp_path / "odd", name=name)
    log.go_on(3)
    log.writer.end("completed", wall_s=1.0)
    run = load_run(tmp_path / "odd")
    ((tag, attributes),) = Elements(frame_html(run)).tags
    assert tag == "iframe" and "onload" not in attributes
    assert attributes["title"] == title_of(run)
    page = attributes["srcdoc"]
    assert [tag for tag, _ in Elements(page).tags].count("script") == 7 and "alert(" not in page
    assert json.loads(block(page, "request"))["run"] == name.encode("utf-8", "backslashreplace").decode()


def test_news_hold_all_since_the_page_was_made(growing):
    growing.go_on(12)
    page = page_of(load_run(growing.writer.folder))
    assert news_since(page, load_run(growing.writer.folder)) is None
    before = read_arrays(block(page.html, "run"))
    for _ in range(2):
        growing.go_on(9)
        run = load_run(growing.writer.folder)
        news = json.loads(told(page, run))
        header, added = read_header(unpacked(news["run"]))[0], read_arrays(unpacked(news["run"]))
        whole = read_arrays(rounded(pack_run(run)))
        for key in ("steps", "lam"):
            assert np.array_equal(np.concatenate([before[key], added[key]]), whole[key])
        assert header["from"]["record"] == 12 and news["base"] == page.state and news["live"]
        new = [str(event["step"]) for event in run.events[1:]]
        assert list(json.loads(unpacked(news["cards"]))) == new
        assert news["parcels"] == ""


def test_news_of_a_large_run_bring_the_spectra_of_its_new_events(growing):
    growing.go_on(30)
    page = page_of(load_run(growing.writer.folder), whole_bytes=1_000)
    assert page.on_demand
    growing.go_on(5)
    assert json.loads(told(page, load_run(growing.writer.folder), whole_bytes=1_000))["parcels"] == ""
    growing.go_on(5)
    assert json.loads(told(page, load_run(growing.writer.folder), whole_bytes=1_000))["parcels"] != ""


def test_a_run_without_a_record_has_a_page(growing):
    page = page_of(load_run(growing.writer.folder))
    growing.go_on(1)
    assert news_since(page, load_run(growing.writer.folder))


def test_outside_a_notebook_one_line_says_what_to_do():
    with pytest.raises(NotebookError, match=r"flexlora report .*digits-lora --out run\.html") as raised:
        show(SAMPLES / "digits-lora")
    assert "\n" not in str(raised.value)
