"""A resized adapter under the names that it has: pairs with an alpha each, as kohya and ComfyUI store them."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.dtypes import rounded, stored
from analysis.adapters.files import OWN_WEIGHTS, WEIGHTS, AdapterError, NewTensor, Tensor
from analysis.adapters.formats.format import Writer
from analysis.adapters.formats.pairs import ALPHA, tensor_part
from analysis.adapters.formats.peft_names import written_shapes
from analysis.adapters.formats.plan import (
    LOOSE_WEIGHTS,
    Factor,
    Plan,
    Ranks,
    copied,
    new_pair,
    own_tensors,
    same_tensors,
    unchanged,
)
from analysis.adapters.formats.products import LOW_RANK
from analysis.adapters.settings import kept

_HASHES = ("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")
"""Of kohya's header: of the tensors as they were."""
DYNAMIC = "Dynamic"
"""What kohya's scripts write where matrices have unlike ranks."""
_ROUNDING = 0.01
"""An alpha that its type would round further than this is written in F32."""


class _Alpha(NamedTuple):
    tensor: NewTensor
    scale: float


def plan_pairs(adapter: Adapter, ranks: Ranks, dtype: str | None) -> Plan:
    """Return the file of the same names, with the alphas that keep every s."""
    alphas = {
        module: tensor
        for module, part, tensor in ((*tensor_part(t.name), t) for t in adapter.file.tensors.values())
        if part == ALPHA
    }
    modules = {matrix.name: tensor_part(_first(adapter, matrix).name)[0] for matrix in adapter.matrices}
    replaced = {*own_tensors(adapter), *(alphas[m].name for m in modules.values() if m in alphas)}
    beside = {name: copied(adapter, t) for name, t in adapter.file.tensors.items() if name not in replaced}
    factors: dict[str, Factor] = {}
    scales: dict[str, float] = {}
    notices = []
    cores = 0
    for matrix in adapter.matrices:
        rank, alpha = ranks[matrix.name], alphas.get(modules[matrix.name])
        if not rank:
            continue
        if unchanged(adapter, matrix, rank, dtype):
            factors |= same_tensors(adapter, matrix)
            if alpha is not None:
                beside[alpha.name] = copied(adapter, alpha)
            continue
        names, shapes = _pair(adapter, matrix, rank, modules[matrix.name])
        factors |= new_pair(adapter, matrix, rank, dtype, names, shapes)
        cores += len(adapter.entries[matrix.name].product.tensors) == 3 and matrix.rank > 0
        if alpha is not None:
            made = _new_alpha(matrix.scale * rank, rank, alpha)
            beside[alpha.name], scales[matrix.name] = made
    if cores and adapter.kind == "LORA":
        notices.append(f"{cores} matrices had a middle factor (lora_mid): they are written as two factors, without it.")
    same = all(ranks[matrix.name] for matrix in adapter.matrices) and all(f.source for f in factors.values())
    if not same and any(key in adapter.file.metadata for key in _HASHES):
        notices.append("Hashes in the header were of the tensors as they were: they are left out.")
    metadata = dict(adapter.file.metadata) if same else _metadata(adapter, ranks)
    return Plan(_file_name(adapter), factors, beside, scales, metadata, None, tuple(notices))


def check_pairs(adapter: Adapter, ranks: Ranks) -> None:
    """Raise ``AdapterError`` where two tensors would have one name, or nothing is left."""
    kept(adapter, ranks)
    own = own_tensors(adapter)
    for matrix in adapter.matrices:
        names, _ = _pair(adapter, matrix, 1, tensor_part(_first(adapter, matrix).name)[0])
        taken = next((name for name in names.values() if name in adapter.file.tensors and name not in own), None)
        if taken is not None:
            raise AdapterError(f"{matrix.name} is stored in two ways: {taken} stands beside it, and would be replaced.")


def _first(adapter: Adapter, matrix: AdapterMatrix) -> Tensor:
    return adapter.entries[matrix.name].product.tensors[0]


def _pair(
    adapter: Adapter, matrix: AdapterMatrix, rank: int, module: str
) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Return the names and the shapes of both factors: those that they have, else kohya's."""
    product = adapter.entries[matrix.name].product
    shapes = written_shapes(matrix, rank)
    if product.form != LOW_RANK:
        return {"A": f"{module}.lora_down.weight", "B": f"{module}.lora_up.weight"}, shapes
    B, A = product.tensors[0], product.tensors[-1]
    if product.plain:
        shapes = {"A": (rank, *A.shape[1:]), "B": (B.shape[0], rank, *B.shape[2:])}
    return {"A": A.name, "B": B.name}, shapes


def _new_alpha(value: float, rank: int, tensor: Tensor) -> _Alpha:
    """Return alpha as a tensor of its own type, and the s that it then gives: the factors take what rounding leaves."""
    number = np.full(max(1, math.prod(tensor.shape)), value)
    dtype = tensor.dtype
    try:
        held = rounded(number, dtype)
    except AdapterError:
        held = np.zeros(1)
    if abs(float(held[0]) - value) > _ROUNDING * abs(value):
        dtype, held = "F32", rounded(number, "F32")
    data = stored(held, dtype)
    return _Alpha(NewTensor(dtype, tensor.shape, lambda: data), float(held[0]) / rank)


def _file_name(adapter: Adapter) -> str:
    """Return the input's name, unless a folder with that file would be taken for another format's."""
    name = adapter.file.path.name
    known = name.endswith(".safetensors") and name not in (WEIGHTS, OWN_WEIGHTS, "optimizer.safetensors")
    return name if known else LOOSE_WEIGHTS


def _metadata(adapter: Adapter, ranks: Ranks) -> dict[str, str]:
    """Return the header's texts with the ranks and alphas that kohya writes there, where they were there before."""
    found = {key: value for key, value in adapter.file.metadata.items() if key not in _HASHES}
    groups: dict[bool, list[AdapterMatrix]] = {True: [], False: []}
    for matrix in adapter.matrices:
        if ranks[matrix.name]:
            groups[math.prod(matrix.kernel) > 1].append(matrix)
    dims = {conv: _common([ranks[m.name] for m in own]) for conv, own in groups.items() if own}
    alphas = {conv: _common([m.scale * ranks[m.name] for m in own]) for conv, own in groups.items() if own}
    linear = min(dims, default=False)
    for key, values in (("ss_network_dim", dims), ("ss_network_alpha", alphas)):
        if key in found and values:
            found[key] = values[linear]
    if "ss_network_module" in found and adapter.kind != "LORA":
        found["ss_network_module"] = "networks.lora"
    if "ss_network_args" in found:
        found["ss_network_args"] = _network_args(found["ss_network_args"], dims, alphas, adapter.kind != "LORA")
    return found


def _network_args(text: str, dims: dict[bool, str], alphas: dict[bool, str], plain: bool) -> str:
    try:
        own: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(own, dict):
        return text
    new = {"conv_dim": dims.get(True), "conv_alpha": alphas.get(True), "algo": "lora" if plain else None}
    changed = {key: value for key, value in new.items() if key in own and value is not None}
    return json.dumps({**own, **changed}) if changed else text


def _common(values: list[Any]) -> str:
    told = {f"{value:.12g}" for value in values}
    return told.pop() if len(told) == 1 else DYNAMIC


PAIRS_WRITER = Writer(
    "pairs under their own names, with `.alpha` and the header's `ss_network_dim` and `ss_network_alpha`; `lora_mid`, "
    "LoHa, LoKr and differences become plain pairs, all but the first with `--as lora`",
    plan_pairs,
    check_pairs,
)
