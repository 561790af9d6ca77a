"""How large a job may be where many share a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from jobs.study_job import StudyJob

MOST = 1_000_000


@dataclass(frozen=True)
class Caps:
    """The most that a job may ask for.

    Attributes:
        steps: of a run.
        rank: directions a matrix at the start, and the most that one may come to have where the method has a bound.
        study_runs: of a study, those of its search included.
        study_steps: of all runs of a study together.
    """

    steps: int = 400
    rank: int = 32
    study_runs: int = 12
    study_steps: int = 2_400

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Caps:
        """Return caps from untrusted fields.

        Raises:
            FlexLoRAError: one is no whole number from 1 to a million.
        """
        values = {field.name: held.get(field.name, field.default) for field in fields(cls)}
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
                raise FlexLoRAError(f"{name.replace('_', ' ')} is a whole number from 1 to {MOST:,}, not {value!r}.")
        return cls(**values)


def refused_size(caps: Caps, job: Job | StudyJob) -> str | None:
    """Return why a job is too large, in one line; None when it is not."""
    if isinstance(job, StudyJob):
        over = [(job.runs, caps.study_runs, "runs"), (job.steps, caps.study_steps, "steps in all")]
        what = "a study"
    else:
        over = [(job.steps, caps.steps, "steps"), (rank_of(job), caps.rank, "directions a matrix")]
        what = "a run"
    found = [f"{asked:,} {unit}, {what} may have {most:,}" for asked, most, unit in over if asked > most]
    return f"Too large for this class: {'; '.join(found)}. Ask for less, or ask the leader." if found else None


def describe_caps(caps: Caps) -> str:
    """Return what a job may be, in one line."""
    return (
        f"In this class a run has at most {caps.steps:,} steps and rank {caps.rank:,}, a study at most "
        f"{caps.study_runs:,} runs of {caps.study_steps:,} steps together."
    )


def rank_of(job: Job) -> int:
    """Return the largest number of directions that a job asks for in one matrix."""
    config = job.config
    given = getattr(config, "initial_ranks", None) or ()
    own = given.values() if isinstance(given, Mapping) else given
    named = [getattr(config, name, None) for name in ("initial_rank", "target_rank", "max_rank")]
    return max((rank for rank in (*named, *own) if isinstance(rank, int)), default=0)
