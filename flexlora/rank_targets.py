"""Budgets as a total rank: how many directions all matrices together may have at a step. Pure functions.

A schedule of moves (``flexlora.schedules``) says how many directions change place; these say how many are left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


def adalora(step: int, *, initial: int, target: int, warmup_steps: int, total_steps: int, final_steps: int) -> int:
    """Return AdaLoRA's b(t): target + (initial − target) · (1 − p)³ in the window, fast first.

    p = (t − warmup_steps) / (total_steps − final_steps − warmup_steps); truncated to a whole number, as in PEFT.
    Source: Zhang et al., ICLR 2023, equation 12; https://openreview.net/forum?id=lq62uWRJjiY.
    """
    return int((initial - target) * (1.0 - _progress(step, warmup_steps, total_steps - final_steps)) ** 3 + target)


def dora_dynamic(step: int, *, initial: int, target: int, warmup_steps: int, total_steps: int, final_steps: int) -> int:
    """Return DoRA's b(t): initial − (initial − target) · p³ in the window, slow first.

    Source: Mao et al., ACL 2024, https://arxiv.org/abs/2405.17357: the pruned fraction is ((r0 − rT) / r0) · p³.
    """
    return initial - int((initial - target) * _progress(step, warmup_steps, total_steps - final_steps) ** 3)


RANK_TARGETS: dict[str, Callable[..., int]] = {"adalora": adalora, "dora_dynamic": dora_dynamic}
"""Name → f(step, initial=, target=, warmup_steps=, total_steps=, final_steps=) → total rank."""


def keep_best(scores: Sequence[NDArray[np.float64]], count: int) -> tuple[list[NDArray[np.bool_]], float | None]:
    """Choose the directions to keep by one order over all matrices, as AdaLoRA and DoRA do.

    Everything at or below the k-th smallest score goes, k = number of directions − count; so equal scores at the
    threshold all go, and fewer than ``count`` may be left. A matrix may lose all its directions.

    Args:
        scores: one array (r,) a matrix.
        count: how many directions should be left.

    Returns:
        One mask (r,) a matrix, True = keep, and the k-th smallest score; None when nothing needs to go.
    """
    flat = np.concatenate(scores)
    removed = len(flat) - count
    if removed <= 0:
        return [np.ones(len(own), bool) for own in scores], None
    threshold = float(np.partition(flat, removed - 1)[removed - 1])
    return [own > threshold for own in scores], threshold


def _progress(step: int, start: int, end: int) -> float:
    if step <= start:
        return 0.0
    return 1.0 if step >= end else (step - start) / (end - start)
