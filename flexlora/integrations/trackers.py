"""Rank and entropy beside the loss where people look: TensorBoard, Weights & Biases, trackio, the Trainer's reports.

What is shown is computed once, by ``Curves``. ``Reports`` shows it for a loop of one's own; under the transformers
Trainer it is put among the numbers that the Trainer logs, so that all of its ``report_to`` show it.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from flexlora.adapter import Adapter
from flexlora.errors import FlexLoRAError
from flexlora.event import Event
from flexlora.importance import score_all
from flexlora.matrix_names import describe_matrix
from flexlora.tally import count_moves

PREFIX = "flexlora/"
REMEMBERED = 1000
"""Steps whose loss is averaged at most, however rarely somebody asks."""


class Curves:
    """Collects what happens in each step; ``take`` returns what to show of the steps since it was called last."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._types: dict[str, list[str]] = {}
        for name in adapter.matrices:
            self._types.setdefault(describe_matrix(name)[1], []).append(name)
        self._losses: deque[Tensor] = deque(maxlen=REMEMBERED)
        self._regularizers: deque[Tensor] = deque(maxlen=REMEMBERED)
        self._moves: list[int] = []
        self._budget: float | None = None

    def step(
        self, task_loss: Tensor | float | None, regularizer: Tensor, budget: float | None, event: Event | None
    ) -> None:
        """Take in a step; tensors are fetched later. ``event`` is what it moved, None where it was no event."""
        if task_loss is not None:
            self._losses.append(torch.as_tensor(task_loss).detach().float().reshape(()).clone())
        self._regularizers.append(regularizer.detach().float().reshape(()))
        self._budget = budget
        if event is not None:
            self._moves.append(count_moves(len(event.prune), len(event.extend)))

    def take(self) -> dict[str, float]:
        """Return name → number, and begin anew; what is undefined is left out.

        ``total_rank``; ``rank_<type>``, the mean rank of the matrices of a type; ``entropy`` and ``effective_rank``,
        means over the matrices where they are defined; ``task_loss`` and ``regularizer``, means of the steps;
        ``budget``, b(t) of the last step; ``moved``, directions moved per event, where there was one.
        """
        lam = self._adapter.singular_values()
        ranks = {name: len(values) for name, values in lam.items()}
        found: dict[str, float | None] = {"total_rank": sum(ranks.values())}
        for kind, names in self._types.items():
            found[f"rank_{kind}"] = sum(ranks[name] for name in names) / len(names)
        for key, scores in score_all(lam, ("spectral_entropy", "effective_rank")).items():
            found[key.removeprefix("spectral_")] = _mean([score for score in scores.values() if score is not None])
        found["task_loss"] = _mean_of(self._losses)
        found["regularizer"] = _mean_of(self._regularizers)
        found["budget"] = self._budget
        found["moved"] = _mean(self._moves)
        self._losses.clear()
        self._regularizers.clear()
        self._moves = []
        return {PREFIX + key: float(value) for key, value in found.items() if value is not None}

    def ranks(self) -> list[int]:
        """Return the rank of each matrix, in module order: for a histogram."""
        return list(self._adapter.ranks().values())


class Tracker(Protocol):
    """Where numbers are shown."""

    def log(self, step: int, numbers: Mapping[str, float], ranks: Sequence[int]) -> None:
        """Show numbers, and the ranks of all matrices as a histogram where there are any."""
        ...

    def close(self) -> None:
        """Show what is left."""
        ...


