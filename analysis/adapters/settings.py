"""The configuration of an adapter at other ranks: what PEFT loads, and the same as Python source to train anew with."""

from __future__ import annotations

import pprint
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.files import AdapterError
from analysis.adapters.formats.peft_names import copy_word
from analysis.adapters.formats.record import EXPERT
from analysis.adapters.patterns import unambiguous
from analysis.adapters.scales import configured_rank, matrix_scale

_ADALORA_ONLY = (
    "target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
)  # fmt: skip
_BOOKKEEPING = ("peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode")
"""What PEFT writes into a configuration that is no setting of training."""

_DEFAULTS: dict[str, Any] = {
    "lora_dropout": 0.0,
    "bias": "none",
    "init_lora_weights": True,
    "megatron_core": "megatron.core",
    "qalora_group_size": 16,
}
"""Settings whose default is something; those of which it is None, False or empty need no line."""

RESHAPED = ("use_bdlora", "use_qalora", "qalora_group_size", "monteclora_config")
"""Settings under which PEFT stores factors in another shape, or tensors of the rank's size beside them."""

_FIRST = ("task_type", "target_modules", "r", "lora_alpha", "rank_pattern", "alpha_pattern")
_BY_LAYER = ("layers_to_transform", "layers_pattern")
"""PEFT takes them with a list of modules only."""


def lora_settings(adapter: Adapter, ranks: Mapping[str, int]) -> dict[str, Any]:
    """Return ``r``, ``lora_alpha``, ``rank_pattern`` and ``alpha_pattern`` that give each matrix its rank and keep s.

    The most frequent values stand in ``r`` and ``lora_alpha``, the others in the patterns. Where no rank changes and
    the configuration says what the file holds, they are the configuration's own.
    """
    matrices = kept(adapter, ranks)
    names = [matrix.name for matrix in matrices]
    old = adapter.config if is_plain(adapter) else None
    # Copies go by the name of what they are copies of; experts share a rank, and keep it.
    others = [name for name in adapter.skipped if not copy_word(name)]
    others += [matrix.name for matrix in adapter.matrices if matrix.layer_kind == EXPERT]
    if old is not None and _unchanged(adapter, ranks):
        return {key: old.get(key) or {} if key.endswith("_pattern") else old.get(key) for key in _FIRST[2:]}
    alphas = {matrix.name: _alpha(adapter, matrix, ranks[matrix.name]) for matrix in matrices}
    keys = unambiguous(names, others)
    if others and old is not None:
        # What was not analysed keeps the rank it has, so what names it must stay; PEFT takes the first key that fits.
        return {
            "r": old.get("r"),
            "lora_alpha": old.get("lora_alpha"),
            "rank_pattern": _before({keys[name]: ranks[name] for name in names}, old.get("rank_pattern")),
            "alpha_pattern": _before({keys[name]: alphas[name] for name in names}, old.get("alpha_pattern")),
        }
    if not names:
        raise AdapterError("Only experts are adapted here, which share their ranks: there is nothing to set.")
    return _most_frequent({name: ranks[name] for name in names}, alphas, keys)


def pattern_settings(ranks: Mapping[str, int], scales: Mapping[str, float], stabilised: bool) -> dict[str, Any]:
    """Return ``r``, ``lora_alpha``, ``rank_pattern`` and ``alpha_pattern`` of modules with these ranks and s.

    ``stabilised`` is that of ``use_rslora``.
    """
    alphas = {name: _told_alpha(scales[name], rank, stabilised) for name, rank in ranks.items()}
    return _most_frequent(ranks, alphas, _own_keys(tuple(ranks)))


@lru_cache(maxsize=8)
def _own_keys(names: tuple[str, ...]) -> dict[str, str]:
    # Sizes are asked for again and again, of the same modules at other ranks.
    return unambiguous(names)


def _most_frequent(ranks: Mapping[str, int], alphas: Mapping[str, float], keys: Mapping[str, str]) -> dict[str, Any]:
    r = Counter(ranks.values()).most_common(1)[0][0]
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    return {
        "r": r,
        "lora_alpha": alpha,
        "rank_pattern": {keys[name]: rank for name, rank in ranks.items() if rank != r},
        "alpha_pattern": {keys[name]: own for name, own in alphas.items() if own != alpha},
    }


