"""Lines that are intact and yet hold something else than a run log: refused in one line, never half believed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.payload import pack_run
from analysis.report import report_html
from analysis.runs import load_run
from analysis.why import why_cards
from flexlora.run_log import RunLogError, RunWriter, read_run
from flexlora.run_log.format import LINES, Chunk, checksum

NAMES: tuple[str, ...] = ("layer.0.query", "layer.1.query")
HEADER = {
    "name": "forged",
    "method": "flexlora",
    "config": {},
    "matrices": [
        {"name": name, "layer": layer, "module_type": "query", "in_features": 4, "out_features": 4}
        for layer, name in enumerate(NAMES)
    ],
}
BROKEN = {
    "no moves": {"prune": None},
    "a move of no matrix": {"prune": [{"matrix": "nobody", "slot": 0, "rules": []}]},
    "a move without a place": {"prune": [{"matrix": NAMES[0], "rules": []}]},
    "a move to nowhere": {"extend": [{"matrix": NAMES[0], "slot": -1, "rules": []}]},
    "a move that is a text": {"extend": ["layer.0.query"]},
    "a budget in words": {"budget": "many"},
    "a fraction of a step": {"step": 1.5},
    "rules that are no list": {"rules": "tie"},
    "an importance in words": {"importance": {"spectral_entropy": ["high", "low"]}},
    "a list of refusals": {"refused": ["layer.0.query"]},
    "a number for a score table": {"scores": 3},
    "half an adaptive decision": {"adaptive": {"noise": 1.0}},
}


def write(folder):
    spectra = [np.array([3.0, 4.0], np.float32)] * len(NAMES)
    with RunWriter(folder, HEADER) as writer:
        writer.spectrum(0, spectra)
        writer.spectrum(1, spectra)
        gone = [{"matrix": NAMES[0], "slot": 1, "singular_value": 4.0, "rules": []}]
        come = [{"matrix": NAMES[1], "slot": 2, "rules": []}]
        scores = {"spectral_entropy": dict(zip(NAMES, (0.2, 0.9), strict=True))}
        writer.event(1, 1, scores, "spectral_entropy", gone, come)
        writer.eval(1, "validation", {"accuracy": 0.5})
        writer.end("completed")
    return folder


def forge(folder, kind, text):
    """Replace a line, given as a function of its record, and compute every checksum anew."""
    lines, content, told = (folder / LINES).read_bytes(), b"", b""
    for raw in (folder / "crc.jsonl").read_bytes().splitlines():
        chunk = Chunk.parse(raw)
        assert chunk is not None
        if chunk.file == LINES:
            own = b""
            for line in lines[chunk.offset : chunk.offset + chunk.length].splitlines():
                record = json.loads(line)
                own += (text(record) if record["record"] == kind else line) + b"\n"
            chunk = Chunk(
                LINES, 0, chunk.kind, len(content), len(own), checksum(own), chunk.first_step, chunk.last_step
            )
            content += own
        told += chunk.line()
    (folder / LINES).write_bytes(content)
    (folder / "crc.jsonl").write_bytes(told)


@pytest.mark.parametrize("name", BROKEN)
def test_an_event_that_is_none_is_refused_in_one_line(tmp_path, name):
    folder = write(tmp_path / "run")
    forge(folder, "event", lambda record: json.dumps(record | BROKEN[name]).encode())
    with pytest.raises(RunLogError, match="does not hold the records its checksums promise: event at step") as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["step", "budget", "measure", "prune", "extend", "rules"])
def test_an_event_that_lacks_something_is_refused(tmp_path, key):
    folder = write(tmp_path / "run")
    forge(folder, "event", lambda record: json.dumps({k: v for k, v in record.items() if k != key}).encode())
    with pytest.raises(RunLogError, match=f"{key} is missing"):
        read_run(folder)


def test_an_evaluation_in_words_is_refused(tmp_path):
    folder = write(tmp_path / "run")
    forge(folder, "eval", lambda record: json.dumps(record | {"metrics": {"accuracy": "good"}}).encode())
    with pytest.raises(RunLogError, match="eval at step 1: metrics"):
        read_run(folder)


def test_a_number_that_json_does_not_have_is_undefined_on_every_page(tmp_path):
    folder = write(tmp_path / "run")
    odd = (b"NaN", b"Infinity")
    forge(folder, "event", lambda record: json.dumps(record).encode().replace(b"0.2", odd[0]).replace(b"0.9", odd[1]))
    forge(folder, "eval", lambda record: json.dumps(record).encode().replace(b"0.5", odd[0]))
    run = load_run(folder)
    assert run.events[0]["importance"]["spectral_entropy"] == dict.fromkeys(NAMES)
    assert run.evals[0]["metrics"] == {"accuracy": None}
    assert pack_run(run)
    assert [card["verdict"] for card in why_cards(run, 0)] == ["pruned", "extended"]
    assert "Matrices" in report_html(run)


def test_a_name_that_is_no_text_can_be_reported(tmp_path):
    folder = write(tmp_path / "run")
    run = load_run(folder)
    run.header["name"] = "a\udc80b"
    assert "a\\udc80b" in report_html(run).encode().decode()


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    with RunWriter(tmp_path / "run", HEADER) as writer:
        writer.spectrum(1, [np.ones(2, np.float32)] * len(NAMES))
        with pytest.raises(ValueError, match="slot is missing"):
            writer.event(1, 1, {}, "spectral_entropy", prune=[{"matrix": NAMES[0]}])
    assert read_run(tmp_path / "run").events == []
