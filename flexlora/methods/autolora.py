"""AutoLoRA, meta-learned ranks (Zhang, Qiang, Somayajula, Xie; NAACL 2024, https://arxiv.org/abs/2403.09113).

ΔW = s · Σ α_i p_i q_iᵀ with Σ α_i = 1 in each matrix. While it searches, P, Q and the head learn on one part of the
training examples and α on the other, by the gradient through one unrolled step; then directions with α_i below 1 / r
go, and P, Q and the head are trained anew on all examples, without α.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.errors import FlexLoRAError
from flexlora.event import Event
from flexlora.importance import SCORED_BY_LAMBDA, score_all
from flexlora.initializers import direction_generator, kaiming_uniform
from flexlora.methods.configs import AutoLoRAConfig
from flexlora.methods.dynamics import Dynamics
from flexlora.methods.lora import attach

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

__all__ = ["attach", "dynamics"]

PERTURBATION = 0.01
"""‖ε v‖ of DARTS's finite difference (Liu et al. 2019, https://arxiv.org/abs/1806.09055, section 2.3)."""
TOLERANCE = 1e-6
"""α that differ from 1 / r by rounding alone are kept."""


class AutoLoRADynamics(Dynamics[AutoLoRAConfig]):
    """Searches, removes, starts anew.

    Attributes:
        selection: (matrices, initial_rank); α is its softmax along a row.
        searching: False once the ranks are fixed.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        config = self.config
        self.searching = True
        self.selection = nn.Parameter(
            torch.zeros(len(self.adapter.matrices), config.initial_rank, device=trained.device)
        )
        self.chooser = torch.optim.Adam([self.selection], lr=config.selection_learning_rate)
        self.learning, self.held_out = _split(len(trained.data.train), config)
        self._head = [parameter.detach().clone() for parameter in self.adapter.head_parameters()]
        self._open()

    def pool(self, step: int) -> np.ndarray | None:
        """Return the learning part of the training split while it searches; all of it afterwards."""
        return self.learning if self.searching else None

    def rate_factor(self, step: int) -> float:
        """Return the learning rate's share: search and retraining each have the loop's whole schedule."""
        search = self.config.search_steps
        if step <= search:
            return self.trained.scheduled_rate(step, search)
        return self.trained.scheduled_rate(step - search, self.trained.job.steps - search)

    def before_step(self, step: int) -> None:
        """Move α along the held-out loss after one unrolled step."""
        if not self.searching:
            return
        learning, held_out = (self._batch(rows, step) for rows in (self.learning, self.held_out))
        rate = (self.trained.job.loop.learning_rate or 0.0) * self.rate_factor(step)
        weights = self.adapter.trainable_parameters()
        self.selection.grad = unrolled_gradient(
            weights, self.selection, lambda: self._loss(learning), lambda: self._loss(held_out), rate
        )
        self.chooser.step()
        self._open()

    def event(self, step: int) -> Event:
        """Remove the directions below the threshold, and start anew."""
        config = self.config
        shares = torch.softmax(self.selection.detach(), dim=1).double().cpu().numpy()
        threshold = 1.0 / config.initial_rank if config.keep_above is None else config.keep_above
        lam = self.adapter.singular_values()
        importance = score_all(lam, SCORED_BY_LAMBDA)
        prune = []
        for (name, matrix), share in zip(self.adapter.matrices.items(), shares, strict=True):
            for slot in np.flatnonzero(share < threshold * (1.0 - TOLERANCE)).tolist():
                value = float(lam[name][slot])
                prune.append(
                    {"matrix": name, "slot": slot, "singular_value": value, "score": float(share[slot]), "rules": []}
                )
                matrix.empty(slot)
        prune.sort(key=lambda move: move["score"])
        self._start_anew(step)
        return Event(
            step=step,
            budget=len(prune),
            measure="selection_share",
            importance={**importance, "selection_share": dict.fromkeys(lam, 1.0 / config.initial_rank)},
            prune=prune,
            rules=["restarted"],
            threshold=threshold,
            scores={name: share.tolist() for name, share in zip(lam, shares, strict=True)},
        )

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return whether it searches, the selection variables and their moments."""
        if not self.searching:
            return {"searching": False}, {}
        moments = {f"chooser.{key}": value for key, value in self.chooser.state.get(self.selection, {}).items()}
        return {"searching": True}, {"selection": self.selection.detach(), **moments}

    @torch.no_grad()
    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        self.searching = bool(values["searching"])
        if self.searching:
            self.selection.copy_(tensors["selection"])
            moments = {key.removeprefix("chooser."): t for key, t in tensors.items() if key.startswith("chooser.")}
            if moments:
                # Adam keeps its step count on the CPU, the moments beside the parameter.
                self.chooser.state[self.selection] = {
                    key: value.clone() if key == "step" else value.to(self.selection) for key, value in moments.items()
                }
        self._open()

    @torch.no_grad()
    def _start_anew(self, step: int) -> None:
        self.searching = False
        for index, matrix in enumerate(self.adapter.matrices.values()):
            rows = kaiming_uniform(
                matrix.Q.shape, direction_generator(self.config.seed, step, index, self.config.draws)
            )
            slots = list(matrix.slots)
            for slot in slots:
                matrix.empty(slot)
            for slot in slots:
                matrix.fill(slot, torch.zeros(matrix.out_features), 1.0, rows[slot])
        for parameter, first in zip(self.adapter.head_parameters(), self._head, strict=True):
            parameter.copy_(first)
        self.optimizer.state.clear()
        self.spectra.forget()
        self._open()

    def _open(self) -> None:
        shares = torch.softmax(self.selection.detach(), dim=1)
        for matrix, share in zip(self.adapter.matrices.values(), shares, strict=True):
            matrix.gate = share if self.searching else None

    def _batch(self, rows: np.ndarray, step: int) -> dict[str, Tensor]:
        size = min(self.trained.samples_per_step, len(rows))
        return self.trained.batch(rows[self.trained.data.rows(len(rows), size, step, self.config.seed)])

    def _loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        shares = torch.softmax(self.selection, dim=1)
        for matrix, share in zip(self.adapter.matrices.values(), shares, strict=True):
            matrix.gate = share
        return self.trained.loss(batch)


