"""``Material``: the recorded runs and the study that lessons are made of, each opened once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from analysis.runs import Run, load_run
from analysis.study import Compared, StudyTable, compare_study, load_study

RUN = "words-flexlora-paper"
"""The run that most lessons look at."""
REFERENCE = "words-flexlora-reference"
"""The same task with the released code's behaviour."""
PLAIN = "words-lora"
"""The same task with equal ranks."""
STUDY = "studies/four_ways"
RUNS = (RUN, REFERENCE, PLAIN)


@dataclass(frozen=True)
class Material:
    """What lessons look at.

    Attributes:
        run: f(name below the folder of samples) → the run, opened once.
        study: f() → the sample study, and its variants compared.
    """

    run: Callable[[str], Run]
    study: Callable[[], tuple[StudyTable, list[Compared]]]


def material(samples: Path) -> Material:
    """Return what lies in a folder of samples; it is opened when a lesson asks for it."""

    @cache
    def run(name: str) -> Run:
        return load_run(samples / name)

    @cache
    def study() -> tuple[StudyTable, list[Compared]]:
        table = load_study(samples / STUDY)
        return table, compare_study(table)

    return Material(run, study)


def missing(samples: Path) -> list[str]:
    """Return the names of what the lessons need and the folder does not have."""
    return [name for name in (*RUNS, STUDY) if not (samples / name).is_dir()]
