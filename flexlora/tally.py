"""``Tally``: what a run counts of itself, and how moves are counted everywhere. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from flexlora.event import Event


def count_moves(pruned: int, extended: int) -> int:
    """Return directions moved: one move is one pruned and one extended; where one kind is more, that counts."""
    return max(pruned, extended)


def describe_moves(pruned: int, extended: int) -> str:
    """Return moves in words: "12 directions moved", or what was pruned and what extended where they differ."""
    if pruned == extended:
        return f"{pruned} direction{'' if pruned == 1 else 's'} moved"
    both = {"pruned": pruned, "extended": extended}
    told = [f"{count} direction{'' if count == 1 else 's'} {word}" for word, count in both.items() if count]
    return ", ".join(told)


@dataclass
class Tally:
    """What a run counts of itself, over all its starts; a checkpoint keeps it.

    Attributes:
        pruned: directions pruned.
        extended: directions extended.
        wall_s: seconds of training before this start.
        peak_memory_bytes: the most memory in use.
        state_bytes: the most that adapter, optimizer and method kept.
        metrics: split → what its last evaluation found.
    """

    pruned: int = 0
    extended: int = 0
    wall_s: float = 0.0
    peak_memory_bytes: int = 0
    state_bytes: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def kept(cls, values: Mapping[str, Any]) -> Self:
        """Return what a checkpoint kept, also one of a version that counted other things."""
        return cls(**{key: value for key, value in values.items() if key in cls.__dataclass_fields__})

    def add(self, event: Event) -> None:
        """Count what an event moved."""
        self.pruned += len(event.prune)
        self.extended += len(event.extend)
