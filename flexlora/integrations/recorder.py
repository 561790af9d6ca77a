"""``Recorder``: allocate at the right moment and write the run log, from any training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.optim import Optimizer

from flexlora.adapter import Adapter
from flexlora.adapter_files import about_model
from flexlora.allocator import RankAllocator
from flexlora.config import FlexLoRAConfig
from flexlora.decision import Decider
from flexlora.errors import FlexLoRAError
from flexlora.integrations.agreement import alone, check_agreement
from flexlora.integrations.parameter_lists import Replaced, warn_of_narrow
from flexlora.integrations.trackers import Reports
from flexlora.kept_elsewhere import KeptElsewhere, whole
from flexlora.optimizer_state import check_same_optimizer, group_of
from flexlora.reallocation import Reallocation
from flexlora.run_header import matrix_table, versions
from flexlora.run_log import RunWriter, add_eval

DRAIN_INTERVAL_S = 0.4
"""Numbers wait on the accelerator for so long: fetching them at every step would make it wait for the host."""


class _Waiting(NamedTuple):
    step: int
    task_loss: Tensor | None
    regularizer: Tensor
    weights: Tensor
    scalars: dict[str, Any]


class Recorder:
    """The second half of every training step: allocate, and write down what was seen and done.

    Call ``step(t, loss, regularizer)`` after ``optimizer.step()`` and before ``zero_grad()``. In a job of several
    processes every process makes a recorder, with the folder only in the first.

    Attributes:
        adapter: the adapted matrices.
        allocator: moves the rank; its ``config`` has ``total_steps``.
        folder: the run log; None = nothing is written.
        events: events of the run, over all its starts.
        first_step: the first step that it can see.
        last_step: the step that was recorded last.
        best_step: whose adapter was loaded after the last step, see ``note_best``.
        lost: why nothing can come of the run any more, in one line; None while something can.
    """

    def __init__(
        self,
        adapter: Adapter,
        optimizer: Optimizer,
        config: FlexLoRAConfig,
        folder: str | Path | None,
        *,
        header: Mapping[str, Any] | None = None,
        resume_from: int | None = None,
        report_to: Sequence[str] = (),
        report_every: int = 10,
    ) -> None:
        """Open the log.

        Args:
            adapter: from ``attach``.
            optimizer: trains the adapter.
            config: must hold ``total_steps``.
            folder: run folder, such as ``runs/mine``: the app lists what is below ``runs/``.
            header: further keys for the header of the log: ``task``, ``model``, ``data``, ``config`` (flat options).
            resume_from: go on with the run in ``folder`` from this step; call ``restore`` too.
            report_to: where to show rank and entropy beside the loss: ``tensorboard``, ``wandb``, ``trackio``. Without
                a folder nothing is shown.
            report_every: steps between two reports; events are shown at once.

        Raises:
            FlexLoRAError: the optimizer does not train the adapter, total_steps is missing, or a tracker is.
            RunLogError: the folder holds a run already, or cannot be written.
        """
        self.adapter = adapter
        if not isinstance(optimizer, KeptElsewhere):
            warn_of_narrow(adapter)
        self.allocator = RankAllocator(adapter, optimizer, config)
        self.allocator.log_all_measures = True
        self.folder = None if folder is None else Path(folder)
        self.events = 0
        self.last_step = resume_from or 0
        self.first_step = self.last_step + 1
        self.lost: str | None = None
        self.best_step: int | None = None
        self._replaced = Replaced(adapter, told="source" in (header or {}))
        self._undefined: int | None = None
        self._waiting: list[_Waiting] = []
        self._began = self._stepped = self._drained = time.monotonic()
        self._reports = Reports(adapter, report_to, report_every) if report_to else None
        self._writer = self._open(header or {}, resume_from)
        if self._reports is not None and self.folder is not None:
            self._reports.open(self.folder, config.to_dict(), self.first_step)
        self._closed = False
        if self._writer is not None and not resume_from:
            self._spectrum(0, adapter.flat_weights().float(), complete=True)

    @property
    def config(self) -> FlexLoRAConfig:
        """Return the configuration in force."""
        return self.allocator.config

    def step(
        self,
        t: int,
        task_loss: Tensor | float | None,
        regularizer: Tensor | float,
        *,
        learning_rate: float | None = None,
        samples: int | None = None,
        step_s: float | None = None,
    ) -> Reallocation | None:
        """Log step t and reallocate if it is an event.

        Args:
            t: finished optimizer steps, from 1.
            task_loss: loss of this step without the regulariser, before it; a tensor is fetched later, not now.
            regularizer: what ``adapter.add_regularization_gradient()`` returned.
            learning_rate: of this step; None = that of the first group that holds some of the adapter.
            samples: examples in this step.
            step_s: seconds of this step; None = since the last one.

        Returns:
            What was moved (possibly nothing) at an event step, None at any other. In a job of one process nothing
            moves once the run is lost.

        Raises:
            FlexLoRAError: a step that was recorded already, a loss or regulariser that is no one number, or processes
                of one job came to different decisions.
        """
        now, (task_loss, regularizer) = time.monotonic(), self._checked(t, task_loss, regularizer)
        complete = self.config.is_event(t) or t == self.config.total_steps
        moving = whole(self.allocator.optimizer) if complete else nullcontext()
        with self._replaced.by_event(t, due=complete), moving:
            if self._writer is not None:
                seconds = now - self._stepped if step_s is None else step_s
                rate = self._rate() if learning_rate is None else learning_rate
                scalars = {
                    "learning_rate": None if rate is None else float(rate),
                    "budget": self.allocator.decider.ceiling(t, self.config),
                    "samples_per_s": samples / seconds if samples and seconds > 0 else None,
                    "step_s": seconds,
                }
                loss = None if task_loss is None else torch.as_tensor(task_loss).detach().float().clone()
                self._waiting.append(_Waiting(t, loss, regularizer.detach(), self.adapter.flat_weights(), scalars))
                if complete or now - self._drained >= DRAIN_INTERVAL_S:
                    self._drain(complete=complete)
            self.last_step = t
            if self.lost and alone():  # others would wait for this process at the event
                return None
            plan = self.allocator.step(t)
        event = self.allocator.last
        if plan is not None and event is not None:
            self.events += 1
            check_agreement(self.adapter, event)
            if self._writer is not None:
                self._writer.event(**event.record())
        if self._reports is not None:
            budget, last = self.allocator.decider.ceiling(t, self.config), t == self.config.total_steps
            self._reports.step(t, task_loss, regularizer, budget, None if plan is None else event, last=last)
        self._stepped = time.monotonic()
        return plan

    def _checked(self, t: int, task_loss: Any, regularizer: Any) -> tuple[Tensor | float | None, Tensor]:
        """Return loss and regulariser as scalars."""
        if self._closed:
            raise FlexLoRAError("This recorder was closed: its log has ended. Make another one, of another folder.")
        if t <= self.last_step:
            raise FlexLoRAError(
                f"Recorder.step({t}) came after step {self.last_step}: t counts finished optimizer steps from 1, each "
                "once."
            )
        if regularizer is None or isinstance(regularizer, str):
            raise FlexLoRAError(
                f"regularizer={regularizer!r}: pass what adapter.add_regularization_gradient() returned."
            )
        for name, value in (("task_loss", task_loss), ("regularizer", regularizer)):
            shape = getattr(value, "shape", ())
            if isinstance(value, str) or math.prod(shape) != 1:
                told = f"has shape {tuple(shape)}" if shape else f"is {value!r}"
                raise FlexLoRAError(f"{name} {told} and is to be one number, such as the mean of a batch.")
        loss = task_loss.reshape(()) if isinstance(task_loss, Tensor) else task_loss
        device = next(iter(self.adapter.matrices.values())).lam.device
        return loss, regularizer.reshape(()) if isinstance(regularizer, Tensor) else torch.tensor(
            regularizer, device=device
        )

    def eval(self, t: int, metrics: Mapping[str, float], split: str = "validation", samples: int | None = None) -> None:
        """Log what an evaluation found after step t, also when the log has ended."""
        if self.best_step and t == self.last_step:
            t = self.best_step
        if self._closed and self.folder is not None:
            add_eval(self.folder, t, split, metrics, samples)
        elif self._writer is not None:
            self._writer.eval(t, split, metrics, samples=samples)
            if self._reports is not None:
                self._reports.eval(t, metrics, split)

    def note(self, kind: str, **fields: Any) -> None:
        """Log something that happened after the last step."""
        if self._writer is not None:
            self._writer.note(kind, step=self.last_step, **fields)

    def note_best(self, step: int) -> None:
        """Log that the adapter of an earlier step was loaded after the last: what is evaluated from now on is that."""
        self.note("best_model_loaded", best_step=step, ranks=list(self.adapter.ranks().values()))
        self.best_step = step

    def close(self, reason: str | None = None, message: str | None = None) -> None:
        """Write what is left and the end of the log; a second call does nothing.

        Args:
            reason: completed, stopped or failed; None = completed when the last step was made, else stopped. A run
                that is lost has failed, whatever the reason.
            message: why, where it needs saying.
        """
        if self._closed:
            return
        self._closed = True
        if self._reports is not None:
            self._reports.close()
        self.allocator.moves.young.detach()
        if self._writer is None:
            return
        # Also a log that cannot be written any more is let go.
        with self._writer as writer:
            if self._waiting:
                self._drain(complete=True)
            done = self.last_step >= (self.config.total_steps or 0)
            if self._undefined is not None and self.lost is None:
                self.lost = f"The loss is not finite from step {self._undefined} to the last."
            if self.lost:
                reason, message = (
                    "failed",
                    f"{self.lost} Try a lower learning rate." + (f" {message}" if message else ""),
                )
            writer.end(reason or ("completed" if done else "stopped"), message=message, wall_s=self._wall_s())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        failed = error is not None and not isinstance(error, KeyboardInterrupt)
        self.close("failed" if failed else None, f"{type(error).__name__}: {error}" if failed else None)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep beside parameters, masks and optimizer, as JSON values.

        Everything seen so far is in the log when this returns, so that no checkpoint is ahead of it.

        Raises:
            RunLogError: the log cannot be written.
        """
        if self._writer is not None:
            if self._waiting:
                self._drain(complete=False)
            return self._writer.checkpoint(self._state)
        return self._state()

    def _state(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "optimizer": type(self.allocator.optimizer).__name__,
            "ages": self.allocator.moves.young.state(self.adapter.named_parameters()),
            "decider": self.allocator.decider.state(),
            "events": self.events,
            "wall_s": self._wall_s(),
            "export": about_model(self.adapter),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned; parameters, masks and optimizer are restored by whoever saved them.

        Raises:
            FlexLoRAError: the state belongs to other settings.
        """
        check_settings(self.config, state)
        check_same_optimizer(self.allocator.optimizer, state.get("optimizer"))
        self.allocator.moves.young.restore(self.adapter.named_parameters(), state["ages"])
        self.allocator.decider = Decider.restored(state["decider"])
        self.events = state.get("events", 0)
        self._began -= state.get("wall_s", 0.0)

    def _open(self, header: Mapping[str, Any], resume_from: int | None) -> RunWriter | None:
        if self.folder is None:
            return None
        config = self.config
        device = next(iter(self.adapter.matrices.values())).lam.device
        own = {
            "name": self.folder.name,
            "method": "flexlora",
            "preset": config.preset,
            "task": type(self.adapter.model).__name__,
            "model": getattr(getattr(self.adapter.model, "config", None), "_name_or_path", None) or None,
            "data": {},
            "command": None,
            "device": str(device),
            "parent": None,
            "source": "flexlora.integrations.Recorder",
            **header,
            "config": {"method": "flexlora", **header.get("config", {}), **config.to_dict()},
            "matrices": matrix_table(self.adapter),
            "seed": config.seed,
            "versions": versions(),
        }
        return RunWriter(self.folder, own, resume_from=resume_from)

    def _rate(self) -> float | None:
        return group_of(self.allocator.optimizer, self.adapter.parameters())["lr"]

    def _wall_s(self) -> float:
        return time.monotonic() - self._began

    def _drain(self, *, complete: bool) -> None:
        """Fetch all that waits in one transfer and write it; no rank has changed since the last time."""
        if self._writer is None:
            return
        waiting, self._waiting = self._waiting, []
        device = waiting[0].weights.device
        missing = torch.full((), float("nan"), device=device)
        losses = [missing if item.task_loss is None else item.task_loss.to(device) for item in waiting]
        rows = [
            torch.cat([torch.stack([loss, item.regularizer]), item.weights])
            for loss, item in zip(losses, waiting, strict=True)
        ]
        numbers = torch.stack(rows).cpu().numpy()
        weight = self.config.regularization_weight
        memory = _memory_bytes(device)
        for item, row in zip(waiting, numbers, strict=True):
            self._look_for_nan(item, row)
            loss = None if item.task_loss is None else float(row[0])
            self._writer.step(
                item.step,
                task_loss=loss,
                regularizer=float(row[1]),
                loss=None if loss is None else loss + weight * float(row[1]),
                memory_bytes=memory,
                **item.scalars,
            )
            self._spectrum(item.step, row[2:], complete=complete and item is waiting[-1])
        self._drained = time.monotonic()

    def _look_for_nan(self, item: _Waiting, row: np.ndarray) -> None:
        """Take notice of losses and of parameters that are not finite: P and Q show in the regulariser."""
        if item.task_loss is not None and not math.isfinite(row[0]):
            self._undefined = item.step if self._undefined is None else self._undefined
        elif item.task_loss is not None:
            self._undefined = None
        if self.lost is None and not np.isfinite(row[1:]).all():
            of = "The loss was not finite" if self._undefined is not None else "P, λ or Q is not finite"
            self.lost = f"{of} at step {self._undefined or item.step}, and what is trained is NaN since."

    def _spectrum(self, step: int, flat: Any, *, complete: bool) -> None:
        if self._writer is None:
            return
        values = flat.cpu().numpy() if isinstance(flat, Tensor) else flat
        true = list(self.allocator.spectra.at(step).values()) if complete and not self.lost else None
        self._writer.spectrum(step, list(self.adapter.split_weights(values).values()), true)


def check_settings(config: FlexLoRAConfig, state: Mapping[str, Any]) -> None:
    """Raise ``FlexLoRAError`` where the ``state`` of a recorder was made with other settings."""
    mine = config.to_dict()
    other = {key: value for key, value in state["config"].items() if mine.get(key) != value}
    if other:
        told = ", ".join(f"{key}={value} (now {mine.get(key)})" for key, value in other.items())
        raise FlexLoRAError(f"The checkpoint was made with {told}. Resume with the same FlexLoRAConfig.")


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss
