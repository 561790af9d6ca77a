"""``FlexLoRAConfig``: every choice of the method in one frozen object, with presets.

docs/fidelity.md says for each row what the paper states, what the released code does and why we chose what we chose.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexlora.adapter_config import AS_PRESET, FORMS, EventConfig, OrthogonalConfig
from flexlora.errors import FlexLoRAError
from flexlora.importance import IMPORTANCES
from flexlora.reallocation import DIRECTIONS, PLANS
from flexlora.schedules import CONFIGURABLE
from flexlora.settings import option, parse_setting

__all__ = ["PRESETS", "FlexLoRAConfig", "parse_setting"]

_GOVERNED = {
    # field: (paper, reference)
    "importance": ("spectral_entropy", "spectral_entropy"),
    "direction": ("both", "both"),
    "schedule": ("paper", "constant"),
    "initial_budget": (12, 4),
    "new_direction": ("zero_impact", "zero_impact"),
    "rank_one": ("undefined", "first"),
    "all_zero": ("undefined", "first"),
    "prune_rule": ("magnitude", "signed"),
    "plan": ("disjoint", "overlapping"),
    "protection": (0, 0),
    "regularizer": ("mean_squared", "mean_norm"),
    "regularization_weight": (0.1, 0.0),
    "optimizer_at_event": ("keep", "reset"),
    "lr_at_event": ("schedule", "peak"),
    "initial_std": (None, 0.02),
    "new_direction_std": (None, 1.0),
    "epsilon": (0.0, 1e-8),
}
PRESETS: dict[str, dict[str, object]] = {
    name: {field: values[place] for field, values in _GOVERNED.items()}
    for place, name in enumerate(("paper", "reference"))
}
"""Preset → the value of every field that a preset governs. ``paper`` holds what the paper states, and our choice where
it is silent; ``reference`` is the behaviour of the released code, for teaching."""


@dataclass(frozen=True, kw_only=True)
class FlexLoRAConfig(OrthogonalConfig, EventConfig):
    """All settings of one adapter and its rank allocation: ΔW = (alpha / initial_rank) · P diag(λ) Q.

    A field that is left out takes its preset's value, or is derived: alpha = 2 · initial_rank and, once total_steps T
    is known, warmup_steps = int(0.1 T), final_steps = int(0.3 T) and interval = max(1, T // 40). Reading a field always
    gives the plain value in use.

    Raises:
        FlexLoRAError: (a ValueError) any value that cannot work, with what is allowed.
    """

    presets = PRESETS

    preset: str = option("paper", "Starting point: what the paper states, or the released code.", choices=PRESETS)
    max_rank: int | None = option(None, "Hard limit for the rank of a matrix; none = its own size.", live=True, least=1)
    importance: str = option(AS_PRESET, "Score by which matrices are ranked.", choices=IMPORTANCES, live=True)
    direction: str = option(AS_PRESET, "Whether an event prunes, extends or both.", choices=DIRECTIONS, live=True)
    schedule: str = option(
        AS_PRESET,
        "How the budget falls over time; adaptive = decided at each event from what is seen.",
        choices=CONFIGURABLE,
        live=True,
    )
    exponent: float = option(
        3.0, "Power of the decay in schedules paper, reference and cubic.", live=True, above=0, below=100
    )
    points: tuple[tuple[int, float], ...] = option(
        (), "[step, budget] knots of schedule points, joined by straight lines.", live=True
    )
    initial_budget: int = option(AS_PRESET, "b0: directions moved at most in an event.", live=True, least=0)
    adaptive_margin: float = option(
        1.5,
        "Schedule adaptive: a pair moves when its gap is this many times what noise alone would leave.",
        live=True,
        above=0,
    )
    adaptive_churn: float = option(
        0.5,
        "Schedule adaptive: the ceiling halves after an event in which more than this share of prunes took back.",
        live=True,
        least=0,
    )
    new_direction: str = option(
        AS_PRESET,
        "How a new direction starts.",
        choices=("zero_impact", "small_value", "all_zero", "gram_schmidt"),
        live=True,
    )
    rank_one: str = option(
        AS_PRESET,
        "Entropy of a matrix of rank 1, where the formula has none; first = above all others.",
        choices=("one", "zero", "undefined", "median", "first"),
        live=True,
    )
    all_zero: str = option(
        AS_PRESET,
        "A matrix whose λ are all 0: it takes no part, or comes first.",
        choices=("undefined", "first"),
        live=True,
    )
    prune_rule: str = option(
        AS_PRESET,
        "Which direction goes: smallest |λ|, smallest signed λ, or smallest |λ|·‖p‖·‖q‖.",
        choices=("magnitude", "signed", "component_norm"),
        live=True,
    )
    plan: str = option(AS_PRESET, "Whether one event may prune and extend one matrix.", choices=PLANS, live=True)
    protection: int = option(AS_PRESET, "Events during which an extended matrix is not pruned.", live=True, least=0)
    regularizer: str = option(
        AS_PRESET,
        "Form of the orthogonality term: mean or sum over matrices of the squared norm, or mean of the norm.",
        choices=FORMS,
    )
    regularization_weight: float = option(AS_PRESET, "γ: weight of the orthogonality term in the loss.", least=0)
    optimizer_at_event: str = option(AS_PRESET, "Optimizer state at an event.", choices=("keep", "reset"), live=True)
    lr_at_event: str = option(
        AS_PRESET,
        "Learning rate after the first event: as scheduled, or at its peak for ever.",
        choices=("schedule", "peak"),
        live=True,
    )
    initial_std: float | None = option(
        AS_PRESET, "Standard deviation of P and Q at the start; none = 1/√dim, a norm of about 1.", above=0
    )
    new_direction_std: float | None = option(
        AS_PRESET, "Standard deviation of new vectors; none = 1/√dim.", live=True, above=0
    )
    epsilon: float = option(AS_PRESET, "ε inside the logarithm of the spectral entropy.", live=True, least=0)

    policy: str | None = option(
        None, "Policy of flexlora.policies that gives ranks or moves them in place of importance; none = importance."
    )
    initial_ranks: tuple[int, ...] | None = option(
        None, "Rank of each matrix at the start, in module order; none = initial_rank each."
    )

    @property
    def measure(self) -> str:
        """What the matrices are scored by: the policy where there is one, else the importance."""
        return self.policy or self.importance

    def is_event(self, t: int) -> bool:
        """True when rank may change after optimizer step t; never under a policy that only gives ranks to start with.

        Such a policy has no budget to move (``build_job`` sees to it).
        """
        return super().is_event(t) and not (self.policy and not self.initial_budget)

    def _check(self) -> None:
        if self.max_rank is not None and self.max_rank < self.initial_rank:
            raise FlexLoRAError(
                f"max_rank={self.max_rank} is below initial_rank={self.initial_rank}. Raise one or lower the other."
            )
        if self.schedule == "points" and not self.points:
            raise FlexLoRAError("schedule='points' needs points, such as points=[[10, 8], [100, 0]]: [step, budget].")

    def budget(self, t: int) -> int:
        """Return b(t), the most directions that may be pruned and the most that may be extended at step t.

        Schedule ``adaptive`` decides at the event itself; this is then the most that it may decide.
        """
        own = {"initial_budget": self.initial_budget, "points": self.points, "exponent": self.exponent}
        return self._scheduled(CONFIGURABLE[self.schedule], t, **own)

    def _moves(self) -> bool:
        return bool(self.initial_budget)
