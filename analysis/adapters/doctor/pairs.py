"""What speaks against merging, or against believing an overlap: copies, interference, a shared start."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from analysis.adapters.comparison import SAME_DELTA, SHARED_START
from analysis.adapters.doctor.finding import LOOK, NOTE, Finding
from analysis.adapters.many import Comparisons, mean_of
from analysis.adapters.relations import COSINE, listed, same_delta, times


def same_deltas(found: Comparisons) -> list[Finding]:
    """Return a finding for every group of adapters that have the same ΔW."""
    differences, result = found.differences(), []
    for group in found.copies():
        if len(group) < 2:
            continue
        most = float(max(differences[group[0], place] for place in group[1:]))
        alive = int(np.count_nonzero(found.products[:, group[0], group[0]] > 0))
        result.append(
            Finding(
                "same_delta",
                NOTE,
                f"{listed([found.names[place] for place in group])} have {same_delta(most, alive)}.",
                "Keep one of them: merging them only scales it.",
                most,
            )
        )
    return result


def scaled(found: Comparisons) -> list[Finding]:
    """Return a finding for adapters that are one, scaled: ΔW of each is a number times that of the first."""
    result = []
    for (first, _), *others in found.families():
        if not others:
            continue
        cancels = ", and those of unlike sign cancel" if any(ratio < 0 for _, ratio in others) else ""
        told = listed([f"{found.names[place]} is {times(ratio)}" for place, ratio in others])
        result.append(
            Finding(
                "scaled",
                LOOK if cancels else NOTE,
                f"ΔW of {told} that of {found.names[first]}, in every matrix.",
                f"Keep one of them: merging them only scales it{cancels}.",
                max((ratio for _, ratio in others), key=abs),
            )
        )
    return result


def sums(found: Comparisons) -> list[Finding]:
    """Return a finding for every adapter whose ΔW is that of two others together."""
    return [
        Finding(
            "sum",
            NOTE,
            f"ΔW of {found.names[i]} is that of {found.names[j]} plus that of {found.names[k]}.",
            "Merging it with either counts that one twice.",
            1.0,
        )
        for i, j, k in found.sums()
    ]


def interference(found: Comparisons) -> list[Finding]:
    """Return a finding for adapters whose ΔW point the same way, or against each other, and say where.

    Of copies, scaled or not, the first alone takes part. Where more than two hang together, one finding tells of all.
    """
    cosines = found.cosines()
    result = []
    for pairs in _together(found, lambda i, j: abs(cosines[i, j]) > COSINE):
        i, j = max(pairs, key=lambda pair: abs(cosines[pair]))
        cosine = float(cosines[i, j])
        each = np.array([found.cosines([place])[i, j] for place in range(len(found.matrices))])
        place = int(np.nanargmax(each * np.sign(cosine)))
        where = f"most in {found.matrices[place].name} ({each[place]:+.2f})"
        word, what = ("agree", "adds up") if cosine > 0 else ("work against each other", "cancels")
        names = [found.names[one] for one in sorted({one for pair in pairs for one in pair})]
        text = f"{found.names[i]} and {found.names[j]} {word}: the cosine of their ΔW is {cosine:+.2f}, {where}."
        if len(pairs) > 1:
            text = (
                f"{listed(names)} are no independent changes: in {len(pairs)} pairs of them the cosine of ΔW is beyond "
                f"±{COSINE:g}, farthest {cosine:+.2f} ({found.names[i]} and {found.names[j]}), {where}."
            )
        advice = f"What they share {what} in a plain sum: weight them, or compare with TIES."
        result.append(Finding("interference", LOOK, text, advice, cosine, (found.matrices[place].name,)))
    return result


def shared_starts(found: Comparisons) -> list[Finding]:
    """Return a finding for adapters whose A began at the same numbers; of copies the first alone, as of scaled ones."""
    inputs, chances = found.overall("input"), mean_of(found.chances["input"])
    result = []
    for pairs in _together(found, lambda i, j: found.starts[i, j] > SHARED_START and inputs[i, j] >= 0):
        names = [found.names[one] for one in sorted({one for pair in pairs for one in pair})]
        cosine, overlap, chance = ([float(own[pair]) for pair in pairs] for own in (found.starts, inputs, chances))
        result.append(
            Finding(
                "shared_start",
                NOTE,
                f"{listed(names)} began at the same A (cosine of its rows {_span(cosine)}): their input overlap of "
                f"{_span(overlap)} (chance {_span(chance)}) comes from the seed.",
                "Look at the output overlap and at the cosine of ΔW instead.",
                max(cosine),
            )
        )
    return result


def _together(found: Comparisons, near: Callable[[int, int], bool]) -> list[list[tuple[int, int]]]:
    """Return the pairs that are near, those that hang together in one list, without copies, scaled or not."""
    first = [family[0][0] for family in found.families()]
    result: list[list[tuple[int, int]]] = []
    for pair in itertools.combinations(first, 2):
        if not near(*pair):
            continue
        touching = [own for own in result if any(set(pair) & set(other) for other in own)]
        result = [own for own in result if own not in touching] + [[*itertools.chain(*touching), pair]]
    return result


def _span(values: Sequence[float]) -> str:
    low, high = (f"{one:.2f}" for one in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


THRESHOLDS = {
    "same_delta": f"no matrix differs by more than {SAME_DELTA:.0%} of its ΔW; copies in another type or rank",
    "scaled": f"a number times one ΔW differs from the other by at most {SAME_DELTA:.0%} of it in every matrix",
    "sum": f"‖ΔW − (ΔW' + ΔW'')‖ is at most {SAME_DELTA:.0%} of ‖ΔW‖, in three adapters that all change something",
    "interference": f"|cosine| of ΔW above {COSINE:g}; the atlas's adapters of one task, of other seeds, reach 0.10",
    "shared_start": f"mean cosine of the same rows of A above {SHARED_START:g}; unlike seeds give about 0",
}
"""Finding → when it speaks, and why there."""
