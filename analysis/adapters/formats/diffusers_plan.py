"""A resized adapter as diffusers stores it: its own names, with the ranks and alphas of each part in the header."""

from __future__ import annotations

import json
import re
from typing import Any

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.formats.diffusers_header import METADATA, header_settings, own_settings
from analysis.adapters.formats.format import Writer
from analysis.adapters.formats.pairs_plan import check_pairs, plan_pairs
from analysis.adapters.formats.plan import Plan, Ranks
from analysis.adapters.settings import pattern_settings


def plan_diffusers(adapter: Adapter, ranks: Ranks, dtype: str | None) -> Plan:
    """Return the file of the same names, and of the same s by ``.alpha`` or by the header."""
    plan = plan_pairs(adapter, ranks, dtype)
    text = plan.metadata.get(METADATA)
    if text is not None and any(_changes(adapter, ranks, matrix) for matrix in adapter.matrices):
        plan.metadata[METADATA] = json.dumps(_header(adapter, ranks), indent=2, sort_keys=True)
    return plan


def _changes(adapter: Adapter, ranks: Ranks, matrix: AdapterMatrix) -> bool:
    # A stored r may be more than the matrix has directions.
    return ranks[matrix.name] != adapter.entries[matrix.name].product.directions


def _header(adapter: Adapter, ranks: Ranks) -> dict[str, Any]:
    """Return the header's settings, each part with the ranks of its own matrices."""
    parts = header_settings(adapter.file.metadata)
    groups: dict[str, dict[str, AdapterMatrix]] = {part: {} for part in parts}
    for matrix in adapter.matrices:
        part, path = own_settings(parts, matrix.name)
        groups.setdefault(part, {})[path] = matrix
    found: dict[str, Any] = {}
    for part, settings in parts.items():
        own = groups[part]
        left = {path: matrix for path, matrix in own.items() if ranks[matrix.name]}
        if own and not left:
            continue
        changed = dict(settings)
        if any(_changes(adapter, ranks, matrix) for matrix in own.values()):
            changed |= pattern_settings(
                {path: ranks[matrix.name] for path, matrix in left.items()},
                {path: matrix.scale for path, matrix in left.items()},
                bool(settings.get("use_rslora")),
            )
        if len(left) < len(own):
            # A pattern for whole names: a list of names would also name what ends like one of them.
            changed["target_modules"] = "|".join(re.escape(path) for path in left)
        found |= {f"{part}.{key}" if part else key: value for key, value in changed.items()}
    return found


DIFFUSERS_WRITER = Writer(
    "pairs under their own names, with `r`, `lora_alpha` and both patterns in `lora_adapter_metadata`, or `.alpha`",
    plan_diffusers,
    check_pairs,
)
