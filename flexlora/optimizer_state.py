"""What an event does to the optimizer: nothing, except to the directions that left or came."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@torch.no_grad()
def clear_slot(optimizer: Optimizer, parameters: Iterable[nn.Parameter], slot: int) -> None:
    """Zero the moments of one slot; the moments of every other direction stay as they are, bit for bit."""
    for parameter in parameters:
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value[slot] = 0.0


@torch.no_grad()
def replace_parameters(optimizer: Optimizer, replaced: Mapping[nn.Parameter, nn.Parameter]) -> None:
    """Put grown parameters where the old ones were: same group, same position, moments padded with zeros."""
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
    for old, new in replaced.items():
        state = optimizer.state.pop(old, None)
        if state is None:
            continue
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == old.shape:
                padded = torch.zeros_like(new, dtype=value.dtype)
                padded[: old.shape[0]] = value
                state[key] = padded
        optimizer.state[new] = state


class YoungDirections:
    """Gives each new direction Adam's bias correction for its own age.

    Adam counts steps per tensor. A direction that joins at count n with zero moments would be corrected as if it were
    n steps old, and a constant gradient would move it up to five times the learning rate. Adam moves a value by
    lr · c(n) · m / √v, c(k) = √(1 − β2ᵏ) / (1 − β1ᵏ), and a row of age a should move by lr · c(a) · m / √v: after each
    ``optimizer.step()`` the movement of young rows is scaled by c(a) / c(n), exact up to Adam's ε. Optimizers without
    ``exp_avg`` and ``exp_avg_sq`` need no correction and get none.

    Attributes:
        ages: parameter → slot → finished optimizer steps since the slot was filled.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.ages: dict[nn.Parameter, dict[int, int]] = {}
        self._counts: dict[nn.Parameter, int] = {}
        self._kept: dict[nn.Parameter, Tensor] = {}
        self._hooks = (
            optimizer.register_step_pre_hook(lambda *_: self._keep()),
            optimizer.register_step_post_hook(lambda *_: self._move()),
        )

    def detach(self) -> None:
        """Remove the hooks from the optimizer."""
        for hook in self._hooks:
            hook.remove()

    def add(self, parameters: Iterable[nn.Parameter], slot: int) -> None:
        """Start counting the age of ``slot`` in these parameters."""
        for parameter in parameters:
            # A tensor that Adam has not touched yet will count from the same step as its new row.
            state = self.optimizer.state.get(parameter, {})
            if "exp_avg" in state and "exp_avg_sq" in state:
                self.ages.setdefault(parameter, {})[slot] = 0

    def forget(self, parameters: Iterable[nn.Parameter], slot: int) -> None:
        """Stop counting a slot that was emptied."""
        for parameter in parameters:
            self.ages.get(parameter, {}).pop(slot, None)

    def clear(self) -> None:
        """Stop counting everything: the optimizer has forgotten its moments."""
        self.ages.clear()
        self._counts.clear()

    def replace(self, replaced: Mapping[nn.Parameter, nn.Parameter]) -> None:
        """Follow parameters that grew."""
        for old, new in replaced.items():
            if old in self.ages:
                self.ages[new] = self.ages.pop(old)
            if old in self._counts:
                self._counts[new] = self._counts.pop(old)

    def state(self, named: Mapping[str, nn.Parameter]) -> dict[str, list[tuple[int, int]]]:
        """Return name → (slot, age) of the parameters that have young rows, as plain values."""
        ages = {name: list(self.ages.get(parameter, {}).items()) for name, parameter in named.items()}
        return {name: slots for name, slots in ages.items() if slots}

    def restore(self, named: Mapping[str, nn.Parameter], ages: Mapping[str, Iterable[Sequence[int]]]) -> None:
        """Take over what ``state`` returned."""
        self.clear()
        for name, slots in ages.items():
            self.ages[named[name]] = {int(slot): int(age) for slot, age in slots}

    @torch.no_grad()
    def _keep(self) -> None:
        young = [parameter for parameter, slots in self.ages.items() if slots and parameter.grad is not None]
        # Whole tensors in one call: picking rows of each would cost a launch and a synchronisation a tensor.
        copies = torch._foreach_mul(list[Tensor](young), 1.0) if young else ()
        self._kept = dict(zip(young, copies, strict=True))

    @torch.no_grad()
    def _move(self) -> None:
        if not self._kept:
            return
        groups = {parameter: group for group in self.optimizer.param_groups for parameter in group["params"]}
        shares = []
        for parameter in self._kept:
            beta1, beta2 = groups[parameter]["betas"]
            shares.append(self._shares(parameter, float(beta1), float(beta2)))
        young = list(self._kept)
        flat = torch.from_numpy(np.concatenate(shares)).to(young[0])
        split = flat.split([len(share) for share in shares])
        moved = [
            torch.lerp(self._kept[parameter], parameter, share.view(-1, *(1,) * (parameter.dim() - 1)))
            for parameter, share in zip(young, split, strict=True)
        ]
        torch._foreach_copy_(list[Tensor](young), moved)
        self._kept = {}

    def _shares(self, parameter: nn.Parameter, beta1: float, beta2: float) -> np.ndarray:
        """Make the rows of a parameter one step older; return c(a) / c(n) of each, 1 for those that are not young."""
        if parameter not in self._counts:
            self._counts[parameter] = int(self.optimizer.state[parameter]["step"]) - 1
        self._counts[parameter] += 1
        whole = _correction(self._counts[parameter], beta1, beta2)
        shares = np.ones(parameter.shape[0], np.float64 if parameter.dtype == torch.float64 else np.float32)
        aged = {slot: age + 1 for slot, age in self.ages[parameter].items()}
        for slot, age in aged.items():
            shares[slot] = _correction(age, beta1, beta2) / whole
        # Once β2ᵃ is below fp32 resolution the row is as old as any other.
        self.ages[parameter] = {slot: age for slot, age in aged.items() if beta2**age > 1e-8}
        return shares


