"""Reports: one file that needs nothing, whose numbers are the run's."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from analysis.payload.container import read_arrays, read_header
from analysis.report import ReportError, report_html, write_report
from analysis.report.__main__ import main
from analysis.report.contents import report_contents, rounded
from analysis.runs import load_run
from analysis.why import why_card
from flexlora.run_log import RunWriter

SAMPLES = Path(__file__).parents[2] / "sample_runs"
PAPER, NO_EVENTS, SOFT = (SAMPLES / name for name in ("digits-flexlora-paper", "digits-lora", "digits-adalora"))
ODD = 'a "run" </script><script>alert(1)</script> & more'


@functools.cache
def page_of(folder: Path) -> str:
    return report_html(load_run(folder))


def block(text: str, name: str) -> bytes:
    """Content of a script element of the page, unpacked as the browser does."""
    found = re.search(rf'<script type="text/plain" id="fl-{name}">([^<]*)</script>', text)
    assert found
    return gzip.decompress(base64.b64decode(found.group(1)))


def payload_of(text: str) -> bytes:
    return block(text, "run")


class Tags(HTMLParser):
    """Scripts and references of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts, self.references = 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.references += [value for name, value in attrs if name in ("src", "href", "action", "data")]


@pytest.mark.parametrize("folder", [PAPER, NO_EVENTS, SOFT], ids=lambda folder: folder.name)
def test_a_report_refers_to_nothing_outside_itself(folder):
    text = page_of(folder)
    tags = Tags(text)
    assert tags.references == []
    assert set(re.findall(r"https?://[^\s\"')<\\]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_the_payload_in_the_file_is_that_of_the_run_with_spectra_of_four_digits():
    run = load_run(PAPER)
    payload = payload_of(page_of(PAPER))
    header, _ = read_header(payload)
    assert not header["onDemand"]
    assert np.array_equal(read_arrays(payload)["steps"], run.steps)
    assert np.allclose(read_arrays(payload)["lam"], run.log.values, rtol=2e-4, atol=0)
    codes = read_arrays(payload)["entropy"].reshape(run.entropy.shape)
    assert np.allclose(np.where(codes == 65535, np.nan, codes / 65534), run.entropy, atol=1e-5, equal_nan=True)


def test_every_event_and_matrix_has_the_card_of_the_app():
    run = load_run(PAPER)
    cards = json.loads(block(page_of(PAPER), "cards"))
    assert set(cards) == {str(event["step"]) for event in run.events}
    for event in run.events[::7]:
        for matrix in run.matrices[::5]:
            assert cards[str(event["step"])][matrix.name] == why_card(run, event["step"], matrix.name)


def test_rounding_changes_spectra_by_less_than_their_fourth_digit_and_nothing_else():
    run = load_run(PAPER)
    payload = report_contents(run).payload
    from analysis.payload import pack_run

    exact = pack_run(run, 9_000_000)
    assert len(exact) == len(payload) and rounded(exact) == payload
    others = read_arrays(payload)
    for name, before in read_arrays(exact).items():
        after = others[name]
        if name in ("lam", "sigma", "energy"):
            assert np.allclose(before, after, rtol=2e-4, atol=0, equal_nan=True)
        else:
            assert np.array_equal(before, after, equal_nan=before.dtype == np.float32)


def test_values_that_are_not_finite_survive_rounding():
    from analysis.payload.container import pack

    values = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, 3.4e38], np.float32)
    after = read_arrays(rounded(pack({}, {"lam": values})))["lam"]
    assert np.array_equal(np.isnan(after), np.isnan(values))
    assert np.array_equal(after[[0, 1, 3]], values[[0, 1, 3]])


def test_a_run_that_is_too_large_keeps_its_spectra_at_events_and_says_so():
    run = load_run(PAPER)
    contents = report_contents(run, whole_bytes=150_000, max_cards=10)
    assert any("at events only" in note for note in contents.notes)
    assert any("Why?" in note for note in contents.notes)
    steps = [event["step"] for event in run.events]
    place, seen = 0, []
    while place < len(contents.parcels):
        (length,) = struct.unpack_from("<I", contents.parcels, place)
        parcel = contents.parcels[place + 4 : place + 4 + length]
        seen.append(read_header(parcel)[0]["matrix"])
        assert read_arrays(parcel)["steps"].tolist() == [step for step in steps if step in run.steps]
        own = [run.singular_values(step)[seen[-1]] for step in read_arrays(parcel)["steps"].tolist()]
        assert np.allclose(read_arrays(parcel)["lam"], np.concatenate(own), rtol=2e-4, atol=0)
        place += 4 + length
    assert seen == [matrix.name for matrix in run.matrices]
    for event in run.events:
        moved = {move["matrix"] for move in (*event["prune"], *event["extend"])}
        assert set(contents.cards[str(event["step"])]) == moved


def generated(folder: Path, layers: int, records: int, rank: int, name: str = "generated") -> Path:
    """A log of six matrices a layer whose λ are noise, the least that compression can work on."""
    generator = np.random.default_rng(0)
    kinds = [f"kind{number}" for number in range(6)]
    matrices = [
        {"name": f"{layer}.{kind}", "layer": layer, "module_type": kind, "in_features": 768, "out_features": 768}
        for layer in range(layers)
        for kind in kinds
    ]
    writer = RunWriter(folder, {"name": name, "matrices": matrices, "config": {"total_steps": records}})
    for step in range(1, records + 1):
        writer.step(step, 1 / step, 0.01, 1 / step, 1e-3, 0)
        values = [generator.normal(size=rank).astype(np.float32) for _ in matrices]
        writer.spectrum(step, values, values if step % 25 == 0 else None)
    writer.end("completed", wall_s=1.0)
    return folder


def test_72_matrices_of_1000_records_and_16_values_stay_below_7_mb_with_every_spectrum(tmp_path):
    run = load_run(generated(tmp_path / "run", layers=12, records=1000, rank=16))
    done = write_report(run, tmp_path / "report.html")
    assert done.size_bytes == (tmp_path / "report.html").stat().st_size <= 7_000_000
    assert not done.notes


def test_names_from_outside_are_text_on_the_page(tmp_path):
    text = report_html(load_run(generated(tmp_path / "odd", layers=1, records=3, rank=2, name=ODD)))
    assert "<script>alert" not in text
    assert Tags(text).scripts == 7


def test_the_command_writes_once_and_tells_mistakes_in_one_line(tmp_path, tmp_path_factory, capsys):
    run = str(generated(tmp_path_factory.mktemp("own") / "run", layers=1, records=3, rank=2))
    out = tmp_path / "report.html"
    assert main([run, "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["size_bytes"] == out.stat().st_size
    for arguments, told in (
        ([run, "--out", str(out)], "--overwrite"),
        ([run, "--out", str(tmp_path)], "must be a file"),
        ([run, "--out", str(tmp_path / "no" / "report.html")], "in a folder that exists"),
        ([str(tmp_path / "nothing"), "--out", str(tmp_path / "other.html")], "nothing"),
        ([run], "--out"),
    ):
        assert main(arguments) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ") and message.count("\n") == 1 and told in message
    assert main([run, "--out", str(out), "--overwrite"]) == 0
    assert list(tmp_path.iterdir()) == [out]


def test_a_report_cannot_be_made_without_the_player(tmp_path, monkeypatch):
    from analysis import player_modules

    player_modules.module_closure.cache_clear()
    monkeypatch.setattr(player_modules, "FOLDER", tmp_path)
    with pytest.raises(ReportError, match="in the repository"):
        report_html(load_run(NO_EVENTS))
