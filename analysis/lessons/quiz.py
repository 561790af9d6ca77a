"""The quiz: eight concepts, asked before and after with other numbers; which option is right is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike

from analysis.lessons.words import filled
from analysis.player_modules import FOLDER
from flexlora.config import FlexLoRAConfig
from flexlora.reallocation import plan_reallocation

PHASES = ("before", "after")
SHOWN = "no difference"
"""The verdict of ``analysis.statistics.verdict`` that says: as good, within the margin."""
CHANCE = "random moves"
"""The control that moves as much, by lot."""
BETWEEN = 100
"""Steps from event to event of the run whose early moves are asked for; the shares do not hang on it."""


def ends(entropies: Mapping[str, float], pairs: Sequence[str]) -> int:
    """Return which pair loses and gains; "AB" = A loses, B gains."""
    plan = plan_reallocation(entropies, dict.fromkeys(entropies, 4), 1)
    return list(pairs).index(plan.prune[0] + plan.extend[0])


def cut(spectrum: Sequence[float], options: Sequence[float]) -> int:
    """Return which λ the released code prunes: the lowest number."""
    return list(options).index(min(spectrum))


def joined(rank: int, flags: Sequence[Sequence[bool]]) -> int:
    """Return what an extension changes at once: (the output and so the task loss, the regulariser).

    Args:
        rank: of the matrix before; its P and Q are drawn orthonormal, the new p and q of length 1.
        flags: what each option says of the two.
    """
    draw = np.random.default_rng(0)
    p, q = (np.linalg.qr(draw.normal(size=(4 * rank, rank)))[0] for _ in range(2))
    values, x = draw.normal(size=rank), draw.normal(size=4 * rank)
    new = [draw.normal(size=(4 * rank, 1)) for _ in range(2)]
    wider = [np.hstack([old, more / np.linalg.norm(more)]) for old, more in zip((p, q), new, strict=True)]
    before, after = (
        left @ (own * (right.T @ x)) for left, own, right in ((p, values, q), (wider[0], [*values, 0], wider[1]))
    )
    departures = [sum(_departure(side) for side in sides) for sides in ((p, q), wider)]
    changed = [not np.allclose(before, after), not np.isclose(*departures, atol=1e-9)]
    return [list(option) for option in flags].index(changed)


def _departure(columns: np.ndarray) -> float:
    """Return ‖CᵀC − I‖²."""
    return float(np.square(columns.T @ columns - np.eye(columns.shape[1])).sum())


def next_pruned(entropy: float, ranks: Mapping[str, int]) -> int:
    """Return which matrix is pruned first after each got a direction with λ = 0; the number of matrices = a tie."""
    after = {name: entropy * float(np.log(rank) / np.log(rank + 1)) for name, rank in ranks.items()}
    if len(set(after.values())) == 1:
        return len(ranks)
    plan = plan_reallocation(after, {name: rank + 1 for name, rank in ranks.items()}, 1)
    return list(ranks).index(plan.prune[0])


def early(b0: int, events: int, shares: Sequence[Sequence[float]]) -> int:
    """Return between which two shares that of the moves lies which the first half of the events allows.

    Args:
        b0: of the paper's schedule.
        events: how many there are, evenly spread over the whole run.
        shares: (low, high) of each option.

    Raises:
        ValueError: it lies in none of them.
    """
    steps = BETWEEN * (events + 1)
    config = FlexLoRAConfig(
        initial_budget=b0, total_steps=steps, warmup_steps=0, final_steps=0, interval=BETWEEN, schedule="paper"
    )
    curve = [config.budget(step) for step in config.event_steps()]
    share = sum(curve[: events // 2]) / sum(curve)
    return [low <= share <= high for low, high in shares].index(True)


def apart(gaps: Sequence[float], pairs: Sequence[Sequence[float]]) -> int:
    """Return which pair is nearest to the two gaps between the entropy of λ and that of ΔW."""
    return _nearest(pairs, gaps)


def shown(verdicts: Sequence[str]) -> int:
    """Return which method is shown to be as good; the number of methods = none.

    Raises:
        ValueError: more than one is, so that the question has no single answer.
    """
    found = [place for place, verdict in enumerate(verdicts) if verdict == SHOWN]
    if len(found) > 1:
        raise ValueError("the quiz asks for the one method that the study shows to be as good; there are more")
    return found[0] if found else len(verdicts)


def helps(rivals: Sequence[str], intervals: Sequence[Sequence[float]], ranks: Sequence[float]) -> int:
    """Return which result shows that entropy is why FlexLoRA is ahead of LoRA, where it is.

    Ahead of chance, too, at an equal total rank and by its whole interval: else any moving may be the reason.

    Args:
        rivals: whose accuracy was subtracted from FlexLoRA's, seed by seed.
        intervals: (low, high) of the mean difference, at 95 %.
        ranks: total rank of each rival, as a multiple of FlexLoRA's.

    Raises:
        ValueError: none does, or more than one.
    """
    results = zip(rivals, intervals, ranks, strict=True)
    (found,) = [
        place for place, (rival, (low, _), rank) in enumerate(results) if (rival, rank) == (CHANCE, 1) and low > 0
    ]
    return found


RULES: dict[str, Callable[..., int]] = {
    own.__name__: own for own in (ends, cut, joined, next_pruned, early, apart, shown, helps)
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
