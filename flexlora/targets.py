"""``find_targets``: which linear layers of a model are adapted, under which names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.heads import beside_bodies, embeddings, head_modules, new_embeddings, new_parameters
from flexlora.linear import FlexLoRALinear, gives_rows, linear_shape
from flexlora.matrix_names import describe_matrix

ALL_LINEAR = "all-linear"
"""PEFT's word for every linear layer outside the head: the default."""

TUNED = "BaseTunerLayer"
"""What every layer that PEFT has adapted is."""

TOLD_SHARE = 0.25
"""Share of a model's matrices that may stay unadapted without a word, when all linear layers were asked for."""


def plain_name(name: str) -> str:
    """Return a module's or parameter's name without what a compiled model adds to it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def trained_whole(model: nn.Module, modules_to_save: Sequence[str] | None) -> list[nn.Parameter]:
    """Return the parameters that are trained beside the adapter: heads, what no checkpoint brought, what was asked for.

    Raises:
        FlexLoRAError: a name of ``modules_to_save`` that no module has.
    """
    named = {plain_name(name): module for name, module in model.named_modules() if name}
    chosen = [*head_modules(model)]
    _check_written(modules_to_save or (), "modules_to_save")
    for entry in modules_to_save or ():
        found = [module for name, module in named.items() if matches(entry, name)]
        if not found:
            raise FlexLoRAError(f"modules_to_save {entry!r} is no module of {type(model).__name__}. {_exist(named)}")
        chosen += found
    every = [*(p for module in chosen for p in module.parameters()), *new_parameters(model), *beside_bodies(model)]
    return list({id(parameter): parameter for parameter in every}.values())


def find_targets(
    model: nn.Module,
    target_modules: Sequence[str] | None,
    *,
    exclude_modules: Sequence[str] | None = None,
    layers_to_transform: Sequence[int] | None = None,
    modules_to_save: Sequence[str] | None = None,
    least_side: int = 1,
) -> dict[str, nn.Module]:
    """Return name → linear layer to adapt, in module order; the options are those of ``AdapterConfig``.

    Of all linear layers, those with fewer than ``least_side`` inputs or outputs are left out, and told.

    Raises:
        FlexLoRAError: a target that matches nothing (with the names that exist), nothing left to adapt, or a model that
            is adapted already.
    """
    if not isinstance(model, nn.Module):
        raise FlexLoRAError(f"attach needs a torch model, not a {type(model).__name__}.")
    adapted = [name for name, module in model.named_modules() if isinstance(module, FlexLoRALinear)]
    if adapted and ".flexlora_directions." in adapted[0]:
        raise FlexLoRAError(
            "This is a PEFT model with a FlexLoRA adapter: nothing is to be attached. Its callback is another one: "
            "from flexlora.peft import FlexLoRACallback, and callbacks=[FlexLoRACallback()]."
        )
    if adapted:
        raise FlexLoRAError(f"The model is adapted already ({adapted[0]} and {len(adapted) - 1} more). Merge it first.")
    tuned = [name for name, module in model.named_modules() if any(k.__name__ == TUNED for k in type(module).__mro__)]
    if tuned:
        raise FlexLoRAError(
            f"The model holds adapters of PEFT already ({tuned[0]} and {len(tuned) - 1} more). Put them into its "
            "weights by model.merge_and_unload(), or take them off by model.unload(); FlexLoRA inside PEFT is "
            "get_peft_model(model, flexlora.peft.FlexLoRAConfig())."
        )
    whole = {id(parameter) for parameter in trained_whole(model, modules_to_save)}
    words = {id(module) for module in embeddings(model)}
    linear = {
        plain_name(name): module
        for name, module in model.named_modules()
        if name
        and linear_shape(module) is not None
        and id(module) not in words
        # A layer that is trained whole needs no adapter.
        and not any(id(parameter) in whole for parameter in module.parameters())
    }
    linear, others = _giving_rows(linear)
    everything = target_modules is None or tuple(target_modules) == (ALL_LINEAR,)
    chosen = dict(linear) if everything else _picked(model, linear, target_modules or (), "target_modules", others)
    for name in _picked(model, linear, exclude_modules or (), "exclude_modules"):
        chosen.pop(name, None)
    if layers_to_transform is not None:
        chosen = _in_layers(model, chosen, layers_to_transform)
    if everything:
        chosen = _large_enough(model, chosen, least_side)
    if not chosen:
        raise FlexLoRAError(f"{type(model).__name__} has no Linear or Conv1D layer outside its head.")
    if everything:
        _tell_what_is_left(model, linear.values(), whole)
    return chosen


def tell_new_embeddings(model: nn.Module, whole: Iterable[int]) -> None:
    """Warn of embeddings that were resized or drawn anew, and stay frozen; ``whole``: ids of what is trained."""
    new = {id(parameter) for parameter in new_embeddings(model)} - set(whole)
    names = [plain_name(name) for name, part in model.named_parameters() if id(part) in new]
    if names:
        # Resized input embeddings keep the mark of the checkpoint.
        held = {id(part): plain_name(name).rpartition(".")[2] for name, part in model.named_modules()}
        modules = ", ".join(dict.fromkeys(repr(held[id(part)]) for part in embeddings(model)))
        warnings.warn(
            f"{' and '.join(names)} did not come from the checkpoint (resize_token_embeddings, or a checkpoint without "
            f"it) and stays frozen: what is new stays as drawn. To train it: modules_to_save=[{modules}].",
            FlexLoRAWarning,
            stacklevel=5,
        )


def matches(entry: str, name: str) -> bool:
    """True when a module's name is the entry, ends with it after a dot, or fully matches it as a regular expression."""
    if entry == name or name.endswith("." + entry):
        return True
    return bool(set(entry) & set("^$*+?()[]{}|\\")) and re.fullmatch(entry, name) is not None


