"""``evaluation``: what the Trainer's metrics say, as a log takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEFT_OUT = ("_runtime", "_per_second", "_preparation_time", "epoch")
"""Endings of what the Trainer adds to the metrics of an evaluation."""


def evaluation(metrics: Mapping[str, Any] | None) -> tuple[str, dict[str, float]]:
    """Return the split that was evaluated and its numbers by name; no numbers where there are none.

    The split is ``validation``, or what ``metric_key_prefix`` says, which stands before ``_runtime``.
    """
    metrics = metrics or {}
    prefix = next((key.removesuffix("_runtime") for key in metrics if key.endswith("_runtime")), "eval")
    named = prefix if prefix.partition("_")[0] != "eval" else "eval"
    numbers = {
        key.removeprefix(f"{named}_"): float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float) and not key.endswith(LEFT_OUT)
    }
    return "validation" if named == "eval" else named, numbers
