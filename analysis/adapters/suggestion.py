"""Which rank each matrix should keep for a target, under each importance. Pure functions of singular values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.adapters.files import AdapterError
from analysis.adapters.plans import SAME
from analysis.adapters.spectra import AdapterSpectra
from analysis.adapters.targets import SIZES, BudgetProblem
from flexlora.brief import Brief
from flexlora.importance import IMPORTANCES
from flexlora.reallocation import Reallocation, plan_reallocation

SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
"""Of a size: where a curve is told in numbers."""


@dataclass(frozen=True, repr=False)
class Suggestion(Brief):
    """A rank for each matrix.

    Attributes:
        ranks: matrix → rank.
        by: key of ``ORDERS``.
        target: key of ``TARGETS``.
        value: what was asked for.
        total_rank: Σ ranks.
        parameters: Σ rank · (in + out).
        energy_kept: share of Σσ² of all matrices.
        error: ‖ΔW − ΔW'‖_F / ‖ΔW‖_F over all matrices, by the singular values.
        bound: what no choice of ranks under the same target can beat: a lower bound of ``error`` for a size, of
            ``parameters`` for energy or error. None for other orders than ``least_error``.
    """

    ranks: dict[str, int]
    by: str
    target: str
    value: float
    total_rank: int
    parameters: int
    energy_kept: float
    error: float
    bound: float | None


def suggest_ranks(
    spectra: AdapterSpectra,
    target: str,
    value: float,
    by: str = "least_error",
    least: int = 1,
    dtype: str | None = None,
    form: str = SAME,
) -> Suggestion:
    """Shrink an adapter to a target; each matrix keeps its largest directions.

    What ``least_error`` guarantees is said in ``analysis.adapters.budget``; arguments as those of ``BudgetProblem``.

    Raises:
        AdapterError: an unknown key, a target that cannot be met, or an adapter that does nothing.
    """
    return _suggestion(BudgetProblem(spectra, target, by, least, dtype, form), value)


def without_spare(spectra: AdapterSpectra, error: float) -> Suggestion | None:
    """Return the fewest directions at an error of ΔW; matrices may go where the format lets them.

    None where nothing goes, and for an adapter that does nothing or holds NaN.
    """
    if spectra.broken:
        return None
    for least in (0, 1):
        try:
            found = suggest_ranks(spectra, "error", error, least=least)
        except AdapterError:
            continue
        return found if found.total_rank < sum(matrix.rank for matrix in spectra.adapter.matrices) else None
    return None


def suggest_sizes(
    spectra: AdapterSpectra, target: str = "bytes", values: Sequence[float] | None = None, **options: Any
) -> list[Suggestion]:
    """Return one suggestion a value, all from one pass; those that cannot be met are left out.

    ``values`` None stands for ``SHARES`` of what the adapter has now, for a target that is a size; ``options`` as of
    ``suggest_ranks``.

    Raises:
        AdapterError: as ``suggest_ranks``, and where no value can be met.
    """
    problem = BudgetProblem(spectra, target, **({"by": "least_error", "least": 1, "dtype": None} | options))
    if values is None:
        whole = problem.whole_size()
        values = [int(share * whole) for share in SHARES] if target in SIZES else SHARES
    found: list[Suggestion] = []
    refused: AdapterError | None = None
    for value in values:
        try:
            found.append(_suggestion(problem, value))
        except AdapterError as error:
            refused = error
    if not found and refused is not None:
        raise refused
    return found


def _suggestion(problem: BudgetProblem, value: float) -> Suggestion:
    cut = problem.cut(value)
    ranks = problem.ranks(cut)
    parameters = sum(ranks[matrix.name] * matrix.cost for matrix in problem.adapter.matrices)
    lost = min(1.0, cut.lost / problem.whole) if problem.whole else 0.0
    bound = None
    if problem.by == "least_error" and problem.whole:
        of_error = problem.target in SIZES
        bound = float(np.sqrt(cut.least / problem.whole)) if of_error else float(np.ceil(cut.least + problem.fixed))
    total = sum(ranks.values())
    return Suggestion(
        ranks, problem.by, problem.target, value, total, parameters, 1.0 - lost, float(np.sqrt(lost)), bound
    )


def flexlora_moves(spectra: AdapterSpectra, budget: int, measure: str = "spectral_entropy") -> Reallocation:
    """Return what one event of FlexLoRA would move in this adapter as it stands.

    A finished adapter only shows where training ended: this says nothing about what came before, nor that moving rank
    now would help. Importance is scored on the true singular values by ``measure``, a key of ``SCORED_BY_LAMBDA``; at
    most ``budget`` directions are pruned, and as many extended.
    """
    finite = spectra.finite()
    limits = {m.name: min(m.in_features, m.out_features) for m in spectra.adapter.matrices}
    scores = {name: IMPORTANCES[measure](values) for name, values in finite.items()}
    return plan_reallocation(scores, {name: v.size for name, v in finite.items()}, budget, max_rank=limits)