def new_config(adapter: Adapter, ranks: Mapping[str, int]) -> dict[str, Any]:
    """Return the adapter's configuration with other ranks, as a plain LoRA; matrices of rank 0 are not adapted."""
    config = {key: value for key, value in (adapter.config or {}).items() if key not in _ADALORA_ONLY}
    if not is_plain(adapter):
        # PEFT finds the modules of its other kinds in the same way.
        alike = ("target_modules", "exclude_modules", *_BY_LAYER) if adapter.format == "peft" else ()
        config = {key: config[key] for key in ("task_type", "modules_to_save", *alike) if key in config}
    config |= {**lora_settings(adapter, ranks), "peft_type": "LORA"}
    if adapter.kind == "ADALORA":
        config["use_rslora"] = False
    matrices = kept(adapter, ranks)
    given = config.get("target_modules")
    experts = sum(matrix.layer_kind == EXPERT for matrix in adapter.matrices)
    if len(matrices) + experts < len(adapter.matrices) or not (experts or (isinstance(given, str | list) and given)):
        # A pattern for whole names: a list of names would also name what ends like one of them.
        config["target_modules"] = "|".join(re.escape(matrix.name) for matrix in matrices)
        config = {key: value for key, value in config.items() if key not in _BY_LAYER}
    return config


def config_snippet(adapter: Adapter, ranks: Mapping[str, int]) -> str:
    """Return the ``LoraConfig`` of these ranks as Python source, to train anew with.

    Every setting of the adapter's configuration that is not PEFT's default is there, so that the same modules are
    adapted in the same way; how AdaLoRA moved rank is left out.
    """
    config = new_config(adapter, ranks)
    if adapter.kind == "ADALORA":
        config.pop("init_lora_weights", None)
    fields = {key: config.pop(key, None) for key in _FIRST} | dict(sorted(config.items()))
    lines = []
    for key, value in fields.items():
        if key in _BOOKKEEPING or value is None or value is False or value in ({}, [], _DEFAULTS.get(key)):
            continue
        text = pprint.pformat(value, width=100, sort_dicts=False).replace("\n", "\n    ")
        lines.append(f"    {key}={text},")
    return "\n".join(["from peft import LoraConfig", "", "config = LoraConfig(", *lines, ")"])


def kept(adapter: Adapter, ranks: Mapping[str, int]) -> list[AdapterMatrix]:
    """Return the matrices that keep a direction, and share it with no other: PEFT's LoRA can hold no others.

    Raises:
        AdapterError: none is left.
    """
    found = [matrix for matrix in adapter.matrices if ranks[matrix.name] and matrix.layer_kind != EXPERT]
    if not found and not any(matrix.layer_kind == EXPERT for matrix in adapter.matrices):
        raise AdapterError("Every matrix has rank 0: there is no adapter to write.")
    return found


def may_go(adapter: Adapter, matrix: AdapterMatrix) -> bool:
    """Return whether leaving a matrix out means ΔW = 0 there: not with a magnitude or a bias beside the factors."""
    return not adapter.entries[matrix.name].magnitude and not (adapter.config or {}).get("lora_bias")


def is_plain(adapter: Adapter) -> bool:
    """Return whether the configuration is that of a LoRA or AdaLoRA of PEFT."""
    return adapter.format == "peft" and adapter.kind in ("LORA", "ADALORA")


def _unchanged(adapter: Adapter, ranks: Mapping[str, int]) -> bool:
    return adapter.kind == "LORA" and all(
        ranks[matrix.name] == matrix.rank == configured_rank(adapter.config, adapter.kind, matrix.name)
        # Factors may hold more rows than min(out, in), which is all the rank that counts: s is of what is stored.
        and matrix.scale == matrix_scale(adapter.config, adapter.kind, matrix.name, matrix.rank)
        for matrix in adapter.matrices
    )


def _before(first: dict[str, Any], then: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**first, **{key: value for key, value in (then or {}).items() if key not in first}}


def _alpha(adapter: Adapter, matrix: AdapterMatrix, rank: int) -> float:
    stabilised = bool((adapter.config or {}).get("use_rslora")) and adapter.kind == "LORA"
    return _told_alpha(matrix.scale, rank, stabilised)


def _told_alpha(scale: float, rank: int, stabilised: bool) -> float:
    # Rounded to 12 digits: 16 · (3 / 8) shall be 6 and not 5.999...
    return float(f"{scale * (rank**0.5 if stabilised else rank):.12g}")
