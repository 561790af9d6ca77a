"""What is wrong with an adapter, one line each, with its number, its matrices and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.adapters.adapter import Adapter
from analysis.adapters.doctor.finding import LOOK, NOTE, WRONG, Check, Examined, Finding
from analysis.adapters.doctor.head import HEAD
from analysis.adapters.doctor.layers import LAYERS
from analysis.adapters.doctor.neighbours import THRESHOLD as NEIGHBOURS
from analysis.adapters.doctor.nothing import NOTHING
from analysis.adapters.doctor.numbers import NUMBERS
from analysis.adapters.doctor.pairs import THRESHOLDS, interference, same_deltas, scaled, shared_starts, sums
from analysis.adapters.doctor.scale import SCALE
from analysis.adapters.doctor.shape import SHAPE
from analysis.adapters.doctor.size import SIZE
from analysis.adapters.many import Comparisons, compare_many
from analysis.adapters.spectra import AdapterSpectra, Progress

CHECKS: dict[str, Check] = {check.key: check for check in (*NUMBERS, *NOTHING, *HEAD, *SIZE, *SCALE, *SHAPE, *LAYERS)}
"""Key → what is looked for in one adapter."""
BESIDE_OTHERS = {**THRESHOLDS, "neighbours": NEIGHBOURS}
"""Finding between adapters → when it is made, and why there."""
LEVELS = (WRONG, LOOK, NOTE)


def examine(spectra: AdapterSpectra) -> list[Finding]:
    """Return what is wrong with an adapter, worst first; empty where nothing is."""
    examined = Examined(spectra)
    found = [check.find(examined) for check in CHECKS.values() if check.can_run(spectra.adapter)]
    return in_order([finding for finding in found if finding is not None])


def examine_together(
    adapters: Sequence[Adapter], progress: Progress | None = None
) -> tuple[Comparisons, list[Finding]]:
    """Compare adapters, and return what speaks against merging them or believing their overlap.

    Raises:
        AdapterError: fewer than two, or nothing in common.
    """
    compared = compare_many(adapters, progress)
    return compared, in_order(
        [*interference(compared), *same_deltas(compared), *scaled(compared), *sums(compared), *shared_starts(compared)]
    )


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, worst first, each level in its own order."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def verdict(findings: Sequence[Finding], adapter: Adapter | None = None) -> str:
    """Return one sentence over all findings: how many checks ran, what they found, and which could not run.

    Without an adapter all of them are taken to have run.
    """
    idle = [check.label for check in CHECKS.values() if adapter is not None and not check.can_run(adapter)]
    ran = f"{len(CHECKS) - len(idle)} checks"
    counts = [sum(finding.level == level for finding in findings) for level in LEVELS]
    words = ("wrong", "to look at", "to know")
    told = ", ".join(f"{count} {word}" for count, word in zip(counts, words, strict=True) if count)
    many = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
    said = f"{ran}, {many}: {told}." if findings else f"Nothing found by {ran}."
    if not idle or adapter is None or adapter.format != "peft":
        return said
    return f"{said} {len(idle)} more need adapter_config.json, which is not there: {', '.join(idle)}."


__all__ = [
    "BESIDE_OTHERS",
    "CHECKS",
    "LEVELS",
    "LOOK",
    "NOTE",
    "THRESHOLDS",
    "WRONG",
    "Check",
    "Examined",
    "Finding",
    "examine",
    "examine_together",
    "in_order",
    "verdict",
]
