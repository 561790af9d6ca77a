"""Several adapters of one model side by side: shared subspaces, inner products, a shared start."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.comparison import (
    SAME_DELTA,
    base_notices,
    relative_difference,
    same_rows,
    same_shape,
    subspaces,
)
from analysis.adapters.files import AdapterError
from analysis.adapters.spectra import Progress
from flexlora.brief import Brief

SIDES = ("output", "input")
"""Column spaces of ΔW, and row spaces."""


@dataclass(frozen=True, repr=False)
class Comparisons(Brief):
    """n adapters in the M matrices that all of them have.

    Attributes:
        names: of the adapters, each once.
        matrices: of the first.
        overlaps: side → mean squared cosine of the principal angles, (M, n, n), 0 to 1; NaN where one is dead.
        chances: side → what two random subspaces of those ranks have on average, (M, n, n).
        products: ⟨ΔW_i, ΔW_j⟩, (M, n, n): squared norms on the diagonal.
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

    def chance(self, side: str) -> np.ndarray:
        """Return the mean chance level over the same matrices, (n, n)."""
        return mean_of(np.where(np.isnan(self.overlaps[side]), np.nan, self.chances[side]))

    def cosines(self, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return the cosine between whole adapters as vectors, or in some matrices, (n, n); NaN for a dead one."""
        sums = self.products[list(rows) if rows is not None else slice(None)].sum(axis=0)
        norms = np.sqrt(np.diagonal(sums))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.clip(sums / np.outer(norms, norms), -1, 1))

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
        """Return the largest ‖ΔW_i − ΔW_j‖ / max(‖ΔW_i‖, ‖ΔW_j‖) of a matrix, (n, n); NaN where all are dead."""
        size = len(self.names)
        found = np.full((size, size), np.nan)
        for i, j in itertools.combinations(range(size), 2):
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


def compare_many(
    adapters: Sequence[Adapter], progress: Progress | None = None, names: Sequence[str] | None = None
) -> Comparisons:
    """Compare every two adapters, matrix by matrix, by name.

    Args:
        adapters: two or more.
        progress: called after each matrix.
        names: what to call them; None = their own, numbered where two are alike.

    Raises:
        AdapterError: fewer than two, or no matrix that all have in one shape.
    """
    if len(adapters) < 2:
        raise AdapterError(f"{len(adapters)} adapter was given; comparing takes two or more.")
    groups = same_shape(adapters)
    common = [group[0] for group in groups]
    labels = tuple(names) if names is not None else labels_of(adapters)
    count, size = len(common), len(adapters)
    overlaps = {side: np.full((count, size, size), np.nan) for side in SIDES}
    chances = {side: np.full((count, size, size), np.nan) for side in SIDES}
    products, starts = np.zeros((count, size, size)), np.full((count, size, size), np.nan)
    broken: list[list[str]] = [[] for _ in adapters]
    for place, group in enumerate(groups):
        matrix = group[0]
        factors = [(one.scale, *adapter.factors(one.name)) for adapter, one in zip(adapters, group, strict=True)]
        if not all(np.isfinite(part).all() for own in factors for part in own[1:]):
            for own, (_, B, A) in zip(broken, factors, strict=True):
                own += [] if np.isfinite(B).all() and np.isfinite(A).all() else [matrix.name]
            continue
        spaces = [subspaces(scale * B, A) for scale, B, A in factors]
        for i, j in itertools.combinations_with_replacement(range(size), 2):
            for side, at, width in (("output", 0, matrix.out_features), ("input", 2, matrix.in_features)):
                pair = spaces[i][at], spaces[j][at]
                ranks = pair[0].shape[1], pair[1].shape[1]
                if all(ranks):
                    shared = float(np.square(pair[0].T @ pair[1]).sum()) / min(ranks)
                    overlaps[side][place, [i, j], [j, i]] = min(shared, 1.0)
                chances[side][place, [i, j], [j, i]] = max(ranks) / width
            products[place, [i, j], [j, i]] = inner_product(factors[i], factors[j])
            starts[place, [i, j], [j, i]] = same_rows(factors[i][2], factors[j][2])
        if progress is not None:
            progress(place + 1, count)
    notices = [*base_notices(adapters, labels), *_left_out(adapters, groups, labels)]
    for label, own in zip(labels, broken, strict=True):
        if own:
            many = "1 matrix" if len(own) == 1 else f"{len(own)} matrices"
            notices.append(f"{label} holds NaN or infinity in {many}, compared in no adapter: {own[0]}.")
    dead = [label for label, own in zip(labels, np.diagonal(products.sum(axis=0)), strict=True) if own == 0]
    notices += [f"ΔW of {label} is 0: it overlaps with nothing, and adds nothing to a merge." for label in dead]
    return Comparisons(labels, tuple(common), overlaps, chances, products, mean_of(starts), tuple(notices))


def mean_of(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis, NaN left out; NaN where nothing else is."""
    counts = np.count_nonzero(~np.isnan(values), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nansum(values, axis=0) / counts)


def inner_product(first: tuple[float, np.ndarray, np.ndarray], second: tuple[float, np.ndarray, np.ndarray]) -> float:
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


def _left_out(
    adapters: Sequence[Adapter], groups: Sequence[tuple[AdapterMatrix, ...]], labels: Sequence[str]
) -> list[str]:
    found = []
    for place, (adapter, label) in enumerate(zip(adapters, labels, strict=True)):
        names = {group[place].name for group in groups}
        own = [matrix.name for matrix in adapter.matrices if matrix.name not in names]
        if own:
            found.append(f"{len(own)} of {len(adapter.matrices)} matrices of {label} are not in all others: {own[0]}.")
        found += [f"{label}: {notice}" for notice in adapter.notices]
    return found
