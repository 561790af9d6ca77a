"""``Policy``: one rule that gives ranks before training or moves them at an event, and what it may see."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from flexlora.errors import FlexLoRAError
from flexlora.reallocation import Reallocation

Observed = Mapping[str, Mapping[str, Any]]
"""Name of an array → matrix → array; read-only, and only what the policy declared."""

ARRAYS: dict[str, str] = {
    "limits": "the highest rank that the matrix can have",
    "prices": "parameters of one direction: in + out",
    "module_types": "what the matrix is: query, ffn_out, mix, ...",
    "chance": "a number in (0, 1) drawn from the seed, the step and the matrix",
    "truth": "the true rank; known in task planted alone",
}
"""Arrays of both kinds → what there is a matrix."""

AT_EVENT: dict[str, str] = {
    "lambda": "λ as trained, (r,)",
    "true_singular_values": "singular values of ΔW, (r,) descending",
    "component_norms": "|λ| · ‖p‖ · ‖q‖ of each direction, (r,)",
    "sensitivities": "|λ · ∂L/∂λ| of each direction at this step, (r,); NaN where λ had no gradient",
    "smoothed_sensitivities": "AdaLoRA's score of each direction, smoothed over all steps so far, (r,)",
    "smoothed_shares": "‖λ p qᵀ‖ / ‖ΔW‖ of each direction, smoothed over all steps so far, (r,)",
    "ages": "steps since a direction was last added",
}
"""Further arrays of ``decide``."""

BEFORE_TRAINING: dict[str, str] = {
    "weights": "W0, (out, in)",
    "gradients": "∂L/∂W0, the mean over a few batches, (out, in)",
    "squared_gradients": "(∂L/∂W0)², the mean over the same batches, (out, in)",
    "activation_variances": "variances of the inputs along their principal axes, (in,) descending",
    "given_ranks": "what option initial_ranks says",
}
"""Further arrays of ``start``."""

KEY = re.compile(r"[A-Za-z0-9_-]+")

KINDS: dict[str, dict[str, str]] = {
    "start": {**ARRAYS, **BEFORE_TRAINING},
    "decide": {**ARRAYS, **AT_EVENT},
    "cut": {**ARRAYS, **AT_EVENT},
}
"""Kind → the arrays that it may read."""


@dataclass(frozen=True)
class Policy:
    """One rule.

    Attributes:
        key: its name in settings and logs.
        label: its name for people.
        kind: ``start``: f(observed, budget) → matrix → rank, which add up to the budget; then nothing moves. Or a pair:
            those ranks, and matrix → score that explains them in the log.
            ``decide``: f(observed, ranks, budget) → the moves of one event, see ``decided``.
            ``cut``: f(observed, budget) → (matrix, place) of each direction that goes; the budget is what may stay.
        reads: names of the arrays that it sees.
        function: the rule.
        method: key of ``METHODS``: what runs it.
        settings: options of that method that make it run.
        file: where it was loaded from; None = it comes with this package.
        sha256: of that file.
    """

    key: str
    label: str
    kind: str
    reads: tuple[str, ...]
    function: Callable[..., Any]
    method: str = "flexlora"
    settings: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not KEY.fullmatch(self.key):
            raise FlexLoRAError(f"A policy's key is made of letters, digits, _ and -; {_short(self.key)} is none.")
        if not isinstance(self.reads, tuple) or not all(isinstance(name, str) for name in self.reads):
            raise FlexLoRAError(f"Policy {self.key}: reads is {_short(self.reads)}; it is a list of names of arrays.")
        if self.kind not in KINDS:
            raise FlexLoRAError(f"Policy {self.key} has kind {self.kind!r}. Choose one of: {', '.join(KINDS)}.")
        for name in self.reads:
            if name not in KINDS[self.kind]:
                raise FlexLoRAError(
                    f"Policy {self.key} reads {name!r}, which a {self.kind} policy cannot see. "
                    f"It may read: {', '.join(KINDS[self.kind])}."
                )
        if not callable(self.function):
            raise FlexLoRAError(f"Policy {self.key} has no function: {self.kind} is {self.function!r}.")


def seen(policy: Policy, arrays: Mapping[str, Mapping[str, Any]]) -> Observed:
    """Return what a policy may see of ``arrays``: what it declared, and nothing that it could change."""
    found = {}
    for name in policy.reads:
        own = {}
        for matrix, value in arrays[name].items():
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False
            own[matrix] = value
        found[name] = MappingProxyType(own)
    return MappingProxyType(found)


def decided(
    policy: Policy,
    arrays: Mapping[str, Mapping[str, Any]],
    ranks: Mapping[str, int],
    budget: int,
    limits: Mapping[str, int],
    direction: str = "both",
) -> tuple[dict[str, float | None], Reallocation | None]:
    """Ask a ``decide`` policy for the moves of one event.

    It answers with scores (matrix → number, None = takes no part, and so does NaN of a matrix of which NaN was shown):
    the plan then moves directions from the lowest to
    the highest, as with an importance. Or with moves: a pair (prune, extend) of lists of matrices, a name once for each
    direction.

    Args:
        policy: asked.
        arrays: what is known; it sees what it declared.
        ranks: matrix → rank.
        budget: the most directions that may be pruned, and the most that may be extended.
        limits: matrix → highest rank.
        direction: ``both``: as many are extended as are pruned; ``prune_only``, ``extend_only``.

    Returns:
        Matrix → score, and the moves; None = the plan has to follow from the scores. Where moves were given, the score
        is the change in rank.

    Raises:
        FlexLoRAError: it failed, or its answer names no matrix, is no number, or breaks the budget.
    """
    answer = _call(policy, seen(policy, arrays), MappingProxyType(dict(ranks)), budget)
    if isinstance(answer, Mapping):
        unknown = _undefined(policy, arrays)
        scores = {
            name: None if value is None or (name in unknown and _is_nan(value)) else _number(policy, name, value)
            for name, value in answer.items()
        }
        _known(policy, scores, ranks)
        return {name: scores.get(name) for name in ranks}, None
    if isinstance(answer, Reallocation):
        answer = (answer.prune, answer.extend)
    if not isinstance(answer, Sequence) or isinstance(answer, str) or len(answer) != 2:
        raise FlexLoRAError(
            f"Policy {policy.key} returned {_short(answer)}; decide returns matrix → score, or a pair (prune, extend)."
        )
    prune, extend = (_names(policy, half) for half in answer)
    _known(policy, [*prune, *extend], ranks)
    _within_budget(policy, prune, extend, budget, direction)
    given, got = Counter(prune), Counter(extend)
    for name in {*prune, *extend}:
        after = ranks[name] - given[name] + got[name]
        if ranks[name] - given[name] < 1 or after > limits[name]:
            raise FlexLoRAError(
                f"Policy {policy.key} takes {name} from rank {ranks[name]} to {after}; it can have 1 to {limits[name]}."
            )
    scores = {name: float(got[name] - given[name]) for name in ranks}
    return dict(scores), Reallocation(prune, extend, budget)


def started(
    policy: Policy, arrays: Mapping[str, Mapping[str, Any]], budget: int, limits: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, float]]:
    """Ask a ``start`` policy for the ranks before training.

    Args:
        policy: asked.
        arrays: what is known; it sees what it declared.
        budget: directions of all matrices together.
        limits: matrix → highest rank.

    Returns:
        Matrix → rank, and matrix → score; no scores where the policy tells none.

    Raises:
        FlexLoRAError: it failed, or its answer leaves a matrix out, is no rank, or does not add up to the budget.
    """
    answer, told = _call(policy, seen(policy, arrays), budget), {}
    if isinstance(answer, tuple) and len(answer) == 2:
        answer, told = answer
    if not isinstance(answer, Mapping) or not isinstance(told, Mapping):
        raise FlexLoRAError(f"Policy {policy.key} returned {_short(answer)}; start returns matrix → rank.")
    _known(policy, answer, limits)
    missing = [name for name in limits if name not in answer]
    if missing:
        raise FlexLoRAError(f"Policy {policy.key} gives no rank to {missing[0]} and {len(missing) - 1} more.")
    ranks = {}
    for name, limit in limits.items():
        value = _number(policy, name, answer[name])
        if value != int(value) or not 0 <= value <= limit:
            raise FlexLoRAError(f"Policy {policy.key} gives {name} rank {value:g}; it can have 0 to {limit}.")
        ranks[name] = int(value)
    if sum(ranks.values()) != budget:
        raise FlexLoRAError(f"Policy {policy.key} gives {sum(ranks.values())} directions; the budget is {budget}.")
    _known(policy, told, limits)
    return ranks, {name: _number(policy, name, value) for name, value in told.items()}


def _call(policy: Policy, *arguments: Any) -> Any:
    try:
        return policy.function(*arguments)
    except (Exception, SystemExit) as error:  # someone else's code may raise anything
        hint = ""
        if isinstance(error, KeyError) and error.args and error.args[0] in KINDS[policy.kind]:
            hint = f" (it reads {', '.join(policy.reads) or 'nothing'}: declare it in reads)"
        raise FlexLoRAError(f"Policy {policy.key} failed: {reason(error)}{hint}") from error


def reason(error: BaseException) -> str:
    """Return type and message of what someone else's code raised, in one line."""
    try:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    except Exception:
        return type(error).__name__


