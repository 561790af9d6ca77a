"""``RankAllocator``: at an event, read λ, ask the plan, move directions, and say what was done."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch.optim import LBFGS, Adagrad, Optimizer

from flexlora.adapter import Adapter
from flexlora.config import FlexLoRAConfig
from flexlora.decision import Decider, Decision
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.event import Event
from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA, score_all, silent_at_rank_one
from flexlora.initializers import NEW_DIRECTIONS
from flexlora.kept_elsewhere import KeptElsewhere, whole
from flexlora.linear import FlexLoRALinear
from flexlora.moves import Moves
from flexlora.observation import observe
from flexlora.optimizer_state import innermost
from flexlora.policies import decided, find_policy
from flexlora.reallocation import Reallocation
from flexlora.smoothing import SMOOTHED, Smoothed
from flexlora.state_rows import check_state, keeps_tensors
from flexlora.true_spectra import TrueSpectra


def smallest_magnitude(matrix: FlexLoRALinear, lam: np.ndarray) -> int:
    """Place of the smallest |λ| (the paper): what costs least in the Frobenius norm when P, Q are orthonormal."""
    return int(np.abs(lam).argmin())


def smallest_signed(matrix: FlexLoRALinear, lam: np.ndarray) -> int:
    """Place of the smallest signed λ (the released code): the most negative one, however large."""
    return int(lam.argmin())


def smallest_component(matrix: FlexLoRALinear, lam: np.ndarray) -> int:
    """Place of the smallest |λ| · ‖p‖ · ‖q‖: the direction's own Frobenius norm, orthonormal or not."""
    P, own, Q = matrix.directions()
    return int((own.abs() * P.norm(dim=0) * Q.norm(dim=1)).argmin())


PRUNE_RULES: dict[str, Callable[[FlexLoRALinear, np.ndarray], int]] = {
    "magnitude": smallest_magnitude,
    "signed": smallest_signed,
    "component_norm": smallest_component,
}
"""Rule name → f(matrix, its λ (r,) in slot order) → place among its active directions of the one to prune."""


