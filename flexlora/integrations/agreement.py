"""Several processes of one job: they must hold the same ranks, masks and parameters after every event."""

from __future__ import annotations

import hashlib

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from flexlora.adapter import Adapter, matrix_parameters
from flexlora.errors import FlexLoRAError
from flexlora.event import Event

FEW = 32
"""Values of each frozen tensor by which a base model is known."""


def alone() -> bool:
    """True in a job of one process: what it finds out by itself, all know."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def digest(adapter: Adapter, event: Event | None = None) -> str:
    """Return a hash over every bit of P, λ, Q and the masks, over the slots, and over what an event moved."""
    found = hashlib.blake2b(digest_size=16)
    parts = [(*matrix_parameters(matrix), matrix.mask) for matrix in adapter.matrices.values()]
    # Summed where the values are: an 8B model's adapter is half a gigabyte, its checksums are a few kilobytes.
    sums = torch.stack([_checksum(part.detach()) for group in parts for part in group])
    found.update(sums.cpu().numpy().tobytes())
    found.update(repr([matrix.slots for matrix in adapter.matrices.values()]).encode())
    if event is not None:
        found.update(repr((event.step, event.prune, event.extend)).encode())
    return found.hexdigest()


def digest_beside(adapter: Adapter) -> str | None:
    """Return a hash over every bit of what is trained beside the adapter; None where each process holds a part."""
    parts = [part.detach() for part in adapter.head_parameters()]
    if any(isinstance(part, DTensor) for part in parts):
        return None
    sums = [_checksum(part).cpu() for part in parts]
    return hashlib.blake2b(repr([int(part) for part in sums]).encode(), digest_size=16).hexdigest()


@torch.no_grad()
def digest_base(adapter: Adapter) -> str | None:
    """Return a hash over some values of everything that is frozen.

    A few of each tensor: enough to know a model from another one, in no time at any size, and on whatever devices its
    parts lie. None where a process holds no values of its own: of packed weights, shards, and parts kept elsewhere.
    """
    own = {id(part) for part in (*adapter.head_parameters(), *adapter.named_parameters().values())}
    frozen = [part.detach() for part in adapter.model.parameters() if id(part) not in own]
    if any(type(part) is not Tensor or part.is_meta for part in frozen):
        return None
    rows = [part.reshape(-1)[:: max(1, part.numel() // FEW)][:FEW].double() for part in frozen if part.numel()]
    moved = {}
    for device in {row.device for row in rows}:
        # One transfer a device; the order stays that of the model.
        own = [row for row in rows if row.device == device]
        moved[device] = iter(torch.cat(own).cpu().split([len(row) for row in own]))
    found = [next(moved[row.device]).numpy().tobytes() for row in rows]
    return hashlib.blake2b(b"".join(found), digest_size=16).hexdigest()


def _checksum(values: Tensor) -> Tensor:
    # Integers wrap around and add in any order to the same sum; odd factors tell places apart.
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    bits = values.reshape(-1).view(whole).to(torch.int64)
    return (bits * torch.arange(1, 2 * bits.numel(), 2, device=bits.device)).sum()


def check_agreement(adapter: Adapter, event: Event) -> None:
    """Compare all processes after an event; does nothing in a job of one.

    Raises:
        FlexLoRAError: they differ, in every process alike: training on would average unlike matrices.
    """
    if alone():
        return
    found: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, digest(adapter, event))
    if len(set(found)) > 1:
        raise FlexLoRAError(
            f"The {len(found)} processes hold different adapters after the event of step {event.step}: "
            f"{', '.join(str(part)[:8] for part in found)}. Start all from the same seed and the same weights, and let "
            "DistributedDataParallel average the gradients of every adapter parameter."
        )
