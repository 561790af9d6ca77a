"""``Event``: what one reallocation saw and did, ready for the run log. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Event:
    """What one event saw and did, ready for the run log.

    Attributes:
        step: finished optimizer steps.
        budget: b(t), the most directions that may be pruned and the most that may be extended; for a method with a
            target, how many directions stood above it.
        measure: key of the importance that decided.
        importance: measure → matrix → value or None, for every measure that can be scored.
        decided: matrix → value that the plan used where a rule replaced the measure's own; None = undefined.
        prune: in order, ``{"matrix", "slot", "singular_value", "rules"}`` and, where directions are scored, ``score``;
            rule ``masked`` = the direction is off but stays stored, and may come back.
        extend: in order, ``{"matrix", "slot", "rules"}`` and perhaps ``score``; rule ``revived`` = it was off.
        refused: matrix → reason why it was passed over.
        rules: names of the rules that acted.
        target_rank: total rank that the schedule asks for; None without such a schedule.
        threshold: score at or below which directions go; None where nothing had to.
        adaptive: of the adaptive schedule: ``ceiling``, ``noise``, ``gaps``, ``thresholds``, ``undone``.
        scores: matrix → score of each stored direction, where directions are scored; None where matrices are.
    """

    step: int
    budget: int
    measure: str
    importance: dict[str, dict[str, float | None]]
    decided: dict[str, float | str | None] = field(default_factory=dict)
    prune: list[dict[str, Any]] = field(default_factory=list)
    extend: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    target_rank: int | None = None
    threshold: float | None = None
    scores: dict[str, list[float]] | None = None
    adaptive: dict[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """Return the fields that ``RunWriter.event`` takes, without those that say nothing."""
        optional = ("target_rank", "threshold", "scores", "adaptive")
        # Not dataclasses.asdict: it copies every number of every measure, to be written at once.
        held = {item.name: getattr(self, item.name) for item in fields(self)}
        return {key: value for key, value in held.items() if key not in optional or value is not None}
