"""The options of each method beside FlexLoRA, whose own are in ``flexlora.config``. Torch-free.

Where a source gives no default, or one for runs of many thousand steps, the help text says that it is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from flexlora.adapter_config import FORMS, AdapterConfig, EventConfig, OrthogonalConfig
from flexlora.errors import FlexLoRAError
from flexlora.rank_targets import RANK_TARGETS
from flexlora.schedules import SCHEDULES
from flexlora.settings import option

PREFIX_UPDATES = ("prefix", "row")
CUT_BY = ("component_norm", "true_singular_values")
BUDGET_UNITS = ("directions", "parameters")
THRESHOLD_SCHEDULES = ("constant", "linear")


@dataclass(frozen=True, kw_only=True)
class LoRAConfig(AdapterConfig):
    """LoRA (Hu et al. 2021): nothing but rank and scale."""


class _Lowered(AdapterConfig):
    """For methods that take away, until ``target_rank`` a matrix is left on average.

    Of initial_rank and target_rank one follows from the other: initial_rank = ceil(1.5 · target_rank), as in DoRA's
    scripts and AdaLoRA's defaults of 12 and 8. No dataclass: what target_rank may be is for the methods to say.
    """

    roots = ("preset", "initial_rank", "target_rank", "total_steps")

    target_rank: Any

    def _derive_rank(self) -> None:
        # What is no number is left for the checks to refuse.
        initial: object = self.initial_rank
        target: object = self.target_rank
        if target is None:
            start = 12 if initial is None else initial
            target = max(1, 2 * start // 3) if isinstance(start, int) else target
        if initial is None and isinstance(target, int | float) and math.isfinite(target):
            initial = max(1, math.ceil(1.5 * target))
        self._set("initial_rank", initial)
        self._set("target_rank", target)

    def _check(self) -> None:
        if self.target_rank > self.initial_rank:
            raise FlexLoRAError(
                f"target_rank={self.target_rank:g} is above initial_rank={self.initial_rank}; this method only takes "
                "away. Lower target_rank or raise initial_rank."
            )


@dataclass(frozen=True, kw_only=True)
class TargetRankConfig(EventConfig, _Lowered):
    """For methods that lower the total rank on a schedule; see ``_Lowered``."""

    falls = "adalora"
    """Key of ``RANK_TARGETS``: how the total rank comes down."""

    initial_rank: int = option(None, "Directions of each matrix at the start; none = 1.5 · target_rank.", least=1)
    target_rank: int = option(
        None, "Directions of a matrix at the end, on average; none = initial_rank / 1.5.", least=1
    )

    def target_total(self, t: int, matrices: int) -> int:
        """Return the total rank of ``matrices`` matrices that the schedule asks for at step t."""
        initial, target = self.initial_rank * matrices, self.target_rank * matrices
        return self._scheduled(RANK_TARGETS[self.falls], t, initial=initial, target=target)

    def is_event(self, t: int) -> bool:
        """True at the events of the window, and at its end, where the last budget is settled."""
        return super().is_event(t) or t == self.window_end

    def _has_room(self) -> bool:
        # The last budget is settled at the window's end, whatever the interval.
        return self.window()[0] < self.window_end


@dataclass(frozen=True, kw_only=True)
class AdaLoRAConfig(TargetRankConfig, OrthogonalConfig):
    """AdaLoRA (Zhang et al., ICLR 2023)."""

    beta1: float = option(0.85, "β1: smoothing of the sensitivity over steps.", above=0, below=1)
    beta2: float = option(0.85, "β2: smoothing of its uncertainty.", above=0, below=1)
    initial_std: float = option(0.02, "Standard deviation of P and Q at the start.", above=0)
    regularizer: str = option(
        "mean_norm", "Form of the orthogonality term; AdaLoRA's code does not square.", choices=FORMS
    )


@dataclass(frozen=True, kw_only=True)
class ElaLoRAConfig(EventConfig, OrthogonalConfig):
    """ElaLoRA (Chang, Ma et al. 2025)."""

    initial_budget: int = option(4, "b0: directions moved at most in an event.", live=True, least=0)
    pool: int = option(2, "Directions that each matrix puts up at an event.", live=True, least=1)
    beta1: float = option(0.85, "β1: smoothing of the sensitivity over steps.", above=0, below=1)
    beta2: float = option(0.85, "β2: smoothing of its uncertainty.", above=0, below=1)
    initial_std: float = option(0.02, "Standard deviation of P and Q at the start.", above=0)
    regularizer: str = option(
        "mean_norm", "Form of the orthogonality term; as in AdaLoRA's code, not squared.", choices=FORMS
    )

    def budget(self, t: int) -> int:
        """Return b(t) = round(b0 · (1 − p³)): near b0 until late."""
        return self._scheduled(SCHEDULES["reference"], t, initial_budget=self.initial_budget)

    def _moves(self) -> bool:
        return bool(self.initial_budget)


@dataclass(frozen=True, kw_only=True)
class BigThenCutConfig(OrthogonalConfig, _Lowered):
    """Train big, then cut.

    Of initial_rank and target_rank one follows from the other: initial_rank = factor · target_rank.
    """

    roots = ("preset", "initial_rank", "target_rank", "factor", "total_steps")

    initial_rank: int = option(None, "Directions of each matrix until the cut; none = factor · target_rank.", least=1)
    target_rank: int = option(
        None, "Directions of a matrix after the cut, on average; none = initial_rank / factor.", least=1
    )
    factor: int = option(2, "How many times the rank is trained before the cut.", least=1)
    cut_share: float = option(0.5, "Share of the run after which it is cut; 1 = at its end.", above=0, below=1.0001)
    cut_by: str = option(
        "component_norm",
        "Size of a direction: |λ| · ‖p‖ · ‖q‖ as it stands, or the singular values of ΔW, written anew by its vectors.",
        choices=CUT_BY,
    )
    budget_unit: str = option(
        "directions", "What is the same as at target_rank for all: directions or parameters.", choices=BUDGET_UNITS
    )
    initial_std: float | None = option(
        None, "Standard deviation of P and Q at the start; none = 1/√dim, a norm of about 1.", above=0
    )

    @property
    def cut_step(self) -> int:
        """The optimizer step after which the adapter is cut."""
        return max(1, round(min(1.0, self.cut_share) * (self.total_steps or 0)))

    def is_event(self, t: int) -> bool:
        """True at the cut."""
        return t == self.cut_step

    def _derive_rank(self) -> None:
        initial, target, factor = self.initial_rank, self.target_rank, self.factor
        if target is None:
            whole = isinstance(initial, int) and isinstance(factor, int) and factor > 0
            target = 8 if initial is None else max(1, initial // factor) if whole else initial
        if initial is None and isinstance(target, int) and isinstance(factor, int):
            initial = factor * target
        self._set("initial_rank", initial)
        self._set("target_rank", target)


@dataclass(frozen=True, kw_only=True)
class DoRADynamicConfig(TargetRankConfig):
    """DoRA with dynamic rank (Mao et al., ACL 2024); not the weight-decomposed DoRA."""

    window_shares = (0.15, 0.5)
    falls = "dora_dynamic"

    beta: float = option(0.9, "β: smoothing of the component scores over steps.", least=0, below=1)
    dimension_weight: float = option(
        0.1, "Weight of the mean variance of Q's rows and P's columns in the loss, until pruning ends.", least=0
    )


@dataclass(frozen=True, kw_only=True)
class ReportingConfig(AdapterConfig):
    """For methods whose gates move at every step: an event tells what changed since the last one."""

    interval: int | None = option(None, "Steps between looks at which gates are open; none = max(1, T // 40).", least=1)

    def is_event(self, t: int) -> bool:
        """True every ``interval`` steps, and at the end."""
        if self.total_steps is None or self.interval is None:
            raise FlexLoRAError(f"total_steps is needed to know when to look: {type(self).__name__}(total_steps=...).")
        return t > 0 and (t % self.interval == 0 or t == self.total_steps)

    def _derive(self, total: int) -> None:
        if self.interval is None:
            self._set("interval", max(1, total // 40))


@dataclass(frozen=True, kw_only=True)
class SoRAConfig(ReportingConfig):
    """SoRA (Ding et al., EMNLP 2023)."""

    threshold: float | None = option(
        None, "ξ: how far each step pulls every λ towards 0; none = 0.8 / T, ours.", live=True, least=0
    )
    threshold_schedule: str = option(
        "constant", "ξ at once, or rising in a straight line over the run.", choices=THRESHOLD_SCHEDULES, live=True
    )
    sparsity_weight: float = option(
        0.0, "Weight of the mean |λ| in the loss, as their trainer adds it.", live=True, least=0
    )

    def threshold_at(self, t: int) -> float:
        """Return ξ at step t."""
        highest = self.threshold or 0.0
        return highest * t / (self.total_steps or t) if self.threshold_schedule == "linear" else highest

    def _derive(self, total: int) -> None:
        super()._derive(total)
        if self.threshold is None:
            self._set("threshold", 0.8 / total)


@dataclass(frozen=True, kw_only=True)
class L1RAConfig(AdapterConfig):
    """L1RA (Singh et al. 2025)."""

    interval: int | None = option(
        None, "Steps between events; none = max(1, T // 10), every tenth of the run.", least=1
    )
    pull: float | None = option(
        None, "How far each step pulls every λ towards 0; none = 1.5 / T, ours; theirs is 2e-5.", live=True, least=0
    )
    value_learning_rate: float = option(0.02, "Learning rate of λ, constant over the run.", above=0)
    prune_below: float = option(1e-10, "A direction whose λ is below this is pruned.", live=True, above=0)

    def is_event(self, t: int) -> bool:
        """True every ``interval`` steps before the end."""
        if self.total_steps is None or self.interval is None:
            raise FlexLoRAError("total_steps is needed to know when events happen: L1RAConfig(total_steps=...).")
        return 0 < t < self.total_steps and t % self.interval == 0

    def _derive(self, total: int) -> None:
        if self.interval is None:
            self._set("interval", max(1, total // 10))
        if self.pull is None:
            self._set("pull", 1.5 / total)


@dataclass(frozen=True, kw_only=True)
class SaLoRAConfig(ReportingConfig, OrthogonalConfig, _Lowered):
    """SaLoRA, structure-aware (Hu et al., Mathematics 2023)."""

    initial_rank: int = option(None, "Directions of each matrix at the start; none = 1.5 · target_rank.", least=1)
    target_rank: float = option(
        None, "Open gates of a matrix at the end, on average; none = initial_rank / 1.5.", above=0, live=True
    )
    temperature: float = option(2 / 3, "β of the hard-concrete gate.", above=0)
    initial_log_alpha: float = option(2.5, "log α of every gate at the start; 2.5 = open in 98 of 100 steps.")
    gate_learning_rate: float = option(0.1, "Learning rate of log α; ours.", above=0)
    penalty_weight: float = option(
        20.0, "ρ: pull of the target, by ρ/2 · d² of the distance d; 0 = no penalty at all; ours.", least=0
    )
    multiplier_learning_rate: float = option(0.1, "Step of the Lagrange multiplier's ascent along d; ours.", least=0)
    target_warmup: float = option(0.5, "Share of the run over which the target falls to target_rank; ours.", least=0)
    regularization_weight: float = option(0.01, "γ: weight of the orthogonality term in the loss; ours.", least=0)

    def target_share(self, t: int) -> float:
        """Return the share of gates that should be open at step t, in (0, 1]."""
        final = self.target_rank / self.initial_rank
        ramp = self.target_warmup * (self.total_steps or 1)
        return final if ramp < 1 else 1.0 + (final - 1.0) * min(1.0, t / ramp)


@dataclass(frozen=True, kw_only=True)
class AutoLoRAConfig(AdapterConfig):
    """AutoLoRA, meta-learned ranks (Zhang et al., NAACL 2024)."""

    search_share: float = option(
        0.5, "Share of the run that searches; the rest retrains from scratch; ours.", above=0, below=1
    )
    validation_share: float = option(
        0.3, "Share of the training examples on which the search scores; 70/30 in their code.", least=0, below=1
    )
    selection_learning_rate: float = option(0.02, "Adam's learning rate of the selection variables; ours.", above=0)
    keep_above: float | None = option(
        None, "Keep a direction whose α is at least this; none = 1 / initial_rank.", above=0, below=1
    )

    @property
    def search_steps(self) -> int:
        """Steps before the ranks are fixed and training begins anew; at least 1."""
        return max(1, int(self.search_share * (self.total_steps or 0)))

    def is_event(self, t: int) -> bool:
        """True at the end of the search."""
        return t == self.search_steps

    def _check(self) -> None:
        highest = 1.0 / self.initial_rank
        if self.keep_above is not None and self.keep_above > highest:
            raise FlexLoRAError(
                f"keep_above={self.keep_above:g} is above 1 / initial_rank = {highest:.4g}: a matrix whose α are equal "
                "would keep nothing. Lower it or leave it out."
            )
        if self.total_steps == 1:
            raise FlexLoRAError("AutoLoRA needs at least 2 steps: one to search, one to retrain.")


@dataclass(frozen=True, kw_only=True)
class DyLoRAConfig(AdapterConfig):
    """DyLoRA (Valipour et al., EACL 2023)."""

    smallest_rank: int = option(1, "Shortest prefix that is drawn; initial_rank = nothing is cut.", least=1)
    update: str = option(
        "prefix", "Train the whole prefix, or only its last direction (their frozen variant).", choices=PREFIX_UPDATES
    )

    def _check(self) -> None:
        if self.smallest_rank > self.initial_rank:
            raise FlexLoRAError(
                f"smallest_rank={self.smallest_rank} is above initial_rank={self.initial_rank}. Lower it."
            )


@dataclass(frozen=True, kw_only=True)
class MLAEConfig(AdapterConfig):
    """MLAE (Wang et al. 2024)."""

    drop: float = option(
        0.2, "Probability that a step leaves a direction out; their code's default is 0.", least=0, below=1
    )
