"""What a check sees, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.formats.plan import factor_dtype
from analysis.adapters.relations import listed
from analysis.adapters.spectra import AdapterSpectra, is_dead
from flexlora.matrix_names import place_label

WRONG, LOOK, NOTE = "wrong", "look", "note"
"""How much a finding matters: the adapter does not do what it should; it may not; good to know."""
SHOWN = 3
"""Matrices that a line names before it says how many more there are."""


class Finding(NamedTuple):
    """One thing that a check found.

    Attributes:
        check: key of ``CHECKS``.
        level: ``WRONG``, ``LOOK`` or ``NOTE``.
        text: what was found, in one sentence, with its number and matrices.
        advice: what to do about it, in one sentence.
        number: what was measured.
        matrices: names of those concerned; empty = the whole adapter.
        flags: options of ``python -m analysis.adapters`` that do what is advised; empty = there are none.
    """

    check: str
    level: str
    text: str
    advice: str
    number: float
    matrices: tuple[str, ...] = ()
    flags: str = ""


class Factors(NamedTuple):
    """What the numbers of one matrix's factors say, read once.

    Attributes:
        B_zero: B is exactly 0.
        A_zero: A is exactly 0.
        largest: largest magnitude in both.
        rms: root mean square of A and of B.
        dtypes: types in which A and B are stored.
    """

    B_zero: bool
    A_zero: bool
    largest: float
    rms: tuple[float, float]
    dtypes: tuple[str, str]


@dataclass(frozen=True)
class Examined:
    """An adapter under examination: its spectra, and its factors when a check asks for them."""

    spectra: AdapterSpectra

    @property
    def adapter(self) -> Adapter:
        """What is examined."""
        return self.spectra.adapter

    @property
    def config(self) -> dict[str, Any]:
        """The configuration; empty where there is none."""
        return self.adapter.config or {}

    @cached_property
    def live(self) -> list[tuple[AdapterMatrix, np.ndarray]]:
        """The matrices that are finite and not 0, with their σ."""
        rows = ((matrix, values) for matrix, values in self.spectra.rows() if values.size and np.isfinite(values).all())
        return [(matrix, values) for matrix, values in rows if not is_dead(values)]

    @cached_property
    def factors(self) -> dict[str, Factors]:
        """Matrix → what its factors say."""
        return dict(self._read())

    def _read(self) -> Iterator[tuple[str, Factors]]:
        for matrix in self.adapter.matrices:
            B, A = self.adapter.factors(matrix.name)
            sides = (A, B)
            with np.errstate(all="ignore"):
                largest = max(float(np.abs(factor).max(initial=0.0)) for factor in sides)
                rms = tuple(float(np.sqrt(np.square(factor).mean())) if factor.size else 0.0 for factor in sides)
            dtypes = (factor_dtype(self.adapter, matrix.name, "A"), factor_dtype(self.adapter, matrix.name, "B"))
            yield matrix.name, Factors(not B.any(), not A.any(), largest, (rms[0], rms[1]), dtypes)

    def named(self, matrices: Sequence[str]) -> str:
        """Return "in 6 of 24 matrices (query of layers 0 to 5)", or "in all 24 matrices"."""
        return named(self.adapter, matrices)


def named(adapter: Adapter, matrices: Sequence[str]) -> str:
    """Return "in 6 of 24 matrices (query of layers 0 to 5)", or "in all 24 matrices"."""
    of = len(adapter.matrices)
    if len(matrices) == of:
        return f"in all {of} matrices" if of > 1 else "in the only matrix"
    found = [adapter.find(name) for name in matrices]
    told = ", ".join(place_label(matrix.layer, matrix.module_type) for matrix in found[:SHOWN])
    if len(matrices) > SHOWN:
        told = _by_layers(found) or f"{told}, …"
    return f"in {len(matrices)} of {of} matrices ({told})"


def _by_layers(matrices: Sequence[AdapterMatrix]) -> str:
    """Return "query and value of layers 0 to 5"; empty where that takes too many words, or is not the whole name."""
    layers: dict[str, list[int]] = {}
    for matrix in matrices:
        if matrix.layer is None or matrix.block:
            return ""
        layers.setdefault(matrix.module_type, []).append(matrix.layer)
    kinds: dict[tuple[int, ...], list[str]] = {}
    for kind, own in layers.items():
        kinds.setdefault(tuple(sorted(own)), []).append(kind)
    if len(kinds) > SHOWN or not all(len(_runs(own)) <= SHOWN for own in kinds):
        return ""
    return "; ".join(f"{listed(types)} of {told_layers(own)}" for own, types in kinds.items())


def _runs(own: Sequence[int]) -> list[str]:
    """Return ascending layers as "0 to 3" where three or more follow one another, else each alone."""
    found: list[list[int]] = []
    for layer in own:
        if found and layer == found[-1][-1] + 1:
            found[-1].append(layer)
        else:
            found.append([layer])
    told = [[f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(layer) for layer in run] for run in found]
    return [one for run in told for one in run]


def told_layers(own: Sequence[int]) -> str:
    """Return ascending layers in words: "layer 3", "layers 0 to 3 and 7"."""
    return f"layer {own[0]}" if len(own) == 1 else f"layers {listed(_runs(own))}"


class Check(NamedTuple):
    """One thing that is looked for.

    Attributes:
        key: its name.
        label: for a person, as a heading.
        threshold: when it speaks, in words and numbers.
        evidence: why there.
        find: f(examined) → finding, or None.
        needs_config: it reads ``adapter_config.json``, without which it says nothing.
        of_alpha: what it reads there is alpha, which files of other formats than PEFT's hold themselves.
    """

    key: str
    label: str
    threshold: str
    evidence: str
    find: Callable[[Examined], Finding | None]
    needs_config: bool = False
    of_alpha: bool = False

    def can_run(self, adapter: Adapter) -> bool:
        """Return whether an adapter has what the check reads."""
        if adapter.config is not None or not self.needs_config:
            return True
        return self.of_alpha and adapter.format != "peft"
