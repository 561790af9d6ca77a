"""``Scene``: one event with what it saw, the start of every explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.metrics import matrix_label
from analysis.run_config import config_at
from analysis.runs import Run, move_counts
from flexlora.adapter_config import AdapterConfig
from flexlora.errors import FlexLoRAError


@dataclass(frozen=True)
class Scene:
    """One event of M matrices. It holds no run, so that it can be kept beside one.

    Attributes:
        number: of the event, from 0.
        events: how many the run has.
        event: its record.
        method: key of the method; a log that names none is taken to be FlexLoRA's.
        config: in force at the event; None when this version cannot read it.
        names: matrices in the header's order.
        labels: name → short name.
        index: name → place in ``names``.
        ranks: name → rank before the event.
        limits: name → smaller side of the matrix; only those that are known.
        lam: name → λ (r,) of the directions that were on; None when the step's spectrum is not in the log.
        true: name → singular values of ΔW; None when they are not.
    """

    number: int
    events: int
    event: dict[str, Any]
    method: str
    config: AdapterConfig | None
    names: list[str]
    labels: dict[str, str]
    index: dict[str, int]
    ranks: dict[str, int]
    limits: dict[str, int]
    lam: dict[str, np.ndarray] | None
    true: dict[str, np.ndarray] | None

    @property
    def step(self) -> int:
        """Finished optimizer steps at the event."""
        return int(self.event["step"])

    def moves(self, half: str, name: str) -> list[dict[str, Any]]:
        """Return the moves of a matrix; half = ``prune`` or ``extend``."""
        return [move for move in self.event[half] if move["matrix"] == name]

    def moved(self, half: str) -> list[str]:
        """Return the matrices of one half, in the order of choice."""
        return [move["matrix"] for move in self.event[half]]

    def energy_share(self, name: str, value: float | None) -> float | None:
        """Return the share of a λ in its matrix's energy Σλ²; None where there is none."""
        if self.lam is None or value is None:
            return None
        magnitude = np.abs(self.lam[name].astype(np.float64))
        peak = magnitude.max(initial=0.0)
        if not np.isfinite(peak) or not peak:
            return None
        return float((value / peak) ** 2 / np.square(magnitude / peak).sum())


def scene(run: Run, number: int) -> Scene | None:
    """Return event ``number`` (from 0) and what it saw; None when no spectrum up to its step is in the log."""
    event = run.events[number]
    step = int(event["step"])
    if not len(run.steps) or step < run.steps[0]:
        return None
    record = run.record_at(step)
    seen = int(run.steps[record]) == step
    names = [matrix.name for matrix in run.matrices]
    ranks = run.ranks[record].copy()
    for earlier in run.events[:number]:
        if earlier["step"] >= run.steps[record] and not seen:
            pruned, extended = move_counts(run, earlier)
            ranks += extended - pruned
    true = run.true_singular_values(step) if seen else None
    return Scene(
        number=number,
        events=len(run.events),
        event=event,
        method=run.header.get("method") or "flexlora",
        config=_config(run, step),
        names=names,
        labels={matrix.name: matrix_label(matrix) for matrix in run.matrices},
        index=run.places,
        ranks=dict(zip(names, ranks.tolist(), strict=True)),
        limits={m.name: side for m in run.matrices if (side := min(m.in_features, m.out_features))},
        lam=run.singular_values(step) if seen else None,
        true=true[1] if true is not None and true[0] == step else None,
    )


def _config(run: Run, step: int) -> AdapterConfig | None:
    try:
        return config_at(run, step)
    except (FlexLoRAError, KeyError, TypeError):
        return None
