"""Adapter folders: our own (exact state of every direction) and PEFT's (a plain LoRA with the same ΔW)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from flexlora.beside import buffers_of, first_names, moved_buffers, values_beside, whole_modules
from flexlora.errors import FlexLoRAError, FolderError
from flexlora.frozen_layers import is_transposed
from flexlora.linear import linear_shape
from flexlora.methods import METHODS
from flexlora.run_log import disk
from flexlora.targets import ambiguous, find_targets, plain_name

if TYPE_CHECKING:
    from peft import LoraConfig

    from flexlora.adapter import Adapter
    from flexlora.adapter_config import AdapterConfig

WEIGHTS = "adapter.safetensors"
CONFIG = "adapter.json"
FORMAT = 1
PEFT_PARTS = [
    "base_layer", *(f"{part}{end}" for part in ("lora_A", "lora_B", "lora_dropout") for end in ("", ".default")),
    "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector",
]  # fmt: skip
"""What PEFT's layer has in place of a linear one."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make a folder and write into it; what goes wrong there is a ``FolderError``."""
    try:
        disk.make_folder(folder)
        yield
    except (OSError, SafetensorError, ValueError) as error:
        if isinstance(error, FlexLoRAError):
            raise
        why = " ".join((getattr(error, "strerror", None) or str(error)).split())
        if isinstance(error, FileExistsError | NotADirectoryError):
            why = "a file is in its way"
        told = FolderError(f"{folder} cannot be written: {why}. Free room there, or choose another folder.")
        told.errno = getattr(error, "errno", None)
        raise told from error


def save_adapter(adapter: Adapter, folder: Path) -> Path:
    """Write ``adapter.safetensors`` and ``adapter.json``.

    Tensors are P, λ, Q of the active directions, the head, and what else ``flexlora.beside`` finds.
    """
    adapter.clear_empty()
    head, beside = {plain_name(name) for name in adapter.head}, values_beside(adapter)
    first = first_names(beside)
    tensors = {
        f"{'head' if name in head else 'beside'}.{name}": value.detach().cpu().clone().contiguous()
        for name, value in beside.items()
        if first[name] == name
    }
    for name, matrix in adapter.matrices.items():
        for key, part in zip(("P", "singular_values", "Q"), matrix.directions(), strict=True):
            tensors[f"{name}.{key}"] = part.cpu().contiguous()
    method = next(name for name, method in METHODS.items() if method.config_class is type(adapter.config))
    header = {"format": FORMAT, "method": method, "config": adapter.config.to_dict(), "ranks": adapter.ranks()}
    header["export"] = about_model(adapter)
    with writing(folder):
        disk.put(folder / WEIGHTS, lambda file: save_file(tensors, file))
        disk.put_bytes(folder / CONFIG, json.dumps(header, indent=1).encode())
    return folder


def load_adapter(model: nn.Module, folder: str | Path) -> Adapter:
    """Attach a saved adapter to a fresh model of the same shape.

    Raises:
        FlexLoRAError: files that are missing, damaged or made for another model.
    """
    folder = Path(folder)
    try:
        header = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
        if header["format"] != FORMAT:
            raise FlexLoRAError(f"{folder} has adapter format {header['format']}; this version reads {FORMAT}.")
        method = METHODS[header.get("method", "flexlora")]
        config = method.config_class.from_dict(header["config"])
        # Before anything of the model is changed.
        _check_fits(model, config, tensors)
        adapter = method.attach(model, config)
        _fill(adapter, tensors)
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, RuntimeError) as error:
        raise FlexLoRAError(f"{folder} is not an adapter for this model: {error}") from error
    return adapter


