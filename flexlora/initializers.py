"""How a new direction starts: functions that draw (p, λ, q) for one matrix."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from flexlora.counter import Counter

SMALL_VALUE = 1e-3
"""λ of a ``small_value`` direction: the paper names the strategy but no number; this is one AdamW step at lr 1e-3."""

Generator = torch.Generator | Counter

Draw = Callable[[Tensor, Tensor, float | None, Generator], tuple[Tensor, float, Tensor]]


def direction_generator(seed: int, step: int, matrix: int, draws: str = "torch") -> Generator:
    """Return the random generator that belongs to one direction.

    A generator of its own, so that dropout sees the same random numbers with and without an event, and all processes
    of a distributed job draw the same vectors.

    Args:
        seed: of the run.
        step: finished optimizer steps.
        matrix: place of the matrix in module order.
        draws: ``torch``, or ``counter``: the generator that other engines have too (docs/planted.md).
    """
    if draws == "counter":
        return Counter(seed, "directions", step, matrix)
    state = np.random.SeedSequence([seed, step, matrix]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def step_generator(seed: int, step: int, draws: str = "torch") -> Generator:
    """Return the random generator of one step's masks: no matrix has this number, so no direction shares it."""
    return Counter(seed, "masks", step) if draws == "counter" else direction_generator(seed, step, 2**32 - 1)


def uniform(shape: torch.Size | tuple[int, ...], generator: Generator) -> Tensor:
    """Draw values in [0, 1), on the CPU: fp32, or fp64 from a ``Counter``."""
    if isinstance(generator, Counter):
        return torch.from_numpy(generator.uniform(math.prod(shape))).reshape(shape)
    return torch.rand(shape, generator=generator)


def normal(size: int, generator: Generator) -> Tensor:
    """Draw (size,) standard normal values, on the CPU: fp32, or fp64 from a ``Counter``."""
    if isinstance(generator, Counter):
        return torch.from_numpy(generator.normal(size))
    return torch.randn(size, generator=generator)


def whole(low: int, high: int, generator: Generator) -> int:
    """Draw a whole number from low to high, both included."""
    if isinstance(generator, Counter):
        return low + int(float(generator.uniform(1)[0]) * (high + 1 - low))
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def kaiming_uniform(shape: torch.Size, generator: Generator, fan: int | None = None) -> Tensor:
    """Draw U(−1/√fan, 1/√fan), fan = the last dimension: Kaiming-uniform with a = √5, as LoRA starts its A."""
    bound = 1.0 / math.sqrt(shape[-1] if fan is None else fan)
    return (uniform(shape, generator) * 2.0 - 1.0) * bound


def gaussian(size: int, std: float | None, generator: Generator) -> Tensor:
    """Draw (size,) normal values on the CPU; std None means 1/√size, so that the norm is about 1."""
    return normal(size, generator) * (1.0 / math.sqrt(size) if std is None else std)


def zero_impact(P: Tensor, Q: Tensor, std: float | None, generator: Generator) -> tuple[Tensor, float, Tensor]:
    """λ = 0 with Gaussian vectors (the paper's choice): the output does not change, and λ receives a gradient."""
    return gaussian(P.shape[0], std, generator), 0.0, gaussian(Q.shape[1], std, generator)


def small_value(P: Tensor, Q: Tensor, std: float | None, generator: Generator) -> tuple[Tensor, float, Tensor]:
    """A small λ with Gaussian vectors: the output changes by s · λ · p qᵀ at once."""
    return gaussian(P.shape[0], std, generator), SMALL_VALUE, gaussian(Q.shape[1], std, generator)


def all_zero(P: Tensor, Q: Tensor, std: float | None, generator: Generator) -> tuple[Tensor, float, Tensor]:
    """λ, p and q zero: every gradient is exactly zero for ever, so the direction never wakes up."""
    return torch.zeros(P.shape[0]), 0.0, torch.zeros(Q.shape[1])


def gram_schmidt(P: Tensor, Q: Tensor, std: float | None, generator: Generator) -> tuple[Tensor, float, Tensor]:
    """λ = 0 with unit vectors orthogonal to the active ones."""
    p = _orthonormal(gaussian(P.shape[0], std, generator), P)
    return p, 0.0, _orthonormal(gaussian(Q.shape[1], std, generator), Q.T)


def _orthonormal(vector: Tensor, basis: Tensor) -> Tensor:
    # Least squares rather than projection onto each column: trained columns are only nearly orthogonal.
    columns = basis.detach().to("cpu", torch.float64)
    wide = vector.to(torch.float64)
    rest = wide - columns @ (torch.linalg.pinv(columns) @ wide) if columns.shape[1] else wide
    return (rest / rest.norm()).to(vector.dtype)


def zero_p(P: Tensor, Q: Tensor, std: float | None, generator: Generator) -> tuple[Tensor, float, Tensor]:
    """λ = 1 with p = 0 and Gaussian q, as L1RA adds one: the output does not change, and p receives a gradient."""
    return torch.zeros(P.shape[0]), 1.0, gaussian(Q.shape[1], std, generator)


OF_THE_OTHERS = frozenset({gram_schmidt})
"""Strategies that look at the active directions; the others only at how long p and q are."""

NEW_DIRECTIONS: dict[str, Draw] = {
    "zero_impact": zero_impact,
    "small_value": small_value,
    "all_zero": all_zero,
    "gram_schmidt": gram_schmidt,
}
"""Strategy name → f(P (out, r), Q (r, in), std, generator) → (p (out,), λ, q (in,)), on the CPU."""
