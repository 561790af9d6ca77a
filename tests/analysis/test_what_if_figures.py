"""The figures of a replay hold exactly its moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.figures import FIGURES
from analysis.runs import load_run
from analysis.what_if import compare_decisions, logged_decisions, own_settings, replay

SAMPLE = Path(__file__).resolve().parents[2] / "sample_runs" / "words-flexlora-paper"


@pytest.fixture(scope="module")
def found():
    run = load_run(SAMPLE)
    actual = logged_decisions(run)
    other = replay(run, own_settings(run)(1).replace(importance="nuclear_norm"), "frozen")
    return run, actual, other, compare_decisions(actual, other)


def test_the_map_has_one_mark_a_move_each_part_with_its_own_shape_and_colour(found):
    run, _, _, difference = found
    figure = FIGURES["decision_map"](difference, run.matrices)
    parts = {"both": difference.both, "only as it was": difference.only_actual, "only what-if": difference.only_other}
    for trace in figure.data:
        word, label = trace.name.split(", ")
        assert len(trace.x) == parts[label][:, :, ("prune", "extend").index(word)].sum()
    assert len({trace.marker.symbol for trace in figure.data}) == 6
    assert len({trace.marker.color for trace in figure.data}) == 3


def test_bars_add_up_to_the_moves_of_each_event(found):
    _, _, _, difference = found
    figure = FIGURES["agreement_bars"](difference)
    total = np.sum([trace.y for trace in figure.data], axis=0)
    assert (total == (difference.actual | difference.other).sum(axis=(1, 2))).all()
    assert len({trace.marker.pattern.shape for trace in figure.data}) == 3


def test_a_replay_is_dashed_and_ends_at_its_number_of_moves(found):
    _, actual, other, _ = found
    lines = FIGURES["moves_over_time"](actual, {"what-if, approximation": other}).data
    assert [line.line.dash for line in lines] == ["solid", "dash"]
    assert [line.y[-1] for line in lines] == [actual.moves, other.moves]


def test_final_ranks_are_shown_for_decisions_that_build_on_each_other_only(found):
    run, actual, _, difference = found
    figure = FIGURES["rank_difference_map"](difference, run.matrices, "title")
    assert np.nansum(np.abs(figure.data[0].z.astype(float))) == np.abs(difference.rank_difference).sum()
    exact = compare_decisions(actual, replay(run, own_settings(run), "exact"))
    with pytest.raises(ValueError, match="no final ranks"):
        FIGURES["rank_difference_map"](exact, run.matrices, "title")
