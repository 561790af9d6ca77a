"""A resized adapter as PEFT stores it: the ranks and alphas in its configuration, a plain LoRA in its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from analysis.adapters.adapter import Adapter
from analysis.adapters.files import WEIGHTS, AdapterError, NewTensor
from analysis.adapters.formats.format import Writer
from analysis.adapters.formats.module_paths import DOTTED
from analysis.adapters.formats.peft_names import copy_word, written_names, written_shapes
from analysis.adapters.formats.plan import Factor, Plan, Ranks, copied, new_pair, own_tensors
from analysis.adapters.formats.products import LOW_RANK
from analysis.adapters.formats.record import EXPERT
from analysis.adapters.settings import RESHAPED, is_plain, kept, new_config

_COMPONENTS = sorted((start for start in DOTTED if DOTTED[start]), key=len, reverse=True)
_UNKNOWN_NAMES = {
    "kohya": "its flat names do not say which modules they mean, and PEFT looks for modules by name",
    "gguf": "llama.cpp has names and an order of rows of its own, which no model that PEFT adapts has. Shrink the PEFT "
    "adapter that it was made of",
}
"""Format → why PEFT would not find its modules."""


def plan_peft(adapter: Adapter, ranks: Ranks, dtype: str | None) -> Plan:
    """Return the files of a PEFT LoRA; an adapter of another format goes by its modules' names in the model."""
    own = adapter.format == "peft"
    names = {} if own else _module_names(adapter)
    view = adapter if own else _renamed(adapter, names)
    back = {new: old for old, new in names.items()}
    new_ranks = {names.get(name, name): rank for name, rank in ranks.items()}
    factors: dict[str, Factor] = {}
    for matrix in view.matrices:
        rank = new_ranks[matrix.name]
        if rank and matrix.layer_kind != EXPERT:
            shapes = written_shapes(matrix, rank)
            for tensor, factor in new_pair(view, matrix, rank, dtype, written_names(matrix), shapes).items():
                factors[tensor] = factor._replace(matrix=back.get(matrix.name, matrix.name))
    beside = carried_tensors(adapter) if own else {}
    metadata = {**(adapter.file.metadata if own else {}), "format": "pt"}
    notices = () if own else ("PEFT finds modules by these names: they must be those of the model as transformers or "
                              f"diffusers builds it, such as {view.matrices[0].name}.",)  # fmt: skip
    return Plan(WEIGHTS, factors, beside, {}, metadata, partial(_config, view, new_ranks), notices)


def carried_tensors(adapter: Adapter) -> dict[str, NewTensor]:
    """Return what is written as it is; second copies of factors are not, they would have another rank."""
    shared = [entry.product.tensors for entry in adapter.entries.values() if entry.layer_kind == EXPERT]
    own = set(own_tensors(adapter)) - {tensor.name for tensors in shared for tensor in tensors}
    return {
        name: copied(adapter, tensor)
        for name, tensor in adapter.file.tensors.items()
        if name not in own and not (copy_word(name) and "lora_" in name) and ".lora_monteclora_sampler" not in name
    }


def _config(adapter: Adapter, ranks: Ranks) -> dict[str, Any]:
    config = new_config(adapter, ranks)
    # How the original began does not matter to finished weights, and would only cost time when they are loaded.
    config |= {"inference_mode": True, "init_lora_weights": True}
    if adapter.base_model and not config.get("base_model_name_or_path"):
        config["base_model_name_or_path"] = adapter.base_model
    # What these stored in another shape is written as plain factors.
    return {key: value for key, value in config.items() if key not in RESHAPED}


def _module_names(adapter: Adapter) -> dict[str, str]:
    """Return matrix → its name within the model, without the part of a pipeline."""
    found = {}
    for matrix in adapter.matrices:
        start = next((start for start in _COMPONENTS if matrix.name.startswith(start)), "")
        found[matrix.name] = matrix.name.removeprefix(start)
    return found


def _renamed(adapter: Adapter, names: Mapping[str, str]) -> Adapter:
    matrices = [matrix._replace(name=names[matrix.name]) for matrix in adapter.matrices]
    entries = {names[name]: entry._replace(name=names[name]) for name, entry in adapter.entries.items()}
    return replace(adapter, matrices=matrices, entries=entries)


