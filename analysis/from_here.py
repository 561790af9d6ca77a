"""A run that trains, as its schedule is edited: what was there at its last logged step, and what can still happen."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.metrics import final_ranks
from analysis.run_config import config_at, edits
from analysis.runs import Run, move_counts
from flexlora.config import FlexLoRAConfig


@dataclass(frozen=True)
class Here:
    """Where a run stands, from its log.

    Attributes:
        now: finished steps that are logged.
        matrices: how many.
        rank: directions of all matrices after the last event.
        pruned: directions that went so far.
        extended: directions that came so far.
        events: (step, pruned, extended) of each event.
        past: b(t) that was in force, for t = 1 … now.
    """

    now: int
    matrices: int
    rank: int
    pruned: int
    extended: int
    events: tuple[tuple[int, int, int], ...]
    past: tuple[int, ...]


@dataclass(frozen=True)
class Coming:
    """What a schedule still allows.

    Attributes:
        events: how many are left.
        active: how many of them have b(t) above 0.
        last: step of the last of those; None = there is none.
        most: directions that all of them may prune, and as many that they may extend.
        least_rank: the least total rank at the end.
        most_rank: the largest.
    """

    events: int
    active: int
    last: int | None
    most: int
    least_rank: int
    most_rank: int


def here(run: Run) -> Here:
    """Return where a run of FlexLoRA stands.

    Raises:
        FlexLoRAError: the log names values that this version does not take.
    """
    moves = []
    for event in run.events:
        pruned, extended = move_counts(run, event)
        moves.append((int(event["step"]), int(pruned.sum()), int(extended.sum())))
    seen = [int(run.steps[-1])] if len(run.steps) else [0]
    now = max(seen + [step for step, _, _ in moves])
    return Here(
        now=now,
        matrices=len(run.matrices),
        rank=int(final_ranks(run).sum()),
        pruned=sum(pruned for _, pruned, _ in moves),
        extended=sum(extended for _, _, extended in moves),
        events=tuple(moves),
        past=_past(run, now),
    )


def coming(config: FlexLoRAConfig, at: Here) -> Coming:
    """Return what a schedule allows after the steps that are past; a direction of each matrix always stays."""
    left = [step for step in config.event_steps() if step > at.now]
    budgets = [(step, config.budget(step)) for step in left]
    active = [step for step, budget in budgets if budget]
    most = sum(budget for _, budget in budgets)
    return Coming(
        events=len(left),
        active=len(active),
        last=active[-1] if active else None,
        most=most,
        least_rank=max(min(at.matrices, at.rank), at.rank - most) if config.direction == "prune_only" else at.rank,
        most_rank=at.rank + most if config.direction == "extend_only" else at.rank,
    )


def describe_coming(config: FlexLoRAConfig, at: Here) -> str:
    """Return in words what was, and what a schedule still allows."""
    so_far = f"Until step {at.now}: {at.pruned} pruned, {at.extended} extended, total rank {at.rank}."
    found = coming(config, at)
    if not found.active:
        return f"{so_far} From here on nothing moves."
    what = {"both": "pruned and as many extended", "prune_only": "pruned", "extend_only": "extended"}[config.direction]
    events = f"{found.events} events, {found.active} with b(t) above 0, the last at step {found.last}"
    return f"{so_far} From here on: {events}; at most {found.most} directions {what}."


def _past(run: Run, now: int) -> tuple[int, ...]:
    """b(t) of each finished step, by the configuration that it was trained with."""
    turns = sorted({min(now, after) for after, _ in edits(run)} | {now})
    budgets: list[int] = []
    for end in turns:
        config = config_at(run, len(budgets) + 1)
        if isinstance(config, FlexLoRAConfig):
            budgets += [config.budget(step) for step in range(len(budgets) + 1, end + 1)]
    return tuple(budgets)
