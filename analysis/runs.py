"""``load_run``: a run log as the arrays that every view, metric and figure starts from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flexlora.brief import Brief
from flexlora.run_log import MatrixSpectra, RunLog, read_run


class Matrix(NamedTuple):
    """One adapted weight matrix, as the header describes it."""

    name: str
    layer: int | None
    module_type: str
    in_features: int
    out_features: int


@dataclass(frozen=True, repr=False)
class Run(Brief):
    """A run in memory; T spectrum records of M matrices.

    Attributes:
        log: what the folder holds.
        matrices: in the header's order.
        folder: where the run was read from.
        header: the content of ``run.json``.
        steps: step of each spectrum record, (T,) int64.
        ranks: of each matrix in each record, (T, M) int64: what the decision of that step saw. A direction that is off
            (gate 0) is stored but not counted.
        stored: directions that have a λ, (T, M) int64: the rank, and those that are off and may revive.
        entropy: normalised, of λ² over the directions that are on, (T, M) float64, NaN where undefined.
        energy: Σλ² over the same directions, (T, M) float64.
        events: reallocation records in order.
        evals: evaluation records in order.
        notes: what happened: paused, resumed, edited, ...
        end: why and when the run ended; None while it has not.
        state: ``running``, ``finished``, ``stopped``, ``failed`` or ``crashed``.
        notices: one line for each thing that is missing or odd in the log.
    """

    log: RunLog
    matrices: list[Matrix]
    folder: Path = field(init=False)
    header: dict[str, Any] = field(init=False)
    steps: np.ndarray = field(init=False)
    ranks: np.ndarray = field(init=False)
    stored: np.ndarray = field(init=False)
    entropy: np.ndarray = field(init=False)
    energy: np.ndarray = field(init=False)
    events: list[dict[str, Any]] = field(init=False)
    evals: list[dict[str, Any]] = field(init=False)
    notes: list[dict[str, Any]] = field(init=False)
    end: dict[str, Any] | None = field(init=False)
    state: str = field(init=False)
    notices: list[str] = field(init=False)

    def __post_init__(self) -> None:
        # Of the names that both have, the spectra's are meant.
        found = {**vars(self.log), **vars(self.log.spectra.digest)}
        for item in fields(self)[2:]:
            object.__setattr__(self, item.name, found[item.name])

    @cached_property
    def expected_ranks(self) -> np.ndarray:
        """Mean number of directions that a training step uses, (T, M) float64: the sum of the gates."""
        used = self.log.spectra.digest.used
        return self.ranks.astype(np.float64) if used is None else used

    @property
    def total_steps(self) -> int:
        """Steps the run was made for."""
        planned = self.config.get("total_steps")
        last = int(self.steps[-1]) if len(self.steps) else 0
        return planned if isinstance(planned, int) and planned > 0 else last

    @property
    def config(self) -> dict[str, Any]:
        """Every option of the run, flat; empty when the log has none."""
        return self.header.get("config", {})

    @property
    def scale(self) -> float | None:
        """Factor s of ΔW = s · P diag(λ) Q, which true singular values hold and λ does not; None when not recorded."""
        alpha, rank = self.config.get("alpha"), self.config.get("initial_rank")
        numbers = isinstance(alpha, int | float) and isinstance(rank, int | float)
        return float(alpha) / float(rank) if numbers and alpha and rank else None

    @cached_property
    def places(self) -> dict[str, int]:
        """Name of each matrix → its place in the header."""
        return {matrix.name: place for place, matrix in enumerate(self.matrices)}

    def place_of(self, matrix: str) -> int:
        """Return the place of a matrix in the header.

        Raises:
            ValueError: the run has no matrix of this name.
        """
        if matrix not in self.places:
            few = ", ".join(list(self.places)[:4])
            raise ValueError(f"unknown matrix {matrix!r}; this run has {few}, ... ({len(self.places)} in all)")
        return self.places[matrix]

    def record_at(self, t: int) -> int:
        """Return the index of the latest record at or before step t.

        Raises:
            ValueError: t is before the first record.
        """
        index = int(np.searchsorted(self.steps, t, side="right")) - 1
        if index < 0:
            first = int(self.steps[0]) if len(self.steps) else None
            raise ValueError(f"step {t} is before the first spectrum record (step {first})")
        return index

    def singular_values(self, t: int) -> dict[str, np.ndarray]:
        """Return matrix → λ (r,) float32, signed as trained, of the latest record at or before step t.

        Raises:
            ValueError: t is before the first record.
        """
        place = self.record_at(t)
        record = self.log.spectra.record(place)
        values, gates = record.values, record.all_gates
        counts = record.stored[0]
        if gates is not None:
            values, counts = values[gates > 0], self.ranks[place]
        return self._named(values, counts)

    def gates(self, t: int) -> dict[str, np.ndarray] | None:
        """Return matrix → gate of each stored direction, float32, of the latest record at or before step t.

        0 = off, may revive; otherwise the probability that a training step uses it. None for a run without gates.

        Raises:
            ValueError: t is before the first record.
        """
        if not self.log.spectra.digest.gated:
            return None
        record = self.log.spectra.record(self.record_at(t))
        gates = record.all_gates
        return self._named(np.ones(len(record.values), np.float32) if gates is None else gates, record.stored[0])

    def true_singular_values(self, t: int) -> tuple[int, dict[str, np.ndarray]] | None:
        """Return (step, matrix → singular values of ΔW, one a stored direction) of the latest record that has them."""
        with_true = np.flatnonzero(self.log.spectra.digest.has_true & (self.steps <= t))
        if not len(with_true):
            return None
        record = self.log.spectra.record(int(with_true[-1]))
        return int(record.steps[0]), self._named(record.true_values, record.stored[0])

    @property
    def true_entropy(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (steps (K,), entropy of the true singular values (K, M)) of the records that have them."""
        known = self.log.spectra.digest
        return known.steps[known.has_true], known.true_entropy

    def spectra_of(self, matrix: str) -> MatrixSpectra:
        """Return λ, gates and true singular values of one matrix in every record.

        Raises:
            ValueError: the run has no matrix of this name.
            RunLogError: the log was changed since it was opened.
        """
        return self.log.spectra.matrix(self.place_of(matrix))

    @cached_property
    def metrics(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return name → (steps, values): the scalars, ``total_rank``, and each evaluation as ``split/metric``."""
        scalars = self.log.steps
        found = {name: (scalars["step"], values) for name, values in scalars.items() if name != "step"}
        found["total_rank"] = (self.steps, self.ranks.sum(axis=1))
        measured = [(record, metric) for record in self.evals for metric in record["metrics"]]
        names = {(r["split"], metric) for r, metric in measured if r["metrics"][metric] is not None}
        for split, metric in sorted(names):
            own = [r for r in self.evals if r["split"] == split and r["metrics"].get(metric) is not None]
            steps = np.array([record["step"] for record in own], np.int64)
            found[f"{split}/{metric}"] = (steps, np.array([record["metrics"][metric] for record in own], np.float64))
        return found

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Show the player in a notebook, and one line elsewhere."""
        from analysis.notebook.frame import frame_html

        text = f"Run {self.folder}: {self.state}, {len(self.matrices)} matrices, {len(self.steps)} records"
        return {"text/plain": text, "text/html": frame_html(self)}

    def _named(self, flat: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.split(flat, np.cumsum(counts)[:-1])
        return {matrix.name: part for matrix, part in zip(self.matrices, parts, strict=True)}


def exact_event(run: Run, step: int) -> dict[str, Any] | None:
    """Return the event at exactly this step, None without one."""
    number = event_number(run, step)
    return run.events[number] if number >= 0 and run.events[number]["step"] == step else None


def event_number(run: Run, step: int) -> int:
    """Return the number of the latest event at or before a step, −1 before the first."""
    return bisect_right(run.events, step, key=lambda event: event["step"]) - 1


def move_counts(run: Run, event: Mapping[str, Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return how many directions an event prunes and extends in each matrix, (M,) int64 each; 0 for None."""
    pruned, extended = np.zeros((2, len(run.matrices)), np.int64)
    for key, counts in (("prune", pruned), ("extend", extended)):
        for move in event[key] if event else ():
            counts[run.places[move["matrix"]]] += 1
    return pruned, extended


def load_run(path: str | Path) -> Run:
    """Open a run folder.

    Raises:
        RunLogError: the folder is no run; damage elsewhere is told in ``notices``.
    """
    return run_of(read_run(path))


def run_of(log: RunLog) -> Run:
    """Return what ``read_run`` returned as the arrays that views start from."""
    matrices = [
        Matrix(
            name=str(row["name"]),
            layer=row.get("layer"),
            module_type=str(row.get("module_type") or row["name"]),
            in_features=int(row.get("in_features") or 0),
            out_features=int(row.get("out_features") or 0),
        )
        for row in log.header["matrices"]
    ]
    return Run(log, matrices)
