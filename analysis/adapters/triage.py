"""Several adapters, one line each: what is wrong, how large, and which have the same ΔW."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.adapters.doctor import LEVELS, examine
from analysis.adapters.files import AdapterError
from analysis.adapters.opening import open_adapter
from analysis.adapters.sizes import size_now
from analysis.adapters.spectra import AdapterSpectra, Progress, analyse_adapter
from flexlora.spectra import true_singular_values

SAME = 1e-5
"""‖ΔW₁ − ΔW₂‖_F as a share of ‖ΔW₁‖_F, up to which two adapters are one: what float32 rounds away, and some."""
FINE, CLOSED = "fine", "cannot be opened"


class Triaged(NamedTuple):
    """One of several adapters.

    Attributes:
        name: as it was given.
        verdict: level of its worst finding, ``FINE`` or ``CLOSED``.
        finding: its worst finding in one sentence, or why it cannot be opened; empty = none.
        more: findings beside that.
        bytes: of its weights file; None = closed.
        dtype: of its factors.
        same_as: the first of the others before it with the same ΔW; empty = none.
    """

    name: str
    verdict: str
    finding: str
    more: int
    bytes: int | None
    dtype: str
    same_as: str


def triage(
    places: Mapping[str, Path],
    progress: Progress | None = None,
    analyse: Callable[[Path], AdapterSpectra] = lambda path: analyse_adapter(open_adapter(path)),
) -> list[Triaged]:
    """Examine adapters (name → path), worst first and in their order; ``progress`` is called after each."""
    found: list[Triaged] = []
    opened: dict[str, AdapterSpectra] = {}
    for number, (name, path) in enumerate(places.items(), 1):
        try:
            spectra = analyse(path)
            found.append(_one(name, spectra, opened))
            opened[name] = spectra
        except (AdapterError, OSError) as error:
            found.append(Triaged(name, CLOSED, str(error), 0, None, "", ""))
        if progress is not None:
            progress(number, len(places))
    order = (CLOSED, *LEVELS, FINE)
    return sorted(found, key=lambda row: order.index(row.verdict))


def same_change(first: AdapterSpectra, second: AdapterSpectra) -> bool:
    """Return whether two adapters have the same ΔW in every matrix, whatever their factors and ranks.

    A dead or broken matrix is no reason to call two adapters one: adapters that do nothing at all are never the same.
    """
    own = {m.name: (m.out_features, m.in_features) for m in first.adapter.matrices}
    if own != {m.name: (m.out_features, m.in_features) for m in second.adapter.matrices}:
        return False
    norms = [_norm(spectra) for spectra in (first, second)]
    if not np.isfinite(norms).all() or not norms[0] or abs(norms[0] - norms[1]) > SAME * norms[0]:
        return False
    left = 0.0
    for name in own:
        scales = [spectra.adapter.find(name).scale for spectra in (first, second)]
        (B, A), (D, C) = (spectra.adapter.factors(name) for spectra in (first, second))
        signs = np.concatenate([np.full(len(A), scales[0]), np.full(len(C), -scales[1])])
        left += float(np.square(true_singular_values(np.hstack([B, D]), signs, np.vstack([A, C]))).sum())
        if left > (SAME * norms[0]) ** 2:
            return False
    return True


def _norm(spectra: AdapterSpectra) -> float:
    return float(np.linalg.norm(np.concatenate(list(spectra.singular_values.values()))))


def _one(name: str, spectra: AdapterSpectra, before: Mapping[str, AdapterSpectra]) -> Triaged:
    findings, size = examine(spectra), size_now(spectra.adapter)
    same = next((other for other, known in before.items() if same_change(known, spectra)), "")
    verdict, text = (findings[0].level, findings[0].text) if findings else (FINE, "")
    return Triaged(name, verdict, text, max(0, len(findings) - 1), size.total, size.dtypes, same)
