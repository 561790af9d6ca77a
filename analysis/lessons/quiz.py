"""The quiz: eight concepts, asked before and after with other numbers; which option is right is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import yaml

from analysis.player_modules import FOLDER
from flexlora.importance import spectral_entropy
from flexlora.reallocation import plan_reallocation
from flexlora.schedules import SCHEDULES

PHASES = ("before", "after")


def even(spectra: Sequence[Sequence[float]]) -> int:
    """Return which spectrum has the highest entropy."""
    return int(np.argmax([spectral_entropy(own) or 0.0 for own in spectra]))


def scaled(spectrum: Sequence[float], factor: float) -> int:
    """Return 0, 1 or 2: the entropy falls, stays or rises when every λ is multiplied by a factor."""
    before, after = (spectral_entropy(np.asarray(spectrum) * by) or 0.0 for by in (1.0, factor))
    return 1 if math.isclose(before, after, rel_tol=1e-9) else 0 if after < before else 2


def pruned(scores: dict[str, float], budget: int) -> int:
    """Return which matrix, by its place, is the one that loses a direction."""
    plan = plan_reallocation(scores, dict.fromkeys(scores, 4), budget)
    return list(scores).index(plan.prune[0])


def smallest(spectrum: Sequence[float]) -> int:
    """Return which λ a prune takes: the smallest in size."""
    return int(np.argmin(np.abs(spectrum)))


def impact(taken: float, given: float) -> int:
    """Return what changes the output: 0 = taking, 1 = giving, 2 = both, 3 = neither."""
    changes = (taken != 0.0, given != 0.0)
    return {(True, False): 0, (False, True): 1, (True, True): 2}.get(changes, 3)


def extended(spectrum: Sequence[float]) -> int:
    """Return 0, 1 or 2: the entropy falls, stays or rises when a direction with λ = 0 joins."""
    before, after = spectral_entropy(spectrum) or 0.0, spectral_entropy([*spectrum, 0.0]) or 0.0
    return 1 if math.isclose(before, after) else 0 if after < before else 2


def allowed(step: int, budgets: Sequence[int], **window: Any) -> int:
    """Return which of some numbers the paper's schedule allows at a step."""
    return list(budgets).index(SCHEDULES["paper"](step, **window))


def said(low: float, high: float) -> int:
    """Return 0, 1 or 2: worse, not told apart or better, by an interval."""
    return 2 if low > 0 else 0 if high < 0 else 1


RULES: dict[str, Callable[..., int]] = {
    rule.__name__: rule for rule in (even, scaled, pruned, smallest, impact, extended, allowed, said)
}
"""Concept → the function that finds the right option."""


def quiz() -> dict[str, list[dict[str, Any]]]:
    """Return the questions of each phase: ``concept``, ``teaches`` (lesson and step), ``text``, ``options``, ``right``.

    Raises:
        FileNotFoundError: the package was installed without its app.
    """
    source = yaml.safe_load((FOLDER / "learn/lessons/quiz.yaml").read_text(encoding="utf-8"))
    return {phase: [_question(concept, phase) for concept in source] for phase in PHASES}


def _question(concept: dict[str, Any], phase: str) -> dict[str, Any]:
    own = concept[phase]
    right = RULES[concept["concept"]](**own["numbers"])
    return {
        "concept": concept["concept"],
        "teaches": concept["teaches"],
        "text": own["text"],
        "options": own["options"],
        "right": right,
    }
