"""What of the base model was unfrozen after ``get_peft_model``: trained beside an adapter, and saved with it.

PEFT saves adapters and ``modules_to_save``. A value of the base model that is trained all the same goes into the same
file under its own name, as PEFT does with embeddings that were resized: whoever loads the file has it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from flexlora.errors import FlexLoRAWarning
from flexlora.peft.layer import FlexLoRALayer

BASE = ".base_layer."
"""What stands in the name of a value that lies in an adapted layer."""


def unfrozen(model: nn.Module) -> set[str]:
    """Return the names of the base model's own parameters that are trained now."""
    own: set[int] = set()
    for module in model.modules():
        part = module.flexlora_directions if isinstance(module, FlexLoRALayer) else module
        if isinstance(module, FlexLoRALayer | AuxiliaryTrainingWrapper):
            own |= {id(parameter) for parameter in part.parameters()}
    return {name for name, part in model.named_parameters() if part.requires_grad and id(part) not in own}


def tell_unfrozen(names: Iterable[str]) -> None:
    """Warn that loading will write into the base model."""
    first, *rest = sorted(name.replace(BASE, ".") for name in names)
    others = f" and {len(rest)} more" if rest else ""
    warnings.warn(
        f"{first}{others} of the base model itself {'are' if rest else 'is'} trained and saved with the adapter: "
        "loading writes into the base model, where disable_adapter() does not take it back. modules_to_save=[...] "
        "keeps a copy for the adapter alone.",
        FlexLoRAWarning,
        stacklevel=4,
    )


def with_unfrozen(
    found: Mapping[str, Tensor], state: Mapping[str, Tensor], names: Iterable[str], adapter_name: str
) -> dict[str, Tensor]:
    """Return the weights of a plain LoRA with the values of these names, as a LoRA of the same matrices is loaded."""
    kept = dict(found)
    for name in names:
        layer, inside, rest = name.rpartition(BASE)
        # A matrix without directions is in no LoRA: its layer stands there as it is.
        bare = inside and f"{layer}.lora_A.{adapter_name}.weight" not in found
        if name in state:
            kept[f"{layer}.{rest}" if bare else name] = state[name].contiguous()
    return kept


def to_held(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of a file by the names of a model that adapts more matrices than the file."""
    held = dict(state)
    for name, layer in model.named_modules():
        if isinstance(layer, FlexLoRALayer):
            for key, _ in layer.base_layer.named_parameters():
                if f"{name}.{key}" in held:
                    held[f"{name}{BASE}{key}"] = held.pop(f"{name}.{key}")
    return held
