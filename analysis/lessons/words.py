"""Numbers of a lesson as a reader sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from analysis.metrics import instructive_event
from analysis.runs import Run, exact_event

NO_BREAK = "\u00a0"
UNSHOWN = ("claims",)
"""Keys of a step that no reader sees."""


def ends_of(run: Run) -> tuple[int, str, str]:
    """Return the step of the most instructive event, the matrix of the lowest score there, and that of the highest.

    Raises:
        ValueError: the run has no event that moves in both directions.
    """
    step = instructive_event(run)
    event = None if step is None else exact_event(run, step)
    if step is None or event is None or not event["prune"] or not event["extend"]:
        raise ValueError("a lesson needs a run with an event that takes and gives directions")
    return step, event["prune"][0]["matrix"], event["extend"][0]["matrix"]


def decimals(values: Iterable[float], digits: int) -> str:
    """Return numbers in a row: "0.77, 0.16, 0.06"."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


def sum_text(shares: np.ndarray) -> str:
    """Return the sum of entropy's formula with its numbers: "0.77·ln 0.77 + 0.16·ln 0.16 + …"."""
    terms = [f"{share:.2f}·ln {share:.2f}" for share in shares[:2]]
    return " + ".join([*terms, "…"] if len(shares) > 2 else terms)


def percent(share: float) -> str:
    """Return a share with as many digits as it needs: "44 %", "0.48 %"."""
    digits = 0 if abs(share) >= 0.1 else 1 if abs(share) >= 0.01 else 2
    return f"{100 * share:.{digits}f} %"


def signed(value: float, digits: int) -> str:
    """Return a number with its sign: "+0.012", "−0.021"."""
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else f"{'−' if value < 0 else '+'}{text}"


def sentence(text: str) -> str:
    """Return a text that begins a sentence; a symbol stays as it is written."""
    is_word = text[:1].isascii() and text[:2].isalpha() and len(text) > 1
    return text[:1].upper() + text[1:] if is_word else text


def unbroken(text: str) -> str:
    """Return a text with no-break spaces: before each "%", after "±", around "×" and the "=" of a letter or "b₀"."""
    joined = re.sub(r"(?<=\d) ?(?=%)|(?<=±) (?=\d)|(?<=\d) (?=× )|(?<=\d ×) (?=\d)", NO_BREAK, text)
    return re.sub(r"(\b\w[₀-₉]?) = (?=[\d−-])", rf"\1{NO_BREAK}={NO_BREAK}", joined)


def filled(source: Any, facts: Mapping[str, Any]) -> Any:
    """Return a part of a lesson with every ``{number}`` in a text and every ``$fact`` in its place.

    A text breaks no line within "λ = 0", "0.79 %" or "± 0.02".

    Raises:
        KeyError: a name that the facts do not have.
    """
    if isinstance(source, str):
        return facts[source[1:]] if source.startswith("$") else unbroken(source.format_map(facts))
    if isinstance(source, list):
        return [filled(item, facts) for item in source]
    if isinstance(source, dict):
        return {key: value if key in UNSHOWN else filled(value, facts) for key, value in source.items()}
    return source
