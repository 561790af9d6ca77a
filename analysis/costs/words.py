"""A measurement in words: its shape, its contestants, what it comes to, and where FlexLoRA loses."""

from __future__ import annotations

from analysis.costs.read import BASELINE, FLOOR, Contestant, Measurement, Ratio, against
from analysis.costs.series import GROWING, Series

OWN, BY_HAND, PLAIN = "flexlora", "hand_lora", "our_lora"
LABELS = {
    OWN: "FlexLoRA",
    "flexlora_tight": "FlexLoRA without empty slots",
    "flexlora_top": "FlexLoRA, no rank in the lower half",
    BASELINE: "PEFT LoRA",
    BY_HAND: "LoRA by hand",
    PLAIN: "our LoRA",
    "peft_adalora": "PEFT AdaLoRA",
    FLOOR: "no adapter",
}
"""Contestant → what it is called, in the order of figures."""
RUN_WORDS = {
    "": "run eagerly",
    "graph": "replayed as a CUDA graph",
    "compile": "compiled",
    "compile+graph": "compiled, replayed as a CUDA graph",
}
"""How a contestant is run → in words."""
FAMILIES = {"deberta": "DeBERTa", "bert": "BERT", "llama": "Llama"}
COMPARED = {
    "kernels": "kernels",
    "launches": "launches by the host",
    "busy_ms": "GPU busy time",
    "peak_bytes": "peak memory",
    "held_bytes": "memory held between steps",
    "saved_bytes": "bytes saved for the backward pass",
    "counted_flops": "FLOPs counted",
}
"""What less of is better, beside time → in words."""


def label(method: str) -> str:
    """Return what a contestant is called."""
    return LABELS.get(method, method)


def title(found: Measurement) -> str:
    """Return a short name to choose a measurement by."""
    shape = found.shape
    apart = ", checkpointing" if shape["checkpointing"] else ""
    apart += ", compiled" if any("compile" in run for run in found.runs()) else ""
    return (
        f"{_model(found)}, {shape['batch']} × {shape['length']} tokens, rank {shape['rank']}{apart} ({_short(found)})"
    )


def series_title(series: Series) -> str:
    """Return what a series changes, on which model and device."""
    first = next(iter(series.points.values()))
    model = _model(first)
    if series.key == "matrices":
        model = f"{model.partition(' of ')[0]}, width {first.shape['hidden']:,}"
    return f"Growth with the {GROWING[series.key]}: {model} ({_short(first)})"


def shape_line(found: Measurement) -> str:
    """Return the shape in words: model, batch × tokens, matrices, rank, precision, events."""
    shape = found.shape
    again = ", activation checkpointing" if shape["checkpointing"] else ""
    return (
        f"{_model(found)}; {shape['batch']} × {shape['length']} tokens; {shape['matrices']} matrices of rank "
        f"{shape['rank']}; {_precision(found)}{again}; an event every {shape['interval']} steps"
    )


def caption(found: Measurement) -> str:
    """Return how it was measured: shape, device, versions, rounds and notes."""
    packages = ", ".join(f"{key} {own}" for key, own in found.versions.items())
    notes = "".join(f" {capital(note)}." for note in found.notes if note)
    return (
        f"{shape_line(found)}. {found.device}; {packages}; {found.rounds} interleaved rounds of {found.steps} steps "
        f"of each.{notes}"
    )


def headline(found: Measurement) -> str:
    """Return what it comes to in one sentence; says so where FlexLoRA or PEFT's LoRA was not measured."""
    eager = found.of(OWN)
    others = [one for run in found.runs() if run and (one := found.of(OWN, run)) and one.ratio]
    once = "" if found.rounds > 1 else " Of one round only: a first look."
    if eager is None or eager.ratio is None:
        return _alike(found, others, once)
    plain = f"FlexLoRA's step takes {ratio_text(eager.ratio)} of PEFT LoRA's, events included.{once}"
    if not others:
        return plain
    best = min(others, key=lambda one: _median(one.ratio))
    peer = found.of(BASELINE, best.run)
    same = "" if peer is None or peer.ratio is None else f"; PEFT LoRA run that way takes {peer.ratio.median:.2f}"
    return (
        f"{capital(RUN_WORDS[best.run])}, FlexLoRA's step takes {_median(best.ratio):.2f} of what PEFT LoRA's takes "
        f"{RUN_WORDS['']}{same}. {capital(RUN_WORDS[''])}, {plain}"
    )


def _alike(found: Measurement, others: list[Contestant], once: str) -> str:
    ratios = [(own.run, ratio) for own in others if (ratio := against(own, found.of(BASELINE, own.run)))]
    if not ratios:
        return "FlexLoRA beside PEFT LoRA was not measured here."
    run, ratio = min(ratios, key=lambda pair: pair[1].median)
    return (
        f"{capital(RUN_WORDS[run])}, FlexLoRA's step takes {ratio_text(ratio)} of PEFT LoRA's run the same way, "
        f"events included.{once}"
    )


def losses(found: Measurement) -> list[str]:
    """Return where FlexLoRA needs more than LoRA run alike, by 1 % or more: a line a way to run it."""
    lines = []
    for run in found.runs():
        own = found.of(OWN, run)
        if own is None:
            continue
        said = [*_slower(found, own), *_larger(found, own)]
        if said:
            lines.append(f"{capital(RUN_WORDS[run])}: {', '.join(said)}.")
    return lines


def capital(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return f"{text[:1].upper()}{text[1:]}"


def ratio_text(ratio: Ratio) -> str:
    """Return a ratio with its spread."""
    if ratio.low == ratio.high:
        return f"{ratio.median:.2f}"
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _slower(found: Measurement, own: Contestant) -> list[str]:
    said = []
    for peer in (BASELINE, BY_HAND, PLAIN):
        ratio = against(own, found.of(peer, own.run))
        if ratio is not None and round(ratio.median, 2) > 1:
            said.append(f"a step {ratio.median:.2f} × {label(peer)}'s ({ratio.low:.2f} to {ratio.high:.2f})")
    return said


def _larger(found: Measurement, own: Contestant) -> list[str]:
    base = found.of(BASELINE, own.run)
    said = []
    for key, words in COMPARED.items():
        one, other = getattr(own, key), None if base is None else getattr(base, key)
        if one is not None and other and round(one / other, 2) > 1:
            said.append(f"{words} {one / other:.2f} × {label(BASELINE)}'s")
    return said


def _median(ratio: Ratio | None) -> float:
    assert ratio is not None
    return ratio.median


def _model(found: Measurement) -> str:
    family = found.shape["family"]
    return f"{FAMILIES.get(family, family)} of {found.shape['layers']} layers, width {found.shape['hidden']:,}"


def _precision(found: Measurement) -> str:
    weights = "bf16 weights" if found.shape["half_weights"] else "fp32 weights"
    return f"{weights}, bf16 autocast" if found.shape["autocast"] and not on_cpu(found) else weights


def on_cpu(found: Measurement) -> bool:
    """True where no accelerator took part."""
    return found.device.startswith("CPU")


def _short(found: Measurement) -> str:
    return "CPU" if on_cpu(found) else found.device.removeprefix("NVIDIA ")
