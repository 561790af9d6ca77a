"""A file as ``benchmarks/cost.py`` writes it, with numbers that are easy to follow."""

from __future__ import annotations


def contestant(name, ratios, **values):
    unknown = ("step_ms_mean", "event_ms_median", "kernels", "launches", "busy_ms", "peak_bytes", "held_bytes",
               "saved_bytes", "counted_flops", "least_flops", "parameters")  # fmt: skip
    ratio = None if ratios is None else {"rounds": list(ratios)}
    row = {"name": name, "failed": "", "told": "", "ratio_mean": ratio, **dict.fromkeys(unknown)}
    return {**row, "step_ms_median": 10.0, "graphs_warm_up": 0, "graphs_later": 0, **values}


def document(**changes):
    """A measurement whose numbers are easy to follow."""
    shape = {"name": "base", "family": "deberta", "layers": 12, "hidden": 768, "batch": 32, "length": 128,
             "rank": 8, "interval": 10, "matrices": 72, "half_weights": False, "autocast": True,
             "checkpointing": False}  # fmt: skip
    rows = [
        contestant("peft_lora", (1.0, 1.0, 1.0), busy_ms=4.0, peak_bytes=1000),
        contestant("hand_lora", (0.5, 0.5, 2.0), busy_ms=3.5, peak_bytes=1000),
        contestant("flexlora", (1.0, 1.25, 2.0), busy_ms=3.0, peak_bytes=1500, event_ms_median=7.0),
        contestant("floor", (0.5, 0.5, 0.5), busy_ms=2.0, peak_bytes=800),
        contestant("peft_lora+graph", (0.5, 0.5, 0.5), graphs_warm_up=1),
        contestant("flexlora+graph", (0.25, 0.25, 0.3), graphs_warm_up=2, graphs_later=1),
        contestant("peft_adalora+graph", None, failed="RuntimeError: it waits for the device"),
    ]
    found = {"shape": shape, "device": "NVIDIA H200", "versions": {"torch": "2.11.0", "peft": None},
             "command": "python benchmarks/cost.py --shape base --json /somewhere/else/base.json", "rounds": 3,
             "steps": 20, "notes": ["two were left out"], "contestants": rows}  # fmt: skip
    return found | changes
