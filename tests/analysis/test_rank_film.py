"""A thumbnail holds ranks that the log holds, each at the place of its matrix."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.rank_film import rank_film
from analysis.runs import load_run

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"


@pytest.mark.parametrize("name", ["digits-flexlora-paper", "digits-lora", "digits-autolora"])
def test_frames_are_records_of_the_run(name):
    run = load_run(SAMPLES / name)
    film = rank_film(run, 20)
    assert len(film["steps"]) <= 20 and film["steps"][0] == run.steps[0] and film["steps"][-1] == run.steps[-1]
    for step, ranks in zip(film["steps"], film["ranks"], strict=True):
        assert ranks == run.ranks[run.record_at(step)].tolist()
    places = [tuple(cell) for cell in film["cells"]]
    assert len(places) == len(set(places)) == len(run.matrices)
    assert max(row for row, _ in places) < film["rows"] and max(column for _, column in places) < film["columns"]
