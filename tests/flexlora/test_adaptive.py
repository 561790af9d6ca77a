"""The adaptive schedule: noise alone moves nothing, a real order moves, moves that undo each other end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.adaptive import WINDOW, AdaptiveSchedule, noise_gap
from flexlora.config import FlexLoRAConfig
from flexlora.decision import Decider
from flexlora.reallocation import pair_gaps, plan_reallocation

NAMES = [f"m{number:02d}" for number in range(36)]
RANKS = dict.fromkeys(NAMES, 8)


def event(rng, spread, noise=0.01):
    """Importances with a lasting spread and fresh noise."""
    return {name: 0.5 + spread * number / len(NAMES) + noise * rng.normal() for number, name in enumerate(NAMES)}


def decided(spread, margin, events=20, seed=0):
    """Budgets of a series of events that move nothing, so that ranks stay."""
    rng, schedule, found = np.random.default_rng(seed), AdaptiveSchedule(), []
    for _ in range(events):
        scores = event(rng, spread)
        gaps = pair_gaps(scores, RANKS)
        found.append(schedule.decide(scores, RANKS, gaps, initial_budget=12, margin=margin))
        schedule.observe(scores, RANKS, [], [], churn_limit=0.5)
    return found


def test_the_first_event_only_measures():
    first = decided(1.0, 1.5)[0]
    assert (first.budget, first.noise, first.thresholds) == (0, None, ())


def test_noise_alone_moves_next_to_nothing_and_a_real_order_moves_all_it_may():
    noise = [found.budget for seed in range(5) for found in decided(0.0, 1.5, seed=seed)]
    order = [found.budget for seed in range(5) for found in decided(1.0, 1.5, seed=seed)[1:]]
    assert np.mean(noise) < 0.5
    assert order == [12] * len(order)


def test_the_noise_is_the_standard_deviation_of_one_importance():
    found = [item.noise for item in decided(1.0, 1.5, events=40)[WINDOW:]]
    assert np.mean(found) == pytest.approx(0.01, rel=0.1)


def test_a_drift_that_all_matrices_share_is_no_noise():
    schedule = AdaptiveSchedule()
    for shift in (0.0, 0.1, 0.2):
        scores = {name: number / 100 + shift for number, name in enumerate(NAMES)}
        last = schedule.decide(scores, RANKS, pair_gaps(scores, RANKS), initial_budget=5, margin=1.5)
        schedule.observe(scores, RANKS, [], [], churn_limit=0.5)
    assert last.noise == pytest.approx(0, abs=1e-12)
    assert last.budget == 5


@pytest.mark.parametrize("number", [5, 36, 216])
def test_noise_gaps_are_those_of_normal_draws(number):
    draws = np.sort(np.random.default_rng(0).normal(size=(4000, number)), axis=1)
    for place in (1, 2, number // 2):
        measured = (draws[:, number - place] - draws[:, place - 1]).mean()
        assert noise_gap(place, number) == pytest.approx(measured, rel=0.03)


def test_the_ceiling_halves_when_moves_undo_each_other_and_never_rises():
    schedule, scores = AdaptiveSchedule(), dict.fromkeys(NAMES, 1.0)
    schedule.observe(scores, RANKS, ["m00", "m01"], ["m10", "m11"], churn_limit=0.5)
    assert schedule.ceiling(12) == 12
    schedule.observe(scores, RANKS, ["m10", "m02"], ["m12", "m13"], churn_limit=0.5)
    assert (schedule.undone, schedule.ceiling(12)) == (0.5, 12)
    schedule.observe(scores, RANKS, ["m12", "m13"], ["m00", "m01"], churn_limit=0.5)
    assert (schedule.undone, schedule.ceiling(12)) == (1.0, 6)
    schedule.observe(scores, RANKS, [], [], churn_limit=0.5)
    assert (schedule.undone, schedule.ceiling(12)) == (None, 6)


def test_a_prune_long_after_the_extension_takes_nothing_back():
    schedule, scores = AdaptiveSchedule(), dict.fromkeys(NAMES, 1.0)
    schedule.observe(scores, RANKS, ["m00"], ["m01"], churn_limit=0.5)
    for _ in range(WINDOW):
        schedule.observe(scores, RANKS, [], [], churn_limit=0.5)
    schedule.observe(scores, RANKS, ["m01"], ["m00"], churn_limit=0.5)
    assert schedule.undone == 0.0


@given(st.lists(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=4, max_size=4), max_size=9))
def test_state_survives_json_and_budgets_stay_within_the_ceiling(rows):
    decider, names = Decider(), NAMES[:4]
    config = FlexLoRAConfig(
        total_steps=100, warmup_steps=0, final_steps=0, interval=10, schedule="adaptive", initial_budget=3
    )
    ranks, limits = dict.fromkeys(names, 2), dict.fromkeys(names, 3)
    for place, row in enumerate(rows, 1):
        scores = dict(zip(names, row, strict=True))
        again = Decider.restored(json.loads(json.dumps(decider.state())))
        found = decider.decide(place * 10, scores, ranks, limits, config)
        assert again.decide(place * 10, scores, ranks, limits, config) == found
        assert found.adaptive is not None
        assert 0 <= found.budget <= found.adaptive.ceiling <= 3
        json.dumps(found.adaptive.record(), allow_nan=False)
        decider.observe(place * 10, found.importance, ranks, found.plan.prune, found.plan.extend, config)
        for name in found.plan.prune:
            ranks[name] -= 1
        for name in found.plan.extend:
            ranks[name] += 1


@given(st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), st.floats(0, 1)), min_size=1))
def test_pair_gaps_are_those_of_the_pairs_that_the_plan_moves(scores):
    ranks = {name: 1 + number % 3 for number, name in enumerate(scores)}
    gaps = pair_gaps(scores, ranks)
    plan = plan_reallocation(scores, ranks, len(scores))
    assert len(gaps) == len(plan.prune)
    assert gaps == sorted(gaps, reverse=True)
    for gap, low, high in zip(gaps, plan.prune, plan.extend, strict=True):
        assert gap == pytest.approx(scores[high] - scores[low], abs=1e-8)
