"""``FlexLoRALightning``: FlexLoRA under Lightning's ``Trainer``."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flexlora.adapter import Adapter, attach
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations.folders import choose_folder, tell_where
from flexlora.integrations.recorder import Recorder, check_settings
from flexlora.integrations.trackers import Curves
from flexlora.optimizer_state import check_same_optimizer, first_rate, group_of, innermost

if TYPE_CHECKING:
    Callback = object
else:
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError:
        try:
            from pytorch_lightning import Callback
        except ModuleNotFoundError as error:
            raise FlexLoRAError("FlexLoRALightning needs Lightning: pip install lightning") from error

CLIPPING = "configure_gradient_clipping"
"""Lightning's hook for clipping; nothing is called between it and the optimizer's step."""


class FlexLoRALightning(Callback):
    """Attaches, regularises once an optimizer step after clipping, allocates, logs, saves and resumes.

    The Trainer's loggers show rank and entropy beside the loss.

        callback = FlexLoRALightning(FlexLoRAConfig(initial_rank=8), "runs/mine")
        Trainer(callbacks=[callback], max_epochs=3, gradient_clip_val=1.0).fit(module, loader)
        callback.adapter.export_peft("my_adapter")

    The module is adapted before its ``configure_optimizers`` is called, which should train what has ``requires_grad``
    (or ``callback.adapter.trainable_parameters()``), without weight decay. ``total_steps`` comes from the Trainer
    unless the configuration has it. Lightning's checkpoints hold the adapter with the module, and what resuming needs;
    ``fit(..., ckpt_path=...)`` goes on bit for bit between epochs, within one where the loader can be resumed.

    Attributes:
        config: with ``total_steps`` from the start of training on.
        folder: the log of the latest training; None = nothing is written. Training anew has a folder of its own,
            ``runs/mine-2``, where there is a run already.
        recorder: allocates and writes; None outside of training.
    """

    def __init__(
        self, config: FlexLoRAConfig | None = None, folder: str | Path | None = None, *, part: str | None = None
    ) -> None:
        """Nothing is adapted yet.

        Args:
            config: None = ``FlexLoRAConfig()``.
            folder: run folder, such as ``runs/mine``: the app lists what is below ``runs/``.
            part: name of the submodule to adapt, such as ``"model"``; what is beside it stays as it is. None = the
                only one that has parameters, or, where there are several, the whole module.
        """
        self.config = FlexLoRAConfig() if config is None else config
        self.folder = None if folder is None else Path(folder)
        self.recorder: Recorder | None = None
        self._first_folder = self.folder
        self._last_folder: Path | None = None
        self._part = part
        self._adapter: Adapter | None = None
        self._kept: Mapping[str, Any] = {}
        self._losses: list[Tensor] = []
        self._curves: Curves | None = None
        self._regularizer: Tensor | None = None
        self._rate = 0.0
        self._samples = 0
        self._began = time.monotonic()
        self._seen: dict[str, Any] = {}

    @property
    def adapter(self) -> Adapter:
        """The adapted matrices.

        Raises:
            FlexLoRAError: the Trainer has not seen the module yet.
        """
        if self._adapter is None:
            raise FlexLoRAError("Nothing is adapted yet: FlexLoRALightning attaches when the Trainer's fit begins.")
        return self._adapter

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Adapt the module, before its optimizer is built and before a checkpoint is loaded."""
        if stage == "fit":
            _check_trainer(trainer, pl_module)
        if self._adapter is None:
            self._adapter = attach(_part_of(pl_module, self._part), self.config)
        elif not any(module is self._adapter.model for module in pl_module.modules()):
            raise FlexLoRAError("The Trainer was given another module than before. Make a FlexLoRALightning for each.")
        if stage == "fit" and trainer.world_size > 1:
            if self.config.max_rank is None:
                raise FlexLoRAError(
                    f"{trainer.world_size} processes train this module: set max_rank, for example FlexLoRAConfig("
                    f"max_rank={2 * self.config.initial_rank}). DistributedDataParallel cannot follow storage that "
                    "grows."
                )
            self._adapter.reserve(self.config.max_rank)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Take up random numbers where a checkpoint between two epochs left them: the loader draws its order next."""
        if self._kept.get("between_epochs"):
            _restore_random(self._kept["random"], trainer.global_rank)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Build the allocator, open the log; go on from a checkpoint if the Trainer does."""
        self._end("failed", "a new training began")
        step, kept = trainer.global_step, self._kept
        if step and not kept:
            raise FlexLoRAError(
                f"The checkpoint of step {step} was not written with a FlexLoRALightning. Resume from one that was, or "
                "start anew."
            )
        self.config = _scheduled(self.config, trainer, kept)
        optimizer: Optimizer = trainer.optimizers[0]
        if kept:
            # Before the log is touched.
            check_settings(self.config, kept["recorder"])
            check_same_optimizer(innermost(optimizer), kept["recorder"].get("optimizer"))
        folder = resume = None
        if self._first_folder is not None and trainer.is_global_zero:
            folder, resume = choose_folder(self._first_folder, self._last_folder, step, kept)
            self.folder = self._last_folder = folder
        header = _header(trainer, first_rate(optimizer, self.adapter.parameters()))
        self.recorder = recorder = Recorder(
            self.adapter, optimizer, self.config, folder, header=header, resume_from=resume
        )
        if kept:
            recorder.restore(kept["recorder"])
            recorder.last_step = step
            if not kept["between_epochs"]:
                _restore_random(kept["random"], trainer.global_rank)
            self._kept = {}
        clip = getattr(pl_module, CLIPPING)
        setattr(pl_module, CLIPPING, self._clipping(clip))
        self._losses = []
        self._curves = Curves(self.adapter)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start the clock of a step."""
        if not self._losses:
            self._began = time.monotonic()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the step and allocate, while its gradients are still there: Lightning clears them before the next."""
        recorder, loss = self.recorder, outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if recorder is None:
            raise FlexLoRAError("FlexLoRALightning was added while training ran. Pass it to Trainer(callbacks=[...]).")
        if isinstance(loss, Tensor):
            # Lightning has divided it by the number of accumulated batches.
            self._losses.append(loss.detach().float())
        self._samples += _size_of(batch)
        step = trainer.global_step
        if step <= recorder.last_step or self._regularizer is None:
            return
        losses, self._losses = self._losses, []
        samples, self._samples = self._samples * trainer.world_size, 0
        regularizer, self._regularizer = self._regularizer, None
        loss, seconds = torch.stack(losses).sum() if losses else None, time.monotonic() - self._began
        plan = recorder.step(step, loss, regularizer, learning_rate=self._rate, samples=samples or None, step_s=seconds)
        if self._curves is not None and trainer.loggers:
            budget = recorder.allocator.decider.ceiling(step, recorder.config)
            self._curves.step(loss, regularizer, budget, None if plan is None else recorder.allocator.last)
            if trainer.log_every_n_steps and step % trainer.log_every_n_steps == 0:
                numbers = self._curves.take()
                for logger in trainer.loggers:
                    logger.log_metrics(numbers, step=step)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Note which metrics are there already: those of training."""
        self._seen = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the metrics of an evaluation."""
        if self.recorder is None or trainer.sanity_checking:
            return
        found = {key: value for key, value in trainer.callback_metrics.items() if value is not self._seen.get(key)}
        metrics = {key.removeprefix("val_"): float(value) for key, value in found.items()}
        if metrics:
            self.recorder.eval(trainer.global_step, metrics)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the log, and say so when no event ever fired."""
        recorder = self.recorder
        if recorder is not None:
            due = [t for t in recorder.config.event_steps() if t <= trainer.global_step]
            if recorder.config.initial_budget and due and not recorder.events and recorder.first_step <= due[-1]:
                _warn(f"{len(due)} events were due and none fired: Lightning did not tell of its steps.")
        self._end()
        if recorder is not None and recorder.folder is not None:
            tell_where(recorder.folder)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the log of a training that was left."""
        interrupted = isinstance(exception, KeyboardInterrupt)
        self._end("stopped" if interrupted else "failed", f"{type(exception).__name__}: {exception}")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Give the module its own clipping back."""
        self._end()
        vars(pl_module).pop(CLIPPING, None)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep what resuming needs beside the module and its optimizer: plain values and tensors."""
        if self.recorder is not None:
            checkpoint["flexlora"] = {
                "recorder": self.recorder.state(),
                "folder": None if self.folder is None else self.folder.name,
                "between_epochs": bool(trainer.is_last_batch),
                "random": _random_states(trainer),
            }

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self._kept = checkpoint.get("flexlora", {})

    def _clipping(self, clip: Callable[..., None]) -> Callable[..., None]:
        def clip_and_regularize(optimizer: Optimizer, *given: Any, **options: Any) -> None:
            clip(optimizer, *given, **options)
            self._regularizer = self.adapter.add_regularization_gradient()
            # Schedulers have moved it on when the step is logged.
            self._rate = float(group_of(optimizer, self.adapter.parameters())["lr"])

        return clip_and_regularize

    def _end(self, reason: str | None = None, message: str | None = None) -> None:
        if self.recorder is not None:
            self.recorder.close(reason, message)
            self.recorder = None


