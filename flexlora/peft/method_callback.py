"""``MethodCallback``: a method other than FlexLoRA under the Trainer."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations.agreement import digest, digest_beside
from flexlora.integrations.evaluations import evaluation
from flexlora.integrations.folders import choose_folder, tell_where
from flexlora.integrations.resuming import check_beside, kept_state
from flexlora.integrations.trackers import PREFIX
from flexlora.integrations.trainer import KEY
from flexlora.integrations.training_loop import LoopWatch, how_left
from flexlora.optimizer_state import check_same_optimizer, first_rate, innermost
from flexlora.peft.method_log import MethodLog
from flexlora.peft.method_loop import MethodLoop
from flexlora.peft.model import FlexLoRAModel
from flexlora.run_log import add_eval


class MethodCallback(TrainerCallback):
    """Binds the method to the Trainer's optimizer, lets it act after each step, and writes the log.

    Attributes:
        tuner: whose active adapter is trained.
        adapter: the adapted matrices.
        folder: the log of the latest training; None = nothing is written.
        loop: the method at work; None outside of training.
        log: what is written; None outside of training, and without a folder.
    """

    def __init__(self, tuner: FlexLoRAModel, folder: str | Path | None = None) -> None:
        self.tuner, self.adapter, self.config = tuner, tuner.adapter, tuner.adapter.config
        self.folder = None if folder is None else Path(folder)
        self._first_folder = self.folder
        self._last_folder: Path | None = None
        self.loop: MethodLoop | None = None
        self.log: MethodLog | None = None
        self._watch: LoopWatch | None = None
        self._lock = threading.RLock()

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Refuse what cannot work, before anything is trained."""
        if args.world_size > 1 or args.n_gpu > 1 or args.deepspeed or getattr(args, "fsdp", None):
            raise FlexLoRAError(
                f"method={self.tuner.config_in_use.method!r} trains in one process on one device; several processes "
                "agree on ranks with method='flexlora' only."
            )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Bind the method; go on from a checkpoint if the Trainer does."""
        total = self.config.total_steps
        if total is not None and total != state.max_steps:
            warnings.warn(
                f"FlexLoRAConfig has total_steps={total}, the Trainer makes {state.max_steps} steps: the schedule does "
                "not fit the run. Leave total_steps out to take the Trainer's.",
                FlexLoRAWarning,
                stacklevel=2,
            )
        if self._watch is not None:
            self._left(self._watch.shown())
        self.close()
        kept = kept_state(state, KEY) if state.global_step else {}
        if kept:
            # Before the log is touched.
            check_same_optimizer(innermost(more["optimizer"]), kept.get("optimizer"))
            check_beside(self.adapter, state.global_step, kept)
        self.tuner.bind(more["optimizer"], total or state.max_steps)
        self.loop, step = self.tuner.loop, state.global_step
        if self._first_folder is not None:
            self.folder, resume = choose_folder(self._first_folder, self._last_folder, step, kept)
            self._last_folder = self.folder
            method = self.tuner.config_in_use.method
            header = _header(args, first_rate(self.loop.optimizer, self.adapter.parameters()))
            self.log = MethodLog(self.loop, method, self.folder, header, resume)
            self._watch = LoopWatch(self._left)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Let the watch see which call makes the steps."""
        if self._watch is not None:
            self._watch.stepping()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Let the method act, while the gradients of the step are still there."""
        if self.loop is not None:
            samples = args.train_batch_size * args.gradient_accumulation_steps
            record = None if self.log is None else functools.partial(self.log.record, samples=samples)
            self.loop.update(state.global_step + 1, record)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Add the total rank to what other loggers show."""
        if logs is not None and self.loop is not None and "loss" in logs:
            logs[f"{PREFIX}total_rank"] = sum(self.adapter.ranks().values())

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """End the log, and let go of the optimizer."""
        log = self.log
        self.close()
        if log is not None:
            tell_where(log.folder)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Log the metrics of an evaluation, also when the log has ended."""
        split, numbers = evaluation(metrics)
        if self.log is not None and numbers:
            self.log.eval(state.global_step, numbers, split)
        elif numbers and self._last_folder is not None and self._last_folder.is_dir():
            add_eval(self._last_folder, state.global_step, split, numbers)

    def on_predict(self, *given: Any, **more: Any) -> None:
        """Log the metrics of ``trainer.predict``, as those of split ``test``."""
        self.on_evaluate(*given, **more)

    def close(self, reason: str | None = None, message: str | None = None) -> None:
        """End the log and let go of the optimizer, as after training that was interrupted."""
        with self._lock:
            if self._watch is not None:
                self._watch.stop()
                self._watch = None
            if self.log is not None:
                self.log.close(reason, message)
                self.log = None
            self.tuner.release()
            self.loop = None

    def _left(self, error: BaseException | None) -> None:
        """End the log of a training that was left; called by the watch."""
        with self._lock:
            if self.log is not None and self.loop is not None and self._watch is not None:
                self.close(*how_left(self.loop.done, error))

    def state(self) -> dict[str, Any]:
        """Return what ``trainer_state.json`` keeps."""
        if self.loop is None:
            return {"args": {}, "attributes": {}}
        if self.log is not None:
            # No checkpoint is ahead of its log.
            self.log.writer.flush()
        folder = None if self.folder is None else self.folder.name
        kept = {"method": self.loop.state()[0], "digest": digest(self.adapter), "folder": folder}
        kept["beside"] = digest_beside(self.adapter)
        kept["optimizer"] = type(self.loop.optimizer).__name__
        return {"args": {}, "attributes": kept}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return what the exact state keeps of the method."""
        return {} if self.loop is None else self.loop.state()[1]

    def restore(self, kept: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on with the method as it was."""
        if self.loop is not None:
            self.loop.restore(kept["method"], tensors)


def _header(args: TrainingArguments, rate: float | None) -> dict[str, Any]:
    options = {
        "batch_size": args.train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "learning_rate": rate,
        "max_grad_norm": args.max_grad_norm,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32",
    }
    return {"source": "flexlora.peft.FlexLoRACallback", "config": options}
