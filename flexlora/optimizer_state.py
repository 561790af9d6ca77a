"""What an event does to the optimizer: nothing, except to the directions that left or came."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

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
    n steps old, and a constant gradient would move it up to five times the learning rate. Before each
    ``optimizer.step()`` the young rows are kept, and after it they are moved by what Adam gives a direction of their
    age: lr · m̂ / (√v̂ + ε) with m̂ = m / (1 − β1ᵃ), v̂ = v / (1 − β2ᵃ). Optimizers without ``exp_avg`` need no
    correction and get none.

    Attributes:
        ages: parameter → slot → finished optimizer steps since the slot was filled.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.ages: dict[nn.Parameter, dict[int, int]] = {}
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
            if "exp_avg" in self.optimizer.state.get(parameter, {}):
                self.ages.setdefault(parameter, {})[slot] = 0

    def forget(self, parameters: Iterable[nn.Parameter], slot: int) -> None:
        """Stop counting a slot that was emptied."""
        for parameter in parameters:
            self.ages.get(parameter, {}).pop(slot, None)

    def replace(self, replaced: Mapping[nn.Parameter, nn.Parameter]) -> None:
        """Follow parameters that grew."""
        for old, new in replaced.items():
            if old in self.ages:
                self.ages[new] = self.ages.pop(old)

    @torch.no_grad()
    def _keep(self) -> None:
        self._kept = {
            parameter: parameter[list(slots)]
            for parameter, slots in self.ages.items()
            if slots and parameter.grad is not None
        }

    @torch.no_grad()
    def _move(self) -> None:
        groups = {parameter: group for group in self.optimizer.param_groups for parameter in group["params"]}
        for parameter, kept in self._kept.items():
            slots, group = self.ages[parameter], groups[parameter]
            for slot in slots:
                slots[slot] += 1
            rows = list(slots)
            parameter[rows] = kept - _adam_update(self.optimizer.state[parameter], group, rows, list(slots.values()))
            beta2 = group["betas"][1]
            # Once β2ᵃ is below fp32 resolution the row is as old as any other.
            self.ages[parameter] = {slot: age for slot, age in slots.items() if beta2**age > 1e-8}
        self._kept = {}


def _adam_update(state: Mapping[str, Any], group: Mapping[str, Any], rows: list[int], ages: list[int]) -> Tensor:
    beta1, beta2 = group["betas"]
    m = state["exp_avg"][rows]
    v = state["max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"][rows]
    shape = (len(rows),) + (1,) * (m.dim() - 1)
    first = m.new_tensor([group["lr"] / (1.0 - beta1**age) for age in ages]).view(shape)
    second = m.new_tensor([math.sqrt(1.0 - beta2**age) for age in ages]).view(shape)
    update = first * m / (v.sqrt() / second + group["eps"])
    return -update if group.get("maximize") else update
