"""What an event does to the optimizer: nothing, except to the directions that left or came."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flexlora.errors import FlexLoRAError
from flexlora.state_rows import grown, keeps_tensors, role

MOMENTS = ({"exp_avg", "exp_avg_sq"}, {"state1", "state2"})
"""What Adam's two moments are called: by torch, and by bitsandbytes."""

SPREAD = 1 << 24
"""Most values that are written out to save launches; above, a tensor has so much to do that its own launch is cheap."""


@torch.no_grad()
def clear_slot(optimizer: Optimizer, parameters: Iterable[nn.Parameter], slot: int) -> None:
    """Zero the moments of one slot; the moments of every other direction stay as they are, bit for bit."""
    rows = moment_rows(optimizer, parameters, slot)
    if rows:
        # One call: on an accelerator every row of its own costs a launch.
        torch._foreach_zero_(rows)


def moment_rows(optimizer: Optimizer, parameters: Iterable[nn.Parameter], slot: int) -> list[Tensor]:
    """Return what the optimizer keeps of one slot, views of it: its row of each tensor that has one a slot."""
    return [
        value[slot]
        for parameter in parameters
        for key, value in optimizer.state.get(parameter, {}).items()
        if role(key, value, parameter.shape) == "rows"
    ]


def innermost(optimizer: Optimizer, *, moving: bool = True) -> Optimizer:
    """Return the optimizer inside those that only pass on to it, such as accelerate's: hooks and state are its own.

    Without ``moving``, where no direction comes or goes, one that keeps something of its own is returned itself.

    Raises:
        FlexLoRAError: it is none of torch's kind, or keeps something of its own around another one.
    """
    inner = wrapped(optimizer)
    while inner is not None and inner.state is optimizer.state and not keeps_tensors(optimizer):
        optimizer, inner = inner, wrapped(inner)
    name = type(optimizer).__name__
    if inner is not None and moving:
        raise FlexLoRAError(
            f"{name} keeps weights of its own around {type(inner).__name__}, which cannot follow a direction that "
            f"comes or goes. Use {type(inner).__name__} alone, or fix the ranks: initial_budget=0."
        )
    if not isinstance(optimizer, Optimizer):
        raise FlexLoRAError(f"{name} is no torch.optim.Optimizer: pass the one that it wraps.")
    return optimizer


