"""Replay: a run's own settings give its own decisions; another's are those of the allocator itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.metrics import describe_event
from analysis.run_config import config_at
from analysis.runs import load_run
from analysis.what_if import (
    MODES,
    WhatIfError,
    chance_agreement,
    compare_decisions,
    logged_decisions,
    own_settings,
    random_moves,
    replay,
    replay_event,
    unavailable_measures,
)
from analysis.what_if.scores import adjusted, score_table
from flexlora.config import PRESETS
from flexlora.controls import Controls
from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA
from flexlora.job import build_job
from flexlora.loop import run_job

pytestmark = pytest.mark.usefixtures("few_examples")

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"
# Of the runs on real models one seed each: seeds 1 and 2 are the same kind of log, thinner.
KINDS = sorted(path.parent for path in SAMPLES.glob("*/run.json") if path.parent.name[-6:] not in ("-seed1", "-seed2"))
FLEXLORA = [folder for folder in KINDS if "-flexlora-" in folder.name]
OTHERS = [folder for folder in KINDS if folder not in FLEXLORA]
SMALL = {
    "interval": 3, "warmup_steps": 2, "final_steps": 3, "eval_interval": 100, "initial_budget": 6, "batch_size": 8,
    "target_modules": "q_proj,v_proj,mlp.fc1",
}  # fmt: skip


def trained(folder, edits=None, stop_after=None, **settings):
    controls = Controls()

    def progress(step, _result):
        if step == stop_after:
            controls.send({"command": "stop"})

    job = build_job("digits", "flexlora", settings.pop("preset", None), 30, 3, {**SMALL, **settings})
    run_job(job, folder, edits=edits, controls=controls, progress=progress)
    return load_run(folder)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """f(**settings) → the finished run under them, trained once."""
    made = {}

    def make(**settings):
        key = str(settings)
        if key not in made:
            made[key] = trained(tmp_path_factory.mktemp("what_if") / "run", **settings)
        return made[key]

    return make


@pytest.fixture(scope="module")
def small(run_of):
    return run_of(preset="paper")


def agrees(run, mode):
    found = replay(run, own_settings(run), mode)
    actual = logged_decisions(run)
    difference = compare_decisions(actual, found)
    assert actual.moves > 0
    assert difference.agreement == 1.0
    assert found.steps.tolist() == actual.steps.tolist()
    assert found.budgets.tolist() == actual.budgets.tolist()
    assert (found.ranks == actual.ranks).all()
    if mode == "frozen":
        assert not difference.rank_difference.any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("folder", FLEXLORA, ids=lambda folder: folder.name)
def test_every_sample_run_replays_its_own_decisions(folder, mode):
    agrees(load_run(folder), mode)


@pytest.mark.parametrize(
    "settings",
    [
        *({"preset": preset} for preset in PRESETS),
        {"schedule": "adaptive", "adaptive_margin": 0.5, "interval": 2},
        {"schedule": "adaptive", "adaptive_margin": 0.5, "interval": 1, "initial_rank": 2},
        {"importance": "sensitivity"},
        {"importance": "true_spectral_entropy"},
        {"importance": "random", "protection": 2},
        {"direction": "prune_only", "rank_one": "median", "initial_rank": 2},
        {"direction": "extend_only", "max_rank": 9},
        {"epsilon": 0.1, "schedule": "points", "points": [[0, 3], [30, 5]]},
    ],
    ids=str,
)
def test_every_preset_and_rule_replays_its_own_decisions(run_of, settings):
    run = run_of(**settings)
    for mode in MODES:
        agrees(run, mode)


def test_an_adaptive_event_says_why_it_moved_so_many(run_of):
    run = run_of(schedule="adaptive", adaptive_margin=0.5, interval=2)
    first, *rest = run.events
    assert "only measures the noise" in describe_event(run, first["step"])
    for event in rest:
        told = describe_event(run, event["step"])
        assert f"{event['budget']} of at most {event['adaptive']['ceiling']} pairs" in told
        assert event["budget"] == len(event["prune"])


def test_live_edits_are_replayed_as_made(tmp_path):
    run = trained(tmp_path / "run", edits={6: {"importance": "nuclear_norm"}, 12: {"schedule": "adaptive"}})
    agrees(run, "exact")
    assert config_at(run, 6).importance == "spectral_entropy"
    assert config_at(run, 7).importance == "nuclear_norm"
    assert config_at(run).schedule == "adaptive"


@pytest.mark.parametrize(
    "settings",
    [{"protection": 2}, {"schedule": "adaptive", "adaptive_margin": 0.5, "interval": 1, "protection": 1}],
    ids=str,
)
def test_one_event_is_decided_as_the_replay_of_all_decides_it(small, settings):
    run = small
    for key in ("spectral_entropy", "nuclear_norm"):
        config = own_settings(run)(1).replace(importance=key, **settings)
        whole = replay(run, config, "exact")
        for number, event in enumerate(run.events):
            decision, row = replay_event(run, config, number), whole.steps.tolist().index(event["step"])
            assert decision.budget == whole.budgets[row]
            for half, table in ((decision.plan.prune, whole.prune), (decision.plan.extend, whole.extend)):
                assert set(half) == {whole.names[m] for m in np.flatnonzero(table[row])}


def test_the_first_decision_of_other_settings_is_what_training_with_them_decides(tmp_path, small):
    """Up to the first event both runs are one; there the replay must foretell the trained run exactly."""
    for change in ({"importance": "nuclear_norm"}, {"initial_budget": 2}, {"direction": "prune_only"}):
        other = trained(tmp_path / str(change)[2:8], stop_after=small.events[0]["step"], **change)
        told = replay(small, own_settings(other), "exact")
        first, real = told.steps[0], logged_decisions(other)
        assert first == real.steps[0]
        assert (told.prune[0] == real.prune[0]).all() and (told.extend[0] == real.extend[0]).all()


def test_frozen_decisions_build_on_each_other_and_keep_the_limits(small):
    config = own_settings(small)(1).replace(schedule="constant", initial_budget=30, interval=1, warmup_steps=0)
    found = replay(small, config, "frozen")
    assert len(found.steps) == 26
    ranks = small.ranks[0].copy()
    for row in range(len(found.steps)):
        assert (found.ranks[row] == ranks).all()
        ranks = ranks - found.prune[row] + found.extend[row]
        assert ranks.min() >= 1
        assert ranks.sum() == small.ranks[0].sum()
    assert (found.final_ranks == ranks).all()


def test_random_moves_are_as_many_and_agree_by_chance_only(small):
    actual = logged_decisions(small)
    drawn = random_moves(small, actual, own_settings(small), "exact", seed=1)
    assert drawn.prune.sum(1).tolist() == actual.prune.sum(1).tolist()
    assert not (drawn.prune & drawn.extend).any()
    again = random_moves(small, actual, own_settings(small), "exact", seed=1)
    assert (again.prune == drawn.prune).all()
    chance = chance_agreement(small, actual, own_settings(small), "exact", actual, draws=20)
    assert 0 < chance < 0.3


def test_a_difference_counts_each_move_once(small):
    actual = logged_decisions(small)
    other = replay(small, own_settings(small)(1).replace(importance="nuclear_norm"), "exact")
    found = compare_decisions(actual, other)
    whole = found.both.sum() + found.only_actual.sum() + found.only_other.sum()
    either = sum(
        len({("p", n) for n in np.flatnonzero(a.prune[r])} | {("e", n) for n in np.flatnonzero(a.extend[r])})
        for a in (actual, other)
        for r in range(len(a.steps))
    )
    assert whole + found.both.sum() == either
    assert found.agreement == found.both.sum() / whole
    assert found.rank_difference is None


def test_what_was_not_logged_is_told_and_refused(tmp_path):
    run = trained(tmp_path / "run", log_measures="lambda", spectrum_interval=5)
    assert set(unavailable_measures(run, "exact")) == {"sensitivity", "true_spectral_entropy"}
    with pytest.raises(WhatIfError, match="log_measures=all"):
        replay(run, own_settings(run)(1).replace(importance="sensitivity"), "exact")
    found = replay(run, own_settings(run)(1).replace(interval=1), "exact")
    assert "whose spectra were not logged" in found.notices[0]
    with pytest.raises(WhatIfError, match="Unknown mode"):
        replay(run, own_settings(run), "sideways")


def test_a_measure_logged_at_events_only_moves_nothing_elsewhere(small):
    config = own_settings(small)(1).replace(importance="sensitivity", interval=1)
    found = replay(small, config, "exact")
    assert "own events only" in found.notices[0]
    moved = found.steps[found.prune.any(axis=1)]
    assert set(moved) <= {event["step"] for event in small.events}
    with pytest.raises(WhatIfError, match="needs more than λ"):
        replay(small, config, "frozen")


@pytest.mark.parametrize("folder", OTHERS, ids=lambda folder: folder.name)
def test_runs_of_other_methods_have_no_own_settings_but_take_ours(folder):
    run = load_run(folder)
    with pytest.raises(WhatIfError, match="another rule"):
        own_settings(run)
    config = build_job(run.header["task"], "flexlora", steps=run.total_steps).config
    for mode in MODES:
        found = replay(run, config, mode)
        left_out = [int(note.split()[0]) for note in found.notices]
        assert len(found.steps) + sum(left_out) == len(config.event_steps())


arrays = st.lists(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=6), min_size=1, max_size=5)


@given(arrays, st.sampled_from(SCORED_BY_LAMBDA))
def test_scores_of_a_table_are_those_of_each_matrix(rows, key):
    values = [np.array(row, np.float32) for row in rows]
    ranks = np.array([len(row) for row in rows])
    table = adjusted(np.concatenate(values), ranks, ranks)
    for array, score in zip(values, score_table(key, table, ranks), strict=True):
        expected = IMPORTANCES[key](np.sort(np.abs(array.astype(np.float64)))[::-1])
        assert score == (expected if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-12))


def test_other_ranks_are_filled_with_zeros_or_lose_the_smallest():
    table = adjusted(np.array([0.5, -2.0, 1.0, 3.0]), np.array([3, 1]), np.array([2, 3]))
    assert table.tolist() == [[2.0, 1.0, 0.0], [3.0, 0.0, 0.0]]
    assert score_table("spectral_entropy", np.zeros((1, 2)), np.array([2])) == [None]
    assert score_table("nuclear_norm", np.zeros((1, 2)), np.array([2])) == [0.0]
    with pytest.raises(ValueError, match="not scored by λ"):
        score_table("sensitivity", table, np.array([2, 3]))
