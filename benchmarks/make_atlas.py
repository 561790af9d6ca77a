"""Train many small adapters on one core, and ship what their spectra look like: ``analysis/adapters/atlas/atlas.json``.

    nice python benchmarks/make_atlas.py --out analysis/adapters/atlas/atlas.json

Three kinds. ``random``: Gaussian factors of the shapes of MiniLM, as an adapter that was never trained would have if B
did not begin at 0. ``shuffled``: trained on labels that are permuted among the training rows, so that there is nothing
to learn but the rows themselves. ``real``: trained on the labels as they are. The last two are PEFT's LoRA on the
Lab's tasks ``words`` and ``digits`` at several ranks and rates, and the Lab's FlexLoRA at one rank.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from analysis.adapters import Adapter, AdapterMatrix, analyse_adapter, open_adapter
from analysis.adapters.atlas.quantities import QUANTITIES, measured, of_adapter
from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.spectra import true_singular_values
from flexlora.tasks import TASKS, load_task
from flexlora.tasks.data import TaskData, batch_indices, evaluate_classifier

LEVELS = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
RANKS = (2, 4, 8, 16, 32)
RATES = (5e-4, 2e-3, 8e-3)
STEPS = {"words": 100, "digits": 200}
KINDS = ("random", "shuffled", "real")


def shuffled(data: TaskData, seed: int) -> TaskData:
    """Return the task with the training labels permuted."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    return replace(data, train=replace(data.train, labels=data.train.labels[order]))


def train(
    model: Any,
    parameters: list[torch.nn.Parameter],
    data: TaskData,
    task: str,
    rate: float,
    seed: int,
    around: tuple[Callable[[], object], Callable[[int], object]] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Train with AdamW and a rate that warms up over ten steps and then falls in a line.

    ``around`` is what is called before and after the optimizer's step.
    """
    batch, steps = int(TASKS[task].defaults["batch_size"]), STEPS[task]
    optimizer = optimizer or torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(step / 10, (steps - step + 1) / (steps - 9))
        model(**data.train.batch(batch_indices(len(data.train), batch, step, seed))).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        if around:
            around[0]()
        optimizer.step()
        if around:
            around[1](step)
        optimizer.zero_grad(set_to_none=True)


def peft_lora(data: TaskData, task: str, rank: int, rate: float, seed: int, out: Path) -> float:
    """Train PEFT's LoRA and save it; return the accuracy on 400 rows of the test split."""
    targets = list(TASKS[task].defaults["target_modules"])
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, modules_to_save=["classifier"])
    model = get_peft_model(data.model, config)
    train(model, [p for p in model.parameters() if p.requires_grad], data, task, rate, seed)
    model.save_pretrained(out)
    return float(evaluate_classifier(model, data.test, max_samples=400)["accuracy"])


def flexlora(data: TaskData, task: str, rank: int, rate: float, seed: int, out: Path) -> float:
    """Train the Lab's FlexLoRA and export it; return the accuracy on 400 rows of the test split."""
    targets = tuple(TASKS[task].defaults["target_modules"])
    config = FlexLoRAConfig(target_modules=targets, initial_rank=rank, total_steps=STEPS[task], seed=seed)
    adapter = attach(data.model, config)
    parameters = list(adapter.trainable_parameters())
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    allocator = RankAllocator(adapter, optimizer, config)
    around = (adapter.add_regularization_gradient, allocator.step)
    train(data.model, parameters, data, task, rate, seed, around, optimizer)
    accuracy = float(evaluate_classifier(data.model, data.test, max_samples=400)["accuracy"])
    adapter.export_peft(out)
    return accuracy


def untrained(shapes: list[tuple[int, int]], rank: int, seed: int) -> list[np.ndarray]:
    """Return σ of B A for Gaussian factors of these (in, out)."""
    rng = np.random.default_rng(seed)
    one = np.ones(rank)
    return [
        true_singular_values(rng.normal(size=(rows, rank)), one, rng.normal(size=(rank, columns)))
        for columns, rows in shapes
    ]


