"""A measurement in words: its shape, its contestants, what it comes to, and where FlexLoRA loses."""

from __future__ import annotations

from collections.abc import Sequence

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
MEANT = {
    BASELINE: "LoRA of the package peft",
    BY_HAND: "the plainest code that computes LoRA",
    PLAIN: "FlexLoRA's own layer with fixed rank, no λ, no regulariser, no events",
    "flexlora_tight": "attach(..., spare_slots=0), storage grows where rank arrives",
    "flexlora_top": "what a step costs once rank has left the lower half; set by hand, no run promises it",
    FLOOR: "the frozen model with the backward pass that any adapter needs",
}
"""Contestant → what it is, where its name does not say."""
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
    "parameters": "trained values (those of empty slots among them)",
}
"""What less of is better, beside time → in words."""


def label(method: str) -> str:
    """Return what a contestant is called."""
    return LABELS.get(method, method)


def title(found: Measurement) -> str:
    """Return a short name to choose a measurement by."""
    shape = found.shape
    apart = ", checkpointing" if shape["checkpointing"] else ""
    apart += ", 4-bit weights" if shape.get("packed") else ""
    compiled = any("compile" in run for run in found.runs())
    apart += ", compiled" if compiled else ""
    # A short table stands beside the whole one of its shape, by the names that are in it.
    others = [label(one.method) for one in found.contestants if one.method != "peft_lora"]
    apart += f", {' and '.join(others)} alone" if len(others) <= 2 and not compiled else ""
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
    """Return what it comes to: FlexLoRA's step against PEFT LoRA's, for each way in which both were run."""
    alike = [(run, ratio) for run in found.runs() if (ratio := against(found.of(OWN, run), found.of(BASELINE, run)))]
    if not alike:
        return "FlexLoRA beside PEFT LoRA was not measured here."
    each = "; ".join(f"{ratio_text(ratio)}{_in_words(run, found)}{_undecided(ratio)}" for run, ratio in alike)
    once = "" if found.rounds > 1 else " Of one round only: a first look."
    gained = [one for run in found.runs() if run and (one := found.of(OWN, run)) and one.ratio and found.of(BASELINE)]
    best = min(gained, key=lambda one: _median(one.ratio), default=None)
    more = ""
    if best is not None:
        peer = found.of(BASELINE, best.run)
        same = "" if peer is None or peer.ratio is None else f", and PEFT LoRA's {peer.ratio.median:.2f}"
        more = (
            f" {capital(RUN_WORDS[best.run])}, it takes {_median(best.ratio):.2f} of PEFT LoRA's {RUN_WORDS['']}{same}."
        )
    return f"Of PEFT LoRA's step run the same way, FlexLoRA's takes, events included: {each}.{more}{once}"


def losses(found: Measurement, series: Sequence[Series] = ()) -> list[str]:
    """Return where FlexLoRA needs more than LoRA run alike, by 1 % or more.

    A line a way to run it, then a line a growth series of the same model on the same device in which every round of a
    point was slower than PEFT's LoRA.
    """
    lines = []
    for run in found.runs():
        own = found.of(OWN, run)
        if own is None:
            continue
        said = [*_slower(found, own), *_larger(found, own)]
        if said:
            lines.append(f"{capital(RUN_WORDS[run])}: {', '.join(said)}.")
    return [*lines, *(line for one in series if _akin(found, one) for line in _grown(one))]


def measured(found: Measurement) -> str:
    """Return what was measured of both FlexLoRA and PEFT's LoRA, in words."""
    pairs = [(found.of(OWN, run), found.of(BASELINE, run)) for run in found.runs()]
    known = [
        words
        for key, words in COMPARED.items()
        if any(a and b and getattr(a, key) is not None and getattr(b, key) is not None for a, b in pairs)
    ]
    return ", ".join(["time", *known])


def named(found: Measurement) -> str:
    """Return what the contestants of a measurement are, in one line."""
    methods = dict.fromkeys(one.method for one in found.contestants)
    return "; ".join(f"{label(method)}: {MEANT[method]}" for method in methods if method in MEANT)


def capital(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return f"{text[:1].upper()}{text[1:]}"


def ratio_text(ratio: Ratio) -> str:
    """Return a ratio with its spread."""
    if ratio.low == ratio.high:
        return f"{ratio.median:.2f}"
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _slower(found: Measurement, own: Contestant) -> list[str]:
    ratios = [(peer, against(own, found.of(peer, own.run))) for peer in (BASELINE, BY_HAND, PLAIN)]
    slower = [(peer, ratio) for peer, ratio in ratios if ratio is not None and round(ratio.median, 2) > 1]
    # What every round says stands before what they do not agree on.
    slower.sort(key=lambda pair: pair[1].low <= 1)
    return [f"a step {ratio_text(ratio)} × {label(peer)}'s{_undecided(ratio)}" for peer, ratio in slower]


def _larger(found: Measurement, own: Contestant) -> list[str]:
    base = found.of(BASELINE, own.run)
    said = []
    for key, words in COMPARED.items():
        one, other = getattr(own, key), None if base is None else getattr(base, key)
        # A graph is launched by a handful of calls: one more is no cost.
        few = key == "launches" and "graph" in own.run
        if one is not None and other and not few and round(one / other, 2) > 1:
            said.append(f"{words} {one / other:.2f} × {label(BASELINE)}'s")
    return said


def _grown(series: Series) -> list[str]:
    slow = [
        f"{ratio_text(ratio)} at {number:,}{_in_words(run, found)}"
        for number, found in series.points.items()
        for run in found.runs()
        if (ratio := against(found.of(OWN, run), found.of(BASELINE, run))) and round(ratio.low, 2) > 1
    ]
    if not slow:
        return []
    return [f"{series_title(series)}: a step takes {', '.join(slow)} of PEFT LoRA's run alike."]


def _akin(found: Measurement, series: Series) -> bool:
    first = next(iter(series.points.values()))
    return first.device == found.device and all(first.shape[key] == found.shape[key] for key in ("family", "hidden"))


def _undecided(ratio: Ratio) -> str:
    return ", undecided" if ratio.low < 1 < ratio.high else ""


def _in_words(run: str, found: Measurement) -> str:
    """Return how a step was run, where there is a choice."""
    return "" if on_cpu(found) and not run else f" {RUN_WORDS[run]}"


def _median(ratio: Ratio | None) -> float:
    assert ratio is not None
    return ratio.median


def _model(found: Measurement) -> str:
    family = found.shape["family"]
    return f"{FAMILIES.get(family, family)} of {found.shape['layers']} layers, width {found.shape['hidden']:,}"


def _precision(found: Measurement) -> str:
    if found.shape.get("packed"):
        return "4-bit weights (nf4), bf16 autocast"
    weights = "bf16 weights" if found.shape["half_weights"] else "fp32 weights"
    return f"{weights}, bf16 autocast" if found.shape["autocast"] and not on_cpu(found) else weights


def on_cpu(found: Measurement) -> bool:
    """True where no accelerator took part."""
    return found.device.startswith("CPU")


def _short(found: Measurement) -> str:
    return "CPU" if on_cpu(found) else found.device.removeprefix("NVIDIA ")