def check_peft(adapter: Adapter, ranks: Ranks) -> None:
    """Raise ``AdapterError`` where PEFT's configuration cannot say what would be written."""
    kept(adapter, ranks)
    if adapter.format != "peft":
        _check_foreign(adapter)
        return
    config = adapter.config
    if config is None:
        raise AdapterError("Without adapter_config.json the scale is unknown, so no adapter can be written.")
    grouped = [m.name for m in adapter.matrices if m.kernel and is_plain(adapter) and _grouped(adapter, m.name)]
    if grouped:
        raise AdapterError(
            f"{grouped[0]} adapts a grouped convolution, whose factors cannot be written at other ranks."
        )
    if config.get("kasa_config"):
        raise AdapterError(
            "KaSA counts from weights that it changed, and PEFT would change them anew at the new ranks."
        )
    if adapter.starts_relative:
        raise AdapterError(
            f"This adapter began with init_lora_weights={config.get('init_lora_weights')!r} and counts from "
            "changed weights, which PEFT would derive anew at the old ranks. Convert it first: "
            "model.save_pretrained(folder, path_initial_model_for_weight_conversion=...)."
        )
    check_kernels(adapter)
    _check_attention(ranks)


def check_kernels(adapter: Adapter) -> None:
    """Refuse LoHa and LoKr of convolutions whose kernel the file does not tell: PEFT's LoRA has it in its shapes."""
    for matrix in adapter.matrices:
        product = adapter.entries[matrix.name].product
        if product.form != LOW_RANK and not matrix.kernel and "conv" in matrix.name.lower():
            raise AdapterError(
                f"{matrix.name} is a convolution by its name, stored as a matrix of {matrix.in_features} columns: its "
                "kernel is not in the file, and PEFT would not load it as a LoRA. Train with use_effective_conv2d."
            )


def _grouped(adapter: Adapter, name: str) -> bool:
    return not adapter.entries[name].product.plain


def _check_attention(ranks: Ranks) -> None:
    """Refuse unlike ranks in ``nn.MultiheadAttention``: PEFT gives its output projection the rank of its input's."""
    for name, rank in ranks.items():
        owner = name.removesuffix(".base_layer.out_proj")
        if owner != name and ranks.get(owner, rank) != rank:
            raise AdapterError(
                f"{owner} and its out_proj share a rank under PEFT; {ranks[owner]} and {rank} were asked for."
            )


def _check_foreign(adapter: Adapter) -> None:
    """Refuse what PEFT has no name or no place for: nothing is lost on the way."""
    why = _UNKNOWN_NAMES.get(adapter.format)
    names = _module_names(adapter)
    parts = sorted({old.removesuffix(new).rstrip(".") for old, new in names.items()})
    beside = [*adapter.skipped, *(name for name in adapter.carried if not name.endswith(".alpha"))]
    if why is None and any("." not in name or "processor." in name for name in names.values()):
        why = "some of its names are no paths of modules, and PEFT looks for modules by name"
    if why is None and len(parts) > 1:
        why = (
            f"it adapts {', '.join(part or 'a model of no name' for part in parts)}; an adapter of PEFT is of one model"
        )
    if why is None and any(matrix.layer_kind == EXPERT for matrix in adapter.matrices):
        why = "its experts share their factors in a way that PEFT does not"
    if why is None and any(entry.magnitude for entry in adapter.entries.values()):
        why = "its magnitudes (DoRA) are stored in another way, and would be lost"
    if why is None and beside:
        why = f"PEFT has no place for {beside[0]}" + (f" and {len(beside) - 1} more" if len(beside) > 1 else "")
    if why is not None:
        raise AdapterError(f"This adapter of {adapter.format} is not written as PEFT's: {why}.")


PEFT_WRITER = Writer(
    "LoRA and AdaLoRA as plain LoRA with `rank_pattern` and `alpha_pattern`; LoHa and LoKr with `--as lora`",
    plan_peft,
    check_peft,
)
