"""From segments to rows, and from rows to a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cost.meter import GIB
from cost.peers import split_name
from cost.rounds import Found
from cost.shapes import Shape
from cost.theory import step_flops

BASELINE = "peft_lora"
_MEASURES = ("kernels", "launches", "busy_ms", "peak_bytes", "held_bytes", "forward_bytes", "saved_bytes",
             "counted_flops", "parameters")  # fmt: skip


def rows(found: Mapping[str, Found], shape: Shape) -> list[dict[str, Any]]:
    """Return one record a contestant, in order, as plain JSON values; None where something was not measured."""
    return [_row(own, found, shape) for own in found.values()]


def ratios(own: Found, other: Found | None, value: Callable[[Sequence[float]], float]) -> dict[str, Any] | None:
    """Return own over other per round: ``rounds``, and their ``median``, ``low`` and ``high``; None without both.

    Args:
        own, other: with a segment for every round.
        value: step times of a segment → what is compared, such as their mean.
    """
    if other is None or not own.segments or not other.segments:
        return None
    pairs = zip(own.segments, other.segments, strict=False)
    found = [value(first.step_ms) / value(second.step_ms) for first, second in pairs]
    return {"rounds": found, "median": statistics.median(found), "low": min(found), "high": max(found)}


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the table: a row a contestant, without the columns that nobody has a value for."""
    columns = {
        title: [show(record) for record in records]
        for title, show in _COLUMNS.items()
        if any(show(record) != "–" for record in records)
    }
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in zip(*columns.values(), strict=True)]
    failed = [
        f"- {record['name']}: {record['failed'] or record['told']}"
        for record in records
        if record["failed"] or record["told"]
    ]
    return "\n".join([*lines, *(["", *failed] if failed else [])])


def _row(own: Found, found: Mapping[str, Found], shape: Shape) -> dict[str, Any]:
    plain, variants = split_name(own.name)
    steps = [ms for segment in own.segments for ms in segment.step_ms]
    events = [ms for segment in own.segments for ms in segment.event_ms]
    base, alike = found.get(BASELINE), found.get("+".join((BASELINE, *variants)))
    return {
        "name": own.name,
        "failed": own.failed,
        "told": own.told,
        "step_ms_median": statistics.median(steps) if steps else None,
        "step_ms_mean": statistics.fmean(steps) if steps else None,
        "event_ms_median": statistics.median(events) if events else None,
        "events": len(events),
        "ratio_mean": ratios(own, base, statistics.fmean),
        "ratio_median": ratios(own, base, statistics.median),
        "ratio_mean_alike": ratios(own, alike, statistics.fmean),
        "ratio_median_alike": ratios(own, alike, statistics.median),
        "warm_up_s": sum(own.warm_up.step_ms) / 1e3,
        "graphs_warm_up": own.warm_up.graphs,
        "graphs_later": sum(segment.graphs for segment in own.segments),
        "least_flops": step_flops(shape, plain),
        "loss": own.segments[-1].loss if own.segments else None,
        **{key: own.measures.get(key) for key in _MEASURES},
        "rounds": [{"step_ms": segment.step_ms, "event_ms": segment.event_ms} for segment in own.segments],
    }


def _number(key: str, digits: int, unit: float = 1.0) -> Callable[[Mapping[str, Any]], str]:
    return lambda record: "–" if record[key] is None else f"{record[key] / unit:,.{digits}f}"


def _digits(key: str, unit: float) -> Callable[[Mapping[str, Any]], str]:
    return lambda record: "–" if record[key] is None else f"{record[key] / unit:,.4g}"


def _ratio(key: str) -> Callable[[Mapping[str, Any]], str]:
    def show(record: Mapping[str, Any]) -> str:
        found = record[key]
        return "–" if found is None else f"{found['median']:.3f} ({found['low']:.3f} to {found['high']:.3f})"

    return show


def _alike(record: Mapping[str, Any]) -> str:
    found = record["ratio_mean_alike"] if "+" in record["name"] else None
    return "–" if found is None else f"{found['median']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _graphs(record: Mapping[str, Any]) -> str:
    return f"{record['graphs_warm_up']} + {record['graphs_later']}" if "+" in record["name"] else "–"


_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "contestant": lambda record: record["name"],
    "step ms, median": _number("step_ms_median", 2),
    "mean": _number("step_ms_mean", 2),
    "event ms": _number("event_ms_median", 2),
    "× PEFT LoRA, mean step": _ratio("ratio_mean"),
    "median step": _ratio("ratio_median"),
    "× PEFT LoRA run alike": _alike,
    "kernels": _number("kernels", 0),
    "launches": _number("launches", 0),
    "GPU busy ms": _number("busy_ms", 2),
    "peak GiB": _number("peak_bytes", 2, GIB),
    "held GiB": _number("held_bytes", 2, GIB),
    "after forward GiB": _number("forward_bytes", 2, GIB),
    "saved MiB": _number("saved_bytes", 2, 2**20),
    "trained M": _number("parameters", 2, 1e6),
    "GFLOP counted": _digits("counted_flops", 1e9),
    "GFLOP at least": _digits("least_flops", 1e9),
    "graphs made": _graphs,
}
"""Title → f(record) → cell."""