def export_peft(adapter: Adapter, folder: Path, beside: Mapping[str, Tensor] | None = None) -> Path:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors`` as PEFT's LoRA reads them.

    PEFT computes (alpha_k / r_k) · B A for each matrix; alpha_k = alpha · r_k / initial_rank makes that the fixed
    scale s, with A = diag(λ) Q and B = P. A matrix of rank 0 is left out: PEFT has no such thing, and its ΔW is 0.
    ``beside`` are values of other modules, None = those that the model has.

    Raises:
        FlexLoRAError: no matrix has a direction left, values that are not finite, or something that PEFT cannot hold.
    """
    check_exportable(adapter)
    adapter.clear_empty()
    ranks = {name: rank for name, rank in adapter.ranks().items() if rank}
    first = next(iter(adapter.matrices.values()))
    config = lora_config(
        adapter.config,
        ranks,
        adapter.model,
        modules_to_save=saved_modules(adapter) or None,
        fan_in_fan_out=is_transposed(first.base),
        base_model_name_or_path=getattr(getattr(adapter.model, "config", None), "_name_or_path", None) or None,
    )
    beside = values_beside(adapter) if beside is None else beside
    # Cloned: in PEFT each module has values of its own.
    tensors = {f"base_model.model.{name}": value.detach().cpu().clone().contiguous() for name, value in beside.items()}
    for name in ranks:
        P, lam, Q = adapter.matrices[name].directions()
        tensors[f"base_model.model.{name}.lora_A.weight"] = (lam.unsqueeze(1) * Q).cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = P.cpu().contiguous()
    check_finite(tensors)
    with writing(folder):
        path = folder / "adapter_model.safetensors"
        disk.put(path, lambda file: save_file(tensors, file, metadata={"format": "pt"}))
        config.save_pretrained(str(folder))
    return folder


def lora_config(config: AdapterConfig, ranks: Mapping[str, int], model: nn.Module, **more: Any) -> LoraConfig:
    """Return PEFT's configuration of a LoRA with these ranks and, for each matrix, the fixed scale.

    Args:
        config: gives alpha and initial_rank.
        ranks: name → rank of the matrices that have one, at least 1.
        model: with the names that ``ranks`` uses.
        **more: further options of ``LoraConfig``.

    Raises:
        FlexLoRAError: no matrix has a direction left.
    """
    from peft import LoraConfig

    if not ranks:
        raise FlexLoRAError("Every matrix has rank 0: there is no adapter to export.")
    return LoraConfig(
        r=config.initial_rank,
        lora_alpha=config.alpha,  # pyright: ignore[reportArgumentType]  (PEFT divides; a float is exact)
        target_modules=_only(ranks, model),
        rank_pattern={_anchored(name, ranks): rank for name, rank in ranks.items()},
        alpha_pattern={
            _anchored(name, ranks): config.alpha * rank / config.initial_rank for name, rank in ranks.items()
        },
        inference_mode=True,
        **more,
    )


def about_model(adapter: Adapter) -> dict[str, Any]:
    """Return what an export needs to know of the model, as JSON values: it is kept beside the weights.

    ``refused`` is why PEFT cannot hold the adapter, None where it can.
    """
    refused = None
    try:
        check_exportable(adapter)
    except FlexLoRAError as error:
        refused = str(error)
    ranks = {name: rank for name, rank in adapter.ranks().items() if rank}
    beside = values_beside(adapter)
    return {
        "base_model": getattr(getattr(adapter.model, "config", None), "_name_or_path", None) or None,
        "transposed": is_transposed(next(iter(adapter.matrices.values())).base),
        "matrices": list(adapter.matrices),
        "head": [plain_name(name) for name in adapter.head],
        "beside": list(beside),
        "shared": {name: first for name, first in first_names(beside).items() if first != name},
        "target_modules": _only(ranks, adapter.model),
        "modules_to_save": [] if refused else saved_modules(adapter),
        "refused": refused,
    }


def check_exportable(adapter: Adapter) -> None:
    """Raise ``FlexLoRAError`` when the model holds something that PEFT's files cannot."""
    reached = Counter(id(m) for _, m in adapter.model.named_modules(remove_duplicate=False))
    for name, matrix in adapter.matrices.items():
        if reached[id(matrix)] > 1:
            raise FlexLoRAError(
                f"{name} stands in {reached[id(matrix)]} places of the model, and PEFT would adapt one of them. "
                "merge() and save the model instead."
            )
        if any(parameter.requires_grad for parameter in matrix.base.parameters()):
            raise FlexLoRAError(
                f"{name} is adapted, and its own weight is trained beside that: PEFT saves one of both. merge() and "
                "save the model instead, or adapt without it (exclude_modules)."
            )
    for name in map(plain_name, moved_buffers(adapter)):
        if ".base." in name and name.partition(".base.")[0] in adapter.matrices:
            raise FlexLoRAError(
                f"{name.replace('.base.', '.')} moves in training and is a part of an adapted layer: PEFT saves one of "
                "both. Use save(), or merge() and save the model."
            )
    loose = [name for name in (*adapter.head, *moved_buffers(adapter)) if "." not in plain_name(name)]
    if loose:
        raise FlexLoRAError(
            f"{', '.join(loose)} changes in training and belongs to no module below the model itself: PEFT cannot save "
            "it. Use save(), or merge() and save the model."
        )
    for name in saved_modules(adapter):
        inside = [m for m in adapter.matrices if m.startswith(f"{name}.") or f"model.{m}".startswith(f"{name}.")]
        if inside:
            raise FlexLoRAError(
                f"{name} itself holds values that training changes, and {inside[0]} in it is adapted: PEFT saves one "
                "of both. Use save(), or merge() and save the model."
            )


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ``FlexLoRAError`` when what would be exported holds values that are not finite."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FlexLoRAError(
                f"{name.removeprefix('base_model.model.')} holds values that are not finite: training has diverged. "
                "Export a checkpoint of before, or train anew with a lower learning rate."
            )