def _names(entry: str, parameter: str) -> bool:
    """True when an entry names a parameter, the module that holds it, or a layer that it stands for."""
    module, _, own = plain_name(parameter).rpartition(".")
    of_experts = "expert" in entry and "expert" in module
    return of_experts or matches(entry, f"{module}.{own}") or matches(entry, module)


def ambiguous(names: Iterable[str], others: Iterable[str]) -> bool:
    """True when one of the names is also the ending of one of the others."""
    others = list(others)
    return any(other.endswith("." + name) for name in names for other in others)


def _giving_rows(linear: Mapping[str, nn.Module]) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Part layers that give rows from those that look linear and do not; each kind is tried once."""
    kinds: dict[type, bool] = {}
    for module in linear.values():
        if type(module) not in kinds:
            kinds[type(module)] = gives_rows(module)
    parts: tuple[dict[str, nn.Module], dict[str, nn.Module]] = {}, {}
    for name, module in linear.items():
        parts[0 if kinds[type(module)] else 1][name] = module
    return parts


def _picked(
    model: nn.Module,
    linear: Mapping[str, nn.Module],
    entries: Sequence[str],
    option: str,
    others: Mapping[str, nn.Module] | None = None,
) -> dict[str, nn.Module]:
    _check_written(entries, option)
    for name, module in (others or {}).items():
        # A pattern may mean more than what can be adapted; a name means it.
        if any(f".{name}".endswith(f".{entry}") for entry in entries):
            raise FlexLoRAError(
                f"{option}: {name} ({type(module).__name__}) looks linear and gives something else than a row for each "
                "row, so ΔW cannot be added. Leave it out, or train it whole by modules_to_save."
            )
    unmatched = [entry for entry in entries if not any(matches(entry, name) for name in linear)]
    bare = [name for name, p in model.named_parameters() if p.dim() > 2] if unmatched else []
    fused = next((name for name in bare if any(_names(entry, name) for entry in unmatched)), None)
    if fused is not None:
        shape = " × ".join(map(str, model.get_parameter(fused).shape))
        raise FlexLoRAError(
            f"{option} {', '.join(unmatched)!r} matches no linear layer of {type(model).__name__}, but a bare tensor, "
            f"{plain_name(fused)} ({shape}): experts fused into one. It cannot be adapted and stays frozen. "
            f"{_exist(linear)}"
        )
    if unmatched:
        raise FlexLoRAError(
            f"{option} {', '.join(unmatched)!r} matches no linear layer of {type(model).__name__}. {_exist(linear)}"
        )
    return {name: module for name, module in linear.items() if any(matches(entry, name) for entry in entries)}


def _check_written(entries: Sequence[str], option: str) -> None:
    for entry in entries:
        try:
            re.compile(entry)
        except re.error as error:
            raise FlexLoRAError(f"{option} {entry!r} is neither a name nor a regular expression: {error}.") from error


def _in_layers(model: nn.Module, chosen: Mapping[str, nn.Module], layers: Sequence[int]) -> dict[str, nn.Module]:
    by_layer = {name: describe_matrix(name)[0] for name in chosen}
    exist = sorted({layer for layer in by_layer.values() if layer is not None})
    absent = sorted(set(layers) - set(exist))
    if absent:
        there = f"{exist[0]} to {exist[-1]}" if exist else "none"
        raise FlexLoRAError(
            f"layers_to_transform: {type(model).__name__} has no layer {', '.join(map(str, absent))} among its "
            f"targets; its layers: {there}."
        )
    return {name: module for name, module in chosen.items() if by_layer[name] in layers}


def _large_enough(model: nn.Module, chosen: dict[str, nn.Module], least: int) -> dict[str, nn.Module]:
    small = {name for name, module in chosen.items() if min(linear_shape(module) or (0, 0)) < least}
    if small and len(small) < len(chosen):
        first = min(small, key=len)
        inputs, outputs = linear_shape(chosen[first]) or (0, 0)
        warnings.warn(
            f"{len(small)} of {len(chosen)} linear layers of {type(model).__name__} are too small for "
            f"rank {least} and are left out, such as {first}, which is {outputs} × {inputs}.",
            FlexLoRAWarning,
            stacklevel=5,
        )
        return {name: module for name, module in chosen.items() if name not in small}
    return chosen


def _tell_what_is_left(model: nn.Module, linear: Iterable[nn.Module], whole: set[int]) -> None:
    """Warn when much of a model is in matrices that no linear layer holds, such as experts fused into one tensor."""
    covered = {id(p) for module in linear for p in module.parameters()} | whole
    covered |= {id(p) for module in embeddings(model) for p in module.parameters()}
    covered |= {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.dim() > 1}
    left = {name: p.numel() for name, p in model.named_parameters() if p.dim() > 1 and id(p) not in covered}
    share = sum(left.values()) / max(1, sum(sizes.values()))
    if share > TOLD_SHARE:
        largest = max(left, key=lambda name: left[name])
        warnings.warn(
            f"{share:.0%} of the weights of {type(model).__name__} are in no linear layer and stay frozen without an "
            f"adapter, such as {plain_name(largest)} {tuple(model.get_parameter(largest).shape)}.",
            FlexLoRAWarning,
            stacklevel=5,
        )


def _exist(named: Mapping[str, nn.Module]) -> str:
    endings = sorted({_ending(name) for name in named})
    more = f" and {len(endings) - 40} more" if len(endings) > 40 else ""
    return f"Names that exist: {', '.join(endings[:40])}{more}."


def _ending(name: str) -> str:
    # "encoder.layer.3.attention.output.dense" → "attention.output.dense": what a user would type.
    parts = name.split(".")
    last = max((index for index, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[last + 1 :]) or name
