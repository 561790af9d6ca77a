"""Between the directions of a PEFT model and the plain LoRA that is saved: A = diag(λ) Q, B = P."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from flexlora.adapter_files import check_finite, lora_config
from flexlora.errors import FlexLoRAError
from flexlora.frozen_layers import is_transposed
from flexlora.initializers import direction_generator, gaussian
from flexlora.peft.layer import FlexLoRALayer
from flexlora.peft.saved_lora import being_loaded
from flexlora.targets import plain_name

if TYPE_CHECKING:
    from flexlora.peft.config import FlexLoRAConfig

PARTS = ("Pt", "lam", "Q", "mask")


def layers_of(model: nn.Module, adapter_name: str) -> Iterator[tuple[str, FlexLoRALayer]]:
    """Yield name and layer of everything that holds a matrix of this adapter, in module order."""
    for name, module in model.named_modules():
        if isinstance(module, FlexLoRALayer) and adapter_name in module.flexlora_directions:
            yield name, module


def to_lora(
    model: nn.Module, config: FlexLoRAConfig, adapter_name: str, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights of a plain LoRA that computes the same ΔW, by PEFT's names, and keep its configuration.

    Args:
        model: the PEFT model, or the tuner in it.
        config: of the adapter; it keeps the ranks for ``save_pretrained``.
        adapter_name: which adapter.
        state: state dictionary of the model.

    Raises:
        FlexLoRAError: no matrix has a direction left, or values that are not finite.
    """
    inner = getattr(model, "get_base_model", lambda: model)()
    names = {id(module): plain_name(name) for name, module in inner.named_modules()}
    found: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    transposed = False
    for name, layer in layers_of(model, adapter_name):
        prefix = f"{name}.flexlora_directions.{adapter_name}."
        up, lam, down, mask = (state[prefix + part] for part in PARTS)
        gate = layer.matrix(adapter_name).gate
        acting = lam if gate is None else lam * gate.detach().to(lam)
        slots = mask.nonzero().flatten()
        if not len(slots):
            continue
        ranks[names[id(layer)]] = len(slots)
        transposed |= is_transposed(layer.base_layer)
        found[f"{name}.lora_A.{adapter_name}.weight"] = (acting.unsqueeze(1) * down)[slots].contiguous()
        found[f"{name}.lora_B.{adapter_name}.weight"] = up[slots].T.contiguous()
    check_finite(found)
    more = {"modules_to_save": config.modules_to_save, "trainable_token_indices": config.trainable_token_indices}
    config.keep_lora(lora_config(config.own(), ranks, inner, fan_in_fan_out=transposed, **more))
    return found


def from_lora(
    model: nn.Module, config: FlexLoRAConfig, adapter_name: str, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Write a plain LoRA into an adapter; return the state by the model's own names.

    Where PEFT loads it from a folder, ΔW is what it was under any r and lora_alpha of either; a state dictionary does
    not tell its scale, and is taken as one of the same. A matrix that the LoRA leaves out gets rank 0. Where the method
    trains λ it takes the product of the norms, and p and q are of length 1; a direction with λ = 0 keeps the q that
    stands in its slot.

    Raises:
        FlexLoRAError: matrices that this adapter does not have, or a folder that holds no plain LoRA.
    """
    saved = being_loaded()
    rest = dict(state)
    if not any(".lora_A." in key or ".lora_B." in key for key in state):
        return rest
    for index, (name, layer) in enumerate(layers_of(model, adapter_name)):
        own = {key: next((k for k in _keys(name, key) if k in rest), None) for key in ("lora_A", "lora_B")}
        A, B = (None if key is None else rest.pop(key) for key in own.values())
        if (A is None) != (B is None):
            raise FlexLoRAError(f"The checkpoint has one of lora_A and lora_B of {name}, and lacks the other.")
        matrix = layer.matrix(adapter_name)
        if saved is not None and A is not None and B is not None:
            B = B * (saved.scale(name, len(A)) / matrix.scale)
        _write(layer, adapter_name, A, B, (config, index))
        parts = (matrix.Pt, matrix.lam, matrix.Q, matrix.mask)
        prefix = f"{name}.flexlora_directions.{adapter_name}."
        rest |= {prefix + key: part.detach().clone() for key, part in zip(PARTS, parts, strict=True)}
    strange = sorted({_matrix_of(key) for key in rest if ".lora_A." in key or ".lora_B." in key})
    if strange:
        raise FlexLoRAError(
            f"The checkpoint adapts {len(strange)} {'matrix' if len(strange) == 1 else 'matrices'} that this adapter "
            f"has not, such as {strange[0]}: give FlexLoRAConfig the target_modules that it was trained with."
        )
    return rest


def _keys(name: str, key: str) -> tuple[str, str]:
    # Without a PeftModel around, files still hold its prefix.
    return f"{name}.{key}.weight", f"base_model.model.{name}.{key}.weight"


def _matrix_of(key: str) -> str:
    return plain_name(key.partition(".lora_")[0]).removeprefix("base_model.model.")


@torch.no_grad()
def _write(
    layer: FlexLoRALayer,
    adapter_name: str,
    A: Tensor | None,
    B: Tensor | None,
    drawn: tuple[FlexLoRAConfig, int],
) -> None:
    matrix, (config, index) = layer.matrix(adapter_name), drawn
    before, held = matrix.Q.detach().clone(), list(matrix.slots)
    matrix.gate = None
    for slot in held:
        matrix.empty(slot)
    if A is None or B is None:
        return
    A, B = A.to(before), B.to(before)
    while matrix.capacity < len(A):
        old = matrix.capacity
        matrix.grow()
        if matrix.capacity == old:
            raise FlexLoRAError(f"{matrix.name} can have rank {old} at most, and the checkpoint has {len(A)}.")
    generator = direction_generator(config.seed, 0, index, config.own().draws)
    for slot in range(len(A)):
        p, lam, q = B[:, slot], 1.0, A[slot]
        size = float(p.norm() * q.norm())
        if layer.trains_values(adapter_name) and size:
            p, lam, q = p / p.norm(), size, q / q.norm()
        elif not q.any():
            lam, q = 0.0, before[slot] if slot in held else gaussian(matrix.in_features, None, generator).to(before)
        matrix.fill(slot, p, lam, q)
