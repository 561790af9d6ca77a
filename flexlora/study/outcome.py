"""What a run folder says about one run of a study: done, diverged, to go on with, or somebody else's."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.run_log import RunLogError, glance_run, read_header
from flexlora.run_log.format import HEADER
from flexlora.study.policy_files import made_by_another

DIVERGED = "Non-finite"
"""How the message of a run begins that lost its way; the same again would end there again."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: ``completed``; ``diverged``, a result as well; ``stopped``, to go on with; or ``refused``, which stops
            the study.
        message: of a run that did not complete.
    """

    state: str
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return vars(self).copy()


def find_outcome(folder: Path, job: Job) -> Outcome | None:
    """Return how the run in ``folder`` ended; None when it has not, or is not there.

    Raises:
        FlexLoRAError: the folder holds a run of another configuration, or a whole one of another policy file.
    """
    if not begun(folder, job):
        if _completed_by_another(folder, job):
            name = f"{job.to_dict()['policy']}.py"
            raise FlexLoRAError(
                f"{folder} was made by {name} as it was before. Put that text back, choose another --out, or remove "
                "that folder to make the run anew."
            )
        return None
    try:
        end = glance_run(folder).end
    except RunLogError:
        return None
    reason, message = ((end or {}).get(key) or "" for key in ("reason", "message"))
    if reason == "completed":
        return Outcome("completed")
    if reason == "failed" and str(message).startswith(DIVERGED):
        return Outcome("diverged", str(message))
    return None


def begun(folder: Path, job: Job) -> bool:
    """True when ``folder`` holds a run of this job, however far it got; not one by another text of its policy file.

    Raises:
        FlexLoRAError: it holds a run of another configuration, or one that cannot be read.
    """
    if not (folder / HEADER).exists():
        # A header is there as a whole or not at all: killed before it, nothing can be lost.
        return False
    try:
        header = read_header(folder)[0]
        found = Job.from_dict(header["config"]).to_dict()
    except (RunLogError, FlexLoRAError, KeyError, TypeError, AttributeError) as error:
        raise FlexLoRAError(
            f"{folder} holds no run of this study: {' '.join(str(error).split())}. Remove it to make the run anew."
        ) from error
    wanted = job.to_dict()
    for key in sorted({*wanted, *found}):
        if wanted.get(key) != found.get(key):
            raise FlexLoRAError(
                f"{folder} was made with {key}={found.get(key)}, not {wanted.get(key)}: by another study file. Choose "
                "another --out, or remove that folder."
            )
    return not made_by_another(header, job)


def _completed_by_another(folder: Path, job: Job) -> bool:
    try:
        return made_by_another(read_header(folder)[0], job) and (glance_run(folder).end or {})["reason"] == "completed"
    except (RunLogError, KeyError):
        return False


def clear(folder: Path) -> None:
    """Remove what is left of a run that cannot be gone on with."""
    shutil.rmtree(folder, ignore_errors=True)
