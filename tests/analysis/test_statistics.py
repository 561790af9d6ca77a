"""Paired statistics: they cover and alarm as often as they say, agree with scipy, and take what is degenerate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import (
    bca_ends,
    compare_pairs,
    detectable_effect,
    detectable_shift,
    equivalence_p,
    holm,
    interval,
    rank_stability,
    sign_flip_p,
    verdict,
)

STUDIES = 1000
RESAMPLES = 1999
differences = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=12)


def simulated(draw, pairs: int, effect: float, seed: int = 0):
    """(studies, pairs) of one kind of difference, and the interval of each study."""
    rng = np.random.default_rng(seed)
    found = draw(rng, (STUDIES, pairs)) + effect
    ends = []
    for block in np.split(found, 10):
        draws = rng.integers(0, pairs, (len(block), RESAMPLES, pairs))
        means = np.take_along_axis(block[:, None, :], draws, axis=2).mean(axis=2)
        ends.append(bca_ends(block, means, 0.95))
    low, high = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    return found, low, high


def accuracies(rng, shape):
    """Differences of accuracies on 300 examples, as studies have them."""
    return (rng.binomial(300, 0.9, shape) - rng.binomial(300, 0.9, shape)) / 300


def normal(rng, shape):
    return rng.normal(0.0, 0.02, shape)


@pytest.mark.parametrize("effect", [0.0, 0.012])
@pytest.mark.parametrize("draw", [normal, accuracies])
def test_intervals_of_a_thousand_studies_cover_as_often_as_they_say(draw, effect):
    _, low, high = simulated(draw, 16, effect)
    assert abs(((low <= effect) & (effect <= high)).mean() - 0.95) <= 0.015


def test_with_few_pairs_intervals_cover_less_often_and_no_less_than_documented():
    _, low, high = simulated(normal, 5, 0.0)
    assert 0.89 <= ((low <= 0) & (high >= 0)).mean() <= 0.95


def test_skewed_differences_are_covered_better_than_by_a_symmetric_interval():
    found, low, high = simulated(lambda rng, shape: rng.lognormal(0.0, 1.0, shape) - math.exp(0.5), 32, 0.0)
    covered = ((low <= 0) & (high >= 0)).mean()
    half = stats.t.ppf(0.975, 31) * stats.sem(found, axis=1)
    assert covered > (abs(found.mean(axis=1)) <= half).mean()
    assert covered > 0.9


def test_tables_of_a_thousand_studies_without_effect_raise_few_alarms_and_with_one_find_it():
    rng = np.random.default_rng(1)
    alarms = found = wrong = 0
    for _ in range(STUDIES):
        null = rng.normal(0.0, 0.02, (5, 8))
        pairs = {str(row): sign_flip_p(own) for row, own in enumerate(null)}
        alarms += min(holm(pairs).values()) <= 0.05
    for _ in range(100):
        table = rng.normal(0.0, 0.02, (5, 10)) + np.array([[0.04], [0], [0], [0], [0]])
        compared = {str(row): compare_pairs(own) for row, own in enumerate(table)}
        adjusted = holm({name: one.p for name, one in compared.items()})
        told = {name: verdict(one, adjusted[name]) for name, one in compared.items()}
        found += told.pop("0") == "better"
        wrong += any(name != "not told apart" for name in told.values())
    assert alarms / STUDIES <= 0.05
    assert found >= 80
    assert wrong <= 12


def test_the_detectable_effect_is_found_four_times_in_five():
    rng = np.random.default_rng(2)
    for pairs in (4, 12):
        shift = detectable_shift(pairs) / math.sqrt(pairs)
        p = stats.ttest_1samp(rng.normal(shift, 1.0, (20_000, pairs)), 0.0, axis=1).pvalue
        assert abs((p <= 0.05).mean() - 0.8) < 0.01


@pytest.mark.parametrize("pairs", [3, 5, 16, 64, 500])
def test_the_detectable_effect_is_that_of_the_noncentral_t(pairs):
    limit, shift = stats.t.ppf(0.975, pairs - 1), detectable_shift(pairs)
    power = stats.nct.sf(limit, pairs - 1, shift) + stats.nct.cdf(-limit, pairs - 1, shift)
    assert power == pytest.approx(0.8, abs=1e-4)
    sample = np.arange(pairs) / pairs
    assert detectable_effect(sample) == pytest.approx(shift * stats.sem(sample))


def test_an_equivalence_test_is_right_at_its_margin():
    rng = np.random.default_rng(3)
    at_margin = [equivalence_p(own, 0.01) for own in rng.normal(0.01, 0.01, (2000, 12))]
    assert np.mean(np.array(at_margin) <= 0.05) == pytest.approx(0.05, abs=0.015)
    sample = rng.normal(0.001, 0.005, 20)
    sides = [
        stats.ttest_1samp(sample, bound, alternative=side).pvalue
        for bound, side in ((-0.01, "greater"), (0.01, "less"))
    ]
    assert equivalence_p(sample, 0.01) == pytest.approx(max(sides))


# --- against scipy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [2, 5, 9])
def test_sign_flips_are_those_of_scipy(pairs):
    sample = np.random.default_rng(pairs).normal(0.3, 1.0, pairs)
    theirs = stats.permutation_test((sample,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(sample) == pytest.approx(theirs.pvalue)


def test_random_sign_flips_come_near_the_exact_ones():
    sample = np.random.default_rng(4).normal(0.4, 1.0, 20)
    theirs = stats.permutation_test((sample,), np.mean, permutation_type="samples", n_resamples=20_000, rng=5)
    assert sign_flip_p(sample) == pytest.approx(theirs.pvalue, abs=0.02)


def test_without_its_widening_the_interval_is_that_of_scipy():
    sample = np.random.default_rng(6).exponential(1.0, 40)
    narrower = 2 * stats.norm.cdf(math.sqrt(40 / 39) * stats.t.ppf(0.025, 39))
    theirs = stats.bootstrap((sample,), np.mean, confidence_level=1 - narrower, n_resamples=20_000, rng=7)
    assert interval(sample) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)
    plain = stats.bootstrap((sample,), np.mean, n_resamples=20_000, rng=7).confidence_interval
    low, high = interval(sample)
    assert low < plain.low
    assert plain.high < high


# --- properties ---------------------------------------------------------------------------------------------------


@given(differences)
def test_signs_and_units_make_no_difference(values):
    sample = np.array(values)
    one, other = compare_pairs(sample), compare_pairs(-4.0 * sample)
    assert other.mean == pytest.approx(-4.0 * one.mean)
    assert other.p == pytest.approx(one.p)
    assert other.detectable == pytest.approx(4.0 * one.detectable)
    assert 0 < one.p <= 1
    assert one.low <= one.high
    assert min(values) - 1e-9 <= one.low
    assert one.high <= max(values) + 1e-9
    assert one == compare_pairs(values)


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1) | st.just(math.nan), max_size=8))
def test_holm_raises_keeps_the_order_and_forgets_what_is_unknown(p_values):
    adjusted = holm(p_values)
    known = {name: p for name, p in p_values.items() if not math.isnan(p)}
    assert all(math.isnan(adjusted[name]) for name in p_values if name not in known)
    assert all(p <= adjusted[name] <= 1 for name, p in known.items())
    assert all(adjusted[name] <= len(known) * p + 1e-12 for name, p in known.items())
    for one, other in zip(sorted(known, key=known.__getitem__), sorted(known, key=known.__getitem__)[1:], strict=False):
        assert adjusted[one] <= adjusted[other]


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_a_verdict_needs_interval_and_test_and_a_margin_to_say_no_difference():
    better = compare_pairs(np.linspace(0.01, 0.03, 10))
    assert verdict(better, 0.01) == "better"
    assert verdict(compare_pairs(np.linspace(-0.03, -0.01, 10)), 0.01) == "worse"
    assert verdict(better, 0.06) == "not told apart"
    wide = compare_pairs(np.linspace(-0.01, 0.012, 10))
    assert verdict(wide, 0.01) == "not told apart"
    assert verdict(wide, 0.9, 0.2) == "not told apart"
    assert verdict(wide, 0.9, 0.01) == "no difference"


# --- what is degenerate -------------------------------------------------------------------------------------------


def test_one_pair_says_nothing_but_its_mean():
    one = compare_pairs([0.5])
    assert (one.n, one.mean) == (1, 0.5)
    assert all(map(math.isnan, (one.low, one.high, one.p, one.detectable, equivalence_p([0.5], 1.0))))
    assert verdict(one, math.nan) == "not told apart"


@pytest.mark.parametrize("value", [0.0, 0.25, -3.0])
def test_pairs_that_do_not_vary(value):
    one = compare_pairs([value] * 6)
    assert (one.low, one.high, one.detectable) == (value, value, 0.0)
    assert one.p == (1.0 if value == 0 else 2**-5)
    assert equivalence_p([value] * 6, 1.0) == (0.0 if abs(value) < 1 else 1.0)


@pytest.mark.parametrize("pairs", [2, 3])
def test_two_and_three_pairs_give_numbers(pairs):
    one = compare_pairs(np.arange(1, pairs + 1) / 10)
    assert all(map(math.isfinite, (one.low, one.high, one.p, one.detectable)))
    assert one.p == 2 ** (1 - pairs)


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [math.inf, 1.0], [[1.0, 2.0]], 3.0])
def test_what_is_no_list_of_differences_is_refused(values):
    with pytest.raises(ValueError, match="one a pair"):
        compare_pairs(values)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan])
def test_a_margin_is_above_zero(margin):
    with pytest.raises(ValueError, match="margin"):
        equivalence_p([0.1, 0.2], margin)


def test_the_order_of_scores_between_events():
    nan = math.nan
    assert rank_stability([[1, 2, 3, 4], [10, 20, 30, 40], [4, 3, 2, 1]]).tolist() == pytest.approx([1.0, -1.0])
    assert np.isnan(rank_stability([[1, 2, nan, nan], [1, 2, 3, 4], [5, 5, 5, 5]])).all()
    assert len(rank_stability([])) == 0
    scores = np.random.default_rng(8).random((2, 9))
    assert rank_stability(scores.tolist())[0] == pytest.approx(stats.spearmanr(*scores).statistic)
