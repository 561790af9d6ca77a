"""What a training step costs: FlexLoRA beside LoRA, AdaLoRA and no adapter at all, in interleaved rounds.

    python benchmarks/cost.py --shape base --memory --busy --json base.json
    python benchmarks/cost.py --shape 8b --graph --budget 540
    python benchmarks/cost.py --shape minilm --rounds 7
    python benchmarks/cost.py --shape 8b --only peft_lora,flexlora --series matrices=40,80,160 --json growth

Models have random weights and nothing is downloaded. All contestants live in one process; in every round each takes
``--steps`` steps, starting with another one every time, and its ratio to PEFT's LoRA is taken within the round. A step
is forward, backward, clipping, AdamW, and an event every ten. Prints a Markdown table; progress goes to stderr.

What the columns say: step times are CUDA events on the stream (a CPU's clock), events included, mean and median over
all rounds. ``event ms`` is wall time of an event with the device idle before and after. Ratios are per round: median
(lowest to highest). ``run alike`` compares with PEFT's LoRA under the same variant. Kernels (copies and fills too),
host launches and GPU busy time are a step's, without event. Peak and held memory, what is alive after a forward pass,
what autograd saves (casts of weights too) and counted FLOPs come from a pass of each alone; a graph's memory is what
its pool has reserved. ``graphs made`` counts those traced or captured during warm-up + later.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
from cost import theory
from cost.peers import PEERS, USUAL, VARIANTS, split_name
from cost.rounds import Field, Plan
from cost.shapes import SHAPES, CostError, Shape, varied
from cost.table import markdown, rows

VARIED = {
    "matrices": "adapted matrices, by the number of layers",
    "rank": "of every matrix",
    "interval": "steps between events",
    "length": "tokens of a sequence",
}
"""Numbers of a shape that can be changed."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", required=True, help=", ".join(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of each contestant in each round")
    parser.add_argument("--only", default="", help=f"such as flexlora,peft_lora+graph; from: {', '.join(PEERS)}")
    parser.add_argument("--compile", action="store_true", help="each contestant also compiled")
    parser.add_argument("--graph", action="store_true", help="each contestant also replayed as a CUDA graph")
    parser.add_argument("--memory", action="store_true", help="memory, saved bytes and FLOPs, each alone")
    parser.add_argument("--busy", action="store_true", help="kernels, launches and GPU busy time (CUDA)")
    parser.add_argument("--json", type=Path, help="also write everything measured")
    parser.add_argument(
        "--budget",
        type=float,
        help="seconds; nothing begins that would not end in time, but for one contestant and one round",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    for name, what in VARIED.items():
        parser.add_argument(f"--{name}", type=int, help=f"in place of the shape's: {what}")
    parser.add_argument(
        "--series", help="such as rank=4,8,16: a point for each value, one after another; --json is then their folder"
    )
    return parser.parse_args(arguments)


def points(options: argparse.Namespace) -> list[argparse.Namespace]:
    """Return the options of every point of a series, or the options themselves.

    Raises:
        CostError: a series over something that is no number of a shape.
    """
    if not options.series:
        return [options]
    name, _, values = options.series.partition("=")
    numbers = [value.strip() for value in values.split(",")]
    if name not in VARIED or not all(number.isdigit() for number in numbers):
        raise CostError(f"--series {options.series} is none; write one of {', '.join(VARIED)}, such as rank=4,8,16")
    if options.json is not None and not options.json.is_dir():
        raise CostError(f"there is no folder {options.json} for the files of --series")
    found = []
    for number in numbers:
        path = None if options.json is None else options.json / f"{options.shape}_{name}_{number}.json"
        found.append(argparse.Namespace(**{**vars(options), name: int(number), "json": path}))
    return found


def contestants(options: argparse.Namespace) -> list[str]:
    """Return the names in order: plain ones, then variants.

    Raises:
        CostError: an unknown name, or one that needs a package that is missing.
    """
    chosen = [name.strip() for name in options.only.split(",") if name.strip()] or list(USUAL)
    for name in chosen:
        split_name(name)
    wanted = [variant for variant in VARIANTS if getattr(options, variant)]
    names = [*chosen, *(f"{name}+{variant}" for variant in wanted for name in chosen if "+" not in name)]
    if any(name.startswith("peft") for name in names) and find_spec("peft") is None:
        raise CostError("peft is not installed: pip install peft, or leave its methods out with --only")
    return list(dict.fromkeys(names))


def find_device(options: argparse.Namespace, shape: Shape) -> torch.device:
    """Return where to measure.

    Raises:
        CostError: no CUDA device where one is needed.
    """
    cuda = torch.cuda.is_available()
    if options.device == "cuda" and not cuda:
        raise CostError("there is no CUDA device here")
    if options.device == "auto" and shape.accelerator and not cuda:
        raise CostError(
            f"shape {shape.name} is made for a CUDA device and there is none; --device cpu measures it anyway"
        )
    kind = options.device if options.device != "auto" else "cuda" if shape.accelerator else "cpu"
    if kind == "cpu" and options.busy:
        raise CostError("--busy counts kernels of a CUDA device; leave it out on a CPU")
    return torch.device(kind, 0) if kind == "cuda" else torch.device(kind)


def make_plan(options: argparse.Namespace) -> Plan:
    """Return what to measure.

    Raises:
        CostError: options that cannot be measured.
    """
    for name in ("rounds", "steps"):
        if getattr(options, name) < 1:
            raise CostError(f"--{name} must be at least 1, not {getattr(options, name)}")
    changes = {key: getattr(options, key) for key in VARIED}
    shape = varied(options.shape, **changes)
    if options.json is not None and not options.json.parent.is_dir():
        raise CostError(f"there is no folder {options.json.parent} for --json")
    return Plan(
        shape=shape,
        device=find_device(options, shape),
        names=contestants(options),
        rounds=options.rounds,
        steps=options.steps,
        with_memory=options.memory,
        with_busy=options.busy,
        deadline=None if options.budget is None else time.monotonic() + options.budget,
    )


def measure(plan: Plan) -> tuple[Field, int]:
    """Measure everything; return what was found and the number of whole rounds."""
    field = Field(plan)
    if plan.with_memory:
        field.measure_alone()
    field.prepare()
    whole = field.run()
    if plan.with_busy:
        field.profile()
    field.close()
    return field, whole


def document(plan: Plan, field: Field, whole: int, command: str) -> dict[str, Any]:
    """Return everything measured as plain JSON values."""
    shape, name = plan.shape, device_name(plan.device)
    notes = [f"stopped after {whole} of {plan.rounds} rounds (--budget)"] if whole < plan.rounds else []
    if field.anew:
        notes.append("contestants did not fit beside each other: each was built anew in every round")
    half = plan.device.type == "cuda" and (shape.autocast or shape.half_weights)
    return {
        "shape": shape.record(),
        "device": name,
        "versions": versions(),
        "command": command,
        "created_unix_s": time.time(),
        "rounds": whole,
        "steps": plan.steps,
        "notes": notes,
        "theory": {
            "floor_flops": theory.base_flops(shape),
            "adapter_flops": theory.adapter_flops(shape, shape.rank),
            "regularizer_flops": theory.regularizer_flops(shape, shape.rank),
            "bytes": theory.step_bytes(shape, half=half),
            "least_ms": theory.least_ms(shape, name) if half else None,
        },
        "contestants": rows(field.found, shape),
    }


def text(found: dict[str, Any]) -> str:
    """Return what is printed: where and how, the table, and what the mathematics needs."""
    shape, needs = found["shape"], found["theory"]
    packages = ", ".join(f"{key} {value}" for key, value in found["versions"].items())
    weights = "bf16" if shape["half_weights"] else "fp32"
    least = "" if needs["least_ms"] is None else f"; {needs['least_ms']:.1f} ms at the device's stated peak"
    lines = [
        f"{found['device']}; {packages}; `{found['command']}`",
        "",
        f"{shape['name']}: {shape['batch']} × {shape['length']} tokens, {shape['matrices']} matrices, rank "
        f"{shape['rank']}, {weights} weights, event every {shape['interval']} steps; {found['rounds']} rounds of "
        f"{found['steps']} steps.",
        "",
        markdown(found["contestants"]),
        "",
        f"By hand, a step: {needs['floor_flops'] / 1e9:,.4g} GFLOP without adapters, "
        f"{needs['adapter_flops'] / 1e9:,.4g} for LoRA, {needs['regularizer_flops'] / 1e9:,.4g} for the regulariser; "
        f"{needs['bytes']['total'] / 2**20:,.4g} MiB moved at the least{least}.",
    ]
    return "\n".join([*lines, *(f"Note: {note}." for note in found["notes"])])


def device_name(device: torch.device) -> str:
    """Return a name to print."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()}), one thread"


def versions() -> dict[str, str | None]:
    """Return the versions that a time depends on."""
    found: dict[str, str | None] = {"Python": platform.python_version()}
    for name in ("torch", "transformers", "peft"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


@contextmanager
def settings(device: torch.device) -> Iterator[None]:
    """One thread on a CPU, TF32 where fp32 remains on a GPU; quiet; torch's own state as before afterwards."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if device.type == "cpu":
            torch.set_num_threads(1)
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cuda.matmul.allow_tf32 = tf32


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the file; return the exit status."""
    options = parse(arguments)
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        plans = [(own, make_plan(own)) for own in points(options)]
    except CostError as error:
        print(f"cost: {error}.", file=sys.stderr)
        return 2
    measured = [measure_point(own, plan, given) for own, plan in plans]
    return 0 if all(measured) else 1


def measure_point(options: argparse.Namespace, plan: Plan, given: Sequence[str]) -> bool:
    """Measure one shape, print its table and write its file; return whether anything could be measured."""
    if options.budget is not None:
        plan = replace(plan, deadline=time.monotonic() + options.budget)
    with settings(plan.device):
        field, whole = measure(plan)
    found = document(plan, field, whole, " ".join(["python benchmarks/cost.py", *given]))
    print(text(found))
    if options.json is not None:
        # A file comes with the package: seven digits are more than a clock has.
        options.json.write_text(json.dumps(_short(found), separators=(",", ":")) + "\n", encoding="utf-8")
    return any(not own.failed for own in field.found.values())


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}") if abs(value) < 1e9 else value
    if isinstance(value, list):
        return [_short(item) for item in value]
    return {key: _short(item) for key, item in value.items()} if isinstance(value, dict) else value


if __name__ == "__main__":
    sys.exit(main())
