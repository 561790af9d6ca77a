"""A study file that is being written: what it would make, or the one line that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st

from analysis.study.compare import pairs_needed
from compare.pace import Paces
from flexlora.adapter_config import AdapterConfig
from flexlora.errors import FlexLoRAError
from flexlora.study.equality import expected_differences, refusal
from flexlora.study.plan import Plan, Planned, plan_study
from flexlora.study.spec import read_study_text
from jobs.start_up import start_up_s
from jobs.study_job import StudyJob, study_job

WHERE = "The study file"
COUNTED_STEPS = 500_000
"""Steps that are looked through for events while somebody types."""


class Draft(NamedTuple):
    """What a study file asks for.

    Attributes:
        plan: of its runs.
        job: of the line, one run after the other.
        refused: the sentence about budgets that will differ; empty where they are equal as far as the file tells.
        events: title of each variant whose method moves rank → its events, and the steps they fall into.
    """

    plan: Plan
    job: StudyJob
    refused: str
    events: dict[str, tuple[int, int]]


@st.cache_resource(max_entries=16, show_spinner=False)
def check_draft(text: str) -> Draft | str:
    """Return what a study file asks for, or what is wrong with it in one line, as the command tells it."""
    try:
        plan = plan_study(read_study_text(text, WHERE))
    except FlexLoRAError as error:
        return " ".join(str(error).split())
    likely = plan.runs([own[0] if own else {} for own in plan.chosen])
    differences = expected_differences(plan, likely)
    refused = refusal(plan.study.equal, differences) if differences else ""
    return Draft(plan, study_job(text, plan), refused, _events(likely))


def describe_draft(draft: Draft, paces: Paces, side_by_side: int) -> str:
    """Return how much a study is: variants, seeds, runs, trials, and about how long it takes."""
    plan, seeds = draft.plan, len(draft.plan.study.seeds)
    parts = [f"{len(plan.variants)} variants × {seeds} seeds = **{len(plan.variants) * seeds} runs**"]
    if plan.trials:
        parts.append(f"{len(plan.trials)} trials of the search before them")
    parts.append(f"{draft.job.steps:,} steps in all")
    if counts := sorted(count for count, _ in draft.events.values()):
        ends = dict.fromkeys((counts[0], counts[-1]))
        parts.append(f"rank moves at {' to '.join(map(str, ends))} event{'s' * (counts[-1] != 1)} a run")
    if comparisons := _comparisons(plan):
        held = "one comparison needs" if comparisons == 1 else f"{comparisons} comparisons need"
        parts.append(f"{held} {pairs_needed(comparisons)} seeds or more for a claim")
    return " · ".join([*parts, estimate(draft, paces, side_by_side)])


def draft_warnings(draft: Draft) -> list[str]:
    """Return what makes a study tell nothing, however it ends: too few seeds, or no event."""
    seeds, told = len(draft.plan.study.seeds), []
    needed = pairs_needed(_comparisons(draft.plan))
    if _comparisons(draft.plan) and seeds < needed:
        told.append(
            f"No difference can be claimed with {seeds} seed{'s' * (seeds != 1)}, however large it is: "
            f"{needed} are needed."
        )
    still = {title: steps for title, (count, steps) in draft.events.items() if not count}
    if still:
        title, steps = next(iter(still.items()))
        more = f" and {len(still) - 1} more" if len(still) > 1 else ""
        told.append(f"No event falls into the {steps:,} steps of {title}{more}: no rank moves there.")
    return told


def _comparisons(plan: Plan) -> int:
    return len(plan.variants) - len(plan.groups())


def _events(runs: Sequence[Planned]) -> dict[str, tuple[int, int]]:
    """Return the events of one run of each variant whose method moves rank, of as many as can be counted at once."""
    found, left = {}, COUNTED_STEPS
    for run in runs:
        config, steps = run.job.config, run.job.steps
        counts = type(config).is_event is not AdapterConfig.is_event
        if counts and run.variant.title not in found and steps <= left:
            left -= steps
            found[run.variant.title] = sum(map(config.is_event, range(1, steps + 1))), steps
    return found


def estimate(draft: Draft, paces: Paces, side_by_side: int) -> str:
    """Return about how long a study takes: its start, and its runs as those of its tasks and methods took before."""
    compared = draft.plan.runs([own[0] if own else {} for own in draft.plan.chosen])
    seconds = [paces.step_s(run.job.task, run.job.method) for run in (*draft.plan.trials, *compared)]
    steps = [run.job.steps for run in (*draft.plan.trials, *compared)]
    known = [pace * count for pace, count in zip(seconds, steps, strict=True) if pace is not None]
    if len(known) < len(steps):
        return "how long it takes is known once its first run has begun"
    start = start_up_s()
    total = start + sum(known) / side_by_side
    told = f"{total:.0f} s" if total < 90 else f"{total / 60:.0f} min" if total < 5400 else f"{total / 3600:.1f} h"
    return f"about **{told}**, as runs here took, {start:.0f} s of it until the first begins"