def _check_trainer(trainer: Any, module: Any) -> None:
    sharded = ("fsdp", "deepspeed", "modelparallel")
    name = type(trainer.strategy).__name__
    if any(word in name.lower() for word in sharded):
        raise FlexLoRAError(f"{name} shards the matrices that FlexLoRA scores: use one device, or strategy='ddp'.")
    if not module.automatic_optimization:
        raise FlexLoRAError(
            f"{type(module).__name__} optimizes by hand, so Lightning does not know its steps. Call "
            "flexlora.integrations.Recorder in its training_step instead."
        )


def _part_of(module: nn.Module, part: str | None) -> nn.Module:
    if part is None:
        # Heads are known by where they stand in a model, and a LightningModule is often only what holds one.
        children = [child for child in module.children() if any(True for _ in child.parameters())]
        only = len(children) == 1 and not list(module.parameters(recurse=False))
        return children[0] if only and not isinstance(children[0], nn.Linear) else module
    try:
        return module.get_submodule(part)
    except AttributeError as error:
        names = ", ".join(name for name, _ in module.named_children())
        raise FlexLoRAError(f"{type(module).__name__} has no part {part!r}; it has: {names}.") from error


def _scheduled(config: FlexLoRAConfig, trainer: Any, kept: Mapping[str, Any]) -> FlexLoRAConfig:
    """Return the configuration with the steps of its schedule: its own, the checkpoint's, or the Trainer's."""
    planned = trainer.estimated_stepping_batches
    total = config.total_steps or (kept["recorder"]["config"]["total_steps"] if kept else None)
    if total is None:
        if not math.isfinite(planned):
            raise FlexLoRAError("This Trainer has no last step: set max_steps, or FlexLoRAConfig(total_steps=...).")
        total = int(planned)
    if total != planned:
        _warn(f"The schedule is that of {total} steps, the Trainer makes {planned}: it does not fit the run.")
    config = config if config.total_steps else config.replace(total_steps=total)
    if config.initial_budget and not any(t <= planned for t in config.event_steps()):
        _warn(f"No event is due in steps 1 to {planned}: no rank will move.")
    return config


