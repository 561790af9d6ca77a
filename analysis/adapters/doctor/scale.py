"""A scale far from what people use."""

from __future__ import annotations

import numpy as np

from analysis.adapters.doctor.finding import LOOK, Check, Examined, Finding
from analysis.adapters.doctor.numbers import rounding

LOW, HIGH = 1 / 16, 16.0
USUAL_DELTA, USUAL_PRODUCT = (1e-6, 1.0), (1e-8, 1.0)
"""Between which the root mean square of ΔW, and of B A without s, lies in what is trained."""
LOST_NOTED = 1e-3
"""Share of a factor that rounding must have taken to be told: float16 of factors of usual size takes less."""


def _scale(examined: Examined) -> Finding | None:
    scales = {matrix.name: abs(matrix.scale) for matrix in examined.adapter.matrices if matrix.scale}
    found = [name for name, scale in scales.items() if not LOW <= scale <= HIGH]
    if not found:
        return None
    worst = max((scales[name] for name in found), key=lambda scale: max(scale / HIGH, LOW / scale))
    if all(_cancels(examined, name) for name in found):
        return _cancelled(examined, found, worst)
    return Finding(
        "scale",
        LOOK,
        f"s = {worst:.3g} {examined.named(found)}, far from the usual 0.5 to 8.{_by_root(examined, found)}",
        "Compare lora_alpha, r and use_rslora with the training's: a wrong one of them scales ΔW by a constant.",
        worst,
        tuple(found),
    )


def _negative(examined: Examined) -> Finding | None:
    found = [matrix.name for matrix in examined.adapter.matrices if matrix.scale < 0]
    if not found:
        return None
    lowest = min(examined.adapter.find(name).scale for name in found)
    return Finding(
        "negative",
        LOOK,
        f"s = {lowest:.3g} is below 0 {examined.named(found)}: what was learned is taken away from the weights.",
        "Set alpha above 0, unless the adapter is meant to undo what another one did.",
        lowest,
        tuple(found),
    )


def _by_root(examined: Examined, found: list[str]) -> str:
    """Say what s would be by alpha / r, where rsLoRA's rule makes it large."""
    if not examined.config.get("use_rslora"):
        return ""
    first = examined.adapter.find(found[0])
    plain = abs(first.scale) / np.sqrt(first.rank)
    return f" use_rslora divides alpha by √r: by r, s would be {plain:.3g}." if LOW <= plain <= HIGH else ""


def _cancels(examined: Examined, name: str) -> bool:
    """Return whether ΔW is of usual size although s is not: B A is as far off the other way."""
    matrix, values = examined.adapter.find(name), examined.spectra.singular_values[name]
    entry = float(np.linalg.norm(values)) / np.sqrt(matrix.in_features * matrix.out_features)
    product = entry / abs(matrix.scale)
    usual = USUAL_DELTA[0] < entry < USUAL_DELTA[1]
    return bool(usual and not USUAL_PRODUCT[0] < product < USUAL_PRODUCT[1])


def _cancelled(examined: Examined, found: list[str], worst: float) -> Finding:
    sides = [
        (size, dtype) for name in found for size, dtype in zip(*examined.factors[name][-2:], strict=True) if size > 0
    ]
    small = worst > HIGH
    size = f"{'small' if small else 'large'} (root mean square {np.median([one for one, _ in sides]):.1g})"
    lost = max((rounding(one) for one, dtype in sides if dtype == "F16"), default=0.0)
    half = f" F16 has rounded off up to {lost:.1%} of them, which nothing brings back." if lost > LOST_NOTED else ""
    return Finding(
        "scale",
        LOOK,
        f"s = {worst:.3g} {examined.named(found)}, far from the usual 0.5 to 8, yet ΔW is of usual size: A and B are "
        f"as {size} as s is {'large' if small else 'small'}, and the two cancel.{half}",
        "Leave alpha as it is: another one would destroy ΔW. Take the adapter that this was made from, or fold s into "
        f"the factors: multiply A and B by √s = {np.sqrt(worst):.3g} and set alpha so that s = 1.",
        worst,
        tuple(found),
    )


SCALE = (
    Check(
        "scale",
        "Unusual scale",
        f"s = alpha / r (or / √r) below 1/{1 / LOW:.0f} or above {HIGH:.0f}",
        "a convention and no measurement: PEFT's default is 1, recipes take alpha from r / 2 to 2 r, rsLoRA with "
        "alpha = r reaches 16 at r = 256; the atlas's adapters have 2",
        _scale,
        needs_config=True,
    ),
    Check(
        "negative",
        "Negative scale",
        "s = alpha / r below 0 in any matrix",
        "training adds s · B A, and its alpha is above 0",
        _negative,
        needs_config=True,
        of_alpha=True,
    ),
)
