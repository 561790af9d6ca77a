"""A study as a job of the line: what is asked for, and the folder in which it begins."""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path

from flexlora.errors import FlexLoRAError
from flexlora.study.files import SPEC, replace_file
from flexlora.study.plan import Plan

_MAX_NAME = 60


@dataclass(frozen=True)
class StudyJob:
    """A checked study file and how it is made.

    ``runs`` and ``steps`` count all of it, ``trials`` and ``trial_steps`` those of its search, which come first.
    ``side_by_side``: runs at once.
    ``unequal``: compare although the budgets differ; the table says so.
    """

    text: str
    name: str
    runs: int
    steps: int
    trials: int = 0
    trial_steps: int = 0
    side_by_side: int = 1
    unequal: bool = False

    task = "study"
    """Where a run has its task: the pace of one study is that of another by the same name only."""

    @property
    def method(self) -> str:
        """Where a run has its method."""
        return self.name

    def planned(self, side_by_side: int, *, unequal: bool) -> StudyJob:
        """Return the same study, made in another way."""
        return replace(self, side_by_side=side_by_side, unequal=unequal)


def study_job(text: str, plan: Plan) -> StudyJob:
    """Return the job of a study file whose plan is ``plan``, one run after the other."""
    compared = plan.runs([own[0] if own else {} for own in plan.chosen])
    trial_steps = sum(run.job.steps for run in plan.trials)
    return StudyJob(
        text,
        plan.study.name,
        runs=len(plan.trials) + len(compared),
        steps=trial_steps + sum(run.job.steps for run in compared),
        trials=len(plan.trials),
        trial_steps=trial_steps,
    )


def new_study_folder(root: Path, job: StudyJob) -> Path:
    """Make a folder below ``root`` that did not exist, with the study file in it, and return it.

    Raises:
        FlexLoRAError: the folder cannot be made.
    """
    base = re.sub(r"[^A-Za-z0-9_]+", "-", job.name).strip("-")[:_MAX_NAME] or "study"
    names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name in names:
            with contextlib.suppress(FileExistsError):
                (root / name).mkdir()
                replace_file(root / name / SPEC, job.text.encode())
                return root / name
    except OSError as error:
        raise FlexLoRAError(f"No folder of a study can be made in {root}: {error.strerror or error}.") from error
    raise AssertionError("names never end")
