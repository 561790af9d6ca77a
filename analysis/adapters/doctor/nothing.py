"""Adapters, or parts of them, that do nothing: alpha = 0, B = 0, directions that are never used."""

from __future__ import annotations

import numpy as np

from analysis.adapters.comparison import RELATIVE_TOLERANCE
from analysis.adapters.doctor.finding import LOOK, NOTE, WRONG, Check, Examined, Finding

LATE = 0.5
"""Above this share of dead matrices something is wrong with the training rather than with a few modules."""


FAINT = 1e-3
"""σ as a share of the matrix's largest: below it a direction holds a millionth of the largest one's energy."""
MANY = 0.1
"""Share of all directions from which faint ones are worth a line."""
NO_LOSS, HARDLY = 1e-6, 1e-3
"""Error of ΔW, as a share, at which directions that hold nothing go: to the last bits of float32, and faint ones."""


def _alpha_zero(examined: Examined) -> Finding | None:
    found = [matrix.name for matrix in examined.adapter.matrices if matrix.scale == 0 and matrix.rank]
    if not found:
        return None
    return Finding(
        "alpha_zero",
        WRONG,
        f"alpha = 0 {examined.named(found)}: s = alpha / r = 0, so ΔW = 0 whatever was trained.",
        "Set lora_alpha in adapter_config.json to what it was trained with.",
        len(found),
        tuple(found),
    )


def _dead(examined: Examined) -> Finding | None:
    scaled = [matrix.name for matrix in examined.adapter.matrices if matrix.scale != 0 and matrix.rank]
    found = [name for name in scaled if examined.factors[name].B_zero or examined.factors[name].A_zero]
    if not found:
        return None
    of_B = [name for name in found if examined.factors[name].B_zero]
    every = len(found) > LATE * len(scaled)
    if not of_B:
        text = f"A = 0 {examined.named(found)}: ΔW = 0 there, whatever B learned."
        advice = (
            "A begins at random numbers, and no training makes it 0: it was lost when the file was saved or changed."
        )
    else:
        factor = "B" if len(of_B) == len(found) else "A or B"
        text = f"{factor} = 0 {examined.named(found)}: ΔW = 0 there, as before the first step."
        advice = (
            "It was saved before training, or the optimizer never held these parameters: look at requires_grad and at "
            "what was saved."
            if every
            else "Likely no gradient reached them. Leave them out of target_modules, or find out why they are not used."
        )
    mends = "" if len(found) == len(scaled) else f"--error {NO_LOSS:g} --drop --out NEW_FOLDER"
    return Finding("dead", WRONG if every else LOOK, text, advice, len(found), tuple(found), mends)


def _counts(examined: Examined, share: float) -> dict[str, int]:
    """Return matrix → directions whose σ is at most this share of its largest, where there are any."""
    counts = {}
    for matrix, values in examined.live:
        possible = min(matrix.rank, matrix.in_features, matrix.out_features)
        counts[matrix.name] = int(possible - np.count_nonzero(values[:possible] > share * values[0]))
    return {name: count for name, count in counts.items() if count}


def _faint_are_more(examined: Examined) -> bool:
    """Return whether the directions that hold hardly anything are many, and few of them hold nothing at all."""
    faint, whole = sum(_counts(examined, FAINT).values()), sum(matrix.rank for matrix, _ in examined.live)
    return faint > MANY * whole and sum(_counts(examined, RELATIVE_TOLERANCE).values()) < faint / 2


def _faint(examined: Examined) -> Finding | None:
    if not _faint_are_more(examined):
        return None
    counts = _counts(examined, FAINT)
    faint, whole = sum(counts.values()), sum(matrix.rank for matrix, _ in examined.live)
    return Finding(
        "faint",
        LOOK,
        f"{faint:,} of {whole:,} directions are nearly unused, {examined.named(list(counts))}: their σ is at most "
        f"1/{1 / FAINT:,.0f} of their matrix's largest.",
        f"A rank that was never filled, or noise beside a smaller one, looks like this. Shrinking to an error of at "
        f"most {HARDLY:.1%} drops what may go.",
        faint,
        tuple(counts),
        f"--error {HARDLY:g} --out NEW_FOLDER",
    )


def _unused(examined: Examined) -> Finding | None:
    counts = _counts(examined, RELATIVE_TOLERANCE)
    found = list(counts)
    # Beside many that hold hardly anything, the few that hold nothing are counted among those.
    if not found or _faint_are_more(examined):
        return None
    unused, whole = sum(counts.values()), sum(matrix.rank for matrix, _ in examined.live)
    one = unused == 1
    return Finding(
        "unused",
        LOOK if unused > whole / 10 else NOTE,
        f"{unused:,} of {whole:,} directions {'is' if one else 'are'} never used, {examined.named(found)}: "
        f"{'its' if one else 'their'} σ is 0 to the last bits.",
        "Padding of an expanded rank looks like this. Shrinking drops them without a loss that float32 could hold.",
        unused,
        tuple(found),
        f"--error {NO_LOSS:g} --out NEW_FOLDER",
    )


NOTHING = (
    Check(
        "alpha_zero",
        "alpha = 0",
        "s = 0 in any matrix",
        "s multiplies all of ΔW",
        _alpha_zero,
        needs_config=True,
        of_alpha=True,
    ),
    Check(
        "dead",
        "Dead matrices",
        "B or A is exactly 0 in any matrix",
        "B begins at 0, and one step with a gradient moves it: exactly 0 is no result of training",
        _dead,
    ),
    Check(
        "unused",
        "Unused directions",
        f"any σ ≤ {RELATIVE_TOLERANCE:g} of the matrix's largest",
        "that is the rounding of float32 factors; no direction of the atlas's trained adapters lies below it",
        _unused,
    ),
    Check(
        "faint",
        "Nearly unused directions",
        f"σ at most {FAINT:g} of the matrix's largest, in more than {MANY:.0%} of all directions",
        "a millionth of the largest direction's energy; in the atlas's trained adapters at most 3.3 % are so faint, at "
        "r = 32, and hardly any at r = 16 and below",
        _faint,
    ),
)
