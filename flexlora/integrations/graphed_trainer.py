"""``GraphedTrainer``: the stock Trainer with forward and backward pass replayed as a CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn
from transformers import Trainer

from flexlora.errors import FlexLoRAWarning
from flexlora.graphs import WARMS_UP, Replays
from flexlora.integrations.trainer import FlexLoRACallback


class GraphedTrainer(Trainer):
    """A ``Trainer`` that replays forward and backward pass; clipping, optimizer and events are the stock ones.

        GraphedTrainer(model=model, args=args, train_dataset=data, callbacks=[callback]).train()

    Batches of one shape share a graph: pad to few lengths, as ``DataCollatorWithPadding(pad_to_multiple_of=64)`` does.
    Where a step cannot be replayed it is made as ever, and a warning says why, once for each reason.

    Attributes:
        replays: counts captures; None before the first step, and where nothing is ever replayed.
    """

    replays: Replays | None = None

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *more: Any, **named: Any) -> Tensor:
        """Make forward and backward pass of one batch; return its loss."""
        batch = self._prepare_inputs(inputs)
        reason = self._unsuited(batch)
        if reason is not None:
            self._tell(reason)
            return super().training_step(model, inputs, *more, **named)
        if self.replays is None:
            self.replays = Replays(self._passes, self._trained, self.args.device)
        model.train()
        # The stock loop divides a sum by the number of tokens, of one batch: its mean.
        (loss,) = self.replays(batch)
        if self.replays.told not in (None, WARMS_UP):
            self._tell(self.replays.told)
        for callback in self._following():
            callback.keep_loss(loss)
        return loss

    def _following(self) -> list[FlexLoRACallback]:
        """Return the callbacks that move rank in this job, those inside PEFT's too."""
        callbacks = self.callback_handler.callbacks
        own = [getattr(callback, "delegate", None) or callback for callback in callbacks]
        return [callback for callback in own if isinstance(callback, FlexLoRACallback)]

    def _passes(self, batch: Mapping[str, Any]) -> tuple[Tensor]:
        for parameter in self._trained():
            parameter.grad = None
        with self.compute_loss_context_manager():
            loss: Any = self.compute_loss(cast(nn.Module, self.model_wrapped), dict(batch))
        self.accelerator.backward(loss)
        return (loss.detach(),)

    def _trained(self) -> list[nn.Parameter]:
        optimizer: Any = self.optimizer
        return [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def _unsuited(self, batch: Mapping[str, Any]) -> str | None:
        """Return why no step of this job or of this batch can be replayed, None where it can."""
        args = self.args
        if args.device.type != "cuda":
            return f"graphs need a CUDA device; this job is on {args.device.type}"
        if args.world_size > 1 or args.n_gpu > 1:
            return "several processes or GPUs exchange gradients during the backward pass"
        if args.gradient_accumulation_steps > 1:
            return "gradients are accumulated over several batches (gradient_accumulation_steps)"
        if self.accelerator.scaler is not None:
            return "losses are scaled for fp16: use bf16"
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return "DeepSpeed and FSDP make steps of their own"
        if not all(isinstance(part, Tensor) for part in batch.values()):
            return "a batch holds something that is no tensor"
        if not self._following() and any(getattr(one, "delegate", None) for one in self.callback_handler.callbacks):
            return "methods other than flexlora act in the forward pass, each time anew"
        return None

    def _tell(self, reason: str) -> None:
        told = self.__dict__.setdefault("_told", set())
        if reason not in told:
            told.add(reason)
            warnings.warn(f"Steps are made without a graph: {reason}.", FlexLoRAWarning, stacklevel=3)
