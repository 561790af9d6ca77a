"""``target_parameters`` of PEFT: the factors of all experts lie in one pair, and each expert is a matrix of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from analysis.adapters.files import AdapterError, Tensor
from analysis.adapters.formats.products import low_rank
from analysis.adapters.formats.record import EXPERT, Entry, check_product, refuse_shapes
from analysis.adapters.scales import configured_rank, matrix_scale

_LAST = ("down", "w2", "out", "fc2")
"""Words of the parameter that comes last in an expert, and is defined last."""


def parameter_owners(config: dict[str, Any] | None) -> Callable[[str], list[str]]:
    """Return f(module) → names of the parameters of it that the configuration targets, first wrapped first."""
    targets = (config or {}).get("target_parameters") or []
    if not isinstance(targets, list):
        return lambda module: []
    by_owner: dict[str, list[str]] = {}
    for target in sorted(map(str, targets), key=_defined_last):
        owner, _, parameter = target.rpartition(".")
        by_owner.setdefault(owner or parameter, []).append(parameter)

    def of(module: str) -> list[str]:
        bare = module.replace(".base_layer", "")
        found = [names for owner, names in by_owner.items() if bare == owner or bare.endswith(f".{owner}")]
        return [name for names in found for name in names]

    return of


def read_experts(module: str, parts: dict[str, Tensor], targets: Sequence[str], config: dict[str, Any]) -> list[Entry]:
    """Return one entry an expert.

    PEFT stores A (experts · r, in) with the experts one below another, and B (out, r · experts) with the experts
    alternating; how many there are follows from the configured rank.

    Raises:
        AdapterError: rows that are no multiple of the rank, or shapes that do not fit.
    """
    A, B = parts.get("lora_A"), parts.get("lora_B")
    if A is None or B is None:
        missing = "lora_A" if A is None else "lora_B"
        raise AdapterError(f"{module} has no {missing} in this file: a factor without its partner says nothing.")
    bare = module.replace(".base_layer", "")
    # Wrapped once for each parameter: the innermost, with most ".base_layer", is the first.
    depth = module.count(".base_layer")
    inner_first = len(targets) - 1 - depth
    parameter = targets[inner_first] if 0 <= inner_first < len(targets) else f"parameter{depth}"
    own = f"{bare}.{parameter}"
    rank = configured_rank(config, "LORA", own) or 0
    two = len(A.shape) == len(B.shape) == 2
    told = f"lora_A has shape {list(A.shape)} and lora_B {list(B.shape)}"
    if not two:
        refuse_shapes(own, told)
    check_product(own, (A.shape[0], B.shape[1]), (B.shape[0], A.shape[1]), told)
    if rank < 1 or A.shape[0] % rank:
        raise AdapterError(
            f"{own}: {told}. Its rows are no multiple of r={rank}, so how many experts share them is unknown."
        )
    experts, scale = A.shape[0] // rank, matrix_scale(config, "LORA", own, rank)
    if experts == 1:
        return [Entry(own, low_rank(B, A, (B.shape[0], A.shape[1]), rank), scale, EXPERT, (), rank)]
    shape = (B.shape[0], A.shape[1])
    return [
        Entry(
            f"{bare}.{number}.{parameter}",
            low_rank(
                B,
                A,
                shape,
                rank,
                change_A=partial(_rows, first=number * rank, count=rank),
                change_B=partial(_columns, first=number, step=experts),
                share=experts,
            ),
            scale,
            EXPERT,
            (),
            rank,
        )
        for number in range(experts)
    ]


def _rows(A: np.ndarray, first: int, count: int) -> np.ndarray:
    return A[first : first + count]


def _columns(B: np.ndarray, first: int, step: int) -> np.ndarray:
    return B[:, first::step]


def _defined_last(target: str) -> bool:
    """True for the parameter that a model defines after the others: PEFT wraps in that order."""
    name = target.rpartition(".")[2]
    return any(word in name for word in _LAST)
