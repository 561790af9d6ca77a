"""Several adapters, one line each: what is wrong, how large, and which have the same ΔW."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.adapters.comparison import SAME_DELTA
from analysis.adapters.doctor import LEVELS, Finding, examine, in_order
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
        finding: its worst finding in one sentence, or why it cannot be opened; empty = none.
        more: findings beside that.
        norm: ‖ΔW‖_F over its finite matrices; None = closed.
        bytes: of its weights file; None = closed.
        dtype: of its factors.
        same_as: the first of the others before it with the same ΔW; empty = none.
        beside: what is found only beside the others; None = nothing.
    """

    name: str
    verdict: str
    finding: str
    more: int
    norm: float | None
    bytes: int | None
    dtype: str
    same_as: str
    beside: Finding | None = None


def triage(
    places: Mapping[str, Path],
    progress: Progress | None = None,
    analyse: Callable[[Path], AdapterSpectra] = lambda path: analyse_adapter(open_adapter(path)),
) -> list[Triaged]:
    """Examine adapters (name → path), worst first and in their order; ``progress`` is called after each."""
    closed: list[Triaged] = []
    opened: dict[str, AdapterSpectra] = {}
    findings: dict[str, list[Finding]] = {}
    same: dict[str, str] = {}
    for number, (name, path) in enumerate(places.items(), 1):
        try:
            spectra = analyse(path)
            findings[name] = examine(spectra)
            same[name] = next((other for other, known in opened.items() if same_change(known, spectra)), "")
            opened[name] = spectra
        except (AdapterError, OSError) as error:
            # An upload lies in a folder that nobody has seen.
            told = str(error).replace(str(path), name)
            closed.append(Triaged(name, CLOSED, told, 0, None, None, "", ""))
        if progress is not None:
            progress(number, len(places))
    beside, order = neighbour_sizes(opened), (CLOSED, *LEVELS, FINE)
    found = [_one(spectra, name, findings[name], beside.get(name), same[name]) for name, spectra in opened.items()]
    given = list(places)
    return sorted([*closed, *found], key=lambda row: (order.index(row.verdict), given.index(row.name)))


def same_change(first: AdapterSpectra, second: AdapterSpectra) -> bool:
    """Return whether two adapters have the same ΔW in every matrix within ``SAME_DELTA``, whatever their ranks.

    A dead or broken matrix is no reason to call two adapters one: adapters that do nothing at all are never the same.
    """
    own = {m.name: (m.out_features, m.in_features) for m in first.adapter.matrices}
    if own != {m.name: (m.out_features, m.in_features) for m in second.adapter.matrices}:
        return False
    live = False
    for name in own:
        norms = [float(np.linalg.norm(spectra.singular_values[name])) for spectra in (first, second)]
        if not np.isfinite(norms).all() or abs(norms[0] - norms[1]) > SAME_DELTA * norms[0]:
            return False
        if not norms[0]:
            continue
        live = True
        scales = [spectra.adapter.find(name).scale for spectra in (first, second)]
        (B, A), (D, C) = (spectra.adapter.factors(name) for spectra in (first, second))
        signs = np.concatenate([np.full(len(A), scales[0]), np.full(len(C), -scales[1])])
        left = true_singular_values(np.hstack([B, D]), signs, np.vstack([A, C]))
        if float(np.linalg.norm(left)) > SAME_DELTA * norms[0]:
            return False
    return live


def _one(spectra: AdapterSpectra, name: str, own: list[Finding], beside: Finding | None, same: str) -> Triaged:
    findings, size = in_order([*own, *([beside] if beside else [])]), size_now(spectra.adapter)
    verdict, text = (findings[0].level, findings[0].text) if findings else (FINE, "")
    norm = float(np.linalg.norm([np.linalg.norm(values) for values in spectra.finite().values()] or [0.0]))
    return Triaged(name, verdict, text, max(0, len(findings) - 1), norm, size.total, size.dtypes, same, beside)
