"""What a policy may see: named arrays of an adapter at an event, and of a model before it is adapted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.counter import key_of, uniforms
from flexlora.errors import FlexLoRAError
from flexlora.linear import FlexLoRALinear, linear_shape
from flexlora.matrix_names import describe_matrix

if TYPE_CHECKING:
    from flexlora.adapter_config import AdapterConfig
    from flexlora.allocator import RankAllocator

Arrays = dict[str, Mapping[str, Any]]
"""Name of an array → matrix → array."""


def component_norms(matrix: FlexLoRALinear) -> np.ndarray:
    """Return |λ| · ‖p‖ · ‖q‖ of each active direction, (r,) float64 in slot order."""
    P, lam, Q = (part.double() for part in matrix.directions())
    return (lam.abs() * P.norm(dim=0) * Q.norm(dim=1)).cpu().numpy()


def chance(config: AdapterConfig, step: int, names: Sequence[str]) -> dict[str, float]:
    """Return matrix → number in (0, 1), drawn from the seed and the step."""
    if config.draws == "counter":
        drawn = uniforms(key_of(config.seed, "policy", step), np.arange(len(names)))
    else:
        # A third word, so that it is not the order that settles ties.
        drawn = np.random.default_rng([config.seed, step, 1]).random(len(names))
    return dict(zip(names, drawn.tolist(), strict=True))


def observe(allocator: RankAllocator, t: int, reads: Iterable[str], limits: Mapping[str, int]) -> Arrays:
    """Return the named arrays of an adapter at the event of step t.

    Args:
        allocator: between ``optimizer.step()`` and ``zero_grad()``.
        t: finished optimizer steps.
        reads: keys of ``flexlora.policies.KINDS["decide"]``.
        limits: matrix → highest rank.

    Raises:
        FlexLoRAError: the truth is asked for where it is not known, or gradients that are not there.
    """
    matrices = allocator.adapter.matrices
    born = allocator.decider.extended_at
    found: dict[str, Callable[[], Mapping[str, Any]]] = {
        **_known(allocator.config, t, matrices, limits, allocator.truth),
        "lambda": lambda: {n: v.astype(np.float64) for n, v in allocator.adapter.singular_values().items()},
        "true_singular_values": lambda: allocator.spectra.at(t),
        "component_norms": lambda: {name: component_norms(matrix) for name, matrix in matrices.items()},
        "sensitivities": allocator.sensitivities,
        "ages": lambda: {name: t - born.get(name, 0) for name in matrices},
        **{key: kept.scores for key, kept in allocator.smoothed.items()},
    }
    return {name: found[name]() for name in reads}


def observe_before(
    config: AdapterConfig,
    targets: Mapping[str, nn.Module],
    reads: Iterable[str],
    losses: Iterable[Callable[[], Tensor]],
    limits: Mapping[str, int],
    truth: Mapping[str, int] | None,
    given: Mapping[str, int] | None,
) -> Arrays:
    """Return the named arrays of a model before it is adapted.

    Args:
        config: of the run.
        targets: matrix → linear layer to be adapted.
        reads: keys of ``flexlora.policies.KINDS["start"]``.
        losses: one a batch; each runs the model and returns its loss. Read only where an array needs batches.
        limits: matrix → highest rank.
        truth: matrix → true rank, where it is known.
        given: matrix → rank that option ``initial_ranks`` gives.

    Raises:
        FlexLoRAError: an array that is not known here.
    """
    reads = list(reads)
    found: dict[str, Callable[[], Mapping[str, Any]]] = {
        **_known(config, 0, targets, limits, truth),
        "weights": lambda: {
            name: _outward(m, _weight(m)).detach().double().cpu().numpy().copy() for name, m in targets.items()
        },
        "given_ranks": lambda: _needed(
            given, "ranks to start from: give initial_ranks, a list or the folder of a run whose final ranks are meant"
        ),
    }
    arrays = {name: found[name]() for name in reads if name in found}
    of_batches = [name for name in reads if name not in found]
    return arrays | (_over_batches(targets, of_batches, losses) if of_batches else {})


def _known(
    config: AdapterConfig,
    t: int,
    matrices: Mapping[str, Any],
    limits: Mapping[str, int],
    truth: Mapping[str, int] | None,
) -> dict[str, Callable[[], Mapping[str, Any]]]:
    return {
        "limits": lambda: limits,
        "prices": lambda: {name: sum(_shape(module)) for name, module in matrices.items()},
        "module_types": lambda: {name: describe_matrix(name)[1] for name in matrices},
        "chance": lambda: chance(config, t, list(matrices)),
        "truth": lambda: _needed(truth, "the truth, which only task planted knows"),
    }


def _over_batches(
    targets: Mapping[str, nn.Module], reads: Sequence[str], losses: Iterable[Callable[[], Tensor]]
) -> Arrays:
    """Run the model on every batch; return means over them. Gradients and modes are left as they were."""
    inputs = {name: _Moments() for name in targets}
    hooks = [
        module.register_forward_pre_hook(inputs[name].hook)
        for name, module in targets.items()
        if "activation_variances" in reads
    ]
    weights = {name: _weight(module) for name, module in targets.items()}
    required = [weight.requires_grad for weight in weights.values()]
    sums = {name: torch.zeros(linear_shape(m) or (0, 0), dtype=torch.float64).T for name, m in targets.items()}
    squares = {name: part.clone() for name, part in sums.items()}
    count, backward = 0, {"gradients", "squared_gradients"} & set(reads)
    try:
        for weight in weights.values():
            weight.requires_grad_(bool(backward))
        for loss in losses:
            count += 1
            if not backward:
                with torch.no_grad():
                    loss()
                continue
            for name, gradient in zip(weights, torch.autograd.grad(loss(), list(weights.values())), strict=True):
                wide = gradient.double().cpu()
                sums[name] += _outward(targets[name], wide)
                squares[name] += _outward(targets[name], wide).square()
    finally:
        for hook in hooks:
            hook.remove()
        for weight, before in zip(weights.values(), required, strict=True):
            weight.requires_grad_(before)
    made = {
        "gradients": lambda: {name: (part / count).numpy() for name, part in sums.items()},
        "squared_gradients": lambda: {name: (part / count).numpy() for name, part in squares.items()},
        "activation_variances": lambda: {name: moments.variances() for name, moments in inputs.items()},
    }
    return {name: made[name]() for name in reads}


class _Moments:
    """Mean and covariance of the rows that a layer was given."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Any = 0.0
        self.products: Any = 0.0

    def hook(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        self.add(given[0])

    @torch.no_grad()
    def add(self, inputs: Tensor) -> None:
        rows = inputs.detach().reshape(-1, inputs.shape[-1]).double()
        self.count += len(rows)
        self.total = self.total + rows.sum(0)
        self.products = self.products + rows.T @ rows

    def variances(self) -> np.ndarray:
        """Return the eigenvalues of the covariance, (in,) descending, none below 0."""
        mean = self.total / self.count
        covariance = self.products / self.count - torch.outer(mean, mean)
        return torch.linalg.eigvalsh(covariance).flip(0).clamp_min(0.0).cpu().numpy()


def _weight(module: nn.Module) -> nn.Parameter:
    return module.get_parameter("weight")


def _outward(module: nn.Module, weight: Tensor) -> Tensor:
    """Return a weight as (out, in), however the layer stores it."""
    return weight if isinstance(module, nn.Linear) else weight.T


def _shape(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, FlexLoRALinear):
        return module.in_features, module.out_features
    return linear_shape(module) or (0, 0)


def _needed(value: Mapping[str, int] | None, what: str) -> Mapping[str, int]:
    if value is None:
        raise FlexLoRAError(f"This policy needs {what}.")
    return value
