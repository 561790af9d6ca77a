"""A scale far from what people use."""

from __future__ import annotations

from analysis.adapters.doctor.finding import LOOK, Check, Examined, Finding

LOW, HIGH = 1 / 16, 32.0


def _scale(examined: Examined) -> Finding | None:
    if examined.adapter.config is None:
        return None
    scales = {matrix.name: abs(matrix.scale) for matrix in examined.adapter.matrices if matrix.scale}
    found = [name for name, scale in scales.items() if not LOW <= scale <= HIGH]
    if not found:
        return None
    worst = max((scales[name] for name in found), key=lambda scale: max(scale / HIGH, LOW / scale))
    return Finding(
        "scale",
        LOOK,
        f"s = {worst:.3g} {examined.named(found)}, far from the usual 0.5 to 8.",
        "Compare lora_alpha, r and use_rslora with the training's: a wrong one of them scales ΔW by a constant.",
        worst,
        tuple(found),
    )


SCALE = (
    Check(
        "scale",
        "Unusual scale",
        f"s = alpha / r (or / √r) below 1/{1 / LOW:.0f} or above {HIGH:.0f}",
        "a convention and no measurement: PEFT's default is 1, recipes take alpha from r / 2 to 2 r, rsLoRA reaches 8",
        _scale,
    ),
)
