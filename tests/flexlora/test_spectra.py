"""The true singular values, against the SVD of the matrix itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.spectra import singular_values_from_grams, true_singular_values

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 14), st.integers(0, 10**6))


def draw(out_features, in_features, rank, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(out_features, rank)), rng.normal(size=rank), rng.normal(size=(rank, in_features))


@given(sizes, st.floats(-4.0, 4.0))
def test_they_are_the_singular_values_of_the_whole_matrix(size, scale):
    P, lam, Q = draw(*size)
    found = true_singular_values(P, lam, Q, scale)
    whole = np.linalg.svd(scale * (P * lam) @ Q, compute_uv=False)
    expected = np.zeros(lam.size)
    expected[: whole.size] = whole[: lam.size]
    assert found.shape == lam.shape
    assert np.allclose(found, expected, rtol=1e-10, atol=1e-10)
    assert (np.diff(found) <= 1e-12).all()


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_with_orthonormal_vectors_they_are_the_magnitudes_of_lambda(rank, seed):
    P, lam, Q = draw(16, 12, rank, seed)
    P, Q = np.linalg.qr(P).Q, np.linalg.qr(Q.T).Q.T
    assert np.allclose(true_singular_values(P, lam, Q), np.sort(np.abs(lam))[::-1], atol=1e-12)


def test_parallel_vectors_show_that_lambda_is_no_spectrum():
    P, Q = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert true_singular_values(P, [1.0, 1.0], Q) == pytest.approx([2.0, 0.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_anything_not_finite_makes_all_of_them_undefined(bad, where):
    parts = list(draw(5, 4, 3, 0))
    parts[where].flat[1] = bad
    assert np.isnan(true_singular_values(*parts)).all()
    assert np.isnan(true_singular_values(*draw(5, 4, 3, 0), scale=bad)).all()


def test_float32_factors_are_computed_in_float64():
    P, lam, Q = (part.astype(np.float32) for part in draw(6, 5, 3, 1))
    assert true_singular_values(P, lam, Q).dtype == np.float64


@given(st.integers(1, 6), st.integers(1, 3), st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_small_products_give_the_singular_values_that_thin_qr_gives(rank, count, scale, seed):
    generator = np.random.default_rng(seed)
    left = generator.normal(size=(count, 40, rank))
    lam = generator.normal(size=(count, rank)) * 10.0 ** generator.integers(-4, 2, size=(count, rank))
    right = generator.normal(size=(count, rank, 30))
    grams = left.transpose(0, 2, 1) @ left, right @ right.transpose(0, 2, 1)
    found = singular_values_from_grams(grams[0], lam, grams[1], scale)
    assert found is not None
    for values, *parts in zip(found, left, lam, right, strict=True):
        expected = true_singular_values(*parts, scale)
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9 * expected.max())


@pytest.mark.parametrize("spoil", ["zero", "parallel", "nan", "infinite"])
def test_small_products_of_factors_that_are_far_from_orthonormal_are_refused(spoil):
    left = np.random.default_rng(0).normal(size=(20, 3))
    lam = np.ones((1, 3))
    if spoil == "zero":
        left[:, 1] = 0.0
    elif spoil == "parallel":
        left[:, 1] = left[:, 0] * (1 + 1e-12)
    else:
        lam[0, 0] = np.nan if spoil == "nan" else np.inf
    gram = (left.T @ left)[None]
    assert singular_values_from_grams(gram, lam, np.eye(3)[None]) is None
