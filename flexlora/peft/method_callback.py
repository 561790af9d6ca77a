"""``MethodCallback``: a method other than FlexLoRA under the Trainer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations.agreement import digest
from flexlora.peft.method_loop import MethodLoop
from flexlora.peft.model import FlexLoRAModel


class MethodCallback(TrainerCallback):
    """Binds the method to the Trainer's optimizer, and lets it act after each step. It writes no log.

    Attributes:
        tuner: whose active adapter is trained.
        adapter: the adapted matrices.
        loop: the method at work; None outside of training.
    """

    def __init__(self, tuner: FlexLoRAModel) -> None:
        self.tuner, self.adapter, self.config = tuner, tuner.adapter, tuner.adapter.config
        self.loop: MethodLoop | None = None

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
        self.tuner.bind(more["optimizer"], total or state.max_steps)
        self.loop = self.tuner.loop

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Let the method act, while the gradients of the step are still there."""
        if self.loop is not None:
            self.loop.update(state.global_step + 1)

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
            logs["total_rank"] = sum(self.adapter.ranks().values())

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Let go of the optimizer."""
        self.tuner.release()

    def state(self) -> dict[str, Any]:
        """Return what ``trainer_state.json`` keeps."""
        if self.loop is None:
            return {"args": {}, "attributes": {}}
        return {"args": {}, "attributes": {"method": self.loop.state()[0], "digest": digest(self.adapter)}}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return what the exact state keeps of the method."""
        return {} if self.loop is None else self.loop.state()[1]

    def restore(self, kept: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on with the method as it was."""
        if self.loop is not None:
            self.loop.restore(kept["method"], tensors)
