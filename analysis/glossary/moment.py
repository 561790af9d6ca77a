"""``Moment``: one matrix of a run at one step, with the numbers that terms are explained by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analysis.metrics import matrix_label
from analysis.quantities import defined_entropy, record_of
from analysis.runs import Run, event_number, move_counts


@dataclass(frozen=True)
class Moment:
    """One matrix at one step.

    Attributes:
        run: it has at least one record.
        step: at or after the first record.
        matrix: its place in the header.
    """

    run: Run
    step: int
    matrix: int

    @cached_property
    def record(self) -> int:
        """Place of the latest record at or before the step."""
        return record_of(self.run, self.step)

    @property
    def name(self) -> str:
        """Full name of the matrix."""
        return self.run.matrices[self.matrix].name

    @property
    def place(self) -> str:
        """The matrix and the step in words: "layer 3 ffn_out, step 40"."""
        return f"{matrix_label(self.run.matrices[self.matrix])}, step {int(self.run.steps[self.record])}"

    @property
    def rank(self) -> int:
        """Active directions of the matrix."""
        return int(self.run.ranks[self.record, self.matrix])

    @cached_property
    def weights(self) -> np.ndarray:
        """|λ| of the directions that are on, largest first, (r,) float64; empty where the log holds none."""
        if self.run.header.get("singular_values") == "unknown":
            return np.zeros(0)
        own = np.abs(self.run.singular_values(self.step)[self.name].astype(np.float64))
        return np.sort(own[np.isfinite(own)])[::-1]

    @cached_property
    def shares(self) -> np.ndarray:
        """λ²/Σλ², largest first, (r,); empty where all λ are 0 or unknown."""
        top = self.weights.max(initial=0.0)
        if not top:
            return np.zeros(0)
        squares = np.square(self.weights / top)
        return squares / squares.sum()

    @cached_property
    def true_values(self) -> tuple[int, np.ndarray] | None:
        """Step and singular values of ΔW, largest first, of the latest record that has them; None without one."""
        found = self.run.true_singular_values(self.step)
        if found is None:
            return None
        own = found[1][self.name].astype(np.float64)
        return found[0], np.sort(own[np.isfinite(own)])[::-1]

    @property
    def entropy(self) -> float | None:
        """Entropy of λ²; None where undefined, as at rank 1."""
        value = float(defined_entropy(self.run)[self.record, self.matrix])
        return value if np.isfinite(value) else None

    @cached_property
    def number(self) -> int:
        """Of the latest event at or before the step, from 0; −1 before the first."""
        return event_number(self.run, self.step)

    @property
    def event(self) -> dict[str, Any] | None:
        """The latest event at or before the step."""
        return self.run.events[self.number] if self.number >= 0 else None

    @cached_property
    def moved(self) -> tuple[int, int]:
        """Directions that the latest event took from this matrix and gave to it."""
        pruned, extended = move_counts(self.run, self.event)
        return int(pruned[self.matrix]), int(extended[self.matrix])

    @cached_property
    def scores(self) -> dict[str, float | None]:
        """Matrix → score by which the latest event decided; empty before the first."""
        event = self.event
        return dict(event["importance"].get(event["measure"], {})) if event else {}
