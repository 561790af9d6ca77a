"""Moves over time: each value is the existing number of the run cut there."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from analysis import metrics
from analysis.dynamics import (
    churn_over_time,
    gross_moves_over_time,
    net_moves_over_time,
    trailing_mean,
    weighted_regularizer,
)

SERIES = {
    "gross": (gross_moves_over_time, metrics.gross_moves),
    "net": (net_moves_over_time, metrics.net_moves),
    "churn": (lambda run: churn_over_time(run, 2), lambda run: metrics.churn(run, 2)),
}


@pytest.mark.parametrize("name", SERIES)
def test_the_last_value_is_the_number_of_the_whole_run(name, sample_runs, edge_runs):
    over_time, scalar = SERIES[name]
    for run in (*sample_runs.values(), *edge_runs.values()):
        values = over_time(run)
        assert len(values) == len(run.steps)
        if len(values):
            assert values[-1] == pytest.approx(scalar(run), nan_ok=True)


@pytest.mark.parametrize("name", SERIES)
def test_each_value_is_the_number_of_the_run_up_to_there(name, sample_runs):
    over_time, scalar = SERIES[name]
    run = sample_runs["words-flexlora-paper"]
    values = over_time(run)
    for event in run.events:
        record = run.record_at(event["step"])
        own = [other for other in run.events if other["step"] <= event["step"]]
        ranks, steps = run.ranks[: record + 1], run.steps[: record + 1]
        cut = SimpleNamespace(events=own, ranks=ranks, steps=steps, matrices=run.matrices, places=run.places)
        assert values[record] == pytest.approx(scalar(cut), nan_ok=True)


def test_gross_never_falls_and_is_never_below_net(sample_runs):
    for run in sample_runs.values():
        gross = gross_moves_over_time(run)
        assert (np.diff(gross) >= 0).all()
        assert (gross >= net_moves_over_time(run)).all()


def test_what_moved_and_moved_back_is_gross_but_not_net(edge_runs):
    run = edge_runs["plain"]
    assert gross_moves_over_time(run).tolist() == [0, 0, 1, 1, 2, 2]
    assert net_moves_over_time(run).tolist() == [0, 0, 1, 1, 0, 0]
    assert churn_over_time(run)[1:].tolist() == pytest.approx([np.nan, 0.0, 0.0, 0.5, 0.5], nan_ok=True)


def test_the_weight_of_the_regulariser_follows_edits(sample_runs):
    run = sample_runs["words-flexlora-paper"]
    scalars = run.log.steps
    assert weighted_regularizer(run) == pytest.approx(scalars["loss"] - scalars["task_loss"])
    note = {"kind": "edited", "step": 50, "old": {}, "new": {"regularization_weight": 0.5}}
    edited = weighted_regularizer(replace(run, log=replace(run.log, notes=[note])))
    assert edited[scalars["step"] <= 50] == pytest.approx(0.1 * scalars["regularizer"][scalars["step"] <= 50])
    assert edited[scalars["step"] > 50] == pytest.approx(0.5 * scalars["regularizer"][scalars["step"] > 50])


def test_without_a_weight_what_the_loss_holds_beside_the_task_is_shown(edge_runs):
    assert weighted_regularizer(edge_runs["plain"]) == pytest.approx([0.02] * 5)


def test_a_trailing_mean_is_undefined_only_where_a_value_in_it_is():
    values = np.array([1.0, 2.0, np.nan, 4.0, 6.0, 8.0])
    assert trailing_mean(values, 2) == pytest.approx([1.0, 1.5, np.nan, np.nan, 5.0, 7.0], nan_ok=True)
    assert trailing_mean(values[:2], 1) == pytest.approx([1.0, 2.0])
    assert len(trailing_mean(np.zeros(0), 3)) == 0
