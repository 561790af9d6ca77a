"""What the Methods page tells beside the registry: one recorded example a method, and measured costs."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from analysis import metrics
from analysis.runs import Run, load_run
from files import stamp
from flexlora.run_log import RunLogError
from flexlora.run_log.format import HEADER, read_header
from runs.store import run_entries, samples_root

TASK = "digits"
"""The task of the examples: small enough that every method has one."""

COSTS = {"CPU": "method_costs_cpu.json", "GPU": "method_costs_gpu.json"}
"""Kind of machine → file in the folder of samples, as ``benchmarks/method_costs.py`` writes it."""


class Example(NamedTuple):
    """A recorded run of a method.

    Attributes:
        key: what Explore calls the run.
        run: the run.
    """

    key: str
    run: Run


class Facts(NamedTuple):
    """Numbers about one run; None where the log does not tell.

    Attributes:
        accuracy: on the test split, last measured.
        first_rank: total rank at the first record.
        last_rank: total rank after the last event.
        used: mean number of directions that a training step used at the end; None where that is the rank.
        parameters: of the directions that are on at the end.
        method_bytes: what the method keeps beside the adapter and its optimizer.
    """

    accuracy: float | None = None
    first_rank: int | None = None
    last_rank: int | None = None
    used: float | None = None
    parameters: int | None = None
    method_bytes: int | None = None


class Cost(NamedTuple):
    """Measured cost of one method against LoRA in the same round: time of a step, peak memory where it was measured."""

    ratio: float
    low: float
    high: float
    memory_ratio: float | None


class Costs(NamedTuple):
    """A measurement of all methods, and how it was made."""

    rows: dict[str, Cost]
    command: str
    machine: str
    task: str


def find_examples() -> dict[str, Example]:
    """Return method → the first run of it on ``TASK`` that is no control and can be read; bundled ones go first."""
    found: dict[str, Example] = {}
    for key, folder in run_entries():
        try:
            task, method, control = _about(folder, stamp(folder / HEADER))
            if task == TASK and method not in found and control == "none":
                found[method] = Example(key, _load(str(folder), (folder / "crc.jsonl").stat().st_mtime_ns))
        except (RunLogError, OSError):
            # Explore says what is wrong with it.
            continue
    return found


@lru_cache(maxsize=1024)
def _about(folder: Path, changed: tuple[int, ...]) -> tuple[str, str, str]:
    """Task, method and control that a header names; every page of a class asks for those of every run."""
    header, _ = read_header(folder)
    return str(header.get("task")), str(header.get("method")), str(header.get("config", {}).get("control", "none"))


@st.cache_resource(max_entries=24, show_spinner=False)
def _load(folder: str, changed: int) -> Run:
    return load_run(Path(folder))


def facts_of(run: Run) -> Facts:
    """Return the numbers that stand in a row of the table."""
    accuracy = run.metrics["test/accuracy"][1][-1] if "test/accuracy" in run.metrics else None
    totals = metrics.total_rank(run)
    used = run.expected_ranks.sum(axis=1)
    state = (run.end or {}).get("state_bytes")
    kept = state.get("method") if isinstance(state, dict) else None
    recorded = len(run.steps) > 0
    return Facts(
        accuracy=None if accuracy is None else float(accuracy),
        first_rank=int(totals[0]) if recorded else None,
        last_rank=int(metrics.final_ranks(run).sum()) if recorded else None,
        used=float(used[-1]) if recorded and abs(used[-1] - totals[-1]) > 0.05 else None,
        parameters=metrics.final_parameters(run) if recorded else None,
        method_bytes=kept if isinstance(kept, int) else None,
    )


def read_costs() -> dict[str, Costs]:
    """Return kind of machine → measured costs, without those whose file is missing or not what the benchmark writes."""
    found = {kind: _read(samples_root() / name) for kind, name in COSTS.items()}
    return {kind: costs for kind, costs in found.items() if costs is not None}


def _read(path: Path) -> Costs | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = {str(row["method"]): _cost(row) for row in document["rows"]}
        return Costs(rows, *(str(document[key]) for key in ("command", "machine", "task")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _cost(row: dict[str, Any]) -> Cost:
    memory = row.get("peak_memory_ratio")
    ratio, low, high = (_finite(row[key]) for key in ("step_ratio", "step_ratio_low", "step_ratio_high"))
    return Cost(ratio, low, high, None if memory is None else _finite(memory))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no measurement")
    return number
