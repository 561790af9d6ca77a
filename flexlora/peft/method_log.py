"""``MethodLog``: the run log of a method at work in somebody else's training loop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flexlora.event import Event
from flexlora.integrations.losses import StepLoss
from flexlora.optimizer_state import group_of
from flexlora.peft.method_loop import MethodLoop
from flexlora.run_header import matrix_table, versions
from flexlora.run_log import RunWriter


class MethodLog:
    """Writes each step as ``flexlora.train`` does: scalars and spectrum, then the event that is due."""

    def __init__(
        self, loop: MethodLoop, method: str, folder: Path, header: Mapping[str, Any], resume_from: int | None
    ) -> None:
        """Open the log.

        Args:
            loop: the method at work.
            method: its name.
            folder: run folder.
            header: further keys of the header; ``config`` holds flat options of the loop.
            resume_from: go on with the run in ``folder`` from this step.

        Raises:
            RunLogError: the folder holds a run already, or cannot be written.
        """
        self.loop, self.folder = loop, folder
        self._last = resume_from or 0
        self._began = self._stepped = time.monotonic()
        self._loss = StepLoss()
        adapter, config = loop.adapter, loop.config
        own = {
            "name": folder.name,
            "method": method,
            "preset": config.preset,
            "task": type(adapter.model).__name__,
            "model": getattr(getattr(adapter.model, "config", None), "_name_or_path", None) or None,
            "data": {},
            "command": None,
            "device": str(next(iter(adapter.matrices.values())).lam.device),
            "parent": None,
            **header,
            "config": {"method": method, **header.get("config", {}), **config.to_dict()},
            "matrices": matrix_table(adapter),
            "seed": config.seed,
            "versions": versions(),
        }
        self.writer = RunWriter(folder, own, resume_from=resume_from)
        self._loss.attach(adapter.model)
        if not resume_from:
            self._spectrum(0, complete=True)

    def record(self, step: int, event: Event | None = None, *, samples: int = 0) -> None:
        """Write a step after the method acted on it and before its event; then the event.

        Args:
            step: finished optimizer steps.
            event: what the event did; None = the step itself is meant.
            samples: examples in the step.
        """
        if event is not None:
            self.writer.event(**event.record())
            return
        loop, now = self.loop, time.monotonic()
        loss, regularizer = _number(self._loss.take()), _number(loop.regularizer)
        penalty = _number(loop.penalty)
        weighted = loop.config.orthogonality[1] * (regularizer or 0.0) + (penalty or 0.0)
        seconds, self._stepped = now - self._stepped, now
        self.writer.step(
            step,
            task_loss=loss,
            regularizer=regularizer,
            loss=None if loss is None else loss + weighted,
            penalty=penalty,
            learning_rate=float(group_of(loop.optimizer, loop.adapter.parameters())["lr"]),
            budget=loop.dynamics.budget(step),
            target_rank=loop.dynamics.target_rank(step),
            samples_per_s=samples / seconds if samples and seconds > 0 else None,
            step_s=seconds,
        )
        self._last = step
        self._spectrum(step, complete=loop.dynamics.is_event(step) or step == loop.config.total_steps)

    def eval(self, step: int, metrics: Mapping[str, float], split: str) -> None:
        """Write what an evaluation of a split found."""
        self.writer.eval(step, split, metrics)

    def close(self, reason: str | None = None, message: str | None = None) -> None:
        """Write the end of the log; reason None = completed when the last step was made, else stopped."""
        self._loss.detach()
        with self.writer as writer:
            done = self._last >= (self.loop.config.total_steps or 0)
            told = reason or ("completed" if done else "stopped")
            writer.end(told, message=message, wall_s=time.monotonic() - self._began)

    def _spectrum(self, step: int, *, complete: bool) -> None:
        dynamics = self.loop.dynamics
        true = list(dynamics.spectra.at(step).values()) if complete else None
        self.writer.spectrum(step, list(self.loop.adapter.singular_values().values()), true, dynamics.gates())


def _number(value: Tensor | None) -> float | None:
    return None if value is None else float(torch.as_tensor(value).detach())
