"""Where DeepSpeed's ZeRO 1 and 2 keep which value: the pieces of parameters that lie in this process's partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flexlora.errors import FlexLoRAError

DIGIT = 1 << 20
"""Places are written as two digits of this base: fp32 holds each exactly."""


class Piece(NamedTuple):
    """What one process trains of one parameter: ``length`` values from ``start`` in it, at ``at`` in a partition."""

    parameter: int
    group: int
    at: int
    start: int
    length: int


@torch.no_grad()
def layout(parameters: Sequence[nn.Parameter], flats: Sequence[Tensor]) -> tuple[list[Piece], list[int]]:
    """Return what lies in this process's partitions, and in which of them (over all processes) each parameter lies.

    Found by writing marks through DeepSpeed's own function and reading where they came out; values are put back.

    Raises:
        FlexLoRAError: not every value of every parameter lies in one partition.
    """
    parts = [flat.detach() for flat in flats]
    before = [part.clone() for part in parts]
    try:
        pieces = _found(parameters, parts)
    finally:
        for part, values in zip(parts, before, strict=True):
            part.copy_(values)
    told = torch.zeros(len(parameters), 2, dtype=torch.int64)
    for piece in pieces:
        told[piece.parameter, 0] += piece.length
        told[piece.parameter, 1] = piece.group + 1
    told = told.to(parts[0].device)
    counts, groups = told[:, 0].clone(), told[:, 1].clone()
    dist.all_reduce(counts)
    dist.all_reduce(groups, op=dist.ReduceOp.MAX)
    if counts.tolist() != [parameter.numel() for parameter in parameters]:
        raise FlexLoRAError(
            "ZeRO does not train each value of the adapter in one process. Build the optimizer from "
            "adapter.trainable_parameters() after attach, and let all processes be one data-parallel group."
        )
    return pieces, [group - 1 for group in groups.tolist()]


def _found(parameters: Sequence[nn.Parameter], parts: Sequence[Tensor]) -> list[Piece]:
    runs = []
    _mark(parameters, parts, lambda place, parameter: torch.full_like(parameter, place, dtype=torch.float32))
    for group, part in enumerate(parts):
        values, lengths = torch.unique_consecutive(part, return_counts=True)
        at = 0
        for value, length in zip(values.tolist(), lengths.tolist(), strict=True):
            if value >= 0:
                runs.append((int(value), group, at, length))
            at += length
    ends = torch.zeros(len(runs), 2, dtype=torch.int64)
    for power in (1, DIGIT):
        _mark(parameters, parts, lambda place, parameter, power=power: _digit(parameter, power))
        for place, (_, group, at, length) in enumerate(runs):
            ends[place] += power * parts[group][[at, at + length - 1]].to("cpu", torch.int64)
    return [
        Piece(parameter, group, at, start, length)
        for (parameter, group, at, length), (start, last) in zip(runs, ends.tolist(), strict=True)
        if last - start == length - 1
    ]


def _mark(
    parameters: Sequence[nn.Parameter], parts: Sequence[Tensor], marks: Callable[[int, nn.Parameter], Tensor]
) -> None:
    from deepspeed.utils import safe_set_full_fp32_param  # pyright: ignore[reportMissingImports]

    for part in parts:
        part.fill_(-1.0)
    for place, parameter in enumerate(parameters):
        safe_set_full_fp32_param(parameter, marks(place, parameter))


def _digit(parameter: nn.Parameter, power: int) -> Tensor:
    """Return a digit of each value's place in the parameter, in its shape."""
    places = torch.arange(parameter.numel(), device=parameter.device)
    return (places // power % DIGIT).to(torch.float32).view(parameter.shape)


def part_of(flats: Sequence[Any], piece: Piece) -> Tensor:
    """Return a piece of partitions, or of tensors like them, as a view."""
    return flats[piece.group].detach()[piece.at : piece.at + piece.length]


def within(values: Tensor, piece: Piece) -> Tensor:
    """Return a piece of a tensor in the shape of its parameter, as a view of one that is contiguous."""
    return values.reshape(-1)[piece.start : piece.start + piece.length]
