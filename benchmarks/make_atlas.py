"""Train many small adapters on one core, and ship what their spectra look like: ``analysis/adapters/atlas/atlas.json``.

    nice python benchmarks/make_atlas.py --adapters atlas_runs --out analysis/adapters/atlas/atlas.json

Four kinds. ``random``: Gaussian factors of the same shapes, as an adapter that was never trained would have if B
did not begin at 0. ``shuffled``: trained on labels that are permuted among the training rows, so that there is nothing
to learn but the rows themselves. ``real``: trained on the labels as they are, and better than the majority's share by
.1 on the test split; what was trained so and is not (too high a rate) is ``failed``. All but the first are PEFT's LoRA
on the Lab's tasks ``words`` and ``digits`` at several ranks and rates, and the Lab's FlexLoRA at one rank.
"""

from __future__ import annotations

import argparse
import json
import sys
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
from analysis.adapters.atlas.quantities import OF_A_MATRIX, entry_size, measured, of_adapter
from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.spectra import true_singular_values
from flexlora.tasks import TASKS, load_task
from flexlora.tasks.data import TaskData, batch_indices, evaluate_classifier

LEVELS = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
RANKS = {"digits": (2, 4, 8, 16, 32), "words": (2, 8, 32)}
RATES = (5e-4, 2e-3)
HIGH_RATE, HIGH_RANK = 8e-3, 8
"""A rate at which words no longer learns, tried at one rank."""
STEPS = {"digits": 100, "words": 100}
LEARNED = 0.1
"""Accuracy above the majority's share from which an adapter of ``real`` labels counts as one that learned."""


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
    targets = TASKS[task].defaults["target_modules"]
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=list(targets) if targets else "all-linear",
        modules_to_save=["classifier"],
    )
    model = get_peft_model(data.model, config)
    train(model, [p for p in model.parameters() if p.requires_grad], data, task, rate, seed)
    model.save_pretrained(str(out))
    return float(evaluate_classifier(model, data.test, max_samples=400)["accuracy"])


def flexlora(data: TaskData, task: str, rank: int, rate: float, seed: int, out: Path) -> float:
    """Train the Lab's FlexLoRA and export it; return the accuracy on 400 rows of the test split."""
    targets = TASKS[task].defaults["target_modules"]
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


def trained(
    folder: Path, kind: str, task: str, method: Callable[..., float], rank: int, rate: float, seed: int
) -> tuple[float, float]:
    """Train an adapter into a folder, unless it is there; return its accuracy and the majority's share."""
    note = folder / "accuracy.json"
    if not note.exists():
        data = load_task(task, seed)
        data = shuffled(data, seed) if kind == "shuffled" else data
        accuracy = method(data, task, rank, rate, seed, folder)
        note.write_text(json.dumps([accuracy, data.majority]))
    accuracy, majority = json.loads(note.read_text())
    return accuracy, majority


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
        if kind != "random":
            # Gaussian factors have whatever size they are drawn at.
            sizes = [entry_size(v, m.out_features, m.in_features) for m, v in zip(matrices, spectra, strict=True)]
            own["entry"] += [size for size in sizes if size > 0]
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

    def pooled(self) -> list[dict[str, Any]]:
        """Return one record a kind, of all ranks: quantiles of what does not depend on the rank; rank 0 = all."""
        found = []
        for kind in sorted({kind for kind, _ in self.matrices} - {"random"}):
            whole = Collected()
            for (own, rank), values in self.adapters.items():
                if own != kind:
                    continue
                whole.matrices[kind, 0]["entry"] += self.matrices[kind, rank]["entry"]
                for name, each in values.items():
                    whole.adapters[kind, 0][name] += each
            found += whole.groups()
        return found

    def groups(self) -> list[dict[str, Any]]:
        """Return one record a kind and rank: quantiles at ``LEVELS`` of every quantity."""

        def quantiles(found: dict[str, list[float]]) -> dict[str, list[float]]:
            return {name: [float(f"{x:.4g}") for x in np.percentile(v, LEVELS)] for name, v in found.items() if v}

        return [
            {
                "kind": kind,
                "rank": rank,
                "adapters": len(next(iter(self.adapters[kind, rank].values()))),
                "matrices": len(next(iter(own.values()))),
                "of_a_matrix": quantiles(own),
                "of_an_adapter": quantiles(self.adapters[kind, rank]),
            }
            for (kind, rank), own in sorted(self.matrices.items())
        ]


def _dense(adapter: Adapter, name: str) -> np.ndarray:
    B, A = adapter.factors(name)
    return (adapter.find(name).scale * B @ A).astype(np.float32).ravel()


def weight_sizes(task: str, names: list[str]) -> list[float]:
    """Return least, middle and largest root mean square of the weights that a task's adapters change."""
    modules = dict(load_task(task, 0).model.named_modules())
    sizes = [float(modules[name].weight.detach().square().mean().sqrt()) for name in names]
    return [float(f"{size:.4g}") for size in (min(sizes), float(np.median(sizes)), max(sizes))]


def plan() -> list[tuple[str, str, Callable[..., float], int, float]]:
    """Return (kind, task, method, rank, rate) of every adapter that is trained."""
    plain = [(task, peft_lora, rank, rate) for task in STEPS for rank in RANKS[task] for rate in RATES]
    plain += [(task, peft_lora, HIGH_RANK, HIGH_RATE) for task in STEPS]
    own = [(task, flexlora, 8, float(TASKS[task].defaults["learning_rate"]["flexlora"])) for task in STEPS]
    return [(kind, *one) for one in plain + own for kind in ("shuffled", "real")]


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--adapters", type=Path, required=True, help="where they go; those that are there stay")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, found, shapes = time.process_time(), Collected(), dict[str, list[AdapterMatrix]]()
    for seed, (kind, task, method, rank, rate) in enumerate(plan()):
        folder = options.adapters / f"{kind}-{task}-{method.__name__}-r{rank}-{rate:g}"
        accuracy, majority = trained(folder, kind, task, method, rank, rate, seed)
        spectra = analyse_adapter(open_adapter(folder))
        if kind == "real" and accuracy < majority + LEARNED:
            kind = "failed"
        found.pair(kind, task, spectra.adapter)
        matrices = spectra.adapter.matrices
        found.add(kind, rank, matrices, [values for _, values in spectra.rows()])
        shapes[task] = matrices
        run = {"kind": kind, "task": task, "method": method.__name__, "rank": rank, "rate": rate, "accuracy": accuracy}
        found.runs.append({**run, "majority": majority})
        sys.stdout.write(f"{time.process_time() - began:5.0f} s  {run}\n")
        sys.stdout.flush()
    for rank in RANKS["digits"]:
        for seed, own in enumerate(shapes.values()):
            found.add("random", rank, own, untrained([(m.in_features, m.out_features) for m in own], rank, seed))
    about = {
        "levels": LEVELS,
        "steps": STEPS,
        "ranks": RANKS,
        "rates": [*RATES, HIGH_RATE],
        "quantities": [*OF_A_MATRIX, "entry"],
        "weights": {task: weight_sizes(task, [matrix.name for matrix in own]) for task, own in shapes.items()},
    }
    atlas = {
        "about": about,
        "groups": found.groups(),
        "pooled": found.pooled(),
        "cosines": found.levels(),
        "runs": found.runs,
    }
    options.out.write_text(json.dumps(atlas, separators=(",", ":")) + "\n")
    sys.stdout.write(f"{time.process_time() - began:.0f} s of one core, {options.out.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
