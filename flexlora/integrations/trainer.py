"""``FlexLoRACallback``: FlexLoRA under the stock transformers ``Trainer``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from flexlora.adapter import Adapter, attach
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations.agreement import digest
from flexlora.integrations.losses import StepLoss
from flexlora.integrations.recorder import Recorder
from flexlora.optimizer_state import DecayFree
from flexlora.run_log.format import HEADER

KEY = "FlexLoRACallback"
"""Under which the Trainer keeps this callback's state in ``trainer_state.json``."""


SAVING = ("_keys_to_ignore_on_save", "_weight_conversions")
"""Attributes by which a transformers model says what ``save_pretrained`` leaves out and renames."""


class FlexLoRACallback(TrainerCallback, ExportableState):
    """Attaches, regularises once an optimizer step after clipping, allocates, logs, saves and resumes.

        callback = FlexLoRACallback(model, FlexLoRAConfig(initial_rank=8), "runs/mine")
        Trainer(model=model, args=args, train_dataset=data, callbacks=[callback]).train()
        callback.adapter.export_peft("my_adapter")

    Make it before the Trainer, which builds its optimizer from the parameters that are trainable then. ``total_steps``
    comes from the Trainer unless the configuration has it. The Trainer's checkpoints hold the adapter and the head, not
    the frozen weights.

    Attributes:
        adapter: the adapted matrices.
        config: with ``total_steps`` from the start of training on.
        folder: the run log; None = nothing is written.
        recorder: allocates and writes; None outside of training.
    """

    def __init__(
        self, model: nn.Module | Adapter, config: FlexLoRAConfig | None = None, folder: str | Path | None = None
    ) -> None:
        """Attach to the model.

        Args:
            model: the model that the Trainer will train, or an adapter that was attached to it.
            config: None only with an adapter, whose own is used.
            folder: run folder, such as ``runs/mine``: the app lists what is below ``runs/``.

        Raises:
            FlexLoRAError: what ``attach`` refuses.
        """
        if isinstance(model, Adapter):
            if config is not None:
                raise FlexLoRAError("An adapter has its configuration already: leave config out, or pass the model.")
            if not isinstance(model.config, FlexLoRAConfig):
                raise FlexLoRAError(f"FlexLoRACallback needs a FlexLoRA adapter, not {type(model.config).__name__}.")
            self.adapter, self.config = model, model.config
        else:
            self.config = FlexLoRAConfig() if config is None else config
            self.adapter = attach(model, self.config)
        self.folder = None if folder is None else Path(folder)
        self.recorder: Recorder | None = None
        self._loss = StepLoss()
        self._decay_free: DecayFree | None = None
        self._regularizer: Tensor | None = None
        self._began = time.monotonic()
        self._saving_before: dict[str, Any] | None = None
        self._digests: dict[int, str] = {}
        self.adapter.model.register_load_state_dict_post_hook(self._expect_trained_only)

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Refuse what cannot work, before anything is trained."""
        _check_arguments(args)
        if more.get("model") is not None:
            self._check_model(more["model"])
        if args.world_size > 1:
            if self.config.max_rank is None:
                wide = 2 * self.config.initial_rank
                raise FlexLoRAError(
                    f"{args.world_size} processes train this model: set max_rank, for example FlexLoRAConfig(max_rank="
                    f"{wide}). DistributedDataParallel cannot follow storage that grows."
                )
            self.adapter.reserve(self.config.max_rank)
        settings: Any = args.gradient_checkpointing_kwargs or {}
        if args.gradient_checkpointing and settings.get("use_reentrant"):
            # The reentrant kind gives gradients only to blocks whose inputs ask for them; embeddings are frozen.
            getattr(self.adapter.model, "enable_input_require_grads", lambda: None)()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Build the allocator, open the log; go on from a checkpoint if the Trainer does."""
        self.close("failed", "a new training began")
        self._check_model(more["model"])
        # accelerate wraps it; hooks and moments belong to the one inside.
        optimizer: Optimizer = getattr(more["optimizer"], "optimizer", more["optimizer"])
        config = self.config
        if config.total_steps is None:
            config = config.replace(total_steps=state.max_steps)
        elif config.total_steps != state.max_steps:
            _warn(
                f"FlexLoRAConfig has total_steps={config.total_steps}, the Trainer makes {state.max_steps} steps: the "
                "schedule does not fit the run. Leave total_steps out to take the Trainer's."
            )
        due = [t for t in config.event_steps() if state.global_step < t <= state.max_steps]
        if config.initial_budget and not due:
            _warn(f"No event is due in steps {state.global_step + 1} to {state.max_steps}: no rank will move.")
        step = state.global_step
        folder = self.folder if state.is_world_process_zero else None
        resume = step if step and folder is not None and (folder / HEADER).exists() else None
        self.recorder = Recorder(
            self.adapter, optimizer, config, folder, header=_header(args, state, self.folder), resume_from=resume
        )
        self.config = config
        if step:
            self._restore(state)
        self._decay_free = DecayFree(optimizer, self.adapter.parameters)
        self._loss.attach(self.adapter.model, world_size=args.world_size if args.average_tokens_across_devices else 1)
        self._keep_checkpoints_small()

    def keep_loss(self, loss: Tensor) -> None:
        """Take over the loss of a step that was replayed as a graph: the model was not called."""
        self._loss.keep(loss)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Start the clock of a step."""
        self._began = time.monotonic()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Add the regulariser's gradient: after clipping, once however many batches were accumulated."""
        self._regularizer = self.adapter.add_regularization_gradient()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Log the step and allocate, while its gradients are still there."""
        recorder, regularizer = self.recorder, self._regularizer
        if recorder is None or regularizer is None:
            raise FlexLoRAError("FlexLoRACallback was added while training ran. Pass it to Trainer(callbacks=[...]).")
        self._regularizer = None
        samples = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        seconds = time.monotonic() - self._began
        recorder.step(state.global_step + 1, self._loss.take(), regularizer, samples=samples, step_s=seconds)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Add the regulariser and the total rank to what other loggers show."""
        if logs is not None and self.recorder is not None and "loss" in logs:
            logs["total_rank"] = sum(self.adapter.ranks().values())

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Log the metrics of an evaluation."""
        if self.recorder is None or not metrics:
            return
        left_out = ("_runtime", "_per_second", "epoch")
        kept = {
            key.removeprefix("eval_"): float(value)
            for key, value in metrics.items()
            if isinstance(value, int | float) and not key.endswith(left_out)
        }
        if kept:
            self.recorder.eval(state.global_step, kept)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """End the log, and say so when no event ever fired."""
        recorder = self.recorder
        if recorder is None:
            return
        best = state.best_global_step if args.load_best_model_at_end else None
        if best and best != state.global_step:
            recorder.note("best_model_loaded", best_step=best, ranks=list(self.adapter.ranks().values()))
            if self._digests.get(best, digest(self.adapter)) != digest(self.adapter):
                _warn(f"The Trainer did not load the adapter of its best checkpoint (step {best}); the last one stays.")
        due = [t for t in recorder.config.event_steps() if t <= state.global_step]
        if recorder.config.initial_budget and due and not recorder.events and recorder.first_step <= due[-1]:
            _warn(
                f"{len(due)} events were due and none fired: the Trainer never called on_optimizer_step. Use a Trainer "
                "that runs callbacks after optimizer.step()."
            )
        self.close("completed" if state.global_step >= state.max_steps else "stopped")

    def close(self, reason: str | None = None, message: str | None = None) -> None:
        """End the log and let go of model and optimizer, as after training that was interrupted."""
        self._loss.detach()
        if self._decay_free is not None:
            self._decay_free.detach()
            self._decay_free = None
        if self.recorder is not None:
            for key, value in (self._saving_before or {}).items():
                setattr(self.adapter.model, key, value)
            self._saving_before = None
            self.recorder.close(reason, message)
            self.recorder = None

    def state(self) -> dict[str, Any]:
        """Return what ``trainer_state.json`` keeps of this callback."""
        if self.recorder is None:
            return {"args": {}, "attributes": {}}
        self._digests[self.recorder.last_step] = digest(self.adapter)
        kept = {**self.recorder.state(), "digest": digest(self.adapter)}
        return {"args": {}, "attributes": kept}

    def _restore(self, state: TrainerState) -> None:
        found: Any = (state.stateful_callbacks or {}).get(KEY)  # type: ignore[attr-defined]
        kept = found.get("attributes") if isinstance(found, Mapping) else None
        if not kept or self.recorder is None:
            raise FlexLoRAError(
                f"The checkpoint of step {state.global_step} was not written with a FlexLoRACallback. Resume from one "
                "that was, or start anew."
            )
        if digest(self.adapter) != kept["digest"]:
            raise FlexLoRAError(
                f"The Trainer did not load the adapter of the checkpoint of step {state.global_step}: its weights lie "
                "under other names or are damaged. Resume from another checkpoint, or start anew."
            )
        self.recorder.restore(kept)

    def _check_model(self, model: nn.Module) -> None:
        if model is not self.adapter.model and not any(part is self.adapter.model for part in model.modules()):
            raise FlexLoRAError(
                "The Trainer trains another model than the one FlexLoRACallback was made with. Pass the same object to "
                "both, and model= instead of model_init=."
            )

    def _frozen(self) -> set[str]:
        named = list(self.adapter.model.named_parameters(remove_duplicate=False))
        return {name for name, parameter in named if not parameter.requires_grad}

    def _keep_checkpoints_small(self) -> None:
        """Have the Trainer's checkpoints hold what is trained, under the names that it loads them by.

        transformers saves some models under the names of older versions, which only ``from_pretrained`` translates: a
        Trainer that resumes such a checkpoint loads nothing, with a warning. No conversions, no other names.
        """
        model: Any = self.adapter.model
        self._saving_before = {key: getattr(model, key, None) for key in SAVING}
        model._keys_to_ignore_on_save = self._frozen() | set(model._keys_to_ignore_on_save or ())
        model._weight_conversions = []

    def _expect_trained_only(self, model: nn.Module, incompatible: Any) -> None:
        frozen = self._frozen()
        incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if key not in frozen]


def _check_arguments(args: TrainingArguments) -> None:
    if args.deepspeed or getattr(args, "fsdp", None):
        raise FlexLoRAError(
            "DeepSpeed and FSDP shard the matrices that FlexLoRA scores. Use one process, or several with plain data "
            "parallelism (torchrun, accelerate launch)."
        )
    if args.n_gpu > 1:
        raise FlexLoRAError(
            f"{args.n_gpu} GPUs in one process copy the model at every step. Start with torchrun --nproc_per_node "
            f"{args.n_gpu}, or show one GPU only: CUDA_VISIBLE_DEVICES=0."
        )
    if args.fp16 and not args.max_grad_norm:
        raise FlexLoRAError("fp16 without clipping leaves gradients scaled: set max_grad_norm=1.0, or use bf16.")
    if args.restore_callback_states_from_checkpoint:
        raise FlexLoRAError("FlexLoRACallback restores itself: leave restore_callback_states_from_checkpoint out.")


def _header(args: TrainingArguments, state: TrainerState, folder: Path | None) -> dict[str, Any]:
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    return {
        "name": folder.name if folder else "",
        "source": "transformers.Trainer",
        "config": {
            "batch_size": args.train_batch_size,
            "gradient_accumulation_steps": args.gradient_accumulation_steps,
            "processes": args.world_size,
            "learning_rate": args.learning_rate,
            "weight_decay": args.weight_decay,
            "max_grad_norm": args.max_grad_norm,
            "precision": precision,
            "epochs": state.num_train_epochs,
        },
    }


def _warn(message: str) -> None:
    warnings.warn(message, FlexLoRAWarning, stacklevel=3)
