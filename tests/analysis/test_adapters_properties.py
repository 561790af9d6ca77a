"""What holds for every adapter: spectra against dense algebra, suggestions against brute force, overlaps."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.adapters import (
    ORDERS,
    AdapterSpectra,
    analyse_adapter,
    compare_adapters,
    compress_adapter,
    energy_kept,
    flexlora_moves,
    open_adapter,
    rank_for_energy,
    suggest_ranks,
    total_error,
    truncation_errors,
)
from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA
from flexlora.reallocation import plan_reallocation

SEEDS = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def make(request):
    """f(matrix → (B, A), **config) → opened adapter."""
    from contextlib import ExitStack

    stack = ExitStack()
    request.addfinalizer(stack.close)
    root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    numbers = itertools.count()
    write = request.getfixturevalue("adapter_writer")

    def made(matrices, **config):
        return open_adapter(write(root / str(next(numbers)), matrices, **config))

    return made


def random_factors(seed, matrices=3):
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(matrices):
        out, width, rank = rng.integers(3, 12, 3)
        found[f"layer.{number}.query"] = (rng.normal(size=(out, rank)), rng.normal(size=(rank, width)))
    return found


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.floats(0.1, 50))
def test_singular_values_are_those_of_the_dense_product(make, seed, alpha):
    factors = random_factors(seed)
    spectra = analyse_adapter(make(factors, lora_alpha=alpha))
    for (matrix, values), row in zip(spectra.rows(), spectra.table(), strict=True):
        B, A = factors[matrix.name]
        assert row["root_mean_square"] == pytest.approx(np.sqrt(np.square(alpha / len(A) * B @ A).mean()))
        dense = np.linalg.svd(alpha / len(A) * B @ A, compute_uv=False)
        assert len(values) == matrix.rank == min(*B.shape, *A.shape)
        np.testing.assert_allclose(values, dense[: len(values)], atol=1e-12 * dense[0])


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_turning_the_factors_into_each_other_changes_nothing(make, seed):
    factors = random_factors(seed)
    rng = np.random.default_rng(seed)
    turned = {}
    for name, (B, A) in factors.items():
        R = rng.normal(size=(A.shape[0],) * 2) + 3 * np.eye(A.shape[0])
        turned[name] = (B @ R, np.linalg.solve(R, A))
    first, second = (analyse_adapter(make(item)) for item in (factors, turned))
    for name, values in first.singular_values.items():
        np.testing.assert_allclose(second.singular_values[name], values, atol=1e-8 * values[0])
    overlaps = compare_adapters(first.adapter, second.adapter).overlaps
    assert all(overlap.similarity == pytest.approx(1) for overlap in overlaps)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0.01, 100))
def test_alpha_scales_norms_and_leaves_shares(make, seed, factor):
    factors = random_factors(seed)
    first, second = (analyse_adapter(make(factors, lora_alpha=alpha)) for alpha in (4.0, 4.0 * factor))
    for one, other in zip(first.table(), second.table(), strict=True):
        assert other["norm"] == pytest.approx(factor * one["norm"])
        for key in ("entropy", "effective_rank", "stable_rank"):
            assert other[key] == pytest.approx(one[key], abs=1e-9)


@given(st.lists(st.floats(0, 1e6), min_size=0, max_size=12), st.floats(0.01, 1))
def test_energy_rises_to_one_and_the_rank_for_it_is_the_smallest(values, share):
    sigma = np.sort(np.array(values, np.float64))[::-1]
    kept = energy_kept(sigma)
    assert kept[-1] == pytest.approx(1)
    assert (np.diff(kept) >= -1e-12).all()
    rank = rank_for_energy(sigma, share)
    assert kept[rank] >= share - 1e-9 or not sigma.any()
    assert rank == 0 or kept[rank - 1] < share


def spectra_of(make, values: dict[str, list[float]], sizes=(9, 8)) -> AdapterSpectra:
    rng = np.random.default_rng(0)
    factors = {}
    for name, sigma in values.items():
        U = np.linalg.qr(rng.normal(size=(sizes[0], len(sigma))))[0]
        V = np.linalg.qr(rng.normal(size=(sizes[1], len(sigma))))[0]
        factors[name] = (U * np.array(sigma), V.T)
    return analyse_adapter(make(factors, lora_alpha=1, use_rslora=False, alpha_pattern={}, rank_pattern={}))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(list(ORDERS)))
def test_a_suggestion_meets_its_target_and_no_more(make, seed, by):
    spectra = analyse_adapter(make(random_factors(seed, matrices=4)))
    ranks = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
    costs = {matrix.name: matrix.cost for matrix in spectra.adapter.matrices}
    total = sum(ranks.values())
    previous: dict[str, int] = {}
    for target in range(len(ranks), total + 1):
        found = suggest_ranks(spectra, "rank", target, by)
        assert found.total_rank == sum(found.ranks.values()) == target
        assert all(1 <= found.ranks[name] <= ranks[name] for name in ranks)
        assert all(found.ranks[name] >= previous.get(name, 0) for name in ranks)
        previous = found.ranks
    for share in (0.5, 0.9, 1.0):
        assert suggest_ranks(spectra, "energy", share, by).energy_kept >= share - 1e-9
    half = spectra.adapter.parameters // 2
    if half >= sum(costs.values()):
        found = suggest_ranks(spectra, "parameters", half, by)
        assert found.parameters <= half
        assert found.parameters == sum(found.ranks[name] * costs[name] for name in ranks)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_least_error_is_the_least_error(make, seed):
    spectra = analyse_adapter(make(random_factors(seed, matrices=2)))
    sizes = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
    target = max(2, sum(sizes.values()) // 2)
    found = suggest_ranks(spectra, "rank", target)
    best = min(
        total_error(truncation_errors(spectra, dict(zip(sizes, ranks, strict=True))), spectra)["frobenius"]
        for ranks in itertools.product(*(range(1, size + 1) for size in sizes.values()))
        if sum(ranks) == target
    )
    own = total_error(truncation_errors(spectra, found.ranks), spectra)["frobenius"]
    assert own == pytest.approx(best, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from(SCORED_BY_LAMBDA))
def test_an_order_by_importance_is_the_rule_pruning_one_at_a_time(make, seed, measure):
    rng = np.random.default_rng(seed)
    values = {f"layer.{n}.query": sorted(rng.uniform(0.1, 5, rng.integers(2, 7)), reverse=True) for n in range(4)}
    spectra = spectra_of(make, values)
    left = {name: sigma.copy() for name, sigma in spectra.singular_values.items()}
    for target in range(sum(map(len, values.values())) - 1, len(values) - 1, -1):
        scores = {name: IMPORTANCES[measure](sigma) for name, sigma in left.items()}
        ranks = {name: len(sigma) for name, sigma in left.items()}
        name = plan_reallocation(scores, ranks, 1, direction="prune_only").prune[0]
        left[name] = left[name][:-1]
        expected = {name: len(sigma) for name, sigma in left.items()}
        assert suggest_ranks(spectra, "rank", target, measure).ranks == expected


def test_overlap_is_one_with_itself_and_zero_with_what_is_orthogonal(make):
    eye = np.eye(10)
    first = make({"a.query": (eye[:, :3], eye[:3])})
    second = make({"a.query": (eye[:, 5:9], eye[5:9])})
    part = make({"a.query": (eye[:, 2:6], eye[2:6])})
    same = compare_adapters(first, first).overlaps[0]
    assert (same.output_overlap, same.input_overlap, same.similarity) == (1, 1, pytest.approx(1))
    none = compare_adapters(first, second).overlaps[0]
    assert (none.output_overlap, none.input_overlap, none.similarity) == (0, 0, 0)
    third = compare_adapters(first, part).overlaps[0]
    assert third.output_overlap == pytest.approx(1 / 3)
    assert third.output_chance == pytest.approx(0.4)
    assert third.output_cosines.tolist() == [1, 0, 0]


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_comparing_is_symmetric_and_the_similarity_is_the_dense_cosine(make, seed):
    one, two = random_factors(seed), random_factors(seed)
    rng = np.random.default_rng(seed + 1)
    two = {name: (B + rng.normal(size=B.shape), A) for name, (B, A) in two.items()}
    a, b = make(one), make(two)
    for x, y in zip(compare_adapters(a, b).overlaps, compare_adapters(b, a).overlaps, strict=True):
        assert x.similarity == pytest.approx(y.similarity)
        assert x.output_overlap == pytest.approx(y.output_overlap)
        (B1, A1), (B2, A2) = one[x.matrix], two[x.matrix]
        d1, d2 = (B1 @ A1).ravel(), (B2 @ A2).ravel()
        assert x.similarity == pytest.approx(d1 @ d2 / np.linalg.norm(d1) / np.linalg.norm(d2))


def test_random_subspaces_overlap_as_often_as_stated(make):
    rng = np.random.default_rng(0)
    pair = [
        {f"layer.{n}.query": (rng.normal(size=(40, 3)), rng.normal(size=(5, 30))[:3]) for n in range(60)}
        for _ in range(2)
    ]
    overlaps = compare_adapters(*(make(item) for item in pair)).overlaps
    assert np.mean([o.output_overlap for o in overlaps]) == pytest.approx(overlaps[0].output_chance, abs=0.02)
    assert np.mean([o.input_overlap for o in overlaps]) == pytest.approx(overlaps[0].input_chance, abs=0.02)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
@example(1564)
def test_compressing_to_the_full_rank_keeps_delta(make, seed):
    factors = random_factors(seed)
    spectra = analyse_adapter(make(factors))
    with tempfile.TemporaryDirectory() as root:
        ranks = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
        compress_adapter(spectra, ranks, Path(root) / "same")
        again = open_adapter(Path(root) / "same")
        for matrix in again.matrices:
            B, A = again.factors(matrix.name)
            old_B, old_A = factors[matrix.name]
            old = spectra.adapter.find(matrix.name).scale * old_B @ old_A
            np.testing.assert_allclose(matrix.scale * B @ A, old, atol=1e-6 * np.linalg.norm(old))


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(0, 5))
def test_the_rule_conserves_total_rank_and_mapping_changes_only_what_it_is_told(make, seed, budget):
    spectra = analyse_adapter(make(random_factors(seed, matrices=5)))
    moves = flexlora_moves(spectra, budget)
    assert len(moves.prune) == len(moves.extend) <= budget
    first, *others = spectra.adapter.matrices
    mapped = spectra.adapter.mapped({first.name: (None, "special")})
    assert mapped.matrices == [first._replace(layer=None, module_type="special"), *others]
    assert spectra.adapter.matrices[0] == first


@pytest.mark.parametrize("prefix", ["_orig_mod.", "base_model.model.", "language_model.", "module."])
def test_one_model_under_another_wrapper_is_compared(make, prefix):
    factors = random_factors(3)
    other = {f"{prefix}{name}": pair for name, pair in factors.items()}
    found = compare_adapters(make(factors), make(other))
    assert [overlap.similarity for overlap in found.overlaps] == pytest.approx([1.0] * 3)
    assert not found.only_first and not found.only_second
    told = (
        f"3 matrices are named by another wrapper of the model, and compared: layer.0.query with {prefix}layer.0.query."
    )
    assert found.notices[0] == told


def test_an_adapter_with_alpha_0_overlaps_with_nothing(make):
    factors = random_factors(4)
    for overlap in compare_adapters(make(factors), make(factors, lora_alpha=0)).overlaps:
        assert overlap.ranks[0] and not overlap.ranks[1]
        assert overlap.output_overlap is None and overlap.similarity is None


def test_bases_that_differ_and_notices_of_the_second_are_told(make):
    factors = random_factors(5)
    first = make(factors, base_model_name_or_path="toy/cased")
    second = make(factors, base_model_name_or_path="toy/uncased", init_lora_weights="pissa")
    notices = compare_adapters(first, second).notices
    assert any("toy/cased" in notice and "toy/uncased" in notice for notice in notices)
    assert any(notice.startswith("The second: Initialised by pissa") for notice in notices)
