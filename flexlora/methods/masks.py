"""Directions that are switched off and may come back: the state, the event and the log that such methods share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flexlora.event import Event
from flexlora.importance import SCORED_BY_LAMBDA, score_all
from flexlora.methods.dynamics import Dynamics

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel


class MaskedDynamics(Dynamics):
    """A method whose directions stay stored and are on or off.

    Attributes:
        on: name → mask (r,) over the stored directions, as the last event left it.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        self.on = {name: np.ones(rank, bool) for name, rank in self.adapter.ranks().items()}

    def total_on(self) -> int:
        """Return the number of directions that are on."""
        return sum(int(mask.sum()) for mask in self.on.values())

    def gates(self) -> list[np.ndarray] | None:
        """Return 1 for a direction that is on and 0 for one that is off."""
        return [mask.astype(np.float32) for mask in self.on.values()]

    def declare(
        self,
        step: int,
        on: Mapping[str, np.ndarray],
        scores: Mapping[str, np.ndarray],
        measure: str,
        target: int | None = None,
        threshold: float | None = None,
    ) -> Event:
        """Take over new masks; return the event that says which directions went off and which came back.

        Args:
            step: finished optimizer steps.
            on: name → new mask (r,).
            scores: name → score of each direction (r,), by which the masks were chosen.
            measure: what the scores are called; a matrix is logged with the mean of its directions.
            target: total rank that the schedule asks for.
            threshold: score at or below which directions went.
        """
        off, back = _changes(self.on, on, scores)
        lam = self.adapter.singular_values()
        prune = [{**move, "singular_value": float(lam[move["matrix"]][move["slot"]])} for move in off]
        before = {name: lam[name][mask] for name, mask in self.on.items()}
        importance = score_all(before, SCORED_BY_LAMBDA)
        if self.trained.job.loop.log_measures == "all":
            true = {name: sigma[: len(before[name])] for name, sigma in self.spectra.at(step).items()}
            importance |= score_all(true, ("true_spectral_entropy",))
        importance[measure] = {name: _mean(own) for name, own in scores.items()}
        above = self.total_on() - target if target is not None else len(off) + len(back)
        self.on = {name: mask.copy() for name, mask in on.items()}
        self.spectra.forget()
        return Event(
            step=step,
            budget=max(0, above),
            measure=measure,
            importance=importance,
            decided={},
            prune=prune,
            extend=back,
            rules=[rule for rule, moves in (("masked", off), ("revived", back)) if moves],
            target_rank=target,
            threshold=threshold,
            scores={name: [_short(value) for value in own] for name, own in scores.items()},
        )

    @torch.no_grad()
    def silence(self) -> None:
        """Set λ of every direction that is off to zero; its gradient may bring it back."""
        for name, mask in self.on.items():
            if not mask.all():
                off = torch.as_tensor(~mask, device=self.adapter.matrices[name].lam.device)
                self.adapter.matrices[name].lam.masked_fill_(off, 0.0)

    @torch.no_grad()
    def finish(self) -> None:
        """Empty the slots of directions that are off."""
        for name, mask in self.on.items():
            matrix = self.adapter.matrices[name]
            for slot in np.flatnonzero(~mask).tolist():
                matrix.empty(slot)
            self.on[name] = mask[mask]

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the masks."""
        return {"on": {name: mask.tolist() for name, mask in self.on.items()}}, {}

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over the masks."""
        self.on = {name: np.array(mask, bool) for name, mask in values["on"].items()}


def _changes(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], scores: Mapping[str, np.ndarray]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what went off, lowest score first, and what came back, highest first."""

    def moves(rule: str, was: Mapping[str, np.ndarray], becomes: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        return [
            {"matrix": name, "slot": int(slot), "score": float(scores[name][slot]), "rules": [rule]}
            for name, mask in becomes.items()
            for slot in np.flatnonzero(mask & ~was[name])
        ]

    off = moves("masked", {n: ~m for n, m in before.items()}, {n: ~m for n, m in after.items()})
    back = moves("revived", before, after)
    return sorted(off, key=lambda move: move["score"]), sorted(back, key=lambda move: -move["score"])


def _short(value: float) -> float:
    """Return the value to fp32's precision: scores are computed in fp32, and the log is text."""
    return float(f"{value:.8g}")


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size and np.isfinite(values).all() else None
