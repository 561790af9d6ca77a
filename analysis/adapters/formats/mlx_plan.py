"""A resized adapter as MLX stores it: both factors transposed, and one rank for all matrices in the configuration."""

from __future__ import annotations

from functools import partial
from typing import Any

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.files import AdapterError
from analysis.adapters.formats.format import Writer
from analysis.adapters.formats.plan import Factor, Plan, Ranks, copied, new_pair, own_tensors, same_tensors, unchanged
from analysis.adapters.formats.record import EXPERT
from analysis.adapters.settings import kept

WEIGHTS = "adapters.safetensors"


def plan_mlx(adapter: Adapter, ranks: Ranks, dtype: str | None) -> Plan:
    """Return the files of an adapter of one rank: the largest that is asked for, the others filled with zeros."""
    rank = max(ranks.values())
    factors: dict[str, Factor] = {}
    padded = 0
    for matrix in adapter.matrices:
        asked = ranks[matrix.name]
        if not asked:
            continue
        if matrix.layer_kind == EXPERT or unchanged(adapter, matrix, rank, dtype):
            factors |= same_tensors(adapter, matrix)
            continue
        padded += asked < rank
        names = {part: f"{_module(adapter, matrix)}.lora_{part.lower()}" for part in "AB"}
        shapes = {"A": (matrix.in_features, rank), "B": (rank, matrix.out_features)}
        factors |= new_pair(adapter, matrix, rank, dtype, names, shapes, transposed=True)
    own = own_tensors(adapter)
    beside = {name: copied(adapter, tensor) for name, tensor in adapter.file.tensors.items() if name not in own}
    notices = [f"MLX has one rank for a whole adapter: every matrix is written at r = {rank}."]
    if padded:
        notices.append(f"{padded} matrices have fewer directions than that, and are filled up with zeros.")
    config = partial(_config, adapter, rank)
    return Plan(WEIGHTS, factors, beside, {}, dict(adapter.file.metadata), config, tuple(notices))


def check_mlx(adapter: Adapter, ranks: Ranks) -> None:
    """Raise ``AdapterError`` without a known scale, for experts, and for unlike ranks."""
    kept(adapter, ranks)
    if not isinstance((adapter.config or {}).get("lora_parameters"), dict):
        raise AdapterError("Without lora_parameters in adapter_config.json the scale is unknown: nothing is written.")
    expert = next((matrix for matrix in adapter.matrices if matrix.layer_kind == EXPERT), None)
    if expert is not None:
        raise AdapterError(
            f"{expert.name} shares its factors with other experts and keeps its rank, and MLX has one rank for a whole "
            "adapter: an adapter with experts is not written smaller."
        )
    rank = max(ranks.values())
    unlike = next((m for m in adapter.matrices if 0 < ranks[m.name] < min(rank, m.rank)), None)
    if unlike is not None:
        raise AdapterError(
            f"MLX has one rank for a whole adapter; {ranks[unlike.name]} for {unlike.name} and {rank} for others were "
            "asked for. Ask for one rank, or for --as peft."
        )


def _module(adapter: Adapter, matrix: AdapterMatrix) -> str:
    return adapter.entries[matrix.name].product.tensors[1].name.removesuffix(".lora_a")


def _config(adapter: Adapter, rank: int) -> dict[str, Any]:
    config = dict(adapter.config or {})
    own = dict(config["lora_parameters"])
    if "alpha" in own:
        # Files of the versions that had an alpha: scale · alpha / rank stays.
        own["alpha"] = float(f"{own['alpha'] * rank / own.get('rank', 8):.12g}")
    return config | {"lora_parameters": own | {"rank": rank}}


MLX_WRITER = Writer(
    "one rank for all, as MLX has it, with `lora_parameters`; unlike ranks are refused, and adapters with experts",
    plan_mlx,
    check_mlx,
    one_rank=True,
)
