"""The loss of each optimizer step as it is trained: a Trainer shows callbacks only averages of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook


class StepLoss:
    """Collects the losses whose gradients make an optimizer step; ``take`` returns their sum.

    What a model gives in training becomes a tensor of a type of its own (``__torch_function__``, torch's way to extend
    itself), with the same values and gradients; so does all that is computed from it. When ``backward`` is called of
    such a tensor, that is the loss, whoever computed it: the model, label smoothing, a function, an overridden
    ``compute_loss``; already divided by the number of accumulated batches where it is. Nothing is fetched from the
    accelerator. A loss that an ``autograd.Function`` gave, or that does not come from the model's output, is not seen.

    Attributes:
        outer: the module that calls the model, where it is ``wrapped``; None until it was called.
    """

    def __init__(self) -> None:
        self._hooks: list[Any] = []
        self._losses: list[Tensor] = []
        self.outer: nn.Module | None = None
        self._kind = _followed(self._losses)

    def attach(self, model: nn.Module, *, wrapped: bool = False) -> None:
        """Follow what a model gives while it trains.

        ``wrapped``: another module calls it and hands on what it gives, as DistributedDataParallel does, whose outputs
        are new tensors: then what that module gives is followed.
        """
        self.detach()
        if wrapped:
            self._hooks.append(register_module_forward_pre_hook(lambda module, args: self._find(model, module)))
        else:
            self._follow(model)

    def detach(self) -> None:
        """Stop following."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.outer = None
        self._losses.clear()

    def keep(self, loss: Tensor) -> None:
        """Take over the loss of the only batch of a step, which was made without calling the model."""
        self._losses[:] = [loss.detach().clone()]

    def take(self, scale: float = 1.0) -> Tensor | None:
        """Return the loss of the step that ended, a scalar on its device, and start the next one; None = not known.

        ``scale`` is what the losses were multiplied by for fp16.
        """
        losses = [loss.float().reshape(()) for loss in self._losses]
        self._losses.clear()
        return torch.stack(losses).sum() / scale if losses else None

    def _find(self, model: nn.Module, module: nn.Module) -> None:
        """Follow the first module that is called for training and holds the model: nothing calls that one."""
        if module.training and torch.is_grad_enabled() and any(part is model for part in module.modules()):
            self.detach()
            self._follow(module)
            self.outer = module

    def _follow(self, module: nn.Module) -> None:
        hand_on: Any = torch.compiler.disable(self._hand_on)
        self._hooks.append(module.register_forward_hook(hand_on))

    def _hand_on(self, module: nn.Module, args: Any, output: Any) -> None:
        if module.training and torch.is_grad_enabled():
            _mark(self._kind, output)


def _followed(losses: list[Tensor]) -> type[Tensor]:
    """Return a type of tensor that puts down what ``backward`` is called of."""

    class Followed(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            with torch._C.DisableTorchFunctionSubclass():
                if func is Tensor.backward and args[0].numel() == 1:
                    losses.append(args[0].detach())
                found = func(*args, **(kwargs or {}))
                _mark(cls, found, top=False)
            return found

    return Followed


def _mark(kind: type[Tensor], output: Any, *, top: bool = True) -> None:
    """Turn the tensors of a model's output through which a gradient goes into ``kind``, in place: no view, no copy."""
    if isinstance(output, Tensor):
        if type(output) is Tensor and output.grad_fn is not None:
            output.__class__ = kind
    elif isinstance(output, tuple | list):
        for item in output:
            _mark(kind, item, top=False)
    elif isinstance(output, Mapping):
        for item in output.values():
            _mark(kind, item, top=False)
    elif top and hasattr(output, "__dict__"):
        _mark(kind, vars(output), top=False)