def unrolled_gradient(weights: Sequence[Tensor], selection: Tensor, learn: Any, score: Any, rate: float) -> Tensor:
    """Return d/dα of score(w − rate · ∇w learn(w, α), α) by DARTS's finite difference, equations 6 to 8.

    Args:
        weights: w; as they were when it returns.
        selection: α, a leaf.
        learn: () → loss on learning examples, a scalar that depends on w and α.
        score: () → loss on held-out examples.
        rate: size of the unrolled step.
    """
    kept = [weight.detach().clone() for weight in weights]
    slope = torch.autograd.grad(learn(), weights)
    try:
        _move(weights, kept, slope, -rate)
        *outer, direct = torch.autograd.grad(score(), [*weights, selection])
        norm = torch.sqrt(sum((part.square().sum() for part in outer), torch.zeros((), device=selection.device)))
        size = PERTURBATION / float(norm.clamp_min(1e-12))
        sides = []
        for sign in (1.0, -1.0):
            _move(weights, kept, outer, sign * size)
            sides.append(torch.autograd.grad(learn(), selection)[0])
    finally:
        _move(weights, kept, kept, 0.0)
    return direct - rate * (sides[0] - sides[1]) / (2.0 * size)


@torch.no_grad()
def _move(weights: Sequence[Tensor], start: Sequence[Tensor], along: Sequence[Tensor], size: float) -> None:
    for weight, first, direction in zip(weights, start, along, strict=True):
        weight.copy_(first.add(direction, alpha=size) if size else first)


def _split(rows: int, config: AutoLoRAConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to learn on and the rows to score on."""
    held_out = int(config.validation_share * rows)
    if held_out < 1 or held_out >= rows:
        raise FlexLoRAError(
            f"AutoLoRA learns ranks on held-out examples and has none: validation_share={config.validation_share:g} of "
            f"{rows} training examples. Set validation_share between {1 / rows:.2g} and 1, for example 0.3."
        )
    order = np.random.default_rng([config.seed, rows]).permutation(rows)
    return order[held_out:], order[:held_out]


dynamics = AutoLoRADynamics
