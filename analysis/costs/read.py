"""``read_measurement``: a file of ``benchmarks/cost.py`` as checked records."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.leaderboard.read import read_json
from flexlora.errors import FlexLoRAError

BASELINE, FLOOR = "peft_lora", "floor"
RUNS = ("", "graph", "compile", "compile+graph")
"""How a contestant is run: eagerly first."""
COUNTS = ("layers", "hidden", "batch", "length", "rank", "interval", "matrices")
"""Numbers of a shape, all at least 1."""
ORDER = ("base", "8b", "8b-plain", "8b-4bit", "minilm", "words")
"""Names of shapes as they are told; others follow by file name."""
QUANTITIES_OF_A_STEP = (
    "step_ms_median", "step_ms_mean", "event_ms_median", "kernels", "launches", "busy_ms", "peak_bytes", "held_bytes",
    "saved_bytes", "counted_flops", "least_flops", "parameters", "graphs_warm_up", "graphs_later",
)  # fmt: skip


class CostFileError(FlexLoRAError):
    """A file that is not what ``benchmarks/cost.py`` writes."""


@dataclass(frozen=True)
class Ratio:
    """A ratio in each round, and their median, lowest and highest."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)

    @property
    def low(self) -> float:
        """Lowest of the rounds."""
        return min(self.rounds)

    @property
    def high(self) -> float:
        """Highest of the rounds."""
        return max(self.rounds)


@dataclass(frozen=True)
class Contestant:
    """One way to train, in one measurement; None stands for what was not measured.

    Attributes:
        name: such as ``flexlora+graph``.
        failed: why there are no numbers, in one line; empty otherwise.
        told: what else has to be known of them; mostly empty.
        ratio: mean step, events included, to PEFT's LoRA run eagerly, in the same round.
        step_ms_median, step_ms_mean: ms of a step, over all rounds.
        event_ms_median: ms of an event alone.
        kernels, launches, busy_ms: of a step without event: kernels, launches by the host, ms that the GPU works.
        peak_bytes, held_bytes, saved_bytes: at most, between steps, and kept for the backward pass.
        counted_flops, least_flops: of a step, as counted in torch and by hand.
        parameters: trained values.
        graphs_warm_up, graphs_later: graphs that were traced or captured.
    """

    name: str
    failed: str
    told: str
    ratio: Ratio | None
    step_ms_median: float | None
    step_ms_mean: float | None
    event_ms_median: float | None
    kernels: float | None
    launches: float | None
    busy_ms: float | None
    peak_bytes: float | None
    held_bytes: float | None
    saved_bytes: float | None
    counted_flops: float | None
    least_flops: float | None
    parameters: float | None
    graphs_warm_up: float | None
    graphs_later: float | None

    @property
    def method(self) -> str:
        """Its name without how it is run."""
        return self.name.partition("+")[0]

    @property
    def run(self) -> str:
        """How it is run: one of ``RUNS``."""
        return _run(self.name)


@dataclass(frozen=True)
class Measurement:
    """One file.

    Attributes:
        file: its name.
        shape: name, family and numbers of the model and the batch, as measured.
        device: where.
        versions: package → version, of those that were there.
        command: what makes the file.
        rounds, steps: how many rounds, and steps of each contestant in each.
        notes: what has to be known of all rows.
        contestants: in order.
    """

    file: str
    shape: Mapping[str, Any]
    device: str
    versions: Mapping[str, str]
    command: str
    rounds: int
    steps: int
    notes: tuple[str, ...]
    contestants: tuple[Contestant, ...]

    def of(self, method: str, run: str = "") -> Contestant | None:
        """Return a contestant that was measured; None for one that was not, or failed."""
        found = (one for one in self.contestants if (one.method, one.run) == (method, run) and not one.failed)
        return next(found, None)

    def runs(self) -> list[str]:
        """Return how contestants were run, in the order of ``RUNS``."""
        return sorted({one.run for one in self.contestants}, key=RUNS.index)

    def above_floor(self, one: Contestant) -> float | None:
        """Return ms that the GPU is busy for the adapter alone: above that of no adapter, run alike."""
        floor = self.of(FLOOR, one.run)
        if floor is None or floor.busy_ms is None or one.busy_ms is None:
            return None
        return one.busy_ms - floor.busy_ms

    def above_floor_share(self, one: Contestant) -> float | None:
        """Return ``above_floor`` over that of PEFT's LoRA run alike."""
        base = self.of(BASELINE, one.run)
        own, other = self.above_floor(one), None if base is None else self.above_floor(base)
        return None if own is None or other is None or other <= 0 else own / other


