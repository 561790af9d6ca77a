"""Sentences about two adapters or more: how alike they are, where that comes from, what a merge of them does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.adapters.comparison import SAME_DELTA, SHARED_START, Comparison

COSINE = 0.15
"""Between two ΔW as vectors. Unrelated ones of n numbers have about 1 / √n."""
DROWNS = 0.75
"""Share of the energy of all parts of a sum above which one of them drowns the rest: three times theirs together."""
FAINT = 0.05
"""Share below which one of several hardly counts."""
_LAST_BITS = 1e-6
_SHOWN = 1e-3
_NOTHING = 1e-9
"""Share of the largest ‖ΔW‖ of a sum below which a part of it adds nothing."""


def describe_comparison(found: Comparison, first: str, second: str) -> list[str]:
    """Return what a comparison of two adapters says over all matrices, one sentence each, most important first."""
    live = [overlap for overlap in found.overlaps if overlap.output_overlap is not None]
    if not live:
        return ["Every matrix that both have is dead in one of them: nothing overlaps."]
    many = "1 matrix is" if len(live) == 1 else f"{len(live)} matrices are"
    keys = ("output_overlap", "output_chance", "input_overlap", "input_chance")
    means = [float(np.mean([getattr(overlap, key) for overlap in live])) for key in keys]
    told = [
        f"{many} alive in both. Mean overlap of their subspaces: output {means[0]:.3f} (chance {means[1]:.3f}), "
        f"input {means[2]:.3f} (chance {means[3]:.3f}); 1 = the smaller lies within the larger. Cosine of ΔW over all "
        f"matrices: {signed(found.cosine)}."
    ]
    if found.difference <= SAME_DELTA:
        return [f"{first} and {second} have {same_delta(found.difference, len(live))}.", *told]
    own, other = found.sizes
    if found.times is not None:
        scaled = f"ΔW of {second} is {times(found.times)} that of {first}, in every matrix: one adapter, scaled."
        return [scaled, *told]
    if own and other:
        told[0] += f" ‖ΔW‖ of {second} is {times(other / own)} that of {first}."
    if found.start is not None and found.start > SHARED_START:
        told.append(
            f"Both began at the same A (cosine of its rows {found.start:.2f}): the input overlap comes from the seed. "
            "Look at the output overlap and at the cosine of ΔW instead."
        )
    return told


def times(ratio: float) -> str:
    """Return "2 times", "0.5 times" or "−1 times"."""
    return f"{ratio:.3g} times".replace("-", "−", 1) if ratio < 0 else f"{ratio:.3g} times"


def signed(value: float | None, digits: int = 3) -> str:
    """Return a number with its sign; one that rounds to 0 has none, and None is undefined."""
    if value is None or np.isnan(value):
        return "undefined"
    # 0 is added so that no −0 is shown.
    return f"{round(value, digits) + 0.0:+.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def same_delta(difference: float, matrices: int) -> str:
    """Return "the same ΔW …" with how far it differs in the matrices that were compared."""
    where = "in the only matrix" if matrices == 1 else f"in all {matrices} matrices that change anything"
    if difference < _LAST_BITS:
        return f"the same ΔW {where}, to the last bits"
    most = f"at most {difference:.1%}" if difference >= _SHOWN else f"less than {_SHOWN:.1%}"
    return f"the same ΔW {where}, but for rounding ({most} of it)"


def listed(names: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def merge_warnings(
    names: Sequence[str], tasks: Sequence[str | None], products: np.ndarray, weights: Sequence[float]
) -> list[str]:
    """Return what speaks against a merge, one line each.

    Args:
        names: of the n adapters.
        tasks: ``task_type`` of each; None = not said.
        products: ⟨ΔW_i, ΔW_j⟩ over all merged matrices, (n, n).
        weights: (n,).
    """
    found, norms = [], np.abs(weights) * np.sqrt(np.diagonal(products))
    live = norms > _NOTHING * norms.max()
    said: dict[str, list[str]] = {}
    for name, task in zip(names, tasks, strict=True):
        if task:
            said.setdefault(task, []).append(name)
    if len(said) > 1:
        told = "; ".join(f"{listed(own)}: {task}" for task, own in said.items())
        found.append(f"The task types differ ({told}): the result keeps that of {names[0]}.")
    for name, used, own, weight in zip(names, live, np.diagonal(products), weights, strict=True):
        if used:
            continue
        if weight and own:
            large = names[int(np.argmax(norms))]
            found.append(
                f"{name} adds nothing: beside {large} its share is less than rounding. Give it a larger weight."
            )
        else:
            found.append(
                f"{name} adds nothing: its {'ΔW' if weight else 'weight'} is 0. Leave it out"
                f"{', or mend it first' if weight else ''}."
            )
    return found + (_uneven(names, norms, live, weights) if np.count_nonzero(live) > 1 else [])


def drowning(norms: np.ndarray) -> int | None:
    """Return the place of the part that has more than ``DROWNS`` of the energy Σ‖wΔW‖² of all; None = none has."""
    squares = np.square(norms / norms.max()) if norms.any() else norms
    most = int(np.argmax(squares))
    return most if squares[most] > DROWNS * squares.sum() else None


def _uneven(names: Sequence[str], norms: np.ndarray, live: np.ndarray, weights: Sequence[float]) -> list[str]:
    """Return which part of a sum drowns the rest, or else which ones hardly count in it."""
    shares, most = np.square(norms) / np.square(norms).sum(), drowning(norms)
    if most is None:
        faint = [name for name, share, used in zip(names, shares, live, strict=True) if used and share < FAINT]
        one = len(faint) == 1
        told = f"{listed(faint)} hardly {'counts' if one else 'count'}: " if faint else ""
        told += f"less than {FAINT:.0%} of the energy of all{'' if one else ' each'}. "
        return [f"{told}Give {'it' if one else 'them'} a larger weight."] if faint else []
    others = [place for place in map(int, np.flatnonzero(live)) if place != most]
    ratio = norms[most] / float(np.median(norms[others]))
    alike = names[others[0]] if len(others) == 1 else f"the middle one of the other {len(others)}"
    return [
        f"‖ΔW‖ of {names[most]}, with its weight, is {ratio:.1f} times that of {alike}, {_percent(shares[most])} of "
        f"the energy of all: it drowns the rest. Weight {weights[most] / ratio:.2g} would make it as large; open it "
        "alone to see what is found in it."
    ]


def _percent(share: float) -> str:
    # What others are in is not all of it.
    return "over 99%" if 0.99 < share < 1 else f"{share:.0%}"


def merge_summary(names: Sequence[str], products: np.ndarray, weights: Sequence[float], how: str) -> str:
    """Return what the angles between the ΔW say about a merge of them, in one sentence; see ``merge_warnings``."""
    own = np.sqrt(np.diagonal(products))
    norms, signs = np.abs(weights) * own, np.sign(weights)
    live = [place for place, norm in enumerate(norms) if norm > _NOTHING * norms.max()]
    if len(live) < 2:
        return (
            f"Nothing was merged: {listed([names[i] for i in live]) if live else 'no adapter'} alone has a ΔW above 0."
        )
    pairs = [(i, j) for i in live for j in live if i < j]
    cosines = {(i, j): float(signs[i] * signs[j] * np.clip(products[i, j] / own[i] / own[j], -1, 1)) for i, j in pairs}
    (i, j), most = max(cosines.items(), key=lambda item: abs(item[1]))
    both = "both" if len(names) == 2 else "all"
    large = drowning(norms)
    if abs(most) <= COSINE and large is not None:
        share = _percent(norms[large] ** 2 / np.square(norms).sum())
        return (
            f"Near orthogonal (cosine of ΔW {_range(list(cosines.values()))}), yet {share} of the sum's energy is "
            f"{names[large]}'s."
        )
    if abs(most) <= COSINE:
        plain = f"a plain sum keeps {both}" if how == "linear" else f"linear would keep {both}"
        return f"Near orthogonal (cosine of ΔW {_range(list(cosines.values()))}): {plain}."
    pair = f"{names[i]} and {names[j]}"
    if most >= 1 - SAME_DELTA**2:
        return f"{pair} have the same direction (cosine of ΔW {most:+.2f}): their sum only scales it."
    if most > 0:
        return f"{pair} agree (cosine of ΔW {most:+.2f}): what they share adds up. Weights that sum to 1 keep its size."
    return f"{pair} work against each other (cosine of ΔW {most:+.2f}): what they share cancels in a plain sum."


def _range(cosines: Sequence[float]) -> str:
    low, high = signed(min(cosines), 2), signed(max(cosines), 2)
    return low if low == high else f"{low} to {high}"