def _names(policy: Policy, half: Any) -> tuple[str, ...]:
    if isinstance(half, str) or not isinstance(half, Sequence) or not all(isinstance(name, str) for name in half):
        raise FlexLoRAError(
            f"Policy {policy.key} returned {_short(half)} where a list of matrix names is meant: (prune, extend)."
        )
    return tuple(half)


def _known(policy: Policy, names: Any, matrices: Mapping[str, Any]) -> None:
    unknown = [name for name in names if not isinstance(name, str) or name not in matrices]
    if unknown:
        raise FlexLoRAError(
            f"Policy {policy.key} names {_short(unknown[0])}, which is no matrix here. The first is "
            f"{next(iter(matrices))}."
        )


def _number(policy: Policy, name: str, value: Any) -> float:
    try:
        found = float(value)
    except Exception:  # an object of someone else's may raise anything
        raise FlexLoRAError(f"Policy {policy.key} returned {_short(value)} for {name}, which is no number.") from None
    if not math.isfinite(found):
        hint = "; None means that it takes no part" if policy.kind == "decide" else ", which is no rank"
        raise FlexLoRAError(f"Policy {policy.key} returned {found:g} for {name}{hint}.")
    return found


def _undefined(policy: Policy, arrays: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the matrices of which the policy was shown NaN: a score of NaN is then no mistake of its own."""
    seen_by_it = (item for name in policy.reads for item in arrays[name].items())
    return {name for name, value in seen_by_it if isinstance(value, np.ndarray) and np.isnan(value).any()}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating) and math.isnan(value)


def _within_budget(policy: Policy, prune: Sequence[str], extend: Sequence[str], budget: int, direction: str) -> None:
    told = f"Policy {policy.key} prunes {len(prune)} and extends {len(extend)}"
    if max(len(prune), len(extend)) > budget:
        raise FlexLoRAError(f"{told}; the budget of this event is {budget}.")
    if direction == "both" and len(prune) != len(extend):
        raise FlexLoRAError(f"{told}; with direction both as many come as go.")
    if (direction == "prune_only" and extend) or (direction == "extend_only" and prune):
        raise FlexLoRAError(f"{told}; direction is {direction}.")


def _short(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
