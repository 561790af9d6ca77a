"""The matrix that is shown first goes on as its event began."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.metrics import first_matrix
from analysis.runs import load_run

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"


@pytest.mark.parametrize("name", ["words-flexlora-paper", "digits-adalora", "digits-elalora"])
def test_it_gained_or_lost_at_the_event_and_goes_on_so_the_furthest(name):
    run = load_run(SAMPLES / name)
    places = {matrix.name: place for place, matrix in enumerate(run.matrices)}
    for event in run.events:
        moves = event["extend"] or event["prune"]
        if not moves:
            continue
        later = (1 if event["extend"] else -1) * (run.ranks[-1] - run.ranks[run.record_at(event["step"])])
        gains = {move["matrix"]: int(later[places[move["matrix"]]]) for move in moves}
        assert gains[first_matrix(run, event["step"])] == max(gains.values())


def test_a_log_that_lost_its_records_still_names_one(monkeypatch):
    run = load_run(SAMPLES / "words-flexlora-paper")
    step = next(event["step"] for event in run.events if event["extend"])
    monkeypatch.setattr(type(run), "steps", np.zeros(0, np.int64), raising=False)
    monkeypatch.setattr(type(run), "ranks", np.zeros((0, len(run.matrices)), np.int64), raising=False)
    for field in ("steps", "ranks"):
        run.__dict__.pop(field, None)
    assert first_matrix(run, step) == run.matrices[0].name