def _only(ranks: Mapping[str, int], model: nn.Module) -> list[str] | str:
    """Return ``target_modules`` that mean these matrices and no other: PEFT takes a name for an ending, too."""
    names = [plain_name(name) for name, _ in model.named_modules()]
    if not ambiguous(ranks, names):
        return list(ranks)
    return "|".join(re.escape(name) for name in ranks)


def _anchored(name: str, ranks: Mapping[str, int]) -> str:
    """Return a key of PEFT's patterns, which match endings: where a name is also one, it is held to the beginning."""
    return f"^{re.escape(name)}" if ambiguous([name], ranks) else name


def saved_modules(adapter: Adapter) -> list[str]:
    """Return ``modules_to_save`` that mean the whole modules beside the adapter and no other: PEFT compares endings.

    Raises:
        FlexLoRAError: a module that PEFT cannot tell from another one.
    """
    there = {f"model.{plain_name(name)}" for name, _ in adapter.model.named_modules(remove_duplicate=False) if name}
    # PEFT looks after its own layers stand there.
    there |= {f"model.{name}.{part}" for name, rank in adapter.ranks().items() if rank for part in PEFT_PARTS}
    found = []
    for name in whole_modules(adapter):
        ending = f"model.{name}"
        alone = [entry for entry in (name, ending) if all(key == ending for key in there if key.endswith(entry))]
        if not alone:
            raise FlexLoRAError(
                f"{name} is trained, and PEFT cannot tell it from another module whose name ends so. merge() and save "
                "the model instead."
            )
        found.append(alone[0])
    return found


@torch.no_grad()
def _fill(adapter: Adapter, tensors: dict[str, Tensor]) -> None:
    for name, matrix in adapter.matrices.items():
        P, lam, Q = (tensors[f"{name}.{key}"] for key in ("P", "singular_values", "Q"))
        for slot in list(matrix.slots):
            matrix.empty(slot)
        while matrix.capacity < lam.shape[0]:
            matrix.grow()
        for slot in range(lam.shape[0]):
            matrix.fill(slot, P[:, slot], float(lam[slot]), Q[slot])
    named = {plain_name(n): p for n, p in adapter.model.named_parameters(remove_duplicate=False)}
    for kind, name, values in _beside(tensors):
        part = named[name] if name in named else buffers_of(adapter.model)[name]
        if kind == "head":
            # Also what was unfrozen by hand when it was saved.
            part.requires_grad_(True)
        part.copy_(values)


def _beside(tensors: Mapping[str, Tensor]) -> list[tuple[str, str, Tensor]]:
    """Return kind (head or beside), name and values of what is no part of a matrix."""
    keys = [key.partition(".") for key in tensors if key.startswith(("head.", "beside."))]
    return [(kind, name, tensors[f"{kind}.{name}"]) for kind, _, name in keys]


def _check_fits(model: nn.Module, config: AdapterConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise ``FlexLoRAError`` when a file holds other matrices, or others of their shapes, than the model would."""
    targets = find_targets(model, **config.selection)
    kept = {key.removesuffix(".singular_values") for key in tensors if key.endswith(".singular_values")}
    for name in sorted(kept ^ set(targets)):
        told = "is not among the matrices of this model" if name in kept else "is in this model and not in the file"
        raise FlexLoRAError(f"{name} {told}. {_WHERE}")
    for name, module in targets.items():
        inputs, outputs = linear_shape(module) or (0, 0)
        p, lam, q = (tensors[f"{name}.{key}"] for key in ("P", "singular_values", "Q"))
        if p.shape != (outputs, len(lam)) or q.shape != (len(lam), inputs) or lam.dim() != 1:
            shape = f"{p.shape[0]} × {q.shape[-1]}"
            raise FlexLoRAError(f"{name} is {outputs} × {inputs} in this model and {shape} in the file. {_WHERE}")
    named = {plain_name(n): p for n, p in model.named_parameters(remove_duplicate=False)} | buffers_of(model)
    for _, name, values in _beside(tensors):
        # The weight of an adapted layer, where that is trained too.
        layer, _, last = name.rpartition(".base.")
        there = named.get(f"{layer}.{last}" if layer in targets else name)
        if there is None or there.shape != values.shape:
            mine = "not there" if there is None else f"of shape {tuple(there.shape)}"
            raise FlexLoRAError(f"{name} is {mine} in this model and {tuple(values.shape)} in the file. {_WHERE}")


_WHERE = "Load it into the model that it was trained on."