def against(own: Contestant | None, other: Contestant | None) -> Ratio | None:
    """Return the ratio of two mean steps, round by round; None where one of them has none."""
    if own is None or other is None or own.ratio is None or other.ratio is None:
        return None
    return Ratio(tuple(a / b for a, b in zip(own.ratio.rounds, other.ratio.rounds, strict=False)))


def read_measurement(path: Path) -> Measurement:
    """Read one file and check it.

    Raises:
        FlexLoRAError: unreadable, damaged, or no file of ``benchmarks/cost.py``; one line that says where.
    """
    document = read_json(path)
    try:
        return _measurement(path.name, document)
    except KeyError as error:
        raise CostFileError(f"{path.name} is no file of benchmarks/cost.py: it has no {error}.") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CostFileError(f"{path.name} is damaged: {' '.join(str(error).split())}.") from error


def find_measurements(folder: Path) -> tuple[list[Measurement], list[str]]:
    """Return the measurements of a folder, in the order of their shapes, and a line for each file that is none."""
    found, notices = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(read_measurement(path))
        except FlexLoRAError as error:
            notices.append(str(error))
    return sorted(found, key=lambda one: (*ORDER, one.shape["name"]).index(one.shape["name"])), notices


def _measurement(file: str, document: dict[str, Any]) -> Measurement:
    shape = document["shape"]
    numbers = {key: _count(shape[key], key) for key in COUNTS}
    flags = {key: bool(shape[key]) for key in ("half_weights", "autocast", "checkpointing")}
    flags["packed"] = bool(shape.get("packed"))
    contestants = tuple(_contestant(one) for one in document["contestants"])
    names = [one.name for one in contestants]
    if not names or len(set(names)) < len(names):
        raise ValueError("its contestants are missing or stand there twice")
    return Measurement(
        file=file,
        shape={"name": _text(shape["name"]), "family": _text(shape["family"]), **numbers, **flags},
        device=_text(document["device"]),
        versions={_text(key): _text(own) for key, own in document["versions"].items() if own is not None},
        # Where the file was written is nobody's business but its maker's.
        command=re.sub(r"(--json[ =])\S*/", r"\1", _text(document["command"])),
        rounds=_count(document["rounds"], "rounds"),
        steps=_count(document["steps"], "steps"),
        notes=tuple(_text(note) for note in document["notes"]),
        contestants=contestants,
    )


def _contestant(row: dict[str, Any]) -> Contestant:
    name = _text(row["name"])
    if _run(name) not in RUNS:
        raise ValueError(f"{name[:40]!r} is run in a way that is not known")
    ratio = row["ratio_mean"]
    rounds = () if ratio is None else tuple(_number(own, f"ratio of {name}") for own in ratio["rounds"])
    if ratio is not None and not (rounds and min(rounds) > 0):
        raise ValueError(f"the ratios of {name} are no ratios")
    values = {key: None if row[key] is None else _number(row[key], f"{key} of {name}") for key in QUANTITIES_OF_A_STEP}
    failed, told = _text(row["failed"]), _text(row["told"])
    return Contestant(name=name, failed=failed, told=told, ratio=Ratio(rounds) if rounds else None, **values)


def _run(name: str) -> str:
    return "+".join(sorted(name.split("+")[1:]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return " ".join(value.split())


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{what} is {str(value)[:40]!r}, no measurement")
    return float(value)


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{what} is {str(value)[:40]!r}, no number from 1 on")
    return value
