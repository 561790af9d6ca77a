"""A study file that is being written: what it would make, or the one line that says what is wrong with it."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from compare.pace import Paces
from flexlora.errors import FlexLoRAError
from flexlora.study.equality import expected_differences, refusal
from flexlora.study.plan import Plan, plan_study
from flexlora.study.spec import read_study_text
from jobs.study_job import StudyJob, study_job

WHERE = "The study file"


class Draft(NamedTuple):
    """What a study file asks for.

    Attributes:
        plan: of its runs.
        job: of the line, one run after the other.
        refused: the sentence about budgets that will differ; empty where they are equal as far as the file tells.
    """

    plan: Plan
    job: StudyJob
    refused: str


@st.cache_resource(max_entries=16, show_spinner=False)
def check_draft(text: str) -> Draft | str:
    """Return what a study file asks for, or what is wrong with it in one line, as the command tells it."""
    try:
        plan = plan_study(read_study_text(text, WHERE))
    except FlexLoRAError as error:
        return " ".join(str(error).split())
    likely = plan.runs([own[0] if own else {} for own in plan.chosen])
    differences = expected_differences(plan, likely)
    return Draft(plan, study_job(text, plan), refusal(plan.study.equal, differences) if differences else "")


def describe_draft(draft: Draft, paces: Paces, side_by_side: int) -> str:
    """Return how much a study is: variants, seeds, runs, trials, and about how long it takes."""
    plan, seeds = draft.plan, len(draft.plan.study.seeds)
    parts = [f"{len(plan.variants)} variants × {seeds} seeds = **{len(plan.variants) * seeds} runs**"]
    if plan.trials:
        parts.append(f"{len(plan.trials)} trials of the search before them")
    parts.append(f"{draft.job.steps:,} steps in all")
    return " · ".join([*parts, estimate(draft, paces, side_by_side)])


def estimate(draft: Draft, paces: Paces, side_by_side: int) -> str:
    """Return about how long a study takes, by what runs of its tasks and methods took before."""
    compared = draft.plan.runs([own[0] if own else {} for own in draft.plan.chosen])
    seconds = [paces.step_s(run.job.task, run.job.method) for run in (*draft.plan.trials, *compared)]
    steps = [run.job.steps for run in (*draft.plan.trials, *compared)]
    known = [pace * count for pace, count in zip(seconds, steps, strict=True) if pace is not None]
    if len(known) < len(steps):
        return "how long it takes is known once its first run has begun"
    total = sum(known) / side_by_side
    told = f"{total:.0f} s" if total < 90 else f"{total / 60:.0f} min" if total < 5400 else f"{total / 3600:.1f} h"
    return f"about **{told}**, as runs here took"
