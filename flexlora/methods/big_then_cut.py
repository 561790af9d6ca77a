"""Train big, then cut: several times the rank, truncated once to the globally largest directions.

The plainest control of every method that moves rank (benchmarks on TREC: research of this project, docs/rankbench.md).
What stays trains on with its moments.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from flexlora.adapter import Adapter, attach_directions, gaussian_start, matrix_parameters
from flexlora.event import Event
from flexlora.importance import SCORED_BY_LAMBDA, score_all
from flexlora.linear import FlexLoRALinear
from flexlora.methods.configs import BigThenCutConfig
from flexlora.methods.moving import MovingDynamics
from flexlora.observation import component_norms
from flexlora.optimizer_state import clear_slot
from flexlora.policies import find_policy


def attach(model: nn.Module, config: BigThenCutConfig) -> Adapter:
    """Adapt a model with FlexLoRA's start at the large rank; the output does not change."""
    return attach_directions(model, config, gaussian_start(config.initial_rank, config.initial_std))


class BigThenCutDynamics(MovingDynamics[BigThenCutConfig]):
    """Cuts once."""

    def target_rank(self, step: int) -> float | None:
        """Return the total rank that the schedule asks for; None where the budget is in parameters."""
        config, matrices = self.config, len(self.adapter.matrices)
        if config.budget_unit == "parameters":
            return None
        return matrices * (config.initial_rank if step < config.cut_step else config.target_rank)

    def event(self, step: int) -> Event:
        """Remove the globally smallest directions until the rest is within the budget."""
        config, matrices = self.config, self.adapter.matrices
        by_parameters = config.budget_unit == "parameters"
        prices = {name: m.in_features + m.out_features if by_parameters else 1 for name, m in matrices.items()}
        rotated = config.cut_by == "true_singular_values"
        if rotated:
            for matrix in matrices.values():
                self._rotate(matrix)
        lam = self.adapter.singular_values()
        norms = {name: component_norms(matrix) for name, matrix in matrices.items()}
        gone = find_policy("big_then_cut").function(
            {"component_norms": norms, "prices": prices}, sum(config.target_rank * price for price in prices.values())
        )
        scores = {name: own / math.sqrt(prices[name]) for name, own in norms.items()}
        slots = {name: list(matrix.slots) for name, matrix in matrices.items()}
        prune = [
            {**self.moves.prune(name, slots[name][place]), "score": float(scores[name][place])} for name, place in gone
        ]
        self.spectra.forget()
        measure = config.cut_by + ("_per_root_parameter" if by_parameters else "")
        means: dict[str, float | None] = {name: float(own.mean()) for name, own in scores.items()}
        return Event(
            step=step,
            budget=len(prune),
            measure=measure,
            importance={**score_all(lam, SCORED_BY_LAMBDA), measure: means},
            prune=prune,
            rules=["rotated"] if rotated else [],
            target_rank=None if by_parameters else config.target_rank * len(matrices),
            threshold=prune[-1]["score"] if prune else None,
            scores={name: own.tolist() for name, own in scores.items()},
        )

    @torch.no_grad()
    def _rotate(self, matrix: FlexLoRALinear) -> None:
        """Write ΔW by its singular vectors: then λ · s is its spectrum. All of the matrix's moments start anew."""
        P, lam, Q = (part.double().cpu().numpy() for part in matrix.directions())
        left, R = np.linalg.qr(P)
        right, S = np.linalg.qr(Q.T)
        U, values, Vt = np.linalg.svd((R * lam) @ S.T)
        slots = list(matrix.slots)
        for place, slot in enumerate(slots):
            matrix.empty(slot)
            p, q = torch.from_numpy(left @ U[:, place]), torch.from_numpy(Vt[place] @ right.T)
            matrix.fill(slot, p, float(values[place]), q)
            clear_slot(self.optimizer, matrix_parameters(matrix), slot)
            self.moves.young.add(matrix_parameters(matrix), slot)


dynamics = BigThenCutDynamics
