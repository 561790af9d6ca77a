"""The measures: bounds, invariances, an independent reference, and what is undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from flexlora.importance import IMPORTANCES, measure_label, measure_range, spectral_entropy
from flexlora.ragged import Spectra

ENTROPIES = ("spectral_entropy", "effective_rank", "energy_gated_entropy", "true_spectral_entropy")
MAGNITUDES = ("nuclear_norm", "frobenius_norm", "sensitivity")

spectra = st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=24).flatmap(
    lambda values: st.lists(st.sampled_from([-1.0, 1.0]), min_size=len(values), max_size=len(values)).map(
        lambda signs: np.array(values) * np.array(signs)
    )
)
any_finite = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=24)


def test_the_registry_has_the_documented_measures():
    assert list(IMPORTANCES) == [
        "spectral_entropy",
        "nuclear_norm",
        "frobenius_norm",
        "sensitivity",
        "energy_gated_entropy",
        "effective_rank",
        "true_spectral_entropy",
        "random",
    ]


@given(any_finite)
def test_entropy_is_between_zero_and_one_or_undefined(values):
    entropy = spectral_entropy(values)
    assert (entropy is None) == (not any(values))
    assert entropy is None or 0.0 <= entropy <= 1.0


@given(spectra)
def test_entropy_equals_an_independent_implementation(values):
    if values.size > 1:
        expected = scipy.stats.entropy(values**2) / math.log(values.size)
        assert spectral_entropy(values) == pytest.approx(expected, abs=1e-12)


@given(spectra, st.integers(-300, 300), st.sampled_from([-1.0, 1.0]))
def test_entropy_and_effective_rank_do_not_depend_on_scale(values, exponent, sign):
    for key in ("spectral_entropy", "effective_rank"):
        measure = IMPORTANCES[key]
        assert measure(values * sign * 10.0**exponent) == pytest.approx(measure(values), rel=1e-12, abs=1e-12)


@given(spectra, st.integers(-300, 300), st.randoms(use_true_random=False))
def test_no_measure_but_random_depends_on_the_order_of_directions(values, exponent, shuffler):
    shuffled = list(values * 10.0**exponent)
    shuffler.shuffle(shuffled)
    for key, measure in IMPORTANCES.items():
        if key != "random":
            assert measure(shuffled) == measure(values * 10.0**exponent)


@given(spectra, st.integers(-300, 300))
def test_norms_are_proportional_to_scale(values, exponent):
    for key in (*MAGNITUDES, "energy_gated_entropy"):
        measure = IMPORTANCES[key]
        expected = measure(values)
        assert expected is not None
        assert measure(values * 10.0**exponent) == pytest.approx(expected * 10.0**exponent, rel=1e-12)


@given(spectra)
def test_norms_equal_those_of_numpy(values):
    assert IMPORTANCES["nuclear_norm"](values) == pytest.approx(np.linalg.norm(values, 1), rel=1e-12)
    assert IMPORTANCES["frobenius_norm"](values) == pytest.approx(np.linalg.norm(values), rel=1e-12)
    assert IMPORTANCES["sensitivity"](values) == pytest.approx(np.abs(values).mean(), rel=1e-12)


@given(spectra)
def test_effective_rank_is_r_to_the_power_of_the_entropy(values):
    effective, entropy = IMPORTANCES["effective_rank"](values), spectral_entropy(values)
    assert effective is not None
    assert entropy is not None
    assert 1.0 <= effective <= values.size
    if values.size > 1:
        assert effective == pytest.approx(values.size**entropy, rel=1e-9)


@given(spectra)
def test_gated_entropy_is_entropy_times_norm(values):
    entropy, norm = spectral_entropy(values), IMPORTANCES["frobenius_norm"](values)
    assert entropy is not None
    assert norm is not None
    assert IMPORTANCES["energy_gated_entropy"](values) == entropy * norm


@pytest.mark.parametrize("rank", [2, 3, 8, 64])
@pytest.mark.parametrize("magnitude", [5e-324, 1e-300, 1e-6, 1.0, 1e300])
def test_a_uniform_spectrum_is_one_and_a_single_direction_is_zero(rank, magnitude):
    assert spectral_entropy(np.full(rank, magnitude)) == pytest.approx(1.0, abs=1e-12)
    assert spectral_entropy([magnitude] + [0.0] * (rank - 1)) == 0.0


def test_rounding_never_leaves_the_bounds():
    found = [spectral_entropy(np.ones(rank)) for rank in range(2, 300)]
    assert all(value is not None and value <= 1.0 for value in found)
    assert math.copysign(1.0, spectral_entropy([2.0, 0.0]) or 0.0) == 1.0


@given(st.floats(allow_nan=False, allow_infinity=False).filter(bool))
def test_rank_one_is_one_by_convention(value):
    assert spectral_entropy([value]) == 1.0
    assert spectral_entropy([value], epsilon=1e-8) == 1.0


@pytest.mark.parametrize("bad", [[], [math.nan, 1.0], [math.inf, 1.0], [1.0, -math.inf]])
@pytest.mark.parametrize("key", IMPORTANCES)
def test_empty_and_non_finite_arrays_are_undefined(key, bad):
    assert IMPORTANCES[key](bad) is None


@pytest.mark.parametrize("rank", [1, 4])
def test_all_zero_is_undefined_for_entropies_and_zero_for_norms(rank):
    for key in ENTROPIES:
        assert IMPORTANCES[key](np.zeros(rank)) is None
    for key in MAGNITUDES:
        assert IMPORTANCES[key](np.zeros(rank)) == 0.0


@given(st.lists(spectra, min_size=2, max_size=5))
def test_random_is_a_function_of_the_array_alone(arrays):
    draw = IMPORTANCES["random"]
    first = [draw(array) for array in arrays]
    assert first == [draw(array.copy()) for array in arrays]
    assert all(value is not None and 0.0 <= value < 1.0 for value in first)
    distinct = {array.tobytes() for array in arrays}
    assert len(set(first)) == len(distinct)


def test_random_is_spread_evenly():
    values = [IMPORTANCES["random"]([float(index), 1.0]) for index in range(2000)]
    assert scipy.stats.kstest(np.array(values, dtype=float), "uniform").pvalue > 0.01


def test_random_does_not_see_the_sign_of_zero():
    assert IMPORTANCES["random"]([0.0, 1.0]) == IMPORTANCES["random"]([-0.0, 1.0])


@given(spectra)
def test_measures_take_lists_and_float32_and_leave_the_array_alone(values):
    narrow = values.astype(np.float32)
    kept = narrow.copy()
    for measure in IMPORTANCES.values():
        assert measure(narrow) == measure([float(value) for value in narrow])
    assert np.array_equal(narrow, kept)


@given(st.lists(st.one_of(any_finite, spectra.map(list), st.lists(st.sampled_from([0.0, 1.0, math.nan]))), max_size=6))
def test_many_arrays_at_once_score_as_one_after_another(arrays):
    offsets = np.cumsum([0, *(len(array) for array in arrays)])
    many = Spectra(np.concatenate([np.zeros(0), *arrays]), offsets)
    for measure in IMPORTANCES.values():
        for epsilon in (0.0, 1e-3):
            one = [measure.function(array, **measure.options(epsilon)) for array in arrays]
            expected = [math.nan if score is None else score for score in one]
            assert measure.many(many, epsilon).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@given(any_finite)
def test_every_score_is_in_the_range_of_its_record(values):
    for key, measure in IMPORTANCES.items():
        score, (low, high) = measure(values), measure_range(key)
        if score is not None:
            assert low is None or low <= score
            assert high is None or score <= high
    assert measure_range("of another method") == (None, None)


@pytest.mark.parametrize(("key", "measure"), IMPORTANCES.items())
def test_a_record_says_where_its_measure_is_undefined_and_silent(key, measure):
    assert measure.key == key
    assert measure.undefined_at_zero == (measure(np.zeros(3)) is None)
    assert measure.silent_at_rank_one == (key in ("spectral_entropy", "true_spectral_entropy"))
    assert measure.silent_at_rank_one <= (measure([0.3]) == measure([7.0]) == 1.0)
    assert measure.has_epsilon == (measure.written(4, 0.5) != measure.written(4)) == (key == "spectral_entropy")


def test_labels_are_names_and_a_method_may_log_its_own_measure():
    assert len({measure.label for measure in IMPORTANCES.values()}) == len(IMPORTANCES)
    assert measure_label("sensitivity_times_uncertainty") == "sensitivity × uncertainty"
