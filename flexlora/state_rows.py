"""What an optimizer keeps of a parameter whose rows are directions: each one's part, how it grows and begins.

Adam, SGD, Lion and their like keep tensors of the parameter's shape. Factored optimizers (Adafactor, CAME, SM3) keep
one number a row and one a column. What has neither form, such as a preconditioner of Shampoo or moments quantised in
blocks, cannot follow a direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flexlora.errors import FlexLoRAError

Role = Literal["rows", "columns", "whole"]


def role(key: str, value: object, shape: torch.Size) -> Role | None:
    """Return what one entry of the state is to a parameter of ``shape``: (capacity,) or (capacity, width).

    ``rows`` has a part a slot, ``columns`` one a column, ``whole`` is of the tensor as a whole, such as its step count;
    None = it cannot be told, or holds directions in a form that cannot be taken apart.
    """
    if not isinstance(value, Tensor):
        return None if _holds_tensors(value) else "whole"
    own = value.shape
    if value.dim() == 0 or key == "step":
        return "whole"
    if not value.is_floating_point() or type(value) not in (Tensor, nn.Parameter):
        return None
    capacity, *rest = shape
    columns = bool(rest) and own in ((rest[-1],), (1, rest[-1]))
    if capacity == 1 and columns and "col" in key:
        return "columns"
    if own == shape or (capacity == 1 and (own == (1, 1) or (own == (1,) and "row" in key))):
        return "rows"
    by_row = own[0] == capacity and capacity not in own[1:]
    if by_row and columns:
        return "rows" if "row" in key else "columns" if "col" in key else None
    if by_row or columns:
        return "rows" if by_row else "columns"
    return "whole" if value.numel() == 1 else None


def keeps_tensors(optimizer: Optimizer) -> bool:
    """True when it holds tensors elsewhere than in its state, such as slow weights, or one buffer for a whole group."""
    left = [value for key, value in vars(optimizer).items() if key not in ("state", "param_groups", "defaults")]
    left += [value for group in optimizer.param_groups for key, value in group.items() if key != "params"]
    while left:
        value = left.pop()
        if isinstance(value, Tensor) and value.numel() > 1:
            return True
        if isinstance(value, dict | list | tuple):
            left += value.values() if isinstance(value, dict) else value
    return False


def check_state(optimizer: Optimizer, named: Mapping[str, nn.Parameter]) -> None:
    """Refuse an optimizer whose state cannot follow directions that come and go.

    Raises:
        FlexLoRAError: which entry of which tensor, and what to use.
    """
    if keeps_tensors(optimizer) and not any(optimizer.state.get(parameter) for parameter in named.values()):
        raise FlexLoRAError(
            f"{type(optimizer).__name__} keeps its tensors elsewhere than in its state: they cannot follow a direction "
            "that comes or goes. Use an optimizer of torch's form, such as AdamW, or fix the ranks: initial_budget=0."
        )
    for name, parameter in named.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if role(key, value, parameter.shape) is None:
                form = f"{str(value.dtype)[6:]} {tuple(value.shape)}" if isinstance(value, Tensor) else "a collection"
                raise FlexLoRAError(
                    f"{type(optimizer).__name__} keeps {key!r} ({form}) of {name} {tuple(parameter.shape)}, which has "
                    "no part of its own for each direction and cannot follow one that comes or goes. Use an optimizer "
                    "that has: AdamW, SGD, Lion, RMSprop or Adafactor, unquantised; or fix the ranks: initial_budget=0."
                )


def grown(key: str, value: Any, old: torch.Size, new: torch.Size) -> Any:
    """Return an entry of the state for storage that grew from ``old`` to ``new``.

    Rows are padded with zeros. A column's mean over the slots becomes what it had been with the new slots there, empty,
    from the start, so that Adafactor's estimate row · column / mean(row) stays what it was.
    """
    found = role(key, value, old)
    if found == "rows":
        padded = value.new_zeros(new[0], *value.shape[1:])
        padded[: old[0]] = value
        return padded
    return value * (old[0] / new[0]) if found == "columns" and "col" in key else value


def fit_state(optimizer: Optimizer, capacities: Mapping[nn.Parameter, int]) -> None:
    """Let state that was loaded for storage of these capacities fit parameters that have grown since."""
    for parameter, capacity in capacities.items():
        state, shape = optimizer.state.get(parameter, {}), parameter.shape
        if capacity < shape[0]:
            old = torch.Size([capacity, *shape[1:]])
            state.update({key: grown(key, value, old, shape) for key, value in state.items()})


def row_totals(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> dict[tuple[nn.Parameter, str], Tensor]:
    """Return the sum over all slots of each entry that a factored optimizer keeps a row beside one a column."""
    return {
        (parameter, column): optimizer.state[parameter][column.replace("col", "row")].sum()
        for parameter in dict.fromkeys(parameters)
        for column in optimizer.state.get(parameter, {})
        if "col" in column and column.replace("col", "row") in optimizer.state[parameter]
    }


@torch.no_grad()
def begin_rows(
    optimizer: Optimizer, came: Iterable[tuple[nn.Parameter, int]], in_use: Mapping[nn.Parameter, Iterable[int]]
) -> None:
    """Give the state of new directions, which is zero, the values that it should begin with where that is not zero.

    ``in_use`` are the slots of a parameter that hold a direction, the new ones too. An average of the parameter begins
    as the parameter (ASGD, schedule-free), a step size as the learning rate (Rprop), a sum as given (Adagrad), and
    second moments that nothing corrects for their age (Adafactor, schedule-free) as the mean of the other directions'.
    """
    groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    fresh: dict[nn.Parameter, list[int]] = {}
    for parameter, slot in came:
        fresh.setdefault(parameter, []).append(slot)
    for parameter, slots in fresh.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            begin = _beginning(key, groups.get(parameter, {}), optimizer.state[parameter])
            if begin is not None and role(key, value, parameter.shape) == "rows":
                others = [slot for slot in in_use.get(parameter, ()) if slot not in slots]
                value[slots] = begin(parameter, value, slots, others)


@torch.no_grad()
def keep_estimates(optimizer: Optimizer, before: Mapping[tuple[nn.Parameter, str], Tensor]) -> None:
    """Let factored second moments of the directions that stayed be what they were: v = row · column / mean(row)."""
    after = row_totals(optimizer, [parameter for parameter, _ in before])
    for (parameter, column), total in before.items():
        factor = after[parameter, column] / total
        sound = torch.isfinite(factor) & (factor > 0)
        optimizer.state[parameter][column].mul_(torch.where(sound, factor, torch.ones_like(factor)))


Begin = Callable[[nn.Parameter, Tensor, list[int], list[int]], Any]


def _beginning(key: str, group: Mapping[str, Any], state: Mapping[str, Any]) -> Begin | None:
    if key in ("ax", "z"):
        return lambda parameter, value, slots, others: parameter.detach()[slots].to(value.dtype)
    if key == "step_size":
        return lambda parameter, value, slots, others: group["lr"]
    if key == "sum" and group.get("initial_accumulator_value"):
        return lambda parameter, value, slots, others: group["initial_accumulator_value"]
    # Schedule-free keeps no first moment, and corrects the second for the age of the whole group.
    uncorrected = "decay_rate" in group or "beta2_decay" in group or ("z" in state and "exp_avg" not in state)
    if uncorrected and key in ("exp_avg_sq", "exp_avg_sq_row", "row_var", "variance"):
        return lambda parameter, value, slots, others: value[others].mean(dim=0) if others else 0.0
    return None


def _holds_tensors(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(isinstance(item, Tensor) or _holds_tensors(item) for item in value.values())
    return isinstance(value, list | tuple | set) and any(
        isinstance(item, Tensor) or _holds_tensors(item) for item in value
    )
