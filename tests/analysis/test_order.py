"""Orders of the matrices: permutations, stable, and for similarity near what is alike."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.metrics import final_ranks
from analysis.order import SORTS, most_moved, net_change, sorted_matrices
from analysis.runs import Matrix


def with_entropy(entropy):
    """What an order reads of a run, with these entropy curves (T, M)."""
    matrices = [Matrix(f"m.{i}.query", i, "query", 4, 4) for i in range(entropy.shape[1])]
    return SimpleNamespace(matrices=matrices, entropy=entropy, ranks=np.full(entropy.shape, 4))


@pytest.mark.parametrize("sort", SORTS)
def test_every_order_is_a_permutation_and_the_same_each_time(sort, edge_runs, sample_runs):
    for run in (*edge_runs.values(), *sample_runs.values()):
        order = sorted_matrices(run, sort)
        assert sorted(order.tolist()) == list(range(len(run.matrices)))
        assert order.tolist() == sorted_matrices(run, sort).tolist()


def test_architecture_groups_types_and_layer_groups_layers(sample_runs):
    run = sample_runs["words-flexlora-paper"]
    by_type = [run.matrices[place] for place in SORTS["architecture"](run)]
    assert [m.module_type for m in by_type[:7]] == ["query"] * 6 + ["key"]
    assert [m.layer for m in by_type[:7]] == [0, 1, 2, 3, 4, 5, 0]
    by_layer = [run.matrices[place] for place in SORTS["layer"](run)]
    assert [m.layer for m in by_layer] == sorted(m.layer for m in run.matrices)
    assert [m.module_type for m in by_layer[:3]] == ["query", "key", "value"]


@pytest.mark.parametrize(("sort", "values"), [("final_rank", final_ranks), ("change", net_change)])
def test_numbers_fall_and_ties_keep_the_order_of_the_architecture(sort, values, sample_runs):
    for run in sample_runs.values():
        order = SORTS[sort](run)
        assert (np.diff(values(run)[order]) <= 0).all()
        place = np.argsort(SORTS["architecture"](run))
        for value in np.unique(values(run)):
            tied = [place[m] for m in order if values(run)[m] == value]
            assert tied == sorted(tied)


def test_similarity_puts_curves_of_one_shape_beside_each_other():
    rising, falling = np.linspace(0.2, 0.9, 30), np.linspace(0.9, 0.2, 30)
    noise = np.random.default_rng(0).normal(0, 0.01, (30, 10))
    entropy = np.stack([rising if m % 2 else falling for m in range(10)], axis=1) + noise
    order = SORTS["similarity"](with_entropy(entropy))
    kinds = [int(m) % 2 for m in order]
    assert sum(a != b for a, b in pairwise(kinds)) == 1


def test_similarity_leaves_undefined_curves_to_the_end_and_bears_gaps():
    entropy = np.random.default_rng(1).random((12, 6))
    entropy[0] = np.nan
    entropy[3:5, 2] = np.nan
    entropy[:, 4] = np.nan
    order = SORTS["similarity"](with_entropy(entropy)).tolist()
    assert order[-1] == 4
    assert sorted(order) == list(range(6))


def test_an_unknown_order_lists_those_that_exist(sample_runs):
    with pytest.raises(ValueError, match="architecture, layer, final_rank, change, similarity"):
        sorted_matrices(sample_runs["digits-lora"], "alphabet")


def test_those_that_moved_most_lead_and_those_that_never_moved_are_left_out(sample_runs, edge_runs):
    run = sample_runs["words-flexlora-paper"]
    chosen = most_moved(run, 8)
    net = np.abs(net_change(run))
    assert len(chosen) == 8
    assert (np.diff(net[chosen]) <= 0).all()
    assert net[chosen].min() >= np.delete(net, chosen).max()
    assert most_moved(sample_runs["digits-lora"]) == []
    assert most_moved(edge_runs["unknown"]) == [0, 1]
    # Moved and moved back: no net change, but gross moves.
    assert most_moved(edge_runs["plain"]) == [0, 1]
