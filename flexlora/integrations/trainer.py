"""``FlexLoRACallback``: FlexLoRA under the stock transformers ``Trainer``."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from flexlora.adapter import Adapter, attach
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations.agreement import digest
from flexlora.integrations.checkpoints import check_matrices
from flexlora.integrations.evaluations import evaluation
from flexlora.integrations.folders import choose_folder, tell_where
from flexlora.integrations.losses import StepLoss
from flexlora.integrations.recorder import Recorder
from flexlora.integrations.resuming import about_checkpoint, check_checkpoint, kept_state, scheduled
from flexlora.integrations.saving import SmallCheckpoints, frozen
from flexlora.integrations.sharding import Replicated, shard_base_only
from flexlora.integrations.trackers import Curves, refuse_second, show_first
from flexlora.integrations.training_loop import LoopWatch, how_left
from flexlora.integrations.zero import ZeroOptimizer
from flexlora.integrations.zero_trainer import by_deepspeed, check_deepspeed, zero_of
from flexlora.optimizer_state import DecayFree, first_rate, innermost

KEY = "FlexLoRACallback"
"""Under which the Trainer keeps this callback's state in ``trainer_state.json``."""


class FlexLoRACallback(TrainerCallback, ExportableState):
    """Attaches, regularises once an optimizer step after clipping, allocates, logs, saves and resumes.

        callback = FlexLoRACallback(model, FlexLoRAConfig(initial_rank=8), "runs/mine")
        Trainer(model=model, args=args, train_dataset=data, callbacks=[callback]).train()
        callback.adapter.export_peft("my_adapter")

    Make it before the Trainer, which builds its optimizer from the parameters that are trainable then. ``total_steps``
    comes from the Trainer unless the configuration has it. The Trainer's checkpoints hold the adapter and the head, not
    the frozen weights.

    Training that is left by an exception or an interrupt ends its log within two seconds. ``train`` may be called
    again, of the same Trainer, of another one of the same model, or by another process: resuming goes on with the log
    of the checkpoint; training anew has a folder of its own, ``runs/mine-2``, where there is a run already.

    Attributes:
        adapter: the adapted matrices.
        config: with ``total_steps`` from the start of training on.
        folder: the log of the latest training; None = nothing is written.
        recorder: allocates and writes; None outside of training.
        zero: stands for DeepSpeed's optimizer where there is one; its ``whole()`` is still of use after training.
    """

    def __init__(
        self,
        model: nn.Module | Adapter | None = None,
        config: FlexLoRAConfig | None = None,
        folder: str | Path | None = None,
    ) -> None:
        """Attach to the model.

        Args:
            model: the model that the Trainer will train, or an adapter that was attached to it.
            config: None only with an adapter, whose own is used.
            folder: run folder, such as ``runs/mine``: the app lists what is below ``runs/``.

        Raises:
            FlexLoRAError: no model, or what ``attach`` refuses.
        """
        if not isinstance(model, Adapter | nn.Module):
            raise FlexLoRAError(
                "This FlexLoRACallback needs the model that it attaches to: FlexLoRACallback(model, config, folder). "
                "The one without arguments is for PEFT models: from flexlora.peft import FlexLoRACallback."
            )
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
        self.zero: ZeroOptimizer | None = None
        self._asked = self.config
        self._first_folder = self.folder
        self._ended: Recorder | None = None
        self._lock = threading.RLock()
        self._watch: LoopWatch | None = None
        self._arguments: TrainingArguments | None = None
        self._loss = StepLoss()
        self._loss_scale = 1.0
        self._told = False
        self._replicated: Replicated | None = None
        self._decay_free: DecayFree | None = None
        self._regularizer: Tensor | None = None
        self._began = time.monotonic()
        self._small: SmallCheckpoints | None = None
        self._curves: Curves | None = None
        self._digests: dict[int, str] = {}
        # A function of its own: a copy of the model has no callback.
        self.adapter.model.register_load_state_dict_post_hook(_expect_trained_only)

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Refuse what cannot work, before anything is trained."""
        self._arguments = args
        _check_arguments(args)
        if more.get("model") is not None:
            self._check_model(more["model"])
        if args.world_size > 1 or by_deepspeed(args):
            if self.config.max_rank is None:
                wide = 2 * self.config.initial_rank
                raise FlexLoRAError(
                    f"{args.world_size} processes train this model: set max_rank, for example FlexLoRAConfig(max_rank="
                    f"{wide}). Neither DistributedDataParallel nor ZeRO can follow storage that grows."
                )
            self.adapter.reserve(self.config.max_rank)
            if getattr(args, "fsdp", None):
                self._replicated = shard_base_only(self.adapter)
        settings: Any = args.gradient_checkpointing_kwargs or {}
        if args.gradient_checkpointing and settings.get("use_reentrant"):
            # The reentrant kind gives gradients only to blocks whose inputs ask for them; embeddings are frozen.
            getattr(self.adapter.model, "enable_input_require_grads", lambda: None)()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Build the allocator, open the log; go on from a checkpoint if the Trainer does."""
        refuse_second(self)
        if self._watch is not None:
            self._left(self._watch.shown())
        self.close()
        if self._arguments is not args:
            # Added to a Trainer that was there already.
            self.on_init_end(args, state, control, model=more["model"])
        self._check_model(more["model"])
        step = state.global_step
        kept = kept_state(state, KEY) if step else {}
        config = scheduled(self._asked, state.max_steps, kept)
        self.zero = zero_of(self.adapter, more["optimizer"]) if by_deepspeed(args) else None
        optimizer = self.zero or innermost(more["optimizer"])
        if step:
            check_checkpoint(self.adapter, optimizer, more.get("lr_scheduler"), config, step, kept)
        folder = resume = None
        if self._first_folder is not None and state.is_world_process_zero:
            earlier = self._ended.folder if self._ended is not None else None
            self.folder, resume = choose_folder(self._first_folder, earlier, step, kept)
            folder = self.folder
        self.recorder = recorder = Recorder(
            self.adapter,
            optimizer,
            config,
            folder,
            header=_header(args, state, self.folder, first_rate(optimizer, self.adapter.parameters())),
            resume_from=resume,
        )
        self.config = config
        self._watch = LoopWatch(self._left)
        before = self._ended.allocator if self._ended is not None else None
        if step:
            recorder.restore(kept)
        elif before is not None and before.optimizer is recorder.allocator.optimizer:
            # A Trainer that trains again keeps its optimizer, which has its counts from before.
            recorder.allocator.moves.young.born.update(before.moves.young.born)
        if self.zero is None:
            self._decay_free = DecayFree(recorder.allocator.optimizer, self.adapter.parameters)
        self._loss.attach(self.adapter.model, wrapped=args.world_size > 1 or self.zero is not None)
        self._small = SmallCheckpoints(self.adapter.model)
        self._curves = Curves(self.adapter)
        show_first(self)

    def keep_loss(self, loss: Tensor) -> None:
        """Take over the loss of a step that was replayed as a graph: the model was not called."""
        self._loss.keep(loss)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Start the clock of a step."""
        if self._watch is not None:
            self._watch.stepping()
        self._began = time.monotonic()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Add the regulariser's gradient: after clipping, once however many batches were accumulated."""
        if self.zero is not None:
            # DeepSpeed has made the step, and the gradient was in it.
            self._regularizer = self.zero.regularizer
            if self._small is not None:
                self._small.of_engine(self._loss.outer)
            return
        scaler = getattr(more["optimizer"], "scaler", None)
        self._loss_scale = 1.0 if scaler is None else scaler.get_scale()
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
        loss = self._loss.take(self._loss_scale)
        if loss is None and not self._told:
            self._told = True
            _warn(
                "The log's task loss stays empty: no backward() was seen of a tensor made of the model's output."
                " An autograd.Function around the loss hides it, torch.autograd.backward([loss]), and a part of the "
                "model that is called alone, such as model.base_model(...)."
            )
        t = state.global_step + 1
        plan = recorder.step(t, loss, regularizer, samples=samples, step_s=seconds)
        if self._curves is not None:
            budget = recorder.allocator.decider.ceiling(t, recorder.config)
            self._curves.step(loss, regularizer, budget, None if plan is None else recorder.allocator.last)
        if recorder.lost and args.world_size == 1 and not control.should_training_stop:
            # Several processes must stop at the same step; there the others know nothing.
            _warn(f"{recorder.lost} Training stops.")
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Add rank and entropy to what is shown of the loss, see ``Curves``."""
        if logs is not None and self._curves is not None and "loss" in logs:
            logs.update(self._curves.take())

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Log the metrics of an evaluation."""
        recorder = self.recorder or self._ended
        split, numbers = evaluation(metrics)
        if recorder is not None and numbers:
            recorder.eval(state.global_step, numbers, split=split)

    def on_predict(self, *given: Any, **more: Any) -> None:
        """Log the metrics of ``trainer.predict``, as those of split ``test``."""
        self.on_evaluate(*given, **more)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """End the log, and say so when no event ever fired."""
        recorder = self.recorder
        if recorder is None:
            return
        best = state.best_global_step if args.load_best_model_at_end else None
        if best and best != state.global_step:
            recorder.note_best(best)
            if self._digests.get(best, digest(self.adapter)) != digest(self.adapter):
                _warn(f"The Trainer did not load the adapter of its best checkpoint (step {best}); the last one stays.")
        planned = recorder.config.event_steps()
        due = [t for t in planned if t <= state.global_step]
        # Where none was due in all the steps, that was told at the start.
        if recorder.config.initial_budget and planned and not due and planned[0] <= state.max_steps:
            _warn(
                f"Training ended at step {state.global_step}; the first event was due at {planned[0]}: no rank moved."
            )
        if recorder.config.initial_budget and due and not recorder.events and recorder.first_step <= due[-1]:
            _warn(
                f"{len(due)} events were due and none fired: the Trainer never called on_optimizer_step. Use a Trainer "
                "that runs callbacks after optimizer.step()."
            )
        self.close("completed" if state.global_step >= state.max_steps else "stopped")
        if recorder.folder is not None:
            tell_where(recorder.folder)

    def close(self, reason: str | None = None, message: str | None = None) -> None:
        """End the log and let go of model and optimizer, as after training that was interrupted."""
        with self._lock:
            if self._watch is not None:
                self._watch.stop()
                self._watch = None
            self._loss.detach()
            if self.zero is not None:
                self.zero.detach()
            if self._decay_free is not None:
                self._decay_free.detach()
                self._decay_free = None
            if self._small is not None:
                self._small.undo()
                self._small = None
            self._curves = None
            self._ended, recorder, self.recorder = self.recorder or self._ended, self.recorder, None
            if recorder is not None:
                recorder.close(reason, message)

    def _left(self, error: BaseException | None) -> None:
        """End the log of a training that was left; called by the watch, in its thread."""
        with self._lock:
            if self.recorder is None or self._watch is None:
                return
            self.close(*how_left(self.recorder.last_step, error))

    def state(self) -> dict[str, Any]:
        """Return what ``trainer_state.json`` keeps of this callback."""
        if self.recorder is None:
            return {"args": {}, "attributes": {}}
        self._digests[self.recorder.last_step] = digest(self.adapter)
        optimizer = self.recorder.allocator.optimizer
        kept = self.recorder.state() | about_checkpoint(self.adapter, optimizer, self.folder)
        return {"args": {}, "attributes": kept}

    def _check_model(self, model: nn.Module) -> None:
        if model is not self.adapter.model and not any(part is self.adapter.model for part in model.modules()):
            raise FlexLoRAError(
                "The Trainer trains another model than the one FlexLoRACallback was made with. Pass the same object to "
                "both, and model= instead of model_init=."
            )


