"""The playground's toys compute what the package computes, over random inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.adapters import energy_kept
from flexlora.importance import effective_rank, spectral_entropy
from flexlora.spectra import true_singular_values
from tests.app.playground_script import NODE, answers

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the playground's modules here; it is not installed")


def spectra(rng: np.random.Generator, count: int) -> list[list[float]]:
    found = [[], [0.0], [0.0, 0.0], [-3.0], [1e200, 1e-200], [1e-160, 2e-160], [1.0, 0.0, 0.0]]
    for _ in range(count):
        values = rng.normal(size=rng.integers(1, 12)) * 10.0 ** rng.integers(-8, 8)
        found.append(np.where(rng.random(values.size) < 0.2, 0.0, values).tolist())
    return found


def test_measures_are_those_of_the_package():
    cases = spectra(np.random.default_rng(1), 60)
    measures = {
        ("engine/importance", "spectralEntropy"): spectral_entropy,
        ("toys/measures", "effectiveRank"): effective_rank,
    }
    asked = [[*name, values] for values in cases for name in (*measures, ("toys/measures", "energyKept"))]
    found = iter(answers(*asked))
    for values in cases:
        for measure in measures.values():
            own, expected = next(found), measure(values)
            assert own == (expected if expected is None else pytest.approx(expected, rel=1e-12, abs=1e-12)), values
        sizes = np.sort(np.abs(values))[::-1]
        kept = energy_kept(sizes / sizes[0] if sizes.size and sizes[0] else sizes)
        assert next(found) == pytest.approx(kept.tolist(), abs=1e-12), values


def test_a_direction_at_zero_takes_the_factor_that_is_told():
    rng = np.random.default_rng(2)
    cases = [rng.normal(size=rank).tolist() for rank in range(2, 12)]
    for values, factor in zip(cases, answers(*(["toys/measures", "zeroFactor", len(v)] for v in cases)), strict=True):
        assert factor == pytest.approx(math.log(len(values)) / math.log(len(values) + 1))
        assert spectral_entropy([*values, 0.0]) == pytest.approx(spectral_entropy(values) * factor)
    before, after = answers(["toys/zero", "outputOf", cases[2]], ["toys/zero", "outputOf", [*cases[2], 0]])
    assert before == after and max(map(abs, before)) > 0


def test_true_singular_values_and_the_regulariser_are_those_of_the_package():
    import torch

    rng = np.random.default_rng(3)
    shapes = [(rng.integers(1, 9), rng.integers(1, 9), rng.integers(1, 6)) for _ in range(30)]
    made = [(rng.normal(size=(r, out)), rng.normal(size=r), rng.normal(size=(r, inn))) for out, inn, r in shapes]
    cases = [["toys/small_matrix", "trueSingularValues", P.tolist(), lam.tolist(), Q.tolist()] for P, lam, Q in made]
    factors = [
        ["toys/small_matrix", name, P.tolist()]
        for P, _, _ in made
        for name in ("orthogonality", "orthogonalityGradient")
    ]
    found = iter(answers(*cases, *factors))
    for P, lam, Q in made:
        expected = true_singular_values(P.T, lam, Q)
        assert next(found) == pytest.approx(expected.tolist(), abs=1e-9 * max(1.0, expected.max()))
    from flexlora.regularization import factor_gradients

    for P, _, _ in made:
        squares, gradient = factor_gradients(torch.tensor(P)[None], torch.ones(1, len(P)), 1.0, "mean_squared", 1)
        assert next(found) == pytest.approx(float(squares[0]), rel=1e-9)
        np.testing.assert_allclose(next(found), gradient[0].numpy(), rtol=1e-9, atol=1e-9)


def test_starts_and_their_gradients_are_those_of_torch():
    import torch

    from flexlora.counter import Counter
    from flexlora.initializers import NEW_DIRECTIONS

    rng = np.random.default_rng(4)
    P, Q = (np.linalg.qr(rng.normal(size=(size, 2)))[0].T for size in (6, 5))
    wanted = rng.normal(size=(6, 5))
    generator = Counter(0, "directions")
    p, q = (generator.normal(size) / math.sqrt(size) for size in (6, 5))
    draws = [part.tolist() for part in (p, q, P, Q)]
    told = answers(*(["toys/direction", start, wanted.tolist(), draws, 300] for start in NEW_DIRECTIONS))
    for (start, draw), found in zip(NEW_DIRECTIONS.items(), told, strict=True):
        assert found["starts"] == list(NEW_DIRECTIONS)
        own = draw(torch.tensor(P.T), torch.tensor(Q), None, Counter(0, "directions"))
        for part, name in zip(own, ("p", "lam", "q"), strict=True):
            np.testing.assert_allclose(found["first"][name], part, atol=1e-12, err_msg=start)
        parts = [
            torch.tensor(np.asarray(found["first"][name], float), requires_grad=True) for name in ("p", "lam", "q")
        ]
        loss = (parts[1] * torch.outer(parts[0], parts[2]) - torch.tensor(wanted)).square().sum() / 2
        loss.backward()
        assert found["loss"] == pytest.approx(loss.item())
        for part, name in zip(parts, ("p", "lam", "q"), strict=True):
            np.testing.assert_allclose(
                found["gradient"][name], part.grad.numpy(), atol=1e-12, err_msg=f"{start} {name}"
            )
        slopes = [*found["lastGradient"]["p"], found["lastGradient"]["lam"], *found["lastGradient"]["q"]]
        assert (max(map(abs, slopes)) == 0) == (start == "all_zero")
        assert (found["last"]["lam"] != 0) == (start != "all_zero")


def test_the_fit_follows_the_gradient_of_loss_and_regulariser():
    import torch

    rng = np.random.default_rng(5)
    wanted, P, Q, lam = rng.normal(size=(5, 4)), rng.normal(size=(3, 5)), rng.normal(size=(3, 4)), rng.normal(size=3)
    (found,) = answers(["toys/fit", wanted.tolist(), P.tolist(), Q.tolist(), lam.tolist(), 0.07])
    parts = [torch.tensor(part, requires_grad=True) for part in (P, Q, lam)]
    task = (parts[0].T @ torch.diag(parts[2]) @ parts[1] - torch.tensor(wanted)).square().sum() / 2 / wanted.size
    away = sum((part @ part.T - torch.eye(3)).square().sum() for part in parts[:2])
    (task + 0.07 * away).backward()
    assert found["loss"] == pytest.approx(task.item()) and found["departure"] == pytest.approx(away.item())
    for own, part in zip(found["gradients"], parts, strict=True):
        np.testing.assert_allclose(np.squeeze(own), part.grad.numpy(), atol=1e-12)


def test_what_the_price_toy_says_is_what_is_seen():
    """Without the regulariser λ lies; a small weight suffices; the largest costs loss."""
    (found,) = answers(["toys/price", 400])
    by_weight = {one["weight"]: one for one in found}
    for one in found:
        assert one["gap"] == pytest.approx(abs(spectral_entropy(one["lam"]) - spectral_entropy(one["sigma"])))
    assert by_weight[0]["gap"] > 0.1 and by_weight[0.001]["gap"] < 0.02
    assert by_weight[0]["loss"] < 1e-3 and by_weight[0.001]["loss"] < 1e-3 < by_weight[1]["loss"]


def test_the_smallest_size_is_the_best_cut_and_a_signed_one_is_not():
    rng = np.random.default_rng(6)
    for _ in range(3):
        lam = rng.normal(size=8)
        size, sign = np.argsort(np.abs(lam))[:3].tolist(), np.argsort(lam)[:3].tolist()
        by_size, by_sign, least = answers(
            ["toys/cut", "errorOf", lam.tolist(), size],
            ["toys/cut", "errorOf", lam.tolist(), sign],
            ["toys/cut", "leastError", lam.tolist(), 3],
        )
        assert by_size == pytest.approx(math.sqrt(np.square(lam[size]).sum() / np.square(lam).sum()))
        assert least == pytest.approx(by_size) and by_sign >= by_size


def test_half_is_reached_in_two_ways_that_differ():
    few = [1.0, 1.0, 0.66, 0, 0, 0, 0, 0]
    tail = [1.0] + [0.2165] * 7
    near = [1.0, 1.0, 0.66, 0.0001, 0, 0, 0, 0]
    for values in (few, tail, near):
        assert spectral_entropy(values) == pytest.approx(0.5, abs=0.01)
    first, again, second, other = answers(
        ["toys/spectrum", "waysWith", [], few],
        ["toys/spectrum", "waysWith", [3], near],
        ["toys/spectrum", "waysWith", [3], tail],
        ["toys/spectrum", "waysWith", [], [1, 1, 1, 1]],
    )
    assert first == again == [3] and second == [3, 8] and other == []