class RankAllocator:
    """Moves rank between the matrices of one adapter.

    Call ``step(t)`` after ``optimizer.step()`` and before ``zero_grad()``, t counting finished optimizer steps from 1.
    The optimizer keeps its parameter groups, its learning-rate schedule and the moments of every direction that stays;
    only ``optimizer_at_event="reset"`` (preset ``reference``) loses them, as the released code does. An optimizer whose
    state cannot follow a direction is refused at its first step; see ``flexlora.state_rows``.

    Attributes:
        config: may be replaced while training (``allocator.config = config.replace(...)``); used from then on.
        last: the latest ``Event``.
        log_all_measures: also score ``sensitivity`` and ``true_spectral_entropy``, which need more than λ.
        decider: takes the decisions, and remembers what they need.
        smoothed: name of an array that is smoothed over steps → what keeps it; what the policy reads, and ``track``.
        truth: matrix → true rank, where a task knows it.
        lr_released: True once preset ``reference`` has lost the learning-rate schedule.
    """

    def __init__(self, adapter: Adapter, optimizer: Optimizer, config: FlexLoRAConfig) -> None:
        if config.total_steps is None:
            raise FlexLoRAError("RankAllocator needs total_steps: pass FlexLoRAConfig(total_steps=...).")
        optimizer = innermost(optimizer, moving=bool(config.initial_budget))
        _check_held(adapter, optimizer)
        if config.initial_budget and isinstance(optimizer, LBFGS):
            raise FlexLoRAError(
                "LBFGS keeps one vector of all parameters, which cannot follow a direction that comes or goes. Use "
                "AdamW, or fix the ranks: initial_budget=0."
            )
        if config.optimizer_at_event == "reset" and isinstance(optimizer, Adagrad):
            raise FlexLoRAError(
                "optimizer_at_event='reset' empties the optimizer's state, which Adagrad makes only once. Use 'keep'."
            )
        self.adapter = adapter
        self.optimizer = optimizer
        self.config = config
        self.log_all_measures = False
        self.last: Event | None = None
        self._asked: tuple[int, FlexLoRAConfig | None] = (0, None)
        self.lr_released = False
        self.truth: Mapping[str, int] | None = None
        self.moves = Moves(adapter, optimizer)
        self.decider = Decider()
        self.spectra = TrueSpectra(adapter)
        self.smoothed: dict[str, Smoothed] = {}
        self._watched = 0
        self._state_follows = self._trains = self._told_skipped = False
        if config.policy is not None:
            self.track(find_policy(config.policy).reads)

    def track(self, names: Iterable[str]) -> None:
        """Smooth those of the arrays that are smoothed over steps, from the next step on.

        Raises:
            FlexLoRAError: gradients of every step are asked for, and ZeRO has let go of them.
        """
        names = list(names)
        if isinstance(self.optimizer, KeptElsewhere) and "smoothed_sensitivities" in names:
            raise FlexLoRAError(
                "smoothed_sensitivities reads the gradients of every step, which ZeRO cuts up and lets go of. Use "
                "importance='sensitivity', or plain data parallelism."
            )
        self.smoothed |= {name: SMOOTHED[name](self.adapter) for name in names if name in SMOOTHED}

    def watch(self, t: int) -> None:
        """Take in the values and gradients after optimizer step t, once; ``step`` does it too."""
        if t > self._watched:
            self._watched = t
            for kept in self.smoothed.values():
                kept.update()

    def step(self, t: int) -> Reallocation | None:
        """Reallocate if t, the number of finished optimizer steps from 1, is that of an event.

        Return what was moved (possibly nothing) at an event step, None at any other.
        """
        if not self.config.is_event(t):
            return self._step(t)
        with whole(self.optimizer):
            return self._step(t)

    def _step(self, t: int) -> Reallocation | None:
        config = self.config
        self._warn_of_missed(t)
        self._check_trained()
        self.watch(t)
        if not self._state_follows and config.initial_budget and self._has_stepped():
            # At the first step, not at the first event that moves something.
            check_state(self.optimizer, self.adapter.named_parameters())
            self._state_follows = True
        if not config.is_event(t):
            return None
        # One copy for all matrices and all that is asked of λ: on an accelerator each would be a synchronisation.
        flat = self.adapter.flat_weights().float().cpu().numpy()
        lam = self.adapter.split_weights(flat)
        self._check_values(t, flat, lam)
        importance = self._importance(t, lam)
        ranks = self.adapter.ranks()
        decision = self._decide(t, importance, ranks, self.adapter.limits())
        own, plan = importance[config.measure], decision.plan
        self.decider.observe(t, decision.importance, ranks, plan.prune, plan.extend, config)
        with self.moves.together():
            prune = [self._prune(name, lam) for name in plan.prune]
            extend = [self._extend(name, t, plan.extend[:place].count(name)) for place, name in enumerate(plan.extend)]
        changed = {name: _readable(value) for name, value in decision.importance.items() if value != own[name]}
        self._mark_rank_one(changed, ranks, [*prune, *extend])
        rules = dict.fromkeys([*plan.rules, *(rule for move in [*prune, *extend] for rule in move["rules"])])
        self.last = Event(
            step=t,
            budget=decision.budget,
            measure=config.measure,
            importance=importance,
            decided=changed,
            prune=prune,
            extend=extend,
            refused=dict(plan.refused),
            rules=list(rules),
            adaptive=decision.adaptive.record() if decision.adaptive else None,
        )
        if config.optimizer_at_event == "reset":
            self.optimizer.state.clear()
            self.moves.young.clear()
        self.lr_released |= config.lr_at_event == "peak"
        self.spectra.forget()
        return plan

    def _decide(
        self, t: int, importance: dict[str, dict[str, float | None]], ranks: dict[str, int], limits: dict[str, int]
    ) -> Decision:
        """Take the decision by the importance, or by the policy, whose scores are added to ``importance``."""
        config = self.config
        if config.policy is None:
            return self.decider.decide(t, importance[config.importance], ranks, limits, config)
        policy, budget = find_policy(config.policy), config.budget(t)
        highest = {name: min(limit, config.max_rank or limit) for name, limit in limits.items()}
        arrays = observe(self, t, policy.reads, highest)
        # Someone else's code may switch gradients off, for everybody.
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            scores, plan = decided(policy, arrays, ranks, budget, highest, config.direction)
        importance[policy.key] = scores
        if plan is None:
            return self.decider.decide(t, scores, ranks, limits, config)
        return Decision(plan, dict(scores), budget)

    def _check_trained(self) -> None:
        if self.adapter.merged:
            raise FlexLoRAError("The adapter was merged: nothing of it is trained any more. Attach to the model anew.")
        if not self._trains:
            _check_thawed(self.adapter)
        self._trains = True

    def _has_stepped(self) -> bool:
        """True once the optimizer keeps something, of its own in whatever form."""
        if self.optimizer.state or not keeps_tensors(self.optimizer):
            return bool(self.optimizer.state)
        # Its first steps may have been left out, as by a gradient scaler.
        return bool(self.adapter.flat_weights().any())

    def _check_values(self, t: int, flat: np.ndarray, lam: Mapping[str, np.ndarray]) -> None:
        """Refuse λ that is not finite, and clear slots that are empty and were moved, by whatever it was."""
        lost = [name for name, values in lam.items() if not np.isfinite(values).all()]
        if lost:
            raise FlexLoRAError(
                f"λ of {lost[0]} is not finite at step {t}: training has diverged. Go back to a checkpoint of "
                "before, or train anew with a lower learning rate."
            )
        self.adapter.clear_empty(flat)

    def _warn_of_missed(self, t: int) -> None:
        asked, config = self._asked
        # Under another configuration other steps were events.
        missed = [s for s in range(asked + 1, t) if self.config.is_event(s)] if config is self.config else []
        self._asked = (t, self.config)
        if missed:
            warnings.warn(
                f"RankAllocator.step({t}) came after a gap in which {len(missed)} events were due (the first at step "
                f"{missed[0]}): no rank moved there. Call step(t) after every optimizer step, t = 1, 2, 3, ...",
                FlexLoRAWarning,
                stacklevel=3,
            )

    def _importance(self, t: int, lam: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
        importance = score_all(lam, SCORED_BY_LAMBDA, self.config.epsilon)
        wanted = self.log_all_measures
        if wanted or self.config.importance == "sensitivity" or self._by_gradients():
            sensitivities = self.sensitivities()
            self._tell_skipped(t, sensitivities)
            importance |= score_all(sensitivities, ("sensitivity",))
        if wanted or self.config.importance == "true_spectral_entropy":
            importance |= score_all(self.spectra.at(t), ("true_spectral_entropy",))
        return {key: importance[key] for key in IMPORTANCES if key in importance}

    def sensitivities(self) -> dict[str, np.ndarray]:
        """|λ · ∂L/∂λ| of each direction at this step: AdaLoRA's sensitivity without its smoothing over time.

        NaN in a matrix whose λ has no gradient, as that of a layer which this step skipped.
        """
        parts = []
        for matrix in self.adapter.matrices.values():
            lam, gradient = matrix.lam.detach(), matrix.lam.grad
            parts.append(torch.full_like(lam, math.nan) if gradient is None else lam * gradient)
        # One copy for all matrices: on an accelerator each would be a synchronisation.
        return self.adapter.split_weights(torch.cat(parts).abs().double().cpu().numpy())

    def _by_gradients(self) -> bool:
        """True where gradients decide who gives and who gets."""
        policy = self.config.policy
        return (
            self.config.importance == "sensitivity" if policy is None else "sensitivities" in find_policy(policy).reads
        )

    def _tell_skipped(self, t: int, sensitivities: Mapping[str, np.ndarray]) -> None:
        """Say once that some matrices have no sensitivity; refuse where it decides and none has."""
        matrices, decides = self.adapter.matrices, self._by_gradients()
        skipped = [name for name in sensitivities if matrices[name].lam.grad is None]
        if not skipped or (len(skipped) < len(matrices) and not decides):
            return
        if len(skipped) == len(matrices):
            told = f"No λ has a gradient at the event of step {t}"
            advice = "call step between backward() and zero_grad()"
            if not any(bool(matrix.lam.detach().any()) for matrix in matrices.values()):
                told += ", and every λ is 0 as at the start"
                advice = "train the model that attach was given, and not a copy of it or one without the adapter"
            if decides:
                raise FlexLoRAError(f"{told}, which sensitivity needs: {advice}.")
            told = f"{told}: the log has no sensitivity of it. To have one, {advice}."
        else:
            others = f" and of {len(skipped) - 1} more" if len(skipped) > 1 else ""
            told = (
                f"λ of {skipped[0]}{others} has no gradient at the event of step {t}, because the step did not use it: "
                "it has no sensitivity and takes no part in such an event."
            )
        if not self._told_skipped:
            self._told_skipped = True
            warnings.warn(told, FlexLoRAWarning, stacklevel=5)

    def _mark_rank_one(self, changed: Mapping[str, object], ranks: Mapping[str, int], moves: list[dict]) -> None:
        silent = silent_at_rank_one(self.config.measure)
        for move in moves:
            if silent and ranks[move["matrix"]] == 1:
                move["rules"].append("rank_one")
            elif move["matrix"] in changed:
                move["rules"].append("undefined")

    def _prune(self, name: str, lam: dict[str, np.ndarray] | None = None) -> dict[str, Any]:
        matrix = self.adapter.matrices[name]
        lam = self.adapter.singular_values() if lam is None else lam
        place = PRUNE_RULES[self.config.prune_rule](matrix, lam[name])
        removed, lam[name] = float(lam[name][place]), np.delete(lam[name], place)
        return self._moved(self.moves.prune(name, matrix.slots[place], removed))

    def _extend(self, name: str, t: int, before: int = 0) -> dict[str, Any]:
        config = self.config
        start = NEW_DIRECTIONS[config.new_direction]
        # Each further direction of one matrix in one event has draws of its own.
        return self._moved(self.moves.extend(name, start, config.new_direction_std, config.seed + before, t))

    def _moved(self, move: dict[str, Any]) -> dict[str, Any]:
        for kept in self.smoothed.values():
            kept.forget(move["matrix"], move["slot"])
        return move


def _check_held(adapter: Adapter, optimizer: Optimizer) -> None:
    """Refuse an adapter without values, and an optimizer that does not train all of it."""
    adapter.flat_weights()
    if not adapter.merged:
        _check_thawed(adapter)
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = {name: parameter for name, parameter in adapter.named_parameters().items() if parameter.requires_grad}
    lacking = [name for name, parameter in own.items() if id(parameter) not in trained]
    if lacking:
        some = "" if len(lacking) == len(own) else f": {len(lacking)} of its {len(own)} tensors, such as {lacking[0]}"
        raise FlexLoRAError(
            f"The optimizer does not train the adapter{some}. Build it from adapter.trainable_parameters() after "
            "attach; of DeepSpeed's ZeRO, pass flexlora.integrations.ZeroOptimizer."
        )


def _check_thawed(adapter: Adapter) -> None:
    if not adapter.parameters():
        raise FlexLoRAError(
            "P, λ and Q do not require gradients, so nothing of the adapter is trained: freeze before attach, or "
            "call requires_grad_(True) on them."
        )


def _readable(value: float | None) -> float | str | None:
    return "first" if value == math.inf else value
