"""``FlexLoRACallback`` without arguments: it finds the adapter in the model that a Trainer trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from flexlora.adapter import Adapter, matrix_parameters
from flexlora.errors import FlexLoRAError
from flexlora.integrations import FlexLoRACallback as OwnCallback
from flexlora.integrations.agreement import digest
from flexlora.integrations.trackers import refuse_second, show_first
from flexlora.integrations.trainer import KEY
from flexlora.peft.exact_state import FILE, load_exact, save_exact
from flexlora.peft.method_callback import MethodCallback
from flexlora.peft.model import FlexLoRAModel
from flexlora.peft.words import in_peft_words


class FlexLoRACallback(TrainerCallback, ExportableState):
    """Moves the ranks of a PEFT model under the Trainer and what is built on it, such as TRL's.

        model = get_peft_model(model, FlexLoRAConfig(r=8))
        Trainer(model=model, args=args, train_dataset=data, callbacks=[FlexLoRACallback()]).train()
        SFTTrainer(model, args, train_dataset=data, peft_config=FlexLoRAConfig(), callbacks=[FlexLoRACallback()])

    Method flexlora is trained, logged and resumed by ``flexlora.integrations.FlexLoRACallback``, the others by
    ``MethodCallback``. Checkpoints hold the plain LoRA, and ``flexlora.safetensors`` beside it, from which training
    goes on bit for bit.

    Attributes:
        checkpoint: folder that training resumes from, where it was moved.
        delegate: the callback that trains; None before it has met a Trainer.
    """

    def __init__(
        self, folder: str | Path | None = None, *strange: Any, checkpoint: str | Path | None = None, **more: Any
    ) -> None:
        """Wait for the Trainer.

        Args:
            folder: run folder, such as ``runs/mine``; None = no log.
            checkpoint: folder that training resumes from, where it was moved out of the Trainer's ``output_dir``.
            strange, more: refused: what the callback of ``flexlora.integrations`` takes.

        Raises:
            FlexLoRAError: a model or a configuration.
        """
        if strange or more or not isinstance(folder, str | Path | None):
            raise FlexLoRAError(
                "This FlexLoRACallback finds adapter and configuration in the Trainer's PEFT model, and takes a run "
                "folder alone. The one that takes a model is: from flexlora.integrations import FlexLoRACallback."
            )
        self._asked_folder = folder
        self.checkpoint = checkpoint
        self.delegate: OwnCallback | MethodCallback | None = None

    @property
    def adapter(self) -> Adapter:
        """The adapted matrices."""
        return self._found().adapter

    @property
    def folder(self) -> str | Path | None:
        """The log of the latest training, ``runs/mine-2`` where there was a run already; None = nothing is written."""
        return self._asked_folder if self.delegate is None else self.delegate.folder

    @property
    def recorder(self) -> Any:
        """What allocates and logs while method flexlora trains; None outside of training, and for other methods."""
        return getattr(self._found(), "recorder", None)

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Find the adapter, and refuse what cannot work."""
        tuner = _tuner(more.get("model"))
        tuner.tended = True
        _widen(tuner.adapter)
        method = tuner.config_in_use.method
        if method == "flexlora":
            self.delegate = OwnCallback(tuner.adapter, folder=self._asked_folder)
        else:
            self.delegate = MethodCallback(tuner, self._asked_folder)
        self.delegate.on_init_end(args, state, control, **more)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Load the exact state of the checkpoint that the Trainer resumes from, and begin."""
        if self.delegate is None or self.delegate.adapter is not _tuner(more["model"]).adapter:
            self.on_init_end(args, state, control, **more)
        refuse_second(self)
        inner = self._found()
        _tuner(more["model"]).note_unfrozen()
        tensors, kept = {}, {}
        if state.global_step:
            found: Any = (state.stateful_callbacks or {}).get(KEY) or {}  # type: ignore[attr-defined]
            kept = found.get("attributes") or {}
            tensors = self._load(args, state, kept, more["optimizer"])
        with in_peft_words():
            inner.on_train_begin(args, state, control, **more)
        if kept and isinstance(inner, MethodCallback):
            with in_peft_words():
                inner.restore(kept, tensors)
        show_first(self)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Write the exact state into the checkpoint."""
        inner = self._found()
        folder = _checkpoint(args, state.global_step)
        if state.is_world_process_zero and folder.is_dir():
            save_exact(inner.adapter, folder, inner.tensors() if isinstance(inner, MethodCallback) else None)
        inner.on_save(args, state, control, **more)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Take the exact state of the best checkpoint where the Trainer loaded that; end the log."""
        inner = self._found()
        best = state.best_model_checkpoint if args.load_best_model_at_end else None
        if best and (Path(best) / FILE).exists():
            load_exact(inner.adapter, [Path(best)], "", None)
        inner.on_train_end(args, state, control, **more)

    def close(self, reason: str | None = None, message: str | None = None) -> None:
        """End the log and let go of model and optimizer, as after training that was interrupted."""
        if self.delegate is not None:
            self.delegate.close(reason, message)

    def state(self) -> dict[str, Any]:
        """Return what ``trainer_state.json`` keeps of this callback."""
        return {"args": {}, "attributes": {}} if self.delegate is None else self.delegate.state()

    def _found(self) -> OwnCallback | MethodCallback:
        if self.delegate is None:
            raise FlexLoRAError("FlexLoRACallback has met no Trainer yet: pass it as callbacks=[FlexLoRACallback()].")
        return self.delegate

    def _load(self, args: TrainingArguments, state: TrainerState, kept: Any, optimizer: Any) -> dict[str, Any]:
        step, adapter = state.global_step, self._found().adapter
        if "digest" not in kept:
            raise FlexLoRAError(
                f"The checkpoint of step {step} was not written with a FlexLoRACallback. Resume from one that was, or "
                "start anew."
            )
        named = [self.checkpoint, args.resume_from_checkpoint, _checkpoint(args, step)]
        folders = [Path(place) for place in named if isinstance(place, str | Path)]
        tensors = load_exact(adapter, folders, kept["digest"], optimizer)
        if tensors is None and digest(adapter) != kept["digest"]:
            raise FlexLoRAError(
                f"No {FILE} of the checkpoint of step {step} in {', '.join(map(str, folders))}: tell where it lies, "
                "FlexLoRACallback(checkpoint=...)."
            )
        return tensors or {}


def _widen(adapter: Adapter) -> None:
    """Give P, λ and Q back at least fp32: TRL narrows what is trained beside a quantised base, before its optimizer."""
    for matrix in adapter.matrices.values():
        for part in (*matrix_parameters(matrix), matrix.mask):
            part.data = part.data.to(torch.promote_types(part.dtype, torch.float32))


def _checkpoint(args: TrainingArguments, step: int) -> Path:
    return Path(args.output_dir or "") / f"checkpoint-{step}"


def _tuner(model: nn.Module | None) -> FlexLoRAModel:
    found = [module for module in model.modules() if isinstance(module, FlexLoRAModel)] if model is not None else []
    if not found:
        raise FlexLoRAError(
            "FlexLoRACallback found no FlexLoRA adapter in the Trainer's model: pass get_peft_model(model, "
            "FlexLoRAConfig(...)), or peft_config=FlexLoRAConfig(...) to a TRL trainer. Without PEFT: from "
            "flexlora.integrations import FlexLoRACallback, and FlexLoRACallback(model, ...)."
        )
    return found[0]


def _pass_on(event: str) -> Any:
    def pass_on(self: FlexLoRACallback, *given: Any, **more: Any) -> Any:
        return None if self.delegate is None else getattr(self.delegate, event)(*given, **more)

    pass_on.__doc__ = f"Pass ``{event}`` on to the callback that trains."
    return pass_on


# Whatever else the Trainer tells is for the callback inside.
for _event in [name for name in vars(TrainerCallback) if name.startswith("on_")]:
    if _event not in vars(FlexLoRACallback):
        setattr(FlexLoRACallback, _event, _pass_on(_event))
