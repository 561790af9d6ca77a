"""Several adapters, one line each: what is wrong, how large, and which have the same ΔW."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.adapters.comparison import SAME_DELTA
from analysis.adapters.doctor import CHECKS, LEVELS, Finding, examine, in_order
from analysis.adapters.doctor.neighbours import LABEL as NEIGHBOURS_LABEL
from analysis.adapters.doctor.neighbours import neighbour_sizes
from analysis.adapters.files import AdapterError
from analysis.adapters.opening import open_adapter
from analysis.adapters.sizes import size_now
from analysis.adapters.spectra import AdapterSpectra, Progress, analyse_adapter
from flexlora.spectra import true_singular_values

FINE, CLOSED = "fine", "cannot be opened"


class Triaged(NamedTuple):
    """One of several adapters.

    Attributes:
        name: as it was given.
        verdict: level of its worst finding, ``FINE`` or ``CLOSED``.
        findings: all of them, the worst first, each in one sentence.
        brief: the worst in a few words and how many more there are, or why it cannot be opened; empty = none.
        norm: ‖ΔW‖_F over its finite matrices; None = closed.
        bytes: of its weights file; None = closed.
        dtype: of its factors.
        same_as: the first of the others before it with the same ΔW, or "2 × name" where it is scaled; empty = none.
        beside: what is found only beside the others; None = nothing.
        share: of its matrices, how many the worst findings concern, 0 to 1; 0 = nothing found, or closed.
    """

    name: str
    verdict: str
    findings: tuple[Finding, ...]
    brief: str
    norm: float | None
    bytes: int | None
    dtype: str
    same_as: str
    beside: Finding | None = None
    share: float = 0.0


def triage(
    places: Mapping[str, Path],
    progress: Progress | None = None,
    analyse: Callable[[Path], AdapterSpectra] = lambda path: analyse_adapter(open_adapter(path)),
) -> list[Triaged]:
    """Examine adapters (name → path), worst first; ``progress`` is called after each.

    Of one level that comes first whose findings concern more of its matrices, and then the larger ΔW.
    """
    closed: list[Triaged] = []
    opened: dict[str, AdapterSpectra] = {}
    findings: dict[str, list[Finding]] = {}
    same: dict[str, str] = {}
    for number, (name, path) in enumerate(places.items(), 1):
        try:
            spectra = analyse(path)
            findings[name] = examine(spectra)
            same[name] = _same(opened, spectra)
            opened[name] = spectra
        except (AdapterError, OSError) as error:
            # An upload lies in a folder that nobody has seen.
            told = str(error).replace(str(path), name)
            closed.append(Triaged(name, CLOSED, (), told, None, None, "", ""))
        if progress is not None:
            progress(number, len(places))
    beside, order = neighbour_sizes(opened), (CLOSED, *LEVELS, FINE)
    found = [_one(spectra, name, findings[name], beside.get(name), same[name]) for name, spectra in opened.items()]
    given = list(places)
    return sorted(
        [*closed, *found],
        key=lambda row: (
            order.index(row.verdict),
            -row.share,
            -(row.norm or 0.0) * bool(row.share),
            given.index(row.name),
        ),
    )


def ratio_of(first: AdapterSpectra, second: AdapterSpectra) -> float | None:
    """Return c where ΔW of the second is c times that of the first in every matrix, whatever their ranks.

    Within ``SAME_DELTA``, and 1 where c is; None = it is not. A dead or broken matrix is no reason to call two adapters
    one: adapters that do nothing at all are never the same.
    """
    own = {m.name: (m.out_features, m.in_features) for m in first.adapter.matrices}
    if own != {m.name: (m.out_features, m.in_features) for m in second.adapter.matrices}:
        return None
    norms = np.array([[np.linalg.norm(spectra.singular_values[name]) for spectra in (first, second)] for name in own])
    whole = np.linalg.norm(norms, axis=0)
    if not (np.isfinite(norms).all() and whole.all()):
        return None
    ratio = float(whole[1] / whole[0])
    ratio = 1.0 if abs(ratio - 1) <= SAME_DELTA else ratio
    # The norms alone tell most adapters apart, and no factor is read for them.
    if (np.abs(ratio * norms[:, 0] - norms[:, 1]) > SAME_DELTA * norms[:, 1]).any():
        return None
    for sign in (1, -1):
        if all(_left(first, second, name, sign * ratio) <= SAME_DELTA * norms[i, 1] for i, name in enumerate(own)):
            return sign * ratio
    return None


def _left(first: AdapterSpectra, second: AdapterSpectra, name: str, ratio: float) -> float:
    """Return ‖ratio · ΔW − ΔW'‖_F of a matrix."""
    (s, t), ((B, A), (D, C)) = zip(
        *((own.adapter.find(name).scale, own.adapter.factors(name)) for own in (first, second)), strict=True
    )
    signs = np.concatenate([np.full(len(A), ratio * s), np.full(len(C), -t)])
    return float(np.linalg.norm(true_singular_values(np.hstack([B, D]), signs, np.vstack([A, C]))))


def _same(opened: Mapping[str, AdapterSpectra], spectra: AdapterSpectra) -> str:
    """Return the first of others with the same ΔW, or else the first of which it is a multiple, as "2 × name"."""
    ratios = {name: ratio for name, known in opened.items() if (ratio := ratio_of(known, spectra)) is not None}
    if not ratios:
        return ""
    name = next((name for name, ratio in ratios.items() if ratio == 1), next(iter(ratios)))
    return name if ratios[name] == 1 else f"{ratios[name]:.3g} × {name}".replace("-", "−", 1)


def _one(spectra: AdapterSpectra, name: str, own: list[Finding], beside: Finding | None, same: str) -> Triaged:
    findings, size = in_order([*own, *([beside] if beside else [])]), size_now(spectra.adapter)
    verdict = findings[0].level if findings else FINE
    worst, count = [finding for finding in findings if finding.level == verdict], len(spectra.adapter.matrices)
    share = max((len(finding.matrices) / count if finding.matrices else 1.0 for finding in worst), default=0.0)
    norm = float(np.linalg.norm([np.linalg.norm(values) for values in spectra.finite().values()] or [0.0]))
    return Triaged(
        name, verdict, tuple(findings), _brief(findings, count), norm, size.total, size.dtypes, same, beside, share
    )


def _brief(findings: list[Finding], count: int) -> str:
    """Return what is found as a cell of a table can hold it; ``count`` matrices are named where not all have it."""
    if not findings:
        return ""
    check, own = findings[0].check, len(findings[0].matrices)
    told = CHECKS[check].label if check in CHECKS else NEIGHBOURS_LABEL
    some = f": {own} of {count}" if 0 < own < count else ""
    return f"{told}{some}{f' · {len(findings) - 1} more' if findings[1:] else ''}"