class DecayFree:
    """Keeps weight decay off some parameters, whatever group of the optimizer they are in.

    For optimizers that others build: decay shrinks P, λ and Q while the regulariser pulls P and Q to unit norm. During
    ``optimizer.step()``, and only then, the parameters stand in a group of their own without decay, so that state
    dictionaries and learning-rate schedules see the groups they know.
    """

    def __init__(self, optimizer: Optimizer, parameters: Callable[[], Iterable[nn.Parameter]]) -> None:
        """Watch the optimizer.

        Args:
            optimizer: with or without decay; it may be set later.
            parameters: returns those to keep; asked at every step, because storage may grow.
        """
        self._optimizer = optimizer
        self._parameters = parameters
        self._groups: list[tuple[dict[str, Any], list[nn.Parameter]]] = []
        self._hooks = (
            optimizer.register_step_pre_hook(lambda *_: self._part()),
            optimizer.register_step_post_hook(lambda *_: self._join()),
        )

    def detach(self) -> None:
        """Remove the hooks from the optimizer."""
        for hook in self._hooks:
            hook.remove()

    def _part(self) -> None:
        self._join()  # a step that raised left them apart
        decayed = [group for group in self._optimizer.param_groups if group.get("weight_decay")]
        if not decayed:
            return
        kept = {id(parameter) for parameter in self._parameters()}
        for group in decayed:
            params = group["params"]
            free = [parameter for parameter in params if id(parameter) in kept]
            if free:
                self._groups.append((group, params))
                group["params"] = [parameter for parameter in params if id(parameter) not in kept]
                self._optimizer.param_groups.append({**group, "params": free, "weight_decay": 0.0})

    def _join(self) -> None:
        if self._groups:
            del self._optimizer.param_groups[-len(self._groups) :]
        for group, params in self._groups:
            group["params"] = params
        self._groups = []


def _correction(age: int, beta1: float, beta2: float) -> float:
    return math.sqrt(1.0 - beta2**age) / (1.0 - beta1**age)
