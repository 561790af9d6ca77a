"""Deep links: what the address asks a player to show, checked against the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from analysis.runs import Run
from player import CHOICES, STAGES, PlayerView


class Link(NamedTuple):
    """What a deep link asks for, checked against the run.

    Attributes:
        view: What can be followed; fields that the link leaves out are the defaults.
        notes: What could not be followed, in words.
    """

    view: PlayerView = PlayerView()
    notes: tuple[str, ...] = ()


def read_link(asked: Mapping[str, str], run: Run) -> Link:
    """Checks the step, matrix and choices of query parameters from outside, which are about a run.

    What can be followed is returned; the rest is left out and named in the notes.
    """
    notes: list[str] = []
    found: dict[str, Any] = {
        name: _step_of(asked[name], name, run, notes) for name in ("step", "since") if name in asked
    }
    if "matrix" in asked:
        if asked["matrix"] in {m.name for m in run.matrices}:
            found["matrix"] = asked["matrix"]
        else:
            notes.append("The link names a matrix that this run does not have; another one is selected.")
    for name, keys in {**CHOICES, "stage": STAGES}.items():
        if name in asked and asked[name] in keys:
            found[name] = asked[name]
        elif name in asked:
            instead = "there is no slow motion" if name == "stage" else f"it shows {keys[0]}"
            notes.append(f"The link's {name} is none of {', '.join(keys)}; {instead}.")
    return Link(PlayerView(**found), tuple(notes))


def _step_of(text: str, name: str, run: Run, notes: list[str]) -> int | None:
    try:
        step = int(text)
    except ValueError:
        notes.append(f"The link's {name} is not a whole number; it is left out.")
        return None
    first, last = (int(run.steps[0]), int(run.steps[-1])) if len(run.steps) else (0, 0)
    if not first <= step <= last:
        notes.append(f"The link's {name} {step} is not in this run, which was recorded from {first} to {last}.")
    return min(max(step, first), last)