def group_of(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> dict[str, Any]:
    """Return the first group that holds one of the parameters; the first of all where none does."""
    wanted = {id(parameter) for parameter in parameters}
    holding = (group for group in optimizer.param_groups if any(id(part) in wanted for part in group["params"]))
    return next(holding, optimizer.param_groups[0])


def first_rate(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> float | None:
    """Return the learning rate that ``group_of`` begins with, before its schedule; None where it finds its own."""
    group = group_of(optimizer, parameters)
    rate = group.get("initial_lr", group["lr"])
    return None if rate is None else float(rate)


def check_same_optimizer(optimizer: Optimizer, kept: str | None) -> None:
    """Refuse an optimizer into which the state of another one was loaded.

    Args:
        optimizer: after loading.
        kept: the type whose state it was; None = a checkpoint of before it was kept.
    """
    own = type(optimizer).__name__
    lacking = [key for group in optimizer.param_groups for key in optimizer.defaults if key not in group]
    if kept != own if kept else lacking:
        raise FlexLoRAError(
            f"The checkpoint holds the state of {kept or 'another optimizer'}, and this training has {own}. Resume "
            "with the optimizer that it was made with, or start anew."
        )


def wrapped(optimizer: object) -> Optimizer | None:
    """Return an optimizer that another one holds, by whatever name or in a collection; None where there is none."""
    own = vars(optimizer) if hasattr(optimizer, "__dict__") else {}
    for value in own.values():
        held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
        for part in held:
            if isinstance(part, Optimizer) and part is not optimizer:
                return part
    return None


@torch.no_grad()
def replace_parameters(optimizer: Optimizer, replaced: Mapping[nn.Parameter, nn.Parameter]) -> None:
    """Put grown parameters where the old ones were: same group, same position, state as ``grown`` says."""
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
    for old, new in replaced.items():
        state = optimizer.state.pop(old, None)
        if state is None:
            continue
        optimizer.state[new] = {key: grown(key, value, old.shape, new.shape) for key, value in state.items()}


def around_steps(optimizer: Optimizer, before: Callable[[], None], after: Callable[[], None]) -> Callable[[], None]:
    """Call two functions around every ``optimizer.step()``; return the function that ends it."""
    hooks = ExitStack()
    hooks.callback(optimizer.register_step_pre_hook(lambda *_: before()).remove)
    hooks.callback(optimizer.register_step_post_hook(lambda *_: after()).remove)
    return hooks.close


class YoungDirections:
    """Gives each new direction Adam's bias correction for its own age.

    Adam counts steps per tensor. A direction that joins at count n with zero moments would be corrected as if it were
    n steps old, and a constant gradient would move it up to five times the learning rate. Adam moves a value by
    lr · c(n) · m / √v, c(k) = √(1 − β2ᵏ) / (1 − β1ᵏ), and a row of age a should move by lr · c(a) · m / √v: after each
    ``optimizer.step()`` the movement of young rows is scaled by c(a) / c(n), exact up to Adam's ε. Optimizers without
    two ``betas``, both moments (by one of ``MOMENTS``) and a ``step`` of the tensor or its group need none, or tell no
    count, and get none.

    Counts are the optimizer's own, read where they lie: nothing is counted beside it, and no accelerator is waited for.

    Attributes:
        born: parameter → the optimizer's count when each slot was filled, (capacity,) float64 on the parameter's
            device; NaN for a slot that is as old as its tensor.
        detach: removes the hooks from the optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.born: dict[nn.Parameter, Tensor] = {}
        self._kept: dict[nn.Parameter, Tensor] = {}
        self.detach = around_steps(optimizer, self._keep, self._move)

    def add(self, parameters: Iterable[nn.Parameter], slot: int) -> None:
        """Let the age of ``slot`` in these parameters begin now."""
        self.add_all([(parameter, slot) for parameter in parameters])

    @torch.no_grad()
    def add_all(self, rows: Iterable[tuple[nn.Parameter, int]]) -> None:
        """Let the age of each (parameter, slot) begin now."""
        # A tensor that Adam has not touched yet will count from the same step as its new row.
        groups = self._groups()
        known = [row for row in rows if self._corrects(row[0], groups.get(row[0], {}))]
        if not known:
            return
        self.watch(parameter for parameter, _ in known)
        counts = self._counts([parameter for parameter, _ in known])
        torch._foreach_copy_([self.born[parameter][slot] for parameter, slot in known], list(counts.unbind()))

    def watch(self, parameters: Iterable[nn.Parameter]) -> None:
        """Correct these parameters from now on even where no row of them is young: what is done stays the same."""
        for parameter in parameters:
            if parameter not in self.born:
                self.born[parameter] = _unborn(parameter)

    @torch.no_grad()
    def forget_all(self, rows: Iterable[tuple[nn.Parameter, int]]) -> None:
        """Let go of each (parameter, slot) that was emptied."""
        known = [self.born[parameter][slot] for parameter, slot in rows if parameter in self.born]
        if known:
            torch._foreach_add_(known, math.nan)

    def clear(self) -> None:
        """Let go of everything: the optimizer has forgotten its moments."""
        self.born.clear()

    @torch.no_grad()
    def replace(self, replaced: Mapping[nn.Parameter, nn.Parameter]) -> None:
        """Follow parameters that grew."""
        for old, new in replaced.items():
            if old in self.born:
                born = self.born.pop(old)
                self.born[new] = _unborn(new)
                self.born[new][: len(born)] = born

    def state(self, named: Mapping[str, nn.Parameter]) -> dict[str, list[tuple[int, int]]]:
        """Return name → (slot, age) of the parameters that have had young rows, as plain values."""
        young = {name: parameter for name, parameter in named.items() if parameter in self.born}
        if not young:
            return {}
        own = [self.born[parameter] for parameter in young.values()]
        counts = self._counts(list(young.values())).split(1)
        # One copy for all: on an accelerator each would be a synchronisation.
        ages = torch.cat([count - born for count, born in zip(counts, own, strict=True)]).cpu()
        return {
            name: [(slot, int(age)) for slot, age in enumerate(part.tolist()) if not math.isnan(age)]
            for name, part in zip(young, ages.split([len(born) for born in own]), strict=True)
        }

    def restore(self, named: Mapping[str, nn.Parameter], ages: Mapping[str, Iterable[Sequence[int]]]) -> None:
        """Take over what ``state`` returned; the optimizer has its own state back already."""
        self.clear()
        for name, slots in ages.items():
            parameter = named[name]
            self.born[parameter] = _unborn(parameter)
            count = self._counts([parameter])[0]
            for slot, age in slots:
                self.born[parameter][int(slot)] = count - int(age)

    def _groups(self) -> dict[nn.Parameter, dict[str, Any]]:
        return {parameter: group for group in self.optimizer.param_groups for parameter in group["params"]}

    def _corrects(self, parameter: nn.Parameter, group: Mapping[str, Any]) -> bool:
        """True where the optimizer has both of Adam's moments of a parameter, and counts its steps."""
        state = self.optimizer.state.get(parameter, {})
        counted = "step" in state or "step" in group
        return _betas(group) is not None and counted and any(moments <= state.keys() for moments in MOMENTS)

    def _counts(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Return the steps that the optimizer has made with each parameter, (n,) float64 on their device."""
        states = [self.optimizer.state[parameter] for parameter in parameters]
        groups = {} if all("step" in state for state in states) else self._groups()
        counts = [
            state["step"] if "step" in state else groups[part]["step"]
            for part, state in zip(parameters, states, strict=True)
        ]
        tensors = all(isinstance(count, Tensor) for count in counts)
        whole = torch.stack([count.reshape(()) for count in counts]) if tensors else torch.tensor(counts)
        return whole.to(parameters[0].device, torch.float64, non_blocking=True)

    @torch.no_grad()
    def _keep(self) -> None:
        # Also those without a gradient: where step is given a closure, gradients come only now.
        young = list(self.born)
        # Whole tensors in one call: picking rows of each would cost a launch and a synchronisation a tensor.
        copies = torch._foreach_mul(list[Tensor](young), 1.0) if young else ()
        self._kept = dict(zip(young, copies, strict=True))

    @torch.no_grad()
    def _move(self) -> None:
        """Scale the movement of young rows, in few kernels for all of them together."""
        kept, self._kept = self._kept, {}
        for group in self.optimizer.param_groups if kept else ():
            grown = [part for part in group["params"] if part in kept and part.grad is not None]
            shares = self.shares(group, grown)
            if shares:
                young = list(shares)
                moved = [kept[parameter] for parameter in young]
                torch._foreach_lerp_(moved, list[Tensor](young), list(shares.values()))
                torch._foreach_copy_(list[Tensor](young), moved)

    def shares(
        self, group: Mapping[str, Any], parameters: Iterable[nn.Parameter], dtype: torch.dtype | None = None
    ) -> dict[nn.Parameter, Tensor]:
        """Return c(a) / c(n) of each value of watched parameters of one group, in their shapes.

        ``dtype`` None = that of the parameters. Nothing where the optimizer corrects nothing.
        """
        betas = _betas(group)
        # Tensors of one width stand together: their shares are spread over them in one kernel.
        young = sorted(parameters, key=_width)
        if betas is None or not young:
            return {}
        by_row = self._shares(young, betas).to(dtype or young[0].dtype).split([len(part) for part in young])
        return dict(zip(young, _spread(young, by_row), strict=True))

    def _shares(self, young: list[nn.Parameter], betas: tuple[float, float]) -> Tensor:
        """Return c(a) / c(n) of all rows, one tensor after another."""
        counts = self._counts(young).split(1)
        # Expanded rather than repeated by a tensor of counts, which would have to be copied to the device.
        whole = torch.cat([count.expand(len(part)) for count, part in zip(counts, young, strict=True)])
        born = torch.cat([self.born[parameter] for parameter in young])
        shares = correction(whole - born, *betas) / correction(whole, *betas)
        return shares.nan_to_num(nan=1.0)


def _betas(group: Mapping[str, Any]) -> tuple[float, float] | None:
    found = group.get("betas")
    return tuple(found) if isinstance(found, list | tuple) and len(found) == 2 else None


def _width(parameter: nn.Parameter) -> int:
    return parameter.shape[1] if parameter.dim() > 1 else 0


def _spread(young: Sequence[nn.Parameter], shares: Sequence[Tensor]) -> list[Tensor]:
    """Return the shares of each tensor's rows, in its shape; tensors of one width stand together."""
    found: list[Tensor] = []
    for width, members in groupby(range(len(young)), key=lambda place: _width(young[place])):
        own = [shares[place] for place in members]
        if width:
            flat = torch.cat(own).unsqueeze(1).expand(-1, width)
            own = (flat.contiguous() if flat.numel() <= SPREAD else flat).split([len(part) for part in own])
        found.extend(own)
    return found


def _unborn(parameter: nn.Parameter) -> Tensor:
    return torch.full((parameter.shape[0],), math.nan, dtype=torch.float64, device=parameter.device)


def correction(age: Tensor, beta1: float, beta2: float) -> Tensor:
    """Return c(k) = √(1 − β2ᵏ) / (1 − β1ᵏ) of ages k, by which Adam scales a movement."""
    return torch.sqrt(1.0 - beta2**age) / (1.0 - beta1**age)


class DecayFree:
    """Keeps weight decay off some parameters, whatever group of the optimizer they are in.

    For optimizers that others build: decay shrinks P, λ and Q while the regulariser pulls P and Q to unit norm. During
    ``optimizer.step()``, and only then, the parameters stand in a group of their own without decay, so that state
    dictionaries and learning-rate schedules see the groups they know. ``detach()`` ends it.
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
        self.detach = around_steps(optimizer, self._part, self._join)

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
