"""``SmallCheckpoints``: have the Trainer's checkpoints hold what is trained, under the names that it loads them by."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

_MISSING = object()


def innermost_module(model: nn.Module) -> nn.Module:
    """Return the model inside of ``torch.compile``'s."""
    return getattr(model, "_orig_mod", model)


class SmallCheckpoints:
    """In force from when it is made until ``undo``; does nothing to a model that is none of transformers'.

    transformers saves some models under the names of older versions, which only ``from_pretrained`` translates: a
    Trainer that resumes such a checkpoint loads nothing, with a warning. No conversions, no other names. Of a plain
    module the Trainer saves all.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = innermost_module(model)
        self._before: dict[str, Any] = {}
        self._engine: Any = None
        if hasattr(self._model, "save_pretrained"):
            names = frozen(model)
            # A compiled model's state dictionary is saved under the names of what torch.compile made.
            ignored = names | {f"_orig_mod.{name}" for name in names}
            ignored |= set(getattr(self._model, "_keys_to_ignore_on_save", None) or ())
            self._set(_keys_to_ignore_on_save=ignored, _weight_conversions=[])

    def _set(self, **values: Any) -> None:
        for key, value in values.items():
            self._before[key] = vars(self._model).get(key, _MISSING)
            setattr(self._model, key, value)

    def of_engine(self, engine: nn.Module | None) -> None:
        """Have DeepSpeed's engine leave frozen weights out, all of which it would write; a second call does nothing."""
        if self._engine is None and engine is not None:
            self._engine = engine
            self._engine.save_checkpoint = partial(self._engine.save_checkpoint, exclude_frozen_parameters=True)

    def undo(self) -> None:
        """Let ``save_pretrained`` write all that it wrote before."""
        for key, value in self._before.items():
            if value is _MISSING:
                delattr(self._model, key)
            else:
                setattr(self._model, key, value)
        self._before = {}
        if self._engine is not None:
            del self._engine.save_checkpoint
            self._engine = None


def frozen(model: nn.Module) -> set[str]:
    """Return the names of the parameters that are not trained."""
    named = list(innermost_module(model).named_parameters(remove_duplicate=False))
    return {name for name, parameter in named if not parameter.requires_grad}