def _expect_trained_only(model: nn.Module, incompatible: Any) -> None:
    check_matrices(model, incompatible)
    left_out = frozen(model)
    missing = [key for key in incompatible.missing_keys if key.replace("_orig_mod.", "") not in left_out]
    incompatible.missing_keys[:] = missing


def _check_arguments(args: TrainingArguments) -> None:
    check_deepspeed(args)
    if args.n_gpu > 1:
        raise FlexLoRAError(
            f"{args.n_gpu} GPUs in one process copy the model at every step. Start with torchrun --nproc_per_node "
            f"{args.n_gpu}, or show one GPU only: CUDA_VISIBLE_DEVICES=0."
        )
    if args.fp16 and not args.max_grad_norm:
        raise FlexLoRAError("fp16 without clipping leaves gradients scaled: set max_grad_norm=1.0, or use bf16.")
    if args.restore_callback_states_from_checkpoint:
        raise FlexLoRAError("FlexLoRACallback restores itself: leave restore_callback_states_from_checkpoint out.")


def _header(args: TrainingArguments, state: TrainerState, folder: Path | None, rate: float | None) -> dict[str, Any]:
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    return {
        "name": folder.name if folder else "",
        "source": "transformers.Trainer",
        "config": {
            "batch_size": args.train_batch_size,
            "gradient_accumulation_steps": args.gradient_accumulation_steps,
            "processes": args.world_size,
            "learning_rate": rate,
            "weight_decay": args.weight_decay,
            "max_grad_norm": args.max_grad_norm,
            "precision": precision,
            "epochs": state.num_train_epochs,
        },
    }


def _warn(message: str) -> None:
    warnings.warn(message, FlexLoRAWarning, stacklevel=3)
