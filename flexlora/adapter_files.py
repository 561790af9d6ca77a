"""Adapter folders: our own (exact state of every direction) and PEFT's (a plain LoRA with the same ΔW)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from flexlora.errors import FlexLoRAError
from flexlora.methods import METHODS
from flexlora.run_log import disk

if TYPE_CHECKING:
    from flexlora.adapter import Adapter

WEIGHTS = "adapter.safetensors"
CONFIG = "adapter.json"
FORMAT = 1


def save_adapter(adapter: Adapter, folder: Path) -> Path:
    """Write ``adapter.safetensors`` (P, λ, Q of the active directions, and the head) and ``adapter.json``."""
    disk.make_folder(folder)
    tensors = _head_tensors(adapter, "head.")
    for name, matrix in adapter.matrices.items():
        for key, part in zip(("P", "singular_values", "Q"), matrix.directions(), strict=True):
            tensors[f"{name}.{key}"] = part.cpu().contiguous()
    disk.put(folder / WEIGHTS, lambda file: save_file(tensors, file))
    method = next(name for name, method in METHODS.items() if method.config_class is type(adapter.config))
    header = {"format": FORMAT, "method": method, "config": adapter.config.to_dict(), "ranks": adapter.ranks()}
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
        adapter = method.attach(model, method.config_class.from_dict(header["config"]))
        _fill(adapter, tensors)
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, RuntimeError) as error:
        raise FlexLoRAError(f"{folder} is not an adapter for this model: {error}") from error
    return adapter


def export_peft(adapter: Adapter, folder: Path) -> Path:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors`` as PEFT's LoRA reads them.

    PEFT computes (alpha_k / r_k) · B A for each matrix; alpha_k = alpha · r_k / initial_rank makes that the fixed
    scale s, with A = diag(λ) Q and B = P. A matrix of rank 0 is left out: PEFT has no such thing, and its ΔW is 0.

    Raises:
        FlexLoRAError: no matrix has a direction left.
    """
    from peft import LoraConfig

    config = adapter.config
    ranks = {name: rank for name, rank in adapter.ranks().items() if rank}
    if not ranks:
        raise FlexLoRAError("Every matrix has rank 0: there is no adapter to export.")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _head_tensors(adapter, "base_model.model.")
    for name in ranks:
        P, lam, Q = adapter.matrices[name].directions()
        tensors[f"base_model.model.{name}.lora_A.weight"] = (lam.unsqueeze(1) * Q).cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = P.cpu().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    first = next(iter(adapter.matrices.values()))
    LoraConfig(
        r=config.initial_rank,
        lora_alpha=config.alpha,  # pyright: ignore[reportArgumentType]  (PEFT divides; a float is exact)
        target_modules=list(ranks),
        rank_pattern=dict(ranks),
        alpha_pattern={name: config.alpha * rank / config.initial_rank for name, rank in ranks.items()},
        modules_to_save=sorted({name.rpartition(".")[0].split(".")[0] for name in adapter.head}) or None,
        fan_in_fan_out=not isinstance(first.base, nn.Linear),
        inference_mode=True,
        base_model_name_or_path=getattr(getattr(adapter.model, "config", None), "_name_or_path", None) or None,
    ).save_pretrained(str(folder))
    return folder


def _head_tensors(adapter: Adapter, prefix: str) -> dict[str, Tensor]:
    return {
        prefix + name: parameter.detach().cpu().contiguous()
        for name, parameter in zip(adapter.head, adapter.head_parameters(), strict=True)
    }


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
    for name, parameter in zip(adapter.head, adapter.head_parameters(), strict=True):
        parameter.copy_(tensors["head." + name])
