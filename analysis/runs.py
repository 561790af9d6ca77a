"""``load_run``: a run log as the arrays that every view, metric and figure starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flexlora.run_log import RunLog, read_run

BLOCK = 1 << 16
"""Singular values scored at once: few enough to stay in the processor's cache."""


class Matrix(NamedTuple):
    """One adapted weight matrix, as the header describes it."""

    name: str
    layer: int | None
    module_type: str
    in_features: int
    out_features: int


@dataclass(frozen=True)
class Run:
    """A run in memory; T spectrum records of M matrices.

    Attributes:
        log: the flat arrays it is made of.
        matrices: in the header's order.
        entropy: (T, M) normalised spectral entropy of λ² over the directions that are on, NaN where undefined.
        energy: (T, M) Σλ² over the same directions.
    """

    log: RunLog
    matrices: list[Matrix]
    entropy: np.ndarray
    energy: np.ndarray

    @property
    def folder(self) -> Path:
        """Where the run was read from."""
        return self.log.folder

    @property
    def header(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        return self.log.header

    @property
    def steps(self) -> np.ndarray:
        """Step of each spectrum record, (T,) int64."""
        return self.log.spectra_steps

    @property
    def ranks(self) -> np.ndarray:
        """Rank of each matrix in each record, (T, M) int64: what the decision of that step saw.

        A direction that is off (gate 0) is stored but not counted.
        """
        return self.log.ranks

    @property
    def stored(self) -> np.ndarray:
        """Directions that have a λ, (T, M) int64: the rank, and those that are off and may revive."""
        return self.log.stored

    @cached_property
    def expected_ranks(self) -> np.ndarray:
        """Mean number of directions that a training step uses, (T, M) float64: the sum of the gates."""
        if self.log.gates is None:
            return self.ranks.astype(np.float64)
        sums = np.concatenate([[0.0], np.cumsum(self.log.gates, dtype=np.float64)])
        return np.diff(sums[self.log.offsets]).reshape(self.ranks.shape)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Reallocation records in order."""
        return self.log.events

    @property
    def evals(self) -> list[dict[str, Any]]:
        """Evaluation records in order."""
        return self.log.evals

    @property
    def notes(self) -> list[dict[str, Any]]:
        """What happened: paused, resumed, edited, ..."""
        return self.log.notes

    @property
    def end(self) -> dict[str, Any] | None:
        """Why and when the run ended; None while it has not."""
        return self.log.end

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``stopped``, ``failed`` or ``crashed``."""
        return self.log.state

    @property
    def notices(self) -> list[str]:
        """One line for each thing that is missing or odd in the log."""
        return self.log.notices

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
        record = self.record_at(t)
        parts = _split(self.log.values, self.log.offsets, record, len(self.matrices))
        if self.log.gates is not None:
            gates = _split(self.log.gates, self.log.offsets, record, len(self.matrices))
            parts = [part[gate > 0] for part, gate in zip(parts, gates, strict=True)]
        return {matrix.name: part for matrix, part in zip(self.matrices, parts, strict=True)}

    def gates(self, t: int) -> dict[str, np.ndarray] | None:
        """Return matrix → gate of each stored direction, float32, of the latest record at or before step t.

        0 = off, may revive; otherwise the probability that a training step uses it. None for a run without gates.

        Raises:
            ValueError: t is before the first record.
        """
        if self.log.gates is None:
            return None
        parts = _split(self.log.gates, self.log.offsets, self.record_at(t), len(self.matrices))
        return {matrix.name: part for matrix, part in zip(self.matrices, parts, strict=True)}

    def true_singular_values(self, t: int) -> tuple[int, dict[str, np.ndarray]] | None:
        """Return (step, matrix → singular values of ΔW, one a stored direction) of the latest record that has them."""
        with_true = np.flatnonzero((self.log.true_index >= 0) & (self.steps <= t))
        if not len(with_true):
            return None
        record = int(with_true[-1])
        parts = self._true_parts(record)
        return int(self.steps[record]), {m.name: part for m, part in zip(self.matrices, parts, strict=True)}

    @cached_property
    def true_entropy(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (steps (K,), entropy of the true singular values (K, M)) of the records that have them."""
        records = np.flatnonzero(self.log.true_index >= 0)
        columns = len(self.matrices)
        entropy = np.full((len(records), columns), np.nan)
        for row, record in enumerate(records):
            # A direction that is off is about 0: the others alone carry the spectrum whose log r divides.
            parts = [part[:rank] for part, rank in zip(self._true_parts(int(record)), self.ranks[record], strict=True)]
            offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
            entropy[row] = ragged_entropy(np.concatenate(parts), offsets)[0]
        return self.steps[records], entropy

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

    def _true_parts(self, record: int) -> list[np.ndarray]:
        offsets = self.log.offsets[record * len(self.matrices) : (record + 1) * len(self.matrices) + 1]
        start = int(self.log.true_index[record])
        return [self.log.true_values[start + a - offsets[0] : start + b - offsets[0]] for a, b in _pairs(offsets)]


def load_run(path: str | Path) -> Run:
    """Open a run folder.

    Raises:
        RunLogError: the folder is no run; damage elsewhere is told in ``notices``.
    """
    log = read_run(path)
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
    shape = log.ranks.shape
    values, offsets = log.values, log.offsets
    if log.gates is not None:
        values = values[log.gates > 0]
        offsets = np.concatenate([[0], np.cumsum(log.ranks)])
    entropy, energy = ragged_entropy(values, offsets)
    return Run(log, matrices, entropy.reshape(shape), energy.reshape(shape))


def ragged_entropy(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score many spectra at once, as ``flexlora.importance.spectral_entropy`` scores one.

    Args:
        values: all singular values, flat.
        offsets: (n + 1,) where each spectrum begins; an empty spectrum is allowed.

    Returns:
        (n,) entropy, NaN where undefined, and (n,) energy Σλ², NaN where a value is not finite; both float64.
    """
    offsets = np.asarray(offsets, np.int64)
    count = len(offsets) - 1
    entropy, energy = np.empty(count), np.empty(count)
    edges = np.searchsorted(offsets[:-1], np.arange(offsets[0], offsets[-1], BLOCK)).tolist()
    for start, stop in pairwise(sorted({0, *edges, count})):
        own = offsets[start : stop + 1]
        found = _scores(values[own[0] : own[-1]], own - own[0])
        entropy[start:stop], energy[start:stop] = found
    return entropy, energy


def _scores(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.diff(offsets)
    entropy, energy = np.full(len(lengths), np.nan), np.zeros(len(lengths))
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return entropy, energy
    # Spectra lie back to back, so the starts of the non-empty ones delimit the sums.
    starts, sizes = offsets[:-1][filled], lengths[filled]
    magnitude = np.abs(np.asarray(values, np.float64))
    peak = np.maximum.reduceat(magnitude, starts)
    usable = np.isfinite(peak) & (peak > 0)
    # An energy beyond float64 is inf; non-finite spectra make NaN on their way and are masked.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        share = np.square(magnitude / np.repeat(np.where(usable, peak, 1.0), sizes))
        total = np.add.reduceat(share, starts)
        energy[filled] = np.where(np.isfinite(peak), total * peak * peak, np.nan)
        share /= np.repeat(np.where(usable, total, 1.0), sizes)
        terms = np.where(share > 0, share * np.log(share), 0.0)
        found = -np.add.reduceat(terms, starts) / np.log(sizes)
    found = np.where(sizes == 1, 1.0, np.clip(found, 0.0, 1.0))
    entropy[filled] = np.where(usable, found, np.nan)
    return entropy, energy


def _split(values: np.ndarray, offsets: np.ndarray, record: int, columns: int) -> list[np.ndarray]:
    own = offsets[record * columns : (record + 1) * columns + 1]
    return [values[a:b] for a, b in _pairs(own)]


def _pairs(offsets: np.ndarray) -> list[tuple[int, int]]:
    return list(pairwise(offsets.tolist()))
