"""The numbers behind the figures of cost, as cells: time, what a step needs, and growth."""

from __future__ import annotations

from collections.abc import Callable

from analysis.costs.read import BASELINE, Contestant, Measurement, against
from analysis.costs.series import GROWING, Series
from analysis.costs.words import OWN, RUN_WORDS, label, ratio_text

GIB, MIB = 2**30, 2**20
NONE = "–"
Table = dict[str, list[str]]
"""Title of a column → its cells."""


def time_table(found: Measurement) -> Table:
    """Return times, launches and busy time of each contestant; columns that nobody has a value for are left out."""
    return _table(
        found,
        {
            "× PEFT LoRA": lambda one: NONE if one.ratio is None else ratio_text(one.ratio),
            # Where all are run in one way, it would be the same column again.
            **({"× PEFT LoRA run alike": lambda one: _alike(found, one)} if len(found.runs()) > 1 else {}),
            "step ms, median": _number("step_ms_median", 1.0, 1),
            "mean": _number("step_ms_mean", 1.0, 1),
            "event ms": _number("event_ms_median", 1.0, 2),
            "kernels": _number("kernels", 1.0, 0),
            "launches": _number("launches", 1.0, 0),
            "GPU busy ms": _number("busy_ms", 1.0, 1),
            "above no adapter, × PEFT LoRA's": lambda one: _value(found.above_floor_share(one), 2),
        },
    )


def resource_table(found: Measurement) -> Table:
    """Return memory and FLOPs of each contestant; columns that nobody has a value for are left out."""
    return _table(
        found,
        {
            "peak GiB": _number("peak_bytes", GIB, 2),
            "held GiB": _number("held_bytes", GIB, 2),
            "saved MiB": _number("saved_bytes", MIB, 0),
            "trained, million": _number("parameters", 1e6, 2),
            "GFLOP counted": _number("counted_flops", 1e9, 1),
            "GFLOP at least": _number("least_flops", 1e9, 1),
            "graphs made": _graphs,
        },
    )


def growth_table(series: Series) -> Table:
    """Return how FlexLoRA stands beside PEFT's LoRA at each point of a series, for every way to run it."""
    points = [
        (number, found, own)
        for number, found in series.points.items()
        for run in found.runs()
        if (own := found.of(OWN, run))
    ]
    numbers = {
        "step ms, median": _number("step_ms_median", 1.0, 1),
        "event ms": _number("event_ms_median", 1.0, 2),
        "kernels": _number("kernels", 1.0, 0),
        "launches": _number("launches", 1.0, 0),
        "GPU busy ms": _number("busy_ms", 1.0, 1),
    }
    return _shown(
        {
            GROWING[series.key]: [f"{number:,}" for number, _, _ in points],
            "run": [RUN_WORDS[own.run] for _, _, own in points],
            "× PEFT LoRA run alike": [_alike(found, own) for _, found, own in points],
            **{name: [show(own) for _, _, own in points] for name, show in numbers.items()},
        }
    )


def _table(found: Measurement, columns: dict[str, Callable[[Contestant], str]]) -> Table:
    rows = [one for run in found.runs() for one in found.contestants if one.run == run]
    return _shown(
        {
            "contestant": [label(one.method) + (f", {RUN_WORDS[one.run]}" if one.run else "") for one in rows],
            **{name: [NONE if one.failed else show(one) for one in rows] for name, show in columns.items()},
        }
    )


def _shown(table: Table) -> Table:
    return {name: cells for name, cells in table.items() if any(cell != NONE for cell in cells)}


def _alike(found: Measurement, one: Contestant) -> str:
    ratio = against(one, found.of(BASELINE, one.run))
    return NONE if ratio is None else ratio_text(ratio)


def _graphs(one: Contestant) -> str:
    return f"{one.graphs_warm_up or 0:.0f} + {one.graphs_later or 0:.0f}" if one.run else NONE


def _number(key: str, unit: float, digits: int) -> Callable[[Contestant], str]:
    return lambda one: _value(None if getattr(one, key) is None else getattr(one, key) / unit, digits)


def _value(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:,.{digits}f}"
