"""Where the paper's own claims fail, as numbers; docs/fidelity.md tells them in words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.importance import spectral_entropy
from flexlora.reallocation import plan_reallocation
from flexlora.schedules import SCHEDULES

positive = st.lists(st.floats(1e-3, 1.0), min_size=2, max_size=16)


def contribution(share: float) -> float:
    """One term of the entropy sum, -s log s."""
    return -share * math.log(share) if share else 0.0


def entropy_of(shares) -> float:
    """Normalised entropy of energy shares, through the measure itself."""
    found = spectral_entropy(np.sqrt(shares))
    assert found is not None
    return found


def shares_of(values) -> np.ndarray:
    energy = np.sort(np.square(np.asarray(values, dtype=float)))
    return energy / energy.sum()


# "the direction with the minimum singular value ... contribute[s] the least to entropy"


@pytest.mark.parametrize(
    ("shares", "largest", "smallest"),
    [
        ((0.98, 0.02), 0.0198, 0.0782),
        ((0.9, 0.05, 0.05), 0.0948, 0.1498),
        ((0.8, 0.1, 0.1), 0.1785, 0.2303),
        ((0.7, 0.15, 0.15), 0.2497, 0.2846),
    ],
)
def test_the_smallest_direction_can_contribute_more_entropy_than_the_largest(shares, largest, smallest):
    assert contribution(max(shares)) == pytest.approx(largest, abs=5e-5)
    assert contribution(min(shares)) == pytest.approx(smallest, abs=5e-5)
    assert smallest > largest


@given(st.floats(1e-6, 0.5, exclude_max=True).filter(lambda share: share < 0.4999))
def test_at_rank_two_the_smaller_direction_always_contributes_more(share):
    assert contribution(share) > contribution(1.0 - share)


@given(positive)
def test_the_least_contributor_is_the_smallest_or_the_largest(values):
    shares = shares_of(values)
    terms = [contribution(share) for share in shares]
    assert min(terms) == pytest.approx(min(terms[0], terms[-1]), abs=1e-12)


@pytest.mark.parametrize(
    ("rank", "from_share", "entropy"),
    [(3, 0.5, 0.9464), (4, 0.79034, 0.5366), (8, 0.99347, 0.0250), (12, 0.99982, 0.0009)],
)
def test_one_spike_is_enough_at_small_rank(rank, from_share, entropy):
    def fails(spike):
        return contribution((1 - spike) / (rank - 1)) > contribution(spike)

    assert not fails(from_share - 1e-4)
    assert fails(from_share + 1e-4)
    at_threshold = [from_share, *[(1 - from_share) / (rank - 1)] * (rank - 1)]
    assert entropy_of(at_threshold) == pytest.approx(entropy, abs=1e-4)


@pytest.mark.parametrize(
    ("rank", "rate", "tolerance"), [(2, 1.0, 0.0), (3, 0.161, 0.01), (4, 0.004, 0.002), (6, 0, 1e-3)]
)
def test_the_claim_fails_most_often_at_small_rank(rank, rate, tolerance):
    values = np.random.default_rng(0).normal(size=(20_000, rank))
    failures = [contribution(s[0]) > contribution(s[-1]) for s in map(shares_of, values)]
    assert np.mean(failures) == pytest.approx(rate, abs=tolerance)


@given(positive)
def test_pruning_the_smallest_lowers_the_entropy_sum_but_not_by_its_own_term(values):
    shares = shares_of(values)
    before = sum(map(contribution, shares))
    q = shares[0]
    after = sum(map(contribution, shares[1:] / (1 - q)))
    assert after < before
    assert after == pytest.approx((before - contribution(q) - contribution(1 - q)) / (1 - q), abs=1e-9)


@pytest.mark.parametrize(
    ("shares", "before", "after"),
    [((0.5, 0.25, 0.25), 0.9464, 0.9183), ((0.9, 0.099, 0.001), 0.3010, 0.4661)],
)
def test_the_normalised_entropy_can_move_either_way_when_the_smallest_goes(shares, before, after):
    assert entropy_of(shares) == pytest.approx(before, abs=5e-5)
    assert entropy_of(sorted(shares)[1:]) == pytest.approx(after, abs=5e-5)


@pytest.mark.parametrize(("rank", "rate", "change"), [(3, 0.853, 0.124), (4, 0.953, 0.090), (8, 0.999, 0.039)])
def test_pruning_the_smallest_mostly_raises_the_normalised_entropy(rank, rate, change):
    values = np.random.default_rng(1).normal(size=(10_000, rank))
    changes = [entropy_of(s[1:]) - entropy_of(s) for s in map(shares_of, values)]
    assert np.mean(np.array(changes) > 0) == pytest.approx(rate, abs=0.012)
    assert np.mean(changes) == pytest.approx(change, abs=0.004)


@given(positive, st.integers(0, 10**6))
def test_the_sound_reason_is_the_frobenius_norm(values, seed):
    rng = np.random.default_rng(seed)
    P, Q = (np.linalg.qr(rng.normal(size=(20, len(values)))).Q for _ in range(2))
    costs = []
    for gone in range(len(values)):
        kept = np.array(values)
        kept[gone] = 0.0
        costs.append(np.linalg.norm((P * values) @ Q.T - (P * kept) @ Q.T))
    assert costs == pytest.approx(values, rel=1e-9)
    assert int(np.argmin(costs)) in np.flatnonzero(np.isclose(values, min(values)))


# "high entropy suggests ... rich structural information, warranting expansion"


def test_a_dead_matrix_outranks_an_active_one():
    dead, active = np.full(8, 1e-6), np.array([5.0, 3.0, 1.0, 0.5])
    assert spectral_entropy(dead) == pytest.approx(1.0)
    assert spectral_entropy(active) == pytest.approx(0.5254, abs=5e-5)
    importance = {"dead": spectral_entropy(dead), "active": spectral_entropy(active)}
    plan = plan_reallocation(importance, {"dead": 8, "active": 4}, 1)
    assert (plan.prune, plan.extend) == (("active",), ("dead",))


@given(st.lists(st.floats(-1e3, 1e3).filter(lambda g: abs(g) > 1e-3), min_size=2, max_size=16))
def test_after_one_adam_step_every_matrix_has_the_highest_importance(gradient):
    g = np.array(gradient)
    first, second = 0.1 * g, 0.001 * g**2
    lam = -1e-3 * (first / 0.1) / (np.sqrt(second / 0.001) + 1e-8)
    assert spectral_entropy(lam) == pytest.approx(1.0, abs=1e-9)


def test_when_every_importance_is_equal_nothing_moves_rather_than_noise():
    importance = dict.fromkeys("abcdef", 1.0)
    assert plan_reallocation(importance, dict.fromkeys("abcdef", 8), 4).prune == ()


# "dividing by log r bounds the entropy within [0,1]"


@pytest.mark.parametrize(
    ("rank", "epsilon", "lowest", "highest"),
    [
        (2, 1e-8, -1.4e-8, 0.99999997),
        (16, 1e-3, -3.6e-4, 0.9943),
        (2, 0.1, -0.1375, 0.7370),
        (16, 0.1, -0.0344, 0.6554),
    ],
)
def test_a_positive_epsilon_moves_the_bounds(rank, epsilon, lowest, highest):
    one_hot = spectral_entropy([1.0] + [0.0] * (rank - 1), epsilon=epsilon)
    uniform = spectral_entropy(np.ones(rank), epsilon=epsilon)
    assert one_hot == pytest.approx(-math.log(1 + epsilon) / math.log(rank), rel=1e-6)
    assert uniform == pytest.approx(1 - math.log(1 + rank * epsilon) / math.log(rank), rel=1e-9)
    assert one_hot == pytest.approx(lowest, rel=0.04)
    assert uniform == pytest.approx(highest, abs=5e-5)


@given(positive, st.floats(1e-9, 0.5))
def test_epsilon_always_lowers_the_entropy_within_the_moved_bounds(values, epsilon):
    entropy, shifted, rank = spectral_entropy(values), spectral_entropy(values, epsilon=epsilon), len(values)
    assert entropy is not None
    assert shifted is not None
    assert shifted <= entropy + 1e-9
    assert shifted >= -math.log(1 + epsilon) / math.log(rank) - 1e-9
    assert shifted <= 1 - math.log(1 + rank * epsilon) / math.log(rank) + 1e-9


# "... to make matrices with different ranks comparable"

FACTORS = {2: 0.6309, 3: 0.7925, 4: 0.8614, 6: 0.9208, 8: 0.9464, 10: 0.9603, 12: 0.9688, 16: 0.9786, 32: 0.9912}


@given(positive)
def test_an_empty_direction_lowers_the_importance_by_a_factor_that_depends_on_rank_alone(values):
    entropy, rank = spectral_entropy(values), len(values)
    assert entropy is not None
    extended = spectral_entropy([*values, 0.0])
    assert extended == pytest.approx(entropy * math.log(rank) / math.log(rank + 1), abs=1e-12)


def test_small_ranks_lose_most():
    found = {rank: math.log(rank) / math.log(rank + 1) for rank in FACTORS}
    assert found == pytest.approx(FACTORS, abs=5e-5)
    assert entropy_of([0.4, 0.3, 0.2, 0.1, 0.0]) / entropy_of([0.4, 0.3, 0.2, 0.1]) == pytest.approx(
        math.log(4) / math.log(5)
    )


def test_extending_a_matrix_of_rank_one_turns_the_highest_importance_into_the_lowest():
    assert spectral_entropy([0.3]) == 1.0
    assert spectral_entropy([0.3, 0.0]) == 0.0


# "encouraging aggressive capacity exploration early on and stabilizing convergence toward the end"


@given(st.integers(1, 40), st.integers(0, 400), st.integers(401, 4000))
def test_the_unrounded_paper_curve_is_not_zero_where_the_window_ends(b0, warmup, end):
    at_end = b0 * (1 - (end - warmup) / end) ** 3
    assert at_end == pytest.approx(b0 * (warmup / end) ** 3)


def test_a_long_warm_up_keeps_the_paper_schedule_moving_to_the_end_of_its_window():
    window = {"initial_budget": 8, "warmup_steps": 600, "total_steps": 1000, "final_steps": 0}
    assert SCHEDULES["paper"](999, **window) == 2
    assert SCHEDULES["cubic"](999, **window) == 0


def test_without_a_schedule_the_released_code_moves_three_times_as_much():
    window = {"initial_budget": 4, "warmup_steps": 800, "total_steps": 6700, "final_steps": 3500}
    moved = {key: sum(SCHEDULES[key](t, **window) for t in range(810, 3200, 10)) for key in SCHEDULES}
    assert (moved["paper"], moved["reference"], moved["constant"]) == (307, 727, 956)


# "setting both values and vectors to zero (which 'freezes' the direction until gradient accumulation)"


@given(st.integers(0, 10**6))
def test_an_all_zero_direction_has_no_gradient_at_all_and_a_zero_impact_one_has(seed):
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(6, 5))  # ∂L/∂ΔW

    def gradients(p, lam, q):
        return p @ G @ q, lam * (G @ q), lam * (G.T @ p)

    value, p_gradient, q_gradient = gradients(np.zeros(6), 0.0, np.zeros(5))
    assert value == 0.0
    assert not p_gradient.any()
    assert not q_gradient.any()
    assert gradients(rng.normal(size=6), 0.0, rng.normal(size=5))[0] != 0.0


# "equal parameter budgets"


def test_a_rank_budget_is_not_a_parameter_budget():
    width, inner, layers = 768, 3072, 12
    attention, feed_forward = width + width + 1, width + inner + 1
    assert (attention, feed_forward, feed_forward - attention) == (1537, 3841, 2304)
    per_rank = layers * (4 * attention + 2 * feed_forward)
    assert per_rank == 165_960
    assert (round(8 * per_rank / 1e6, 2), round(12 * per_rank / 1e6, 2)) == (1.33, 1.99)


# What the released code does instead.


def test_the_signed_minimum_removes_the_largest_direction():
    lam = np.array([0.1, -3.0, 0.5])
    gone = int(np.argmin(lam))
    assert abs(lam[gone]) == np.abs(lam).max()
    assert np.abs(lam[gone]) / np.linalg.norm(lam) == pytest.approx(0.986, abs=5e-4)
