"""Ranks before training: ask the policy, and put the adapter at them before the optimizer is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flexlora.adapter import Adapter
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.initializers import direction_generator, gaussian
from flexlora.linear import linear_shape
from flexlora.observation import observe_before
from flexlora.policies import find_policy, started
from flexlora.targets import find_targets

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

BATCHES = 8
"""Batches that a policy may look at: those that the first steps will train on."""


@dataclass(frozen=True)
class Start:
    """Ranks that differ from one rank for all, and where they come from.

    Attributes:
        policy: key of the policy; None = option ``initial_ranks``.
        ranks: matrix → rank.
        scores: matrix → what the policy gave them by; empty where it does not say.
        batches: batches that it looked at.
    """

    policy: str | None
    ranks: dict[str, int]
    scores: dict[str, float]
    batches: int

    def record(self) -> dict[str, Any]:
        """Return plain values for the log."""
        return asdict(self)


def starting_ranks(trained: TrainedModel) -> Start | None:
    """Return the ranks that a run starts with; None = ``initial_rank`` each. The model is not adapted yet.

    Raises:
        FlexLoRAError: a list of another length, a rank that does not fit, or a policy that fails.
    """
    config = trained.job.config
    if not isinstance(config, FlexLoRAConfig):
        return None
    policy = None if config.policy is None else find_policy(config.policy)
    if config.initial_ranks is None and (policy is None or policy.kind != "start"):
        return None
    targets = find_targets(trained.data.model, **config.selection)
    limits = {name: min(linear_shape(module) or (0, 0)) for name, module in targets.items()}
    given = None if config.initial_ranks is None else _given(config.initial_ranks, limits)
    if policy is None or policy.kind != "start":
        assert given is not None
        return Start(None, given, {}, 0)
    trained.data.model.to(trained.device)
    looked = 0

    def losses() -> Iterator[Callable[[], Tensor]]:
        nonlocal looked
        for step in range(1, BATCHES + 1):
            looked += 1
            rows = trained.data.rows(len(trained.data.train), trained.samples_per_step, step, config.seed)
            batch = trained.batch(rows)
            yield lambda batch=batch: trained.data.model(**batch).loss

    highest = {name: min(limit, config.max_rank or limit) for name, limit in limits.items()}
    truth = trained.data.info.get("true_ranks")
    arrays = observe_before(config, targets, policy.reads, losses(), highest, truth, given)
    budget = sum(given.values()) if given else config.initial_rank * len(targets)
    ranks, scores = started(policy, arrays, budget, highest)
    return Start(policy.key, ranks, scores, looked)


@torch.no_grad()
def place(adapter: Adapter, ranks: Mapping[str, int]) -> None:
    """Give each matrix its rank, with the directions that it would have had with that ``initial_rank``."""
    config = adapter.config
    assert isinstance(config, FlexLoRAConfig)
    for index, (name, matrix) in enumerate(adapter.matrices.items()):
        while matrix.capacity < ranks[name]:
            matrix.grow()
        for slot in matrix.slots[ranks[name] :]:
            matrix.empty(slot)
        generator = direction_generator(config.seed, 0, index, config.draws)
        for slot in range(ranks[name] if ranks[name] > matrix.rank else 0):
            p = gaussian(matrix.out_features, config.initial_std, generator)
            q = gaussian(matrix.in_features, config.initial_std, generator)
            if slot not in matrix.slots:
                matrix.fill(slot, p, 0.0, q)


def _given(ranks: tuple[int, ...], limits: Mapping[str, int]) -> dict[str, int]:
    if len(ranks) != len(limits):
        raise FlexLoRAError(f"initial_ranks has {len(ranks)} numbers; this model has {len(limits)} matrices to adapt.")
    found = dict(zip(limits, ranks, strict=True))
    for name, rank in found.items():
        if rank > limits[name]:
            raise FlexLoRAError(f"initial_ranks gives {name} rank {rank}; it can have 0 to {limits[name]}.")
    if not sum(ranks):
        raise FlexLoRAError("initial_ranks gives no matrix a direction.")
    return found
