"""What an adapter may be shrunk to, and the allocation that meets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import NoReturn

import numpy as np

from analysis.adapters.adapter import Adapter
from analysis.adapters.budget import BudgetCurve, Cut, least_error_curve, ordered_curve
from analysis.adapters.files import AdapterError
from analysis.adapters.formats.plan import direction_bytes
from analysis.adapters.formats.record import EXPERT
from analysis.adapters.orders import ORDERS
from analysis.adapters.plans import SAME, one_rank, planned
from analysis.adapters.settings import may_go
from analysis.adapters.sizes import plan_size, size_at, size_now
from analysis.adapters.spectra import AdapterSpectra

TARGETS: dict[str, str] = {
    "rank": "total rank, in directions",
    "parameters": "parameters of all directions, Σ rank · (in + out)",
    "bytes": "bytes of the weights file, its header and whatever stands beside the matrices included",
    "energy": "share of the energy Σσ² of all matrices that is kept, above 0 and at most 1",
    "error": "‖ΔW − ΔW'‖_F of all matrices as a share of ‖ΔW‖_F, at least 0 and below 1; energy = 1 − error²",
}
"""Target → what its value means. The first three are upper bounds, met with the least error; the others are met with
the fewest parameters."""

SIZES = ("rank", "parameters", "bytes")
"""Targets that bound a size from above."""


class BudgetProblem:
    """An adapter and a kind of target, ready to be cut to any value of it.

    Args:
        spectra: an analysed adapter; matrices that hold NaN or infinity keep their rank.
        target: key of ``TARGETS``.
        by: key of ``ORDERS``.
        least: directions that every matrix keeps; 0 lets ``least_error`` leave whole matrices out.
        dtype: type in which the factors would be written, for bytes; None keeps theirs.
        form: key of ``FORMS``: as what it would be written; a format of one rank is cut at one rank.

    Attributes:
        names: the matrices that may give directions.
        whole: Σσ² of those, as a multiple of the largest σ².
        fixed: what the others take of a size that is a target: directions or parameters.

    Raises:
        AdapterError: an unknown key, or an adapter that does nothing.
    """

    def __init__(
        self, spectra: AdapterSpectra, target: str, by: str, least: int, dtype: str | None, form: str = SAME
    ) -> None:
        for kind, asked, known in (("order", by, ORDERS), ("target", target, TARGETS)):
            if asked not in known:
                raise AdapterError(f"Unknown {kind} {asked!r}. Choose one of: {', '.join(known)}.")
        self.adapter, self.target, self.by, self.dtype, self.form = spectra.adapter, target, by, dtype, form
        self._level = one_rank(self.adapter, form)
        self.least = least if by == "least_error" else max(1, least)
        # Experts share their factors' rank, and keep it.
        finite = {
            name: values for name, values in spectra.finite().items() if self.adapter.find(name).layer_kind != EXPERT
        }
        self.names = list(finite)
        top = max((float(values.max(initial=0.0)) for values in finite.values()), default=0.0)
        if finite and not top:
            raise AdapterError(f"Nothing to keep: {why_nothing(self.adapter)}, the adapter does nothing.")
        # As multiples of the largest: squares of very small numbers would vanish.
        self._finite, self._values = finite, {name: values / (top or 1.0) for name, values in finite.items()}
        self.whole = float(sum(float(np.square(values).sum()) for values in self._values.values()))
        fixed = [matrix for matrix in self.adapter.matrices if matrix.name not in finite]
        self.fixed = sum(matrix.rank * (1 if target == "rank" else matrix.cost) for matrix in fixed)

    @cached_property
    def curve(self) -> BudgetCurve:
        """The directions in the order in which they go."""
        price = {name: self._price(name) for name in self.names}
        if self._level:
            return _level_curve(list(self._values.values()), list(price.values()))
        if self.by != "least_error":
            return ordered_curve(self.names, self._values, price, ORDERS[self.by](self._finite, price))
        least = [self.least if may_go(self.adapter, self.adapter.find(name)) else 1 for name in self.names]
        return least_error_curve(list(self._values.values()), list(price.values()), least)

    def ranks(self, cut: Cut) -> dict[str, int]:
        """Return matrix → rank of a cut."""
        found = {matrix.name: matrix.rank for matrix in self.adapter.matrices}
        if self._level:
            return found | {name: min(int(cut.ranks[0]), found[name]) for name in self.names}
        return found | dict(zip(self.names, cut.ranks.tolist(), strict=True))

    def cut(self, value: float) -> Cut:
        """Return the allocation that meets the target.

        Raises:
            AdapterError: a value that cannot be met.
        """
        fill = self.by == "least_error"
        if self.target == "energy":
            if not 0 < value <= 1:
                raise AdapterError(f"energy={value:g} must be above 0 and at most 1, such as 0.99.")
            return self.curve.within_loss((1 - value) * self.whole, fill)
        if self.target == "error":
            if not 0 <= value < 1:
                raise AdapterError(f"error={value:g} must be at least 0 and below 1, such as 0.05.")
            return self.curve.within_loss(value * value * self.whole, fill)
        if self.target == "bytes":
            return self._within_bytes(value, fill)
        cut = self.curve.within_price(value - self.fixed, fill)
        if cut is None:
            self._refuse(value, int(self.curve.price[-1]) + self.fixed, int(self.curve.price[0]) + self.fixed)
        return cut

    def whole_size(self) -> int:
        """Return the adapter's size in the unit of a target that is one: as it would be written with nothing cut."""
        whole = self.curve.after(0)
        return self._bytes(whole) if self.target == "bytes" else int(self.curve.price[0]) + self.fixed

    def _within_bytes(self, value: float, fill: bool) -> Cut:
        first, last = 0, len(self.curve.owners)
        smallest = self._bytes(self.curve.after(last))
        if not value >= smallest:
            self._refuse(value, smallest, self._bytes(self.curve.after(0)))
        # Texts aside, the header of the smallest file is the shortest: no allocation has more room for its factors.
        least = smallest - self._texts(self.curve.after(last)) - int(self.curve.price[-1])
        first = self._first_step(value - least)
        most = self._bytes(self.curve.after(first)) - int(self.curve.price[first])
        middle = self._first_step(value - most)
        while first < last:
            # Fewer directions take no more bytes but where ranks stand in the header's texts: what is found fits, too.
            first, last = (first, middle) if self._bytes(self.curve.after(middle)) <= value else (middle + 1, last)
            middle = (first + last) // 2
        price = int(self.curve.price[first])
        room = value - self._bytes(self.curve.after(first))
        found = self.curve.within_price(price + room, fill)
        if found is None or self._bytes(found.ranks) > value:
            found = self.curve.within_price(price, fill=False)
        bound = self.curve.within_price(value - least, fill=False)
        assert found is not None and bound is not None
        return Cut(found.ranks, found.price, found.lost, bound.least)

    def _first_step(self, price: float) -> int:
        """Return after how many steps what is left costs no more than that; all of them where it always does."""
        within = self.curve.price <= price
        return int(within.argmax()) if within.any() else len(within) - 1

    def _bytes(self, ranks: np.ndarray) -> int:
        return size_at(self.adapter, self.ranks(Cut(ranks, 0, 0.0, 0.0)), self.dtype, self.form).total

    def _texts(self, ranks: np.ndarray) -> int:
        """Return how much of the file at these ranks is text in its header that may say ranks."""
        plan = planned(self.adapter, self.ranks(Cut(ranks, 0, 0.0, 0.0)), self.dtype, self.form)
        same = {key: value for key, value in plan.metadata.items() if self.adapter.file.metadata.get(key) == value}
        return plan_size(plan).total - plan_size(replace(plan, metadata=same)).total

    def _price(self, name: str) -> int:
        matrix = self.adapter.find(name)
        if self.target == "rank":
            return 1
        return direction_bytes(self.adapter, matrix, self.dtype) if self.target == "bytes" else matrix.cost

    def _refuse(self, value: float, smallest: int, whole: int) -> NoReturn:
        keeps = "every matrix keeps at least one direction" if self.least else "what must stay stays"
        if experts := sum(matrix.layer_kind == EXPERT for matrix in self.adapter.matrices):
            keeps += f", experts ({experts:,} of the matrices) keep all theirs"
        if self.target == "bytes" and (carried := size_now(self.adapter).carried):
            keeps += f" and {carried:,} bytes of heads, biases and the like are copied"
        raise AdapterError(
            f"{self.target}={value:g} cannot be met: {keeps}, which takes {smallest:,}. "
            f"The adapter has {whole:,}; choose between the two."
        )


def why_nothing(adapter: Adapter) -> str:
    """Return why an adapter whose every ΔW is 0 does nothing: "alpha = 0" or "B = 0 everywhere"."""
    return "alpha = 0" if all(matrix.scale == 0 for matrix in adapter.matrices) else "B = 0 everywhere"


def _level_curve(spectra: Sequence[np.ndarray], prices: Sequence[int]) -> BudgetCurve:
    """Return the curve of a format of one rank: each step takes the last direction of every matrix of the highest."""
    rank = max((values.size for values in spectra), default=0)
    energies = np.zeros(rank)
    for values in spectra:
        energies[: values.size] += np.square(values)
    steps = energies[:0:-1]
    return BudgetCurve(
        np.array([rank], np.int64), np.array([sum(prices)], np.int64), np.zeros(len(steps), np.int64), steps
    )
