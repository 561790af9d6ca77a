"""``flexlora.safetensors`` in a checkpoint: P, λ, Q and slots bit for bit, where the plain LoRA holds diag(λ) Q."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from flexlora.adapter import Adapter, matrix_parameters
from flexlora.errors import FlexLoRAError
from flexlora.integrations.agreement import digest
from flexlora.optimizer_state import innermost
from flexlora.peft.lora_state import PARTS
from flexlora.run_log import disk

FILE = "flexlora.safetensors"
METHOD = "method."
"""Begins the names of what a method keeps beside the directions."""


def save_exact(adapter: Adapter, folder: Path, method: Mapping[str, Tensor] | None = None) -> None:
    """Write the file, with the tensors of the method's own."""
    tensors = {METHOD + name: part.detach().cpu().contiguous() for name, part in (method or {}).items()}
    for name, matrix in adapter.matrices.items():
        parts = (*matrix_parameters(matrix), matrix.mask)
        tensors |= {f"{name}.{key}": part.detach().cpu().clone() for key, part in zip(PARTS, parts, strict=True)}
    disk.put(folder / FILE, lambda file: save_file(tensors, file))


def load_exact(
    adapter: Adapter, folders: Iterable[Path], wanted: str, optimizer: Optimizer | None
) -> dict[str, Tensor] | None:
    """Load the first file that holds the adapter with the digest ``wanted``; return the method's tensors.

    Args:
        adapter: of the same model; None is returned, and its values are those of some file, when none has the digest.
        folders: where to look, the likeliest first.
        wanted: what ``digest`` said when the checkpoint was written.
        optimizer: has loaded its state already; it follows storage that grows here.
    """
    for folder in dict.fromkeys(folders):
        try:
            tensors = load_file(folder / FILE)
            _load(adapter, tensors, optimizer)
        except (OSError, SafetensorError, KeyError, FlexLoRAError, RuntimeError):
            # Of another model or another run, or cut: the digest of the right one decides.
            continue
        if digest(adapter) == wanted:
            return {name.removeprefix(METHOD): part for name, part in tensors.items() if name.startswith(METHOD)}
    return None


def _load(adapter: Adapter, tensors: Mapping[str, Tensor], optimizer: Optimizer | None) -> None:
    for name, matrix in adapter.matrices.items():
        own = {key: tensors[f"{name}.{key}"] for key in PARTS}
        while matrix.capacity < len(own["lam"]):
            before = matrix.capacity
            replaced = matrix.grow()
            if matrix.capacity == before:
                raise FlexLoRAError(f"{name} cannot have {len(own['lam'])} slots.")
            if optimizer is not None:
                _follow(innermost(optimizer), replaced)
        matrix.load_state_dict(own)


def _follow(optimizer: Optimizer, replaced: Mapping[torch.nn.Parameter, torch.nn.Parameter]) -> None:
    """Put grown parameters in place; their state was loaded with the size that they have grown to."""
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
    for old, new in replaced.items():
        if old in optimizer.state:
            optimizer.state[new] = optimizer.state.pop(old)
