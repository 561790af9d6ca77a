"""``replay``: the same decider as in training, fed from a log, under other settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np

from analysis import metrics
from analysis.run_config import config_at, edits
from analysis.runs import Run, move_counts
from analysis.what_if.scores import adjusted, score_table
from flexlora.adaptive import WINDOW
from flexlora.brief import Brief
from flexlora.config import FlexLoRAConfig
from flexlora.decision import Decider, Decision, ruled_importance
from flexlora.errors import FlexLoRAError
from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA
from flexlora.reallocation import Reallocation

MODES: dict[str, str] = {
    "exact": "Exact at each event: what the other settings would have done at this moment, everything before it as it "
    "was. Events do not build on each other.",
    "frozen": "Approximation on frozen spectra: decisions build on each other, while λ stays as logged; a direction "
    "that the run did not have counts as λ = 0, one too many is the smallest.",
}
"""Mode → what it says."""

Settings = Callable[[int], FlexLoRAConfig]
"""f(step) → the configuration that decides there."""


class WhatIfError(FlexLoRAError):
    """A replay that a log does not allow: what is missing, and what can be done instead."""


@dataclass(frozen=True, repr=False)
class Decisions(Brief):
    """Decisions of E events over M matrices, taken or replayed.

    Attributes:
        names: matrices in the header's order.
        steps: (E,) int64.
        prune: (E, M) True where the matrix loses a direction.
        extend: (E, M) True where it gains one.
        budgets: (E,) b of each event.
        ranks: (E, M) rank that each decision saw.
        final_ranks: (M,) after the last event; None where events do not build on each other.
        notices: what could not be replayed, and why.
    """

    names: list[str]
    steps: np.ndarray
    prune: np.ndarray
    extend: np.ndarray
    budgets: np.ndarray
    ranks: np.ndarray
    final_ranks: np.ndarray | None
    notices: list[str] = field(default_factory=list)

    @property
    def moves(self) -> int:
        """Directions pruned or extended, whichever is more: a pair counts once."""
        return int(max(self.prune.sum(), self.extend.sum()))


def own_settings(run: Run) -> Settings:
    """Return the settings that the run itself used, live edits included.

    Raises:
        WhatIfError: not a run of FlexLoRA, or a configuration that this version does not read.
    """
    method = run.header.get("method") or "flexlora"
    if method != "flexlora":
        raise WhatIfError(f"This is a run of {method}, whose decisions follow another rule. Choose a run of flexlora.")
    try:
        starts = [after for after, _ in edits(run)]
        configs = [cast(FlexLoRAConfig, config_at(run, after + 1)) for after in [0, *starts]]
        for config in configs:
            config.window()
    except (FlexLoRAError, KeyError, TypeError) as error:
        raise WhatIfError(f"The run's configuration cannot be read: {error}") from error

    def settings(step: int) -> FlexLoRAConfig:
        return configs[sum(after < step for after in starts)]

    return settings


def unavailable(run: Run, key: str, mode: str) -> str | None:
    """Return why a measure cannot be replayed on this run, or None when it can."""
    if key in SCORED_BY_LAMBDA:
        return None
    if mode == "frozen":
        return f"{key} needs more than λ, and is unknown for ranks that the run did not have."
    if not any(key in event["importance"] for event in run.events):
        return f"{key} was not logged in this run; log_measures=all logs it."
    return None


def unavailable_measures(run: Run, mode: str) -> dict[str, str]:
    """Return measure → why it cannot be replayed."""
    return {key: reason for key in IMPORTANCES if (reason := unavailable(run, key, mode))}


def logged_decisions(run: Run) -> Decisions:
    """Return what the run did."""
    names = [matrix.name for matrix in run.matrices]
    shape = (len(run.events), len(names))
    moved = np.array([move_counts(run, event) for event in run.events], bool).reshape(-1, 2, len(names))
    return Decisions(
        names,
        np.array([event["step"] for event in run.events], np.int64),
        moved[:, 0],
        moved[:, 1],
        np.array([event["budget"] for event in run.events], np.int64),
        np.array([run.ranks[run.record_at(event["step"])] for event in run.events], np.int64).reshape(shape),
        metrics.final_ranks(run),
    )


def replay(run: Run, settings: FlexLoRAConfig | Settings, mode: str = "exact") -> Decisions:
    """Return the decisions that settings would take on a run.

    Args:
        run: of FlexLoRA, or of any method that logs λ.
        settings: one configuration, or one for each step (``own_settings``). Which direction a prune takes, how a new
            one starts and what the optimizer keeps change spectra, not these decisions: they play no part.
        mode: key of ``MODES``.

    Raises:
        WhatIfError: an unknown mode, or a measure that the log does not have.
    """
    return _Replay(run, settings, mode).decisions()


def replay_event(run: Run, settings: FlexLoRAConfig | Settings, number: int) -> Decision:
    """Return the decision that settings would take at event ``number`` (from 0), everything before it as it was.

    The same as that event's row of ``replay(..., "exact")``, without deciding all others.

    Raises:
        WhatIfError: a measure that the log does not have.
    """
    return _Replay(run, settings, "exact").decision_at(number)


def random_moves(run: Run, like: Decisions, settings: FlexLoRAConfig | Settings, mode: str, seed: int = 0) -> Decisions:
    """Return as many moves at each event as ``like`` has, between matrices drawn at random.

    The limits of the settings hold: no rank below 1, none above the largest.
    """
    counts = dict(zip(like.steps.tolist(), np.maximum(like.prune.sum(1), like.extend.sum(1)).tolist(), strict=True))
    return _Replay(run, settings, mode, counts, seed).decisions()


class _Replay:
    """One pass over the events of some settings."""

    def __init__(
        self,
        run: Run,
        settings: FlexLoRAConfig | Settings,
        mode: str,
        counts: Mapping[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        if mode not in MODES:
            raise WhatIfError(f"Unknown mode {mode!r}. Choose one of: {', '.join(MODES)}.")
        self.run = run
        self.settings: Settings = (lambda _: settings) if isinstance(settings, FlexLoRAConfig) else settings
        self.exact = mode == "exact"
        self.mode = mode
        self.counts = counts
        self.seed = seed
        self.names = [matrix.name for matrix in run.matrices]
        self.limits = {m.name: min(m.in_features, m.out_features) or 1 << 30 for m in run.matrices}
        self.decider = Decider()
        self.ranks = run.ranks[0].copy() if len(run.steps) else np.zeros(len(self.names), np.int64)
        self.notices: list[str] = []

    def decisions(self) -> Decisions:
        logged = {event["step"]: event for event in self.run.events}
        steps = self._steps()
        shape = (len(steps), len(self.names))
        prune, extend = np.zeros(shape, bool), np.zeros(shape, bool)
        budgets, seen = np.zeros(len(steps), np.int64), np.zeros(shape, np.int64)
        place = {name: number for number, name in enumerate(self.names)}
        waiting = sorted(logged)
        for row, step in enumerate(steps):
            while self.exact and waiting and waiting[0] < step:
                self._remember(logged[waiting.pop(0)])
            config = self.settings(step)
            record = self.run.record_at(step)
            ranks = self.run.ranks[record] if self.exact else self.ranks
            seen[row] = ranks
            own, table = self._own(config, step, record, logged), dict(zip(self.names, ranks.tolist(), strict=True))
            count = None if self.counts is None else self.counts.get(step, 0)
            decision = self._decide(step, own, table, config, logged, count)
            given, got = ([place[name] for name in half] for half in (decision.plan.prune, decision.plan.extend))
            prune[row, given], extend[row, got], budgets[row] = True, True, decision.budget
            if not self.exact:
                self.decider.observe(
                    step, decision.importance, table, decision.plan.prune, decision.plan.extend, config
                )
                self.ranks = self.ranks - prune[row] + extend[row]
        final = None if self.exact else self.ranks.copy()
        return Decisions(self.names, np.array(steps, np.int64), prune, extend, budgets, seen, final, self.notices)

    def decision_at(self, number: int) -> Decision:
        events = self.run.events
        for place, event in enumerate(events[:number]):
            self._remember(event, scored=place >= number - WINDOW)
        step = int(events[number]["step"])
        config, record = self.settings(step), self.run.record_at(step)
        logged = {step: events[number]}
        own = self._own(config, step, record, logged)
        ranks = dict(zip(self.names, self.run.ranks[record].tolist(), strict=True))
        return self._decide(step, own, ranks, config, logged)

    def _decide(
        self,
        step: int,
        own: Mapping[str, float | None],
        ranks: Mapping[str, int],
        config: FlexLoRAConfig,
        logged: Mapping[int, dict],
        count: int | None = None,
    ) -> Decision:
        event = logged.get(step)
        if config.policy and self.exact and count is None and event is not None:
            # A policy may see more than a log has; what it did is known.
            plan = Reallocation(tuple(_names(event["prune"])), tuple(_names(event["extend"])), event["budget"])
            return Decision(plan, dict(own), event["budget"])
        return self.decider.decide(step, own, ranks, self.limits, config, budget=count)

    def _steps(self) -> list[int]:
        """Return the event steps of the settings that the log can speak of."""
        if self.counts is not None:
            return sorted(self.counts)
        last = int(self.run.steps[-1]) if len(self.run.steps) else 0
        recorded = set(self.run.steps.tolist())
        wanted = [step for step in range(1, last + 1) if self.settings(step).is_event(step)]
        found = [step for step in wanted if step in recorded]
        total = self.settings(last or 1).total_steps or last
        later = sum(self.settings(step).is_event(step) for step in range(last + 1, total + 1))
        if len(found) < len(wanted):
            self.notices.append(
                f"{len(wanted) - len(found)} of {len(wanted)} events fall on steps whose spectra were not logged; "
                "they are left out."
            )
        if later:
            self.notices.append(f"The log ends at step {last}: {later} later events are not replayed.")
        return found

    def _own(
        self, config: FlexLoRAConfig, step: int, record: int, logged: Mapping[int, dict]
    ) -> dict[str, float | None]:
        if self.counts is not None:
            drawn = np.random.default_rng([self.seed, step]).random(len(self.names))
            return dict(zip(self.names, drawn.tolist(), strict=True))
        key, event = config.measure, logged.get(step)
        own = None
        if event is not None and key in event["importance"] and not self._other_epsilon(config, step):
            own = {name: event["importance"][key].get(name) for name in self.names}
        changed = np.zeros(len(self.names), bool) if self.exact else self.ranks != self.run.ranks[record]
        if own is not None and not changed.any():
            return own
        if key not in SCORED_BY_LAMBDA:
            if reason := unavailable(self.run, key, self.mode):
                raise WhatIfError(f"{reason} Choose a measure that λ alone gives.")
            note = f"{key} was logged at the run's own events only; at other steps nothing is replayed."
            self.notices += [note] * (note not in self.notices)
            return dict.fromkeys(self.names)
        rows = np.flatnonzero(changed) if own is not None else np.arange(len(self.names))
        ranks = self.run.ranks[record] if self.exact else self.ranks
        table = adjusted(*self._lambda(record), ranks)[rows]
        scores = score_table(key, table, ranks[rows], config.epsilon)
        return {**(own or {}), **{self.names[row]: score for row, score in zip(rows.tolist(), scores, strict=True)}}

    def _other_epsilon(self, config: FlexLoRAConfig, step: int) -> bool:
        if not IMPORTANCES[config.importance].has_epsilon:
            return False
        try:
            return self._logged_settings(step).epsilon != config.epsilon
        except WhatIfError:
            return bool(config.epsilon)

    @cached_property
    def _logged_settings(self) -> Settings:
        return own_settings(self.run)

    def _lambda(self, record: int) -> tuple[np.ndarray, np.ndarray]:
        """Return λ of all matrices, one after the other, and how many each has: the directions that are on."""
        found = self.run.log.spectra.record(record)
        values, gates = found.values, found.all_gates
        if gates is not None:
            values = values[gates > 0]
        return values, self.run.ranks[record]

    def _remember(self, event: Mapping, scored: bool = True) -> None:
        """Observe a logged event; its scores play no part once as many as the window holds came after it."""
        step = int(event["step"])
        config = self.settings(step)
        ranks = dict(zip(self.names, self.run.ranks[self.run.record_at(step)].tolist(), strict=True))
        own = event["importance"].get(config.measure) or {}
        importance = ruled_importance({name: own.get(name) for name in self.names}, ranks, config) if scored else {}
        self.decider.observe(step, importance, ranks, _names(event["prune"]), _names(event["extend"]), config)


def _names(moves: Sequence[Mapping]) -> list[str]:
    return [move["matrix"] for move in moves]
