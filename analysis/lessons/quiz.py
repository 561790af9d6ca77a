"""The quiz: eight concepts, asked before and after with other numbers; which option is right is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike

from analysis.lessons.words import filled
from analysis.player_modules import FOLDER
from flexlora.importance import spectral_entropy
from flexlora.reallocation import plan_reallocation

PHASES = ("before", "after")
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8
"""Of AdamW, as torch has them unless told otherwise."""
VERDICTS = ("better", "worse", "no difference", "not told apart")
"""Of ``analysis.statistics.verdict``, in the order of the options."""


def rule(spectrum: Sequence[float], pairs: Sequence[Sequence[float]]) -> int:
    """Return which pair is what the paper prunes, the smallest |λ|, and the released code, the smallest λ."""
    return [list(pair) for pair in pairs].index([min(spectrum, key=abs), min(spectrum)])


def equal(spectrum: Sequence[float], angles: Sequence[float], entropies: Sequence[Sequence[float]]) -> int:
    """Return which numbers are the entropies of the true singular values of ΔW = P diag(λ) Q.

    Args:
        spectrum: two λ.
        angles: of each case, in degrees: between the two p, and between the two q, all of length 1.
        entropies: one a case, of each option.
    """
    found = []
    for angle in np.radians(angles):
        columns = np.array([[1.0, np.cos(angle)], [0.0, np.sin(angle)]])
        values = np.linalg.svd(columns @ np.diag(spectrum) @ columns.T, compute_uv=False)
        found.append(spectral_entropy(values) or 0.0)
    return _nearest(entropies, found)


def first(gradients: Sequence[float], rate: float, sizes: Sequence[Sequence[float]]) -> int:
    """Return which sizes |λ| has after AdamW's first step from λ = 0, where decay has nothing to shrink."""
    gradient = np.asarray(gradients, float)
    mean = (1 - ADAM_BETAS[0]) * gradient / (1 - ADAM_BETAS[0])
    square = (1 - ADAM_BETAS[1]) * gradient**2 / (1 - ADAM_BETAS[1])
    return _nearest(sizes, np.abs(rate * mean / (np.sqrt(square) + ADAM_EPSILON)))


def left(moves: Sequence[str], counts: Sequence[Sequence[int]]) -> int:
    """Return which pair is the number of gross and net moves.

    Args:
        moves: "AB" = a direction goes from A to B.
        counts: gross and net moves of each option.
    """
    gained = Counter(move[1] for move in moves)
    gained.subtract(move[0] for move in moves)
    net = sum(max(0, change) for change in gained.values())
    return [list(count) for count in counts].index([len(moves), net])


def next_pruned(entropy: float, ranks: Mapping[str, int]) -> int:
    """Return which matrix is pruned first after each got a direction with λ = 0; the number of matrices = a tie."""
    after = {name: entropy * float(np.log(rank) / np.log(rank + 1)) for name, rank in ranks.items()}
    if len(set(after.values())) == 1:
        return len(ranks)
    plan = plan_reallocation(after, {name: rank + 1 for name, rank in ranks.items()}, 1)
    return list(ranks).index(plan.prune[0])


def steadier(stabilities: Sequence[float]) -> int:
    """Return which order had the highest mean correlation with that of the next event."""
    return int(np.argmax(stabilities))


def parameters(taken: Sequence[int], given: Sequence[int]) -> int:
    """Return 0, 1 or 2: fewer, as many or more trained parameters, by the shapes of what loses and what gains one."""
    return 1 + int(np.sign(sum(given) - sum(taken)))


def said(verdict: str) -> int:
    """Return the place of a study's verdict among the options."""
    return VERDICTS.index(verdict)


RULES: dict[str, Callable[..., int]] = {
    own.__name__: own for own in (rule, equal, first, left, next_pruned, steadier, parameters, said)
}
"""Concept → the function that finds the right option."""


def quiz(facts: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the questions of each phase: ``concept``, ``teaches`` (lesson and step), ``text``, ``options``, ``right``.

    Args:
        facts: of the lessons; questions about runs and the study are answered by them.

    Raises:
        FileNotFoundError: the package was installed without its app.
    """
    source = yaml.safe_load((FOLDER / "learn/lessons/quiz.yaml").read_text(encoding="utf-8"))
    return {phase: [_question(concept, phase, facts) for concept in source] for phase in PHASES}


def _question(concept: dict[str, Any], phase: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    own = concept[phase]
    return {
        "concept": concept["concept"],
        "teaches": concept["teaches"],
        "text": own["text"],
        "options": own["options"],
        "right": RULES[concept["concept"]](**filled(own["numbers"], facts)),
    }


def _nearest(options: Sequence[ArrayLike], found: ArrayLike) -> int:
    return int(np.argmin([np.abs(np.asarray(one, float) - found).max() for one in options]))
