"""What lessons did: answers of many readers as gain, and as the difference between two versions, with intervals."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics import CONFIDENCE, RESAMPLES, Comparison, compare_pairs
from flexlora.errors import FlexLoRAError

COLUMNS = ("code", "phase", "concept", "right", "chosen", "versions")
"""Of the file that the quiz hands out."""
PHASES = ("before", "after")


class AnswersError(FlexLoRAError):
    """A file that is none of the quiz's, and what is wrong with it."""


@dataclass(frozen=True)
class Learner:
    """One reader.

    Attributes:
        code: drawn at random in the browser; no name.
        scores: phase → share of right answers.
        versions: lesson → the version that was read.
        concepts: phase → concept → right or not.
    """

    code: str
    scores: Mapping[str, float]
    versions: Mapping[str, str] = field(default_factory=dict)
    concepts: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)

    @property
    def gain(self) -> float | None:
        """Share of right answers after minus before; None where the same was not asked both times."""
        both = [self.scores.get(phase) for phase in PHASES]
        asked = [set(self.concepts.get(phase, ())) for phase in PHASES]
        return None if both[0] is None or both[1] is None or asked[0] != asked[1] else both[1] - both[0]


@dataclass(frozen=True)
class Effect:
    """The difference of the means of two groups that share nobody.

    Attributes:
        counts: how many are in each.
        mean: of the first minus that of the second.
        low: lower end of the 95 % interval by Welch's t; NaN with fewer than two in a group.
        high: its upper end.
        p: of the two-sided permutation test; NaN likewise.
    """

    counts: tuple[int, int]
    mean: float
    low: float
    high: float
    p: float


def read_answers(texts: Iterable[str]) -> list[Learner]:
    """Read the quiz's files; of a reader who is in several, what is read last counts.

    Raises:
        AnswersError: a text is no such file.
    """
    answers: dict[str, dict[str, dict[str, bool]]] = {}
    versions: dict[str, dict[str, str]] = {}
    for text in texts:
        for row in _rows(text):
            phases = answers.setdefault(row["code"], {})
            phases.setdefault(row["phase"], {})[row["concept"]] = row["right"] == "1"
            versions.setdefault(row["code"], {}).update(pair.split("=", 1) for pair in row["versions"].split())
    return [
        Learner(code, {phase: _share(own) for phase, own in phases.items()}, versions[code], phases)
        for code, phases in answers.items()
    ]


def gain(learners: Sequence[Learner]) -> Comparison | None:
    """Return after minus before, paired by reader; None where nobody took both quizzes."""
    gains = [one.gain for one in learners if one.gain is not None]
    return compare_pairs(gains) if gains else None


def version_effect(learners: Sequence[Learner], lesson: str) -> Effect | None:
    """Return the gain of readers of version a minus that of version b of a lesson; None where a group is empty."""
    groups = [
        [one.gain for one in learners if one.versions.get(lesson) == name and one.gain is not None] for name in "ab"
    ]
    return compare_groups(*groups) if all(groups) else None


def compare_groups(one: ArrayLike, other: ArrayLike, *, seed: int = 0) -> Effect:
    """Return interval and test of a difference between two groups of different people.

    Args:
        one: (n,) values of the first group.
        other: (m,) of the second.
        seed: of the permutations.

    Raises:
        ValueError: an empty group, or a value that is not finite.
    """
    first, second = (np.asarray(values, float) for values in (one, other))
    if not len(first) or not len(second) or not np.isfinite([*first, *second]).all():
        raise ValueError("each group needs at least one finite number")
    mean, counts = float(first.mean() - second.mean()), (len(first), len(second))
    if min(counts) < 2:
        return Effect(counts, mean, math.nan, math.nan, math.nan)
    low, high = _welch(first, second, mean)
    return Effect(counts, mean, low, high, _permuted(first, second, seed))


def _welch(first: np.ndarray, second: np.ndarray, mean: float) -> tuple[float, float]:
    from scipy import stats

    errors = np.array([own.var(ddof=1) / len(own) for own in (first, second)])
    total = float(errors.sum())
    if total == 0:
        return mean, mean
    freedom = total**2 / float((errors**2 / (np.array([len(first), len(second)]) - 1)).sum())
    reach = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2, freedom)) * math.sqrt(total)
    return mean - reach, mean + reach


def _permuted(first: np.ndarray, second: np.ndarray, seed: int) -> float:
    everyone, draw = np.concatenate([first, second]), np.random.default_rng(seed)
    least = abs(first.mean() - second.mean()) * (1 - 1e-12)
    mixed = draw.permuted(np.tile(everyone, (RESAMPLES, 1)), axis=1)
    found = np.abs(mixed[:, : len(first)].mean(axis=1) - mixed[:, len(first) :].mean(axis=1))
    return float((1 + (found >= least).sum()) / (RESAMPLES + 1))


def _rows(text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(text.lstrip("\ufeff").splitlines())
    try:
        named = tuple(reader.fieldnames or ())
    except csv.Error as error:
        raise AnswersError(f"this is no file of answers: {error}") from error
    if named != COLUMNS:
        raise AnswersError(f"a file of answers begins with {','.join(COLUMNS)}; this one begins with {text[:60]!r}")
    try:
        rows = list(reader)
    except csv.Error as error:
        raise AnswersError(f"this is no file of answers: {error}") from error
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values() or row["right"] not in ("0", "1") or row["phase"] not in PHASES:
            raise AnswersError(f"line {number} is no answer: six fields, `phase` before or after, `right` 0 or 1")
        if any("=" not in pair for pair in row["versions"].split()):
            raise AnswersError(f"line {number}: versions are told as lesson=version, got {row['versions'][:40]!r}")
    return rows


def _share(answers: Mapping[str, bool]) -> float:
    return sum(answers.values()) / len(answers)