def _header(trainer: Any, rate: float | None) -> dict[str, Any]:
    return {
        "source": "lightning.Trainer",
        "config": {
            "gradient_accumulation_steps": trainer.accumulate_grad_batches,
            "processes": trainer.world_size,
            "learning_rate": rate,
            "max_grad_norm": trainer.gradient_clip_val,
            "precision": str(trainer.precision),
        },
    }


def _size_of(batch: Any) -> int:
    """Return the number of examples in a batch, 0 where it cannot be told."""
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else [batch]
    return next((part.shape[0] for part in parts if isinstance(part, Tensor) and part.dim()), 0)


def _random_states(trainer: Any) -> dict[str, Tensor]:
    """Return the state of torch's generators in every process, a row each: only the first one writes checkpoints."""
    states = {"cpu": torch.get_rng_state()}
    device = trainer.strategy.root_device
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if trainer.world_size == 1:
        return {key: state.unsqueeze(0) for key, state in states.items()}
    return {key: trainer.strategy.all_gather(state.to(device)).cpu() for key, state in states.items()}


def _restore_random(states: Mapping[str, Tensor], rank: int) -> None:
    own = {key: rows[min(rank, len(rows) - 1)].cpu().clone() for key, rows in states.items()}
    torch.set_rng_state(own["cpu"])
    if "cuda" in own and torch.cuda.is_available():
        torch.cuda.set_rng_state(own["cuda"])


def _warn(message: str) -> None:
    warnings.warn(message, FlexLoRAWarning, stacklevel=3)