class TensorBoard:
    """Event files in ``tensorboard`` below the run folder: ``tensorboard --logdir runs``."""

    def __init__(self, package: Any, folder: Path, config: Mapping[str, Any], first_step: int) -> None:
        self._writer = package.SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def log(self, step: int, numbers: Mapping[str, float], ranks: Sequence[int]) -> None:
        """Show numbers, and the ranks of all matrices as a histogram."""
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)
        if ranks:
            self._writer.add_histogram(f"{PREFIX}ranks", np.asarray(ranks), step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases: the one that is active, or a new one in ``WANDB_PROJECT``, named as the run folder."""

    def __init__(self, package: Any, folder: Path, config: Mapping[str, Any], first_step: int) -> None:
        self._package = package
        self._own = package.run is None
        if self._own:
            project = os.environ.get("WANDB_PROJECT", "flexlora")
            package.init(project=project, name=folder.name, config=dict(config))
        package.run.define_metric(f"{PREFIX}*", step_metric=f"{PREFIX}step")

    def log(self, step: int, numbers: Mapping[str, float], ranks: Sequence[int]) -> None:
        """Show numbers, and the ranks of all matrices as a histogram."""
        histogram = {f"{PREFIX}ranks": self._package.Histogram(list(ranks))} if ranks else {}
        self._package.log({**numbers, **histogram, f"{PREFIX}step": step})

    def close(self) -> None:
        """End the run, if it was begun here."""
        if self._own:
            self._package.finish()


class Trackio:
    """A run of trackio: the one that is active, or a new one in ``TRACKIO_PROJECT``, named as the run folder."""

    def __init__(self, package: Any, folder: Path, config: Mapping[str, Any], first_step: int) -> None:
        self._package = package
        self._own = package.context_vars.current_run.get() is None
        if self._own:
            project = os.environ.get("TRACKIO_PROJECT", "flexlora")
            package.init(project=project, name=folder.name, config=dict(config), resume="allow")

    def log(self, step: int, numbers: Mapping[str, float], ranks: Sequence[int]) -> None:
        """Show numbers, and the ranks of all matrices as a histogram."""
        histogram = {f"{PREFIX}ranks": self._package.Histogram(list(ranks))} if ranks else {}
        self._package.log({**numbers, **histogram}, step=step)

    def close(self) -> None:
        """End the run, if it was begun here."""
        if self._own:
            self._package.finish()


TRACKERS: dict[str, tuple[str, Callable[[Any, Path, Mapping[str, Any], int], Tracker]]] = {
    "tensorboard": ("torch.utils.tensorboard", TensorBoard),
    "wandb": ("wandb", WandB),
    "trackio": ("trackio", Trackio),
}
"""Word in ``report_to`` → what is imported when it is asked for, and what shows numbers with it."""


class Reports:
    """Shows a run of one's own loop in trackers: every ``every`` steps, at events and at evaluations."""

    def __init__(self, adapter: Adapter, names: Sequence[str], every: int) -> None:
        """Import what is needed; nothing is shown before ``open``.

        Raises:
            FlexLoRAError: a tracker that is not known, or not installed.
        """
        if every < 1:
            raise FlexLoRAError(f"report_every={every} must be at least 1.")
        self._packages = [(_package(name), TRACKERS[name][1]) for name in names]
        self._curves = Curves(adapter)
        self._every = every
        self._trackers: list[Tracker] = []

    def open(self, folder: Path, config: Mapping[str, Any], first_step: int) -> None:
        """Begin to show, in files of the run folder or in a run of its name."""
        self._trackers = [kind(package, folder, config, first_step) for package, kind in self._packages]

    def step(
        self,
        t: int,
        task_loss: Tensor | float | None,
        regularizer: Tensor,
        budget: float | None,
        event: Event | None,
        *,
        last: bool,
    ) -> None:
        """Take in step t, and show it where due."""
        self._curves.step(task_loss, regularizer, budget, event)
        if self._trackers and (t % self._every == 0 or event is not None or last):
            numbers, ranks = self._curves.take(), self._curves.ranks()
            for tracker in self._trackers:
                tracker.log(t, numbers, ranks)

    def eval(self, t: int, metrics: Mapping[str, float], split: str) -> None:
        """Show what an evaluation found after step t."""
        for tracker in self._trackers:
            tracker.log(t, {f"{PREFIX}{split}_{key}": float(value) for key, value in metrics.items()}, ())

    def close(self) -> None:
        """Show what is left."""
        for tracker in self._trackers:
            tracker.close()
        self._trackers = []


def show_first(callback: Any) -> None:
    """Have the Trainer that is calling ask ``callback`` before what reports, so that its numbers are shown, too.

    The Trainer puts the integrations of ``report_to`` before the callbacks that it was given, and hands all of them one
    dictionary of numbers, one after another. No callback is given the list that it stands in; it is the caller's. A
    callback that works inside of another stands in no list; the outer one calls this.
    """
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    reporters = tuple(INTEGRATION_TO_CALLBACK.values())
    handler, others = _beside(callback)
    place = next((place for place, one in enumerate(others) if isinstance(one, reporters)), len(others))
    if place < len(others):
        # A list of its own: the caller is going through the other one.
        handler.callbacks = [*others[:place], callback, *others[place:]]


def refuse_second(callback: Any) -> None:
    """Refuse a callback of ours beside another one of the same adapter, before it has done anything.

    Raises:
        FlexLoRAError: the Trainer that is calling has two.
    """
    _, others = _beside(callback)
    if any(type(one).__name__ == "FlexLoRACallback" and one.adapter is callback.adapter for one in others):
        raise FlexLoRAError(
            "This Trainer has a second FlexLoRACallback of the same model; both would regularise it, move its ranks "
            "and write a log. Keep one of them."
        )


def _beside(callback: Any) -> tuple[Any, list[Any]]:
    """Return what holds the list that a callback stands in, and the others in it; nothing where it stands in none."""
    from flexlora.integrations.training_loop import owner, stack

    for frame in stack(sys._getframe(2)):
        handler = owner(frame)
        listed = getattr(handler, "callbacks", None)
        if isinstance(listed, list) and any(one is callback for one in listed):
            return handler, [one for one in listed if one is not callback]
    return None, []


def _package(name: str) -> Any:
    if name not in TRACKERS:
        raise FlexLoRAError(f"report_to has no tracker {name!r}. Choose from: {', '.join(TRACKERS)}.")
    try:
        return import_module(TRACKERS[name][0])
    except ModuleNotFoundError as error:
        missing = (error.name or name).partition(".")[0]
        raise FlexLoRAError(
            f"report_to={name!r} needs {missing}, which is not installed: pip install {name}"
        ) from error


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _mean_of(values: Sequence[Tensor]) -> float | None:
    return float(torch.stack(list(values)).mean()) if values else None