class Collected:
    """What adapters of each kind and rank have shown."""

    def __init__(self) -> None:
        self.matrices: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.adapters: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.cosines: dict[str, list[float]] = defaultdict(list)
        self.last: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
        self.runs: list[dict[str, Any]] = []

    def add(self, kind: str, rank: int, matrices: list[AdapterMatrix], spectra: list[np.ndarray]) -> None:
        """Add the spectra of one adapter."""
        own = self.matrices[kind, rank]
        for name, values in measured(spectra).items():
            own[name] += values
        whole = self.adapters[kind, rank]
        for name, value in of_adapter([matrix.layer for matrix in matrices], spectra).items():
            whole[name].append(value)

    def pair(self, kind: str, task: str, adapter: Adapter) -> None:
        """Add the cosine between this adapter's ΔW and those of the last few of the same task and kind."""
        own = np.concatenate([_dense(adapter, matrix.name) for matrix in adapter.matrices])
        own /= np.linalg.norm(own) or 1.0
        last = self.last[kind, task]
        self.cosines[kind] += [float(own @ other) for other in last]
        self.last[kind, task] = [*last[-2:], own]

    def levels(self) -> dict[str, list[float]]:
        """Return kind → quantiles at ``LEVELS`` of the cosine between two adapters of one task and model."""
        return {kind: [float(f"{x:.4g}") for x in np.percentile(v, LEVELS)] for kind, v in self.cosines.items()}

    def groups(self) -> list[dict[str, Any]]:
        """Return one record a kind and rank: quantiles at ``LEVELS`` of every quantity."""

        def quantiles(found: dict[str, list[float]]) -> dict[str, list[float]]:
            return {name: [float(f"{x:.4g}") for x in np.percentile(v, LEVELS)] for name, v in found.items() if v}

        return [
            {
                "kind": kind,
                "rank": rank,
                "adapters": len(next(iter(self.adapters[kind, rank].values()))),
                "matrices": len(own["entropy"]),
                "of_a_matrix": quantiles(own),
                "of_an_adapter": quantiles(self.adapters[kind, rank]),
            }
            for (kind, rank), own in sorted(self.matrices.items())
        ]


def _dense(adapter: Adapter, name: str) -> np.ndarray:
    B, A = adapter.factors(name)
    return (adapter.find(name).scale * B @ A).astype(np.float32).ravel()


def plan() -> list[tuple[str, str, Callable[..., float], int, float]]:
    """Return (kind, task, method, rank, rate) of every adapter that is trained."""
    plain = [(task, peft_lora, rank, rate) for task in STEPS for rank in RANKS for rate in RATES]
    own = [(task, flexlora, 8, float(TASKS[task].defaults["learning_rate"]["flexlora"])) for task in STEPS]
    return [(kind, *one) for one in plain + own for kind in KINDS[1:]]


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, found, shapes = time.process_time(), Collected(), list[AdapterMatrix]()
    for seed, (kind, task, method, rank, rate) in enumerate(plan()):
        data = load_task(task, seed)
        data = shuffled(data, seed) if kind == "shuffled" else data
        with tempfile.TemporaryDirectory() as made:
            accuracy = method(data, task, rank, rate, seed, Path(made) / "adapter")
            spectra = analyse_adapter(open_adapter(Path(made) / "adapter"))
            found.pair(kind, task, spectra.adapter)
        matrices = spectra.adapter.matrices
        found.add(kind, rank, matrices, [values for _, values in spectra.rows()])
        shapes = matrices if task == "words" else shapes
        run = {"kind": kind, "task": task, "method": method.__name__, "rank": rank, "rate": rate, "accuracy": accuracy}
        found.runs.append({**run, "majority": data.majority})
        sys.stdout.write(f"{time.process_time() - began:5.0f} s  {run}\n")
        sys.stdout.flush()
    for rank in RANKS:
        for seed in range(3):
            sizes = [(matrix.in_features, matrix.out_features) for matrix in shapes]
            found.add("random", rank, shapes, untrained(sizes, rank, seed))
    about = {"levels": LEVELS, "steps": STEPS, "ranks": RANKS, "rates": RATES, "quantities": list(QUANTITIES)}
    atlas = {"about": about, "groups": found.groups(), "cosines": found.levels(), "runs": found.runs}
    options.out.write_text(json.dumps(atlas, separators=(",", ":")) + "\n")
    sys.stdout.write(f"{time.process_time() - began:.0f} s of one core, {options.out.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
