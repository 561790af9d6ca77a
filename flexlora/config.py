"""``FlexLoRAConfig``: every choice of the method in one frozen object, with presets.

docs/fidelity.md says for each row what the paper states, what the released code does and why we chose what we chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.importance import IMPORTANCES
from flexlora.reallocation import DIRECTIONS, PLANS
from flexlora.schedules import SCHEDULES, event_steps
from flexlora.settings import checked, option, parse_setting, unknown_key

__all__ = ["PRESETS", "FlexLoRAConfig", "parse_setting"]

PRESETS: dict[str, dict[str, object]] = {
    "paper": {
        "importance": "spectral_entropy",
        "direction": "both",
        "schedule": "paper",
        "initial_budget": 12,
        "new_direction": "zero_impact",
        "rank_one": "undefined",
        "all_zero": "undefined",
        "prune_rule": "magnitude",
        "plan": "disjoint",
        "protection": 0,
        "regularizer": "mean_squared",
        "regularization_weight": 0.1,
        "optimizer_at_event": "keep",
        "lr_at_event": "schedule",
        "initial_std": None,
        "new_direction_std": None,
        "epsilon": 0.0,
    },
    "reference": {
        "importance": "spectral_entropy",
        "direction": "both",
        "schedule": "constant",
        "initial_budget": 4,
        "new_direction": "zero_impact",
        "rank_one": "first",
        "all_zero": "first",
        "prune_rule": "signed",
        "plan": "overlapping",
        "protection": 0,
        "regularizer": "mean_norm",
        "regularization_weight": 0.0,
        "optimizer_at_event": "reset",
        "lr_at_event": "peak",
        "initial_std": 0.02,
        "new_direction_std": 1.0,
        "epsilon": 1e-8,
    },
}
"""Preset → the value of every field that a preset governs. ``paper`` holds what the paper states, and our choice where
it is silent; ``reference`` is the behaviour of the released code, for teaching."""

_AS_PRESET: Any = type("AsPreset", (), {"__repr__": lambda self: "<as the preset>"})()
"""Default of the governed fields; ``__post_init__`` replaces it, so no attribute ever holds it."""


@dataclass(frozen=True, kw_only=True)
class FlexLoRAConfig:
    """All settings of one adapter and its rank allocation: ΔW = (alpha / initial_rank) · P diag(λ) Q.

    A field that is left out takes its preset's value, or is derived: alpha = 2 · initial_rank and, once total_steps T
    is known, warmup_steps = int(0.1 T), final_steps = int(0.3 T) and interval = max(1, T // 40). Reading a field always
    gives the plain value in use.

    Raises:
        FlexLoRAError: (a ValueError) any value that cannot work, with what is allowed.
    """

    preset: str = option("paper", "Starting point: what the paper states, or the released code.", choices=PRESETS)
    target_modules: tuple[str, ...] | None = option(
        None, "Modules to adapt: full names or endings such as query,value; none = every linear layer but the head."
    )
    initial_rank: int = option(8, "Directions of each matrix at the start.", least=1)
    max_rank: int | None = option(None, "Hard limit for the rank of a matrix; none = its own size.", live=True, least=1)
    alpha: float = option(None, "ΔW is scaled by alpha / initial_rank for ever; none = 2 · initial_rank.", above=0)
    total_steps: int | None = option(None, "Optimizer steps of the run, T.", least=1)
    warmup_steps: int | None = option(None, "No event up to this step; none = int(0.1 · T).", live=True, least=0)
    final_steps: int | None = option(None, "No event in the last steps; none = int(0.3 · T).", live=True, least=0)
    interval: int | None = option(None, "Steps between events; none = max(1, T // 40).", live=True, least=1)
    importance: str = option(_AS_PRESET, "Score by which matrices are ranked.", choices=IMPORTANCES, live=True)
    direction: str = option(_AS_PRESET, "Whether an event prunes, extends or both.", choices=DIRECTIONS, live=True)
    schedule: str = option(_AS_PRESET, "How the budget falls over time.", choices=SCHEDULES, live=True)
    points: tuple[tuple[int, float], ...] = option(
        (), "[step, budget] knots of schedule points, joined by straight lines.", live=True
    )
    initial_budget: int = option(_AS_PRESET, "b0: directions moved at most in an event.", live=True, least=0)
    new_direction: str = option(
        _AS_PRESET,
        "How a new direction starts.",
        choices=("zero_impact", "small_value", "all_zero", "gram_schmidt"),
        live=True,
    )
    rank_one: str = option(
        _AS_PRESET,
        "Entropy of a matrix of rank 1, where the formula has none; first = above all others.",
        choices=("one", "zero", "undefined", "median", "first"),
        live=True,
    )
    all_zero: str = option(
        _AS_PRESET,
        "A matrix whose λ are all 0: it takes no part, or comes first.",
        choices=("undefined", "first"),
        live=True,
    )
    prune_rule: str = option(
        _AS_PRESET,
        "Which direction goes: smallest |λ|, smallest signed λ, or smallest |λ|·‖p‖·‖q‖.",
        choices=("magnitude", "signed", "component_norm"),
        live=True,
    )
    plan: str = option(_AS_PRESET, "Whether one event may prune and extend one matrix.", choices=PLANS, live=True)
    protection: int = option(_AS_PRESET, "Events during which an extended matrix is not pruned.", live=True, least=0)
    regularizer: str = option(
        _AS_PRESET,
        "Form of the orthogonality term: mean or sum over matrices of the squared norm, or mean of the norm.",
        choices=("mean_squared", "sum_squared", "mean_norm"),
    )
    regularization_weight: float = option(_AS_PRESET, "γ: weight of the orthogonality term in the loss.", least=0)
    optimizer_at_event: str = option(_AS_PRESET, "Optimizer state at an event.", choices=("keep", "reset"), live=True)
    lr_at_event: str = option(
        _AS_PRESET,
        "Learning rate after the first event: as scheduled, or at its peak for ever.",
        choices=("schedule", "peak"),
        live=True,
    )
    initial_std: float | None = option(
        _AS_PRESET, "Standard deviation of P and Q at the start; none = 1/√dim, a norm of about 1.", above=0
    )
    new_direction_std: float | None = option(
        _AS_PRESET, "Standard deviation of new vectors; none = 1/√dim.", live=True, above=0
    )
    epsilon: float = option(_AS_PRESET, "ε inside the logarithm of the spectral entropy.", live=True, least=0)
    seed: int = option(0, "Draws the directions and settles ties.", least=0)

    def __post_init__(self) -> None:
        items = self.__dataclass_fields__
        self._set("preset", checked(items["preset"], self.preset))
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is _AS_PRESET:
                self._set(name, value)
        if self.alpha is None:
            self._set("alpha", 2 * checked(items["initial_rank"], self.initial_rank))
        for name, item in items.items():
            self._set(name, checked(item, getattr(self, name)))
        if self.max_rank is not None and self.max_rank < self.initial_rank:
            raise FlexLoRAError(
                f"max_rank={self.max_rank} is below initial_rank={self.initial_rank}. Raise one or lower the other."
            )
        if self.schedule == "points" and not self.points:
            raise FlexLoRAError("schedule='points' needs points, such as points=[[10, 8], [100, 0]]: [step, budget].")
        if self.total_steps is not None:
            self._derive_window(self.total_steps)

    def budget(self, t: int) -> int:
        """Return b(t), the most directions that may be pruned and the most that may be extended at step t."""
        warmup, _, total, final = self._window()
        return SCHEDULES[self.schedule](
            t,
            initial_budget=self.initial_budget,
            warmup_steps=warmup,
            total_steps=total,
            final_steps=final,
            points=self.points,
        )

    def event_steps(self) -> tuple[int, ...]:
        """Return the steps at which rank may move."""
        warmup, interval, total, final = self._window()
        return event_steps(warmup_steps=warmup, interval=interval, total_steps=total, final_steps=final)

    def is_event(self, t: int) -> bool:
        """True when rank may move after optimizer step t."""
        warmup, interval, total, final = self._window()
        return warmup < t < total - final and (t - warmup) % interval == 0

    def to_dict(self) -> dict[str, Any]:
        """Return every field as plain JSON values."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FlexLoRAConfig:
        """Rebuild a configuration from ``to_dict``.

        Raises:
            FlexLoRAError: a key that this version does not know, or a bad value.
        """
        known = cls.__dataclass_fields__
        for key in values:
            if key not in known:
                raise FlexLoRAError(unknown_key(key, known))
        return cls(**values)

    def replace(self, **changes: Any) -> FlexLoRAConfig:
        """Return a checked copy with some fields changed.

        A field that holds just what its preset, initial_rank and total_steps imply goes on following them; every other
        field keeps its value.

        Raises:
            FlexLoRAError: an unknown field or a bad value.
        """
        roots = {key: getattr(self, key) for key in ("preset", "initial_rank", "total_steps")}
        implied = FlexLoRAConfig(**roots)
        own = {key: value for key, value in vars(self).items() if value != getattr(implied, key)}
        return FlexLoRAConfig.from_dict({**roots, **own, **changes})

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _derive_window(self, total: int) -> None:
        derived = {"warmup_steps": int(0.1 * total), "final_steps": int(0.3 * total), "interval": max(1, total // 40)}
        for name, value in derived.items():
            if getattr(self, name) is None:
                self._set(name, value)
        # In a single step no setting makes room, so there is nothing to advise.
        if total == 1 or not self.initial_budget or self.event_steps():
            return
        asked = ", ".join(f"{name}={getattr(self, name)}" for name in derived)
        fits = ", ".join(f"{name}={value}" for name, value in derived.items())
        raise FlexLoRAError(
            f"No room for an event in {total} steps with {asked}: events are at warmup_steps + k · interval, "
            f"before total_steps - final_steps. These fit: {fits}."
        )

    def _window(self) -> tuple[int, int, int, int]:
        if self.total_steps is None or self.warmup_steps is None or self.interval is None or self.final_steps is None:
            raise FlexLoRAError("total_steps is needed to know when events happen: FlexLoRAConfig(total_steps=...).")
        return self.warmup_steps, self.interval, self.total_steps, self.final_steps


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
