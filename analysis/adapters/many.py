"""Several adapters of one model side by side: shared subspaces, inner products, a shared start."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.comparison import (
    SAME_DELTA,
    Group,
    aligned,
    base_notices,
    lacking,
    relative_difference,
    representative,
    same_rows,
    scale_between,
    subspaces,
)
from analysis.adapters.files import AdapterError
from analysis.adapters.spectra import Progress
from flexlora.brief import Brief

SIDES = ("output", "input")
"""Column spaces of ΔW, and row spaces."""


@dataclass(frozen=True, repr=False)
class Comparisons(Brief):
    """n adapters in the M matrices that any of them has; where one lacks a matrix its ΔW is 0.

    Attributes:
        names: of the adapters, each once.
        matrices: of the first that has each.
        overlaps: side → mean squared cosine of the principal angles, (M, n, n), 0 to 1; NaN where one is dead or not
            there.
        chances: side → what two random subspaces of those ranks have on average, (M, n, n).
        products: ⟨ΔW_i, ΔW_j⟩, (M, n, n): squared norms on the diagonal; NaN where one holds NaN or infinity.
        starts: mean cosine of the same rows of A_i and A_j, (n, n); NaN where no matrix has one rank in both.
        notices: one line for each thing to know.
    """

    names: tuple[str, ...]
    matrices: tuple[AdapterMatrix, ...]
    overlaps: dict[str, np.ndarray]
    chances: dict[str, np.ndarray]
    products: np.ndarray
    starts: np.ndarray
    notices: tuple[str, ...]

    def overall(self, side: str) -> np.ndarray:
        """Return the mean overlap over all matrices that are alive in both, (n, n); NaN where there is none."""
        return mean_of(self.overlaps[side])

    def chance(self, side: str, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return the mean chance level over the same matrices, or some of them, (n, n)."""
        taken = np.where(np.isnan(self.overlaps[side]), np.nan, self.chances[side])
        return mean_of(taken if rows is None else taken[list(rows)])

    def sums(self) -> list[tuple[int, int, int]]:
        """Return (i, j, k) where ΔW_i = ΔW_j + ΔW_k, j < k, within ``SAME_DELTA`` of ‖ΔW_i‖, and none of them is 0."""
        whole = self.products.sum(axis=0)
        squares, found = np.diagonal(whole), []
        first = [family[0][0] for family in self.families()]
        for i, (j, k) in itertools.product(first, itertools.combinations(first, 2)):
            if i in (j, k) or not all(squares[place] > 0 for place in (i, j, k)):
                continue
            left = squares[i] + squares[j] + squares[k] - 2 * whole[i, j] - 2 * whole[i, k] + 2 * whole[j, k]
            if left <= SAME_DELTA**2 * squares[i]:
                found.append((i, j, k))
        return found

    def cosines(self, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return the cosine between whole adapters as vectors, or in some matrices, (n, n); NaN for a dead one."""
        own = self.products[list(rows) if rows is not None else slice(None)]
        squares = np.diagonal(own, axis1=1, axis2=2)
        # A pair is held side by side in the matrices that are finite in both.
        norms = np.sqrt(np.nansum(np.where(np.isnan(own), np.nan, squares[:, :, None]), axis=0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.clip(np.nansum(own, axis=0) / (norms * norms.T), -1, 1))

    def layers(self) -> dict[int | None, list[int]]:
        """Return layer → places of its matrices."""
        found: dict[int | None, list[int]] = {}
        for place, matrix in enumerate(self.matrices):
            found.setdefault(matrix.layer, []).append(place)
        return found

    def by_layer(self, side: str) -> dict[int | None, np.ndarray]:
        """Return layer → mean overlap of its matrices, (n, n)."""
        return {layer: mean_of(self.overlaps[side][rows]) for layer, rows in self.layers().items()}

    def differences(self) -> np.ndarray:
        """Return the largest ‖ΔW_i − ΔW_j‖ / max(‖ΔW_i‖, ‖ΔW_j‖) of a matrix, (n, n).

        NaN where all are dead, or one holds NaN or infinity: it is no copy of anything.
        """
        size = len(self.names)
        found = np.full((size, size), np.nan)
        for i, j in itertools.combinations(range(size), 2):
            if np.isnan(self.products[:, i, j]).any():
                continue
            each = [self._difference(own, i, j) for own in self.products if own[i, i] > 0 or own[j, j] > 0]
            found[[i, j], [j, i]] = max(each, default=np.nan)
        return found

    @staticmethod
    def _difference(products: np.ndarray, i: int, j: int) -> float:
        first, second = np.sqrt(products[i, i]), np.sqrt(products[j, j])
        cosine = products[i, j] / (first * second) if first * second > 0 else 0.0
        return relative_difference(first, second, float(np.clip(cosine, -1, 1)))

    def copies(self) -> list[list[int]]:
        """Return the places of adapters that have the same ΔW, a list each; one that no other has stands alone."""
        near = self.differences() <= SAME_DELTA
        found: list[list[int]] = []
        for place in range(len(self.names)):
            group = next((own for own in found if near[own[0], place]), None)
            if group is None:
                found.append([place])
            else:
                group.append(place)
        return found

    def families(self) -> list[list[tuple[int, float]]]:
        """Return adapters of which each is c times the first of its list, as (place, c); of copies the first alone."""
        found: list[list[tuple[int, float]]] = []
        for place in (group[0] for group in self.copies()):
            for family in found:
                times = self._times(family[0][0], place)
                if times is not None:
                    family.append((place, times))
                    break
            else:
                found.append([(place, 1.0)])
        return found

    def _times(self, i: int, j: int) -> float | None:
        own = self.products[:, [i, j], [i, j]]
        with np.errstate(invalid="ignore", divide="ignore"):
            norms = np.sqrt(own)
            cosines = np.where((own > 0).all(axis=1), self.products[:, i, j] / norms.prod(axis=1), own.sum(axis=1) * 0)
        return scale_between(norms, np.clip(cosines, -1, 1))


def compare_many(
    adapters: Sequence[Adapter], progress: Progress | None = None, names: Sequence[str] | None = None
) -> Comparisons:
    """Compare every two adapters, matrix by matrix, by name.

    Args:
        adapters: two or more.
        progress: called after each matrix.
        names: what to call them; None = their own, numbered where two are alike.

    Raises:
        AdapterError: fewer than two, or what ``aligned`` raises.
    """
    if len(adapters) < 2:
        raise AdapterError(f"{len(adapters)} adapter was given; comparing takes two or more.")
    groups = aligned(adapters)
    common = [representative(group) for group in groups]
    labels = tuple(names) if names is not None else labels_of(adapters)
    count, size = len(common), len(adapters)
    overlaps = {side: np.full((count, size, size), np.nan) for side in SIDES}
    chances = {side: np.full((count, size, size), np.nan) for side in SIDES}
    products, starts = np.zeros((count, size, size)), np.full((count, size, size), np.nan)
    broken: list[list[str]] = [[] for _ in adapters]
    for place, group in enumerate(groups):
        factors = factors_of(adapters, group)
        for one, own in factors.items():
            if not all(np.isfinite(part).all() for part in own[1:]):
                broken[one].append(common[place].name)
                products[place, one, :] = products[place, :, one] = np.nan
        whole = {one: own for one, own in factors.items() if not np.isnan(products[place, one, one])}
        spaces = {one: subspaces(scale * B, A) for one, (scale, B, A) in whole.items()}
        for i, j in itertools.combinations_with_replacement(whole, 2):
            for side, at, width in (("output", 0, common[place].out_features), ("input", 2, common[place].in_features)):
                pair = spaces[i][at], spaces[j][at]
                ranks = pair[0].shape[1], pair[1].shape[1]
                if all(ranks):
                    shared = float(np.square(pair[0].T @ pair[1]).sum()) / min(ranks)
                    overlaps[side][place, [i, j], [j, i]] = min(shared, 1.0)
                chances[side][place, [i, j], [j, i]] = max(ranks) / width
            products[place, [i, j], [j, i]] = inner_product(whole[i], whole[j])
            starts[place, [i, j], [j, i]] = same_rows(whole[i][2], whole[j][2])
        if progress is not None:
            progress(place + 1, count)
    notices = [*base_notices(adapters, labels), *lacking(adapters, groups, labels)]
    notices += [
        f"{label}: {notice}" for adapter, label in zip(adapters, labels, strict=True) for notice in adapter.notices
    ]
    for label, names_of_broken in zip(labels, broken, strict=True):
        if names_of_broken:
            many = "1 matrix" if len(names_of_broken) == 1 else f"{len(names_of_broken)} matrices"
            notices.append(
                f"{label} holds NaN or infinity in {many}, left out of its comparisons: {names_of_broken[0]}."
            )
    norms = np.diagonal(np.nansum(products, axis=0))
    dead = [label for label, own, bad in zip(labels, norms, broken, strict=True) if own == 0 and not bad]
    notices += [f"ΔW of {label} is 0: it overlaps with nothing, and adds nothing to a merge." for label in dead]
    return Comparisons(labels, tuple(common), overlaps, chances, products, mean_of(starts), tuple(notices))


Scaled = tuple[float, np.ndarray, np.ndarray]
"""s, B and A of one matrix."""


def factors_of(adapters: Sequence[Adapter], group: Group) -> dict[int, Scaled]:
    """Return place of an adapter → its (s, B, A), of those that have the matrix."""
    return {
        place: (matrix.scale, *adapter.factors(matrix.name))
        for place, (adapter, matrix) in enumerate(zip(adapters, group, strict=True))
        if matrix is not None
    }


def mean_of(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis, NaN left out; NaN where nothing else is."""
    counts = np.count_nonzero(~np.isnan(values), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nansum(values, axis=0) / counts)


def inner_product(first: Scaled, second: Scaled) -> float:
    """Return ⟨ΔW, ΔW'⟩ of two (s, B, A) from small products of the factors: tr(Aᵀ Bᵀ B' A')."""
    (s, B, A), (t, D, C) = first, second
    return float(s * t * np.sum((B.T @ D) * (A @ C.T)))


def labels_of(adapters: Sequence[Adapter]) -> tuple[str, ...]:
    """Return what to call each adapter: its name, numbered where two are alike."""
    names = [adapter.name for adapter in adapters]
    return tuple(
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    )
