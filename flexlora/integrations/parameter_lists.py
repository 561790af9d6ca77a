"""Warnings about parameters that a loop trains: those that were cast, and lists of them that no longer hold."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from flexlora.adapter import Adapter
from flexlora.errors import FlexLoRAWarning


def warn_of_narrow(adapter: Adapter) -> None:
    """Warn where the model was cast after it was attached."""
    narrow = {parameter.dtype for parameter in adapter.parameters() if parameter.element_size() < 4}
    if narrow:
        warnings.warn(
            f"P, λ and Q are {', '.join(sorted(str(kind)[6:] for kind in narrow))}, in which small moves are lost: the "
            "model was cast after it was attached. Cast it before: the adapter then keeps fp32 beside it.",
            FlexLoRAWarning,
            stacklevel=4,
        )


class Replaced:
    """Tells once that somebody still holds parameters in whose place new ones stand, since storage grew.

    Such as a list that gradients are clipped by: it misses the new ones. Who asks the adapter anew holds none.
    ``told`` where a Trainer makes the steps: it asks the model anew at each.
    """

    def __init__(self, adapter: Adapter, *, told: bool = False) -> None:
        self._adapter = adapter
        self._left: list[weakref.ref[nn.Parameter]] = []
        self._grew = 0
        self._told = told

    @contextmanager
    def by_event(self, t: int, *, due: bool) -> Iterator[None]:
        """Note which parameters step ``t`` replaces in this block; a step later they are to be gone."""
        if self._told:
            yield
            return
        # By now the last step's graph, too, is gone.
        if any(part() is not None for part in self._left):
            self._told = True
            _warn_of_growth(self._grew)
        self._left = []
        before = [weakref.ref(part) for part in self._adapter.parameters()] if due else []
        yield
        own = {id(part) for part in self._adapter.parameters()} if due else set()
        self._left = [part for part in before if id(part()) not in own]
        self._grew = t


def _warn_of_growth(t: int) -> None:
    """Warn that new parameters stand in place of old ones since the event of step ``t``."""
    warnings.warn(
        f"Storage grew at the event of step {t}: the optimizer has the new parameters, a list that was made before and "
        "is still held, as to clip gradients, has not. Ask adapter.trainable_parameters() anew at each step, or call "
        "adapter.reserve(rank) before the optimizer is built.",
        FlexLoRAWarning,
        stacklevel=6,
    )
