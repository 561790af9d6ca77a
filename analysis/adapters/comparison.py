"""Two adapters side by side: how far their directions span the same subspaces. A matrix that one lacks has ΔW = 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.files import AdapterError
from analysis.adapters.spectra import Progress, factored_svd
from flexlora.brief import Brief
from flexlora.matrix_places import plain_path

SHARED_START = 0.5
"""Mean cosine of the same rows of two A from which both began at the same numbers; unlike starts have about 0."""
SAME_DELTA = 0.02
"""Share of ‖ΔW‖ by which copies may differ in any matrix: rounding to 16 bits makes .003, of tiny numbers .01."""
RELATIVE_TOLERANCE = 1e-7
"""Directions below this share of the largest σ are rounding of float32 factors and span nothing."""


@dataclass(frozen=True, repr=False)
class Overlap(Brief):
    """How much of one matrix two adapters share.

    Attributes:
        matrix: its name.
        ranks: numerical rank of ΔW in the first and the second adapter.
        output_cosines: cosines of the principal angles between the column spaces of both ΔW, descending.
        input_cosines: the same for the row spaces.
        output_overlap: mean of the squared output cosines: 1 = the smaller space lies within the larger, 0 =
            orthogonal; None where one is dead. (φ of Hu et al., LoRA, ICLR 2022, section 7.2.)
        input_overlap: the same for the row spaces.
        output_chance: what two random subspaces of these ranks have on average: larger rank / out_features.
        input_chance: larger rank / in_features.
        similarity: cosine between the two ΔW as vectors, −1 to 1; None where one is dead.
        norms: ‖ΔW‖_F in the first and the second.
        start: mean cosine of the same rows of both A; None where their ranks differ or one is 0.
    """

    matrix: str
    ranks: tuple[int, int]
    output_cosines: np.ndarray
    input_cosines: np.ndarray
    output_overlap: float | None
    input_overlap: float | None
    output_chance: float
    input_chance: float
    similarity: float | None
    norms: tuple[float, float]
    start: float | None


@dataclass(frozen=True, repr=False)
class Comparison(Brief):
    """Overlaps of the matrices that both adapters have, and the names that only one has.

    ``alone`` is ‖ΔW‖_F over the finite matrices that only the first, and only the second has: there the other's ΔW is
    0.
    """

    overlaps: list[Overlap]
    only_first: list[str]
    only_second: list[str]
    notices: list[str]
    alone: tuple[float, float] = (0.0, 0.0)

    @property
    def cosine(self) -> float | None:
        """Cosine between both adapters as vectors, over all matrices that either has; None where one is dead."""
        norms, whole = np.array([overlap.norms for overlap in self.overlaps]).reshape(-1, 2), np.array(self.sizes)
        if not whole.all():
            return None
        shares = norms / whole
        inner = [
            (overlap.similarity or 0.0) * first * second
            for overlap, (first, second) in zip(self.overlaps, shares, strict=True)
        ]
        return float(np.clip(sum(inner), -1, 1))

    @property
    def sizes(self) -> tuple[float, float]:
        """‖ΔW‖_F of the first and of the second, over all matrices that either has."""
        norms = np.array([overlap.norms for overlap in self.overlaps]).reshape(-1, 2)
        first, second = np.linalg.norm(np.vstack([norms, self.alone]), axis=0)
        return float(first), float(second)

    @property
    def times(self) -> float | None:
        """How many times ΔW of the first that of the second is, in every matrix alike; None = it is no multiple."""
        norms = np.array([overlap.norms for overlap in self.overlaps]).reshape(-1, 2)
        if any(self.alone):
            return None
        return scale_between(norms, np.array([overlap.similarity or 0.0 for overlap in self.overlaps]))

    @property
    def start(self) -> float | None:
        """Mean cosine of the same rows of A, over the matrices where it is defined; None where there is none."""
        found = [overlap.start for overlap in self.overlaps if overlap.start is not None]
        return float(np.mean(found)) if found else None

    @property
    def difference(self) -> float:
        """Largest ‖ΔW − ΔW'‖ / max(‖ΔW‖, ‖ΔW'‖) of a matrix; NaN where all are dead."""
        found = [relative_difference(*o.norms, (o.similarity or 0.0)) for o in self.overlaps if any(o.norms)]
        found += [1.0] if any(self.alone) else []
        return max(found, default=np.nan)


def relative_difference(first: float, second: float, cosine: float) -> float:
    """Return ‖ΔW − ΔW'‖ / max(‖ΔW‖, ‖ΔW'‖) from both norms, of which one is above 0, and their cosine.

    Numbers below 10⁻⁷ are rounding.
    """
    larger = max(first, second)
    a, b = first / larger, second / larger
    return float(np.sqrt(max(0.0, a * a + b * b - 2 * a * b * cosine)))


def scale_between(norms: np.ndarray, cosines: np.ndarray) -> float | None:
    """Return c where a second adapter is c times the first in every matrix, within ``SAME_DELTA``; None = it is not.

    Args:
        norms: ‖ΔW‖ of both in each of M matrices, (M, 2).
        cosines: between both, (M,).
    """
    first, second = np.linalg.norm(norms, axis=0)
    if not (np.isfinite(norms).all() and np.isfinite(cosines).all() and first > 0 and second > 0):
        return None
    sign = float(np.sign(np.sum(cosines * (norms[:, 0] / first) * (norms[:, 1] / second))))
    found = sign * float(second / first)
    if not found:
        return None
    for (own, other), cosine in zip(norms, cosines, strict=True):
        if (own or other) and relative_difference(abs(found) * own, other, sign * cosine) > SAME_DELTA:
            return None
    return found


def same_rows(A: np.ndarray, C: np.ndarray) -> float:
    """Return the mean cosine of the same rows of two A; NaN where their shapes differ or all rows are 0."""
    if A.shape != C.shape or not A.size:
        return np.nan
    norms = np.linalg.norm(A, axis=1) * np.linalg.norm(C, axis=1)
    return float(np.mean(np.sum(A * C, axis=1)[norms > 0] / norms[norms > 0])) if norms.any() else np.nan


def compare_adapters(first: Adapter, second: Adapter, progress: Progress | None = None) -> Comparison:
    """Compare matrix by matrix, by name; a name is the same under another wrapper, too (``_orig_mod``, ...).

    Raises:
        AdapterError: no matrix has the same name and shape in both.
    """
    partner, notices = partners(first, second)
    pairs = []
    for matrix in first.matrices:
        other = partner.get(matrix.name)
        if other is None:
            continue
        if (matrix.in_features, matrix.out_features) == (other.in_features, other.out_features):
            pairs.append((matrix, other))
        else:
            notices.append(f"{matrix.name} has another shape in each adapter and is not compared.")
    if not pairs and partner:
        name, other = next(iter(partner.items()))
        shapes = [f"{one.out_features} × {one.in_features}" for one in (first.find(name), other)]
        raise AdapterError(
            f"Every matrix that the two adapters share has another shape in each: {name} is {' and '.join(shapes)}. "
            "They belong to models of unlike size."
        )
    if not pairs:
        raise AdapterError(
            "The two adapters have no matrix of the same name and shape: they belong to different models or modules. "
            f"The first begins with {first.matrices[0].name}, the second with {second.matrices[0].name}."
        )
    overlaps = []
    for number, (matrix, other) in enumerate(pairs, 1):
        found = _overlap(first, matrix, second, other)
        if found is None:
            notices.append(f"{matrix.name} holds NaN or infinity in one adapter and is not compared.")
        else:
            overlaps.append(found)
        if progress is not None:
            progress(number, len(pairs))
    taken = {matrix.name for matrix in partner.values()}
    only_first = [matrix.name for matrix in first.matrices if matrix.name not in partner]
    only_second = [matrix.name for matrix in second.matrices if matrix.name not in taken]
    notices += base_notices((first, second), ("the first", "the second"))
    notices += [f"The second: {notice}" for notice in second.notices]
    return Comparison(
        overlaps,
        only_first,
        only_second,
        notices,
        (_norm(first, only_first), _norm(second, only_second)),
    )


def _norm(adapter: Adapter, names: Sequence[str]) -> float:
    """Return ‖ΔW‖_F over some matrices, without those that hold NaN or infinity."""
    found = []
    for name in names:
        B, A = adapter.factors(name)
        if np.isfinite(B).all() and np.isfinite(A).all():
            found.append(abs(adapter.find(name).scale) * float(np.linalg.norm(factored_svd(B, A)[1])))
    return float(np.linalg.norm(found)) if found else 0.0


def partners(first: Adapter, second: Adapter) -> tuple[dict[str, AdapterMatrix], list[str]]:
    """Return name in the first → the same matrix of the second, and a notice where they differ by what wraps them."""
    own = {matrix.name: matrix for matrix in second.matrices}
    pairs = _same_names([matrix.name for matrix in first.matrices], list(own))
    found = {name: own[other] for name, other in pairs.items()}
    renamed = [(name, other) for name, other in pairs.items() if name != other]
    if not renamed:
        return found, []
    one, other = renamed[0]
    many = "1 matrix is" if len(renamed) == 1 else f"{len(renamed)} matrices are"
    return found, [f"{many} named by another wrapper of the model, and compared: {one} with {other}."]


def _same_names(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """Return name → name of the same matrix, by the name itself or else by its path without wrappers."""
    found = {name: name for name in set(first) & set(second)}
    plain = _by_plain_path([name for name in first if name not in found])
    others = _by_plain_path([name for name in second if name not in found])
    found |= {name: others[path] for path, name in plain.items() if path in others}
    return {name: found[name] for name in first if name in found}


def _by_plain_path(names: list[str]) -> dict[str, str]:
    """Return path without wrappers → name, where one name alone has it."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(plain_path(name), []).append(name)
    return {path: own[0] for path, own in found.items() if len(own) == 1}


def _overlap(first: Adapter, matrix: AdapterMatrix, second: Adapter, other: AdapterMatrix) -> Overlap | None:
    pair = (first.factors(matrix.name), second.factors(other.name))
    if not all(np.isfinite(factor).all() for factors in pair for factor in factors):
        return None
    # With alpha = 0, ΔW is 0 whatever B A spans.
    scales = bool(matrix.scale), bool(other.scale)
    (U1, s1, V1), (U2, s2, V2) = (subspaces(B * scale, A) for (B, A), scale in zip(pair, scales, strict=True))
    outputs, inputs = U1.T @ U2, V1.T @ V2  # (k1, k2) each
    live = bool(s1.size and s2.size)
    sign = np.sign(matrix.scale) * np.sign(other.scale)
    output_cosines, input_cosines = _cosines(outputs), _cosines(inputs)
    larger, similarity = max(s1.size, s2.size), None
    if live:
        # Scaled first: squares of very small numbers would vanish.
        a, b = s1 / s1[0], s2 / s2[0]
        inner = np.sum((a[:, None] * b) * (outputs * inputs))
        similarity = float(sign * inner / (np.linalg.norm(a) * np.linalg.norm(b)))
    start = same_rows(pair[0][1], pair[1][1])
    return Overlap(
        matrix.name,
        (s1.size, s2.size),
        output_cosines,
        input_cosines,
        float(np.square(output_cosines).mean()) if live else None,
        float(np.square(input_cosines).mean()) if live else None,
        larger / matrix.out_features,
        larger / matrix.in_features,
        similarity,
        (abs(matrix.scale) * float(np.linalg.norm(s1)), abs(other.scale) * float(np.linalg.norm(s2))),
        None if np.isnan(start) else start,
    )


def subspaces(B: np.ndarray, A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return U (out, k), σ (k,) and V (in, k) of B A without directions that are rounding."""
    U, values, V = factored_svd(B, A)
    count = int(np.count_nonzero(values > RELATIVE_TOLERANCE * values.max(initial=0.0)))
    return U[:, :count], values[:count], V[:, :count]


def base_notices(adapters: Sequence[Adapter], labels: Sequence[str]) -> list[str]:
    """Return a line where the configurations name different base models: directions of those mean different things.

    Of one last word, as ``acme/base`` and ``/models/base``, one may be a copy of the other.
    """
    bases: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for adapter, label in zip(adapters, labels, strict=True):
        if adapter.base_model:
            base = spelled.setdefault(base_key(adapter.base_model), adapter.base_model)
            bases.setdefault(base, []).append(label)
    silent = [label for one, label in zip(adapters, labels, strict=True) if one.config and not one.base_model]
    told = _unlike_bases(bases) if len(bases) > 1 else _unlike_revisions(adapters, labels)
    if bases and silent:
        name = "names" if len(silent) == 1 else "name"
        told.append(f"{' and '.join(silent)} {name} no base model; the others are for {' and '.join(bases)}.")
    return told


def base_key(name: str) -> str:
    """Return what a base model's name is compared by: neither case, on the hub, nor a last slash tells two apart."""
    return name.rstrip("/").casefold()


def _unlike_bases(bases: Mapping[str, Sequence[str]]) -> list[str]:
    told = "; ".join(f"{', '.join(own)}: {base}" for base, own in bases.items())
    what = "overlap compares directions of unlike weights, and merging makes no sense"
    if len({base_key(base).rpartition("/")[2] for base in bases}) == 1:
        return [f"The base models have different names ({told}): unless these are copies of one, {what}."]
    return [f"The base models differ ({told}): {what}."]


def _unlike_revisions(adapters: Sequence[Adapter], labels: Sequence[str]) -> list[str]:
    revisions = [str((adapter.config or {}).get("revision") or "main") for adapter in adapters]
    if len(set(revisions)) < 2:
        return []
    told = "; ".join(f"{label}: {revision}" for label, revision in zip(labels, revisions, strict=True))
    return [f"The revisions of the base model differ ({told}): its weights may, too."]


Group = tuple[AdapterMatrix | None, ...]
"""One matrix in each of several adapters; None where one does not change it: its ΔW is 0 there."""


def aligned(adapters: Sequence[Adapter]) -> list[Group]:
    """Return every matrix that any of the adapters has, in the order of the first and then of those that follow.

    A matrix that has unlike shapes is left out.

    Raises:
        AdapterError: no two of the adapters share a matrix, unless all name the same base model; or none is left.
    """
    groups: dict[str, list[AdapterMatrix | None]] = {}
    shared = False
    for place, adapter in enumerate(adapters):
        own = {matrix.name: matrix for matrix in adapter.matrices}
        pairs = _same_names(list(own), list(groups))
        shared = shared or bool(pairs)
        for name, matrix in own.items():
            groups.setdefault(pairs.get(name, name), [None] * len(adapters))[place] = matrix
    found = [tuple(group) for group in groups.values() if len(_shapes(group)) == 1]
    bases = {adapter.base_model for adapter in adapters}
    if not found or (not shared and (len(bases) > 1 or None in bases)):
        begin = ", ".join(adapter.matrices[0].name for adapter in adapters[:3])
        raise AdapterError(
            "The adapters have no matrix of the same name and shape: they belong to different models or modules. "
            f"They begin with {begin}."
        )
    if shared and not any(sum(one is not None for one in group) > 1 for group in found):
        raise AdapterError(
            "Every matrix that the adapters share has another shape in each: they belong to models of unlike size."
        )
    return found


def representative(group: Group) -> AdapterMatrix:
    """Return the matrix of the first adapter that has it."""
    return next(matrix for matrix in group if matrix is not None)


def lacking(adapters: Sequence[Adapter], groups: Sequence[Group], labels: Sequence[str]) -> list[str]:
    """Return a line for adapters that lack matrices of the others, one for all that lack the same."""
    told: dict[tuple[str, ...], list[int]] = {}
    for place in range(len(adapters)):
        missing = tuple(representative(group).name for group in groups if group[place] is None)
        if missing:
            told.setdefault(missing, []).append(place)
    lines = []
    for missing, places in told.items():
        one = len(places) == 1
        names = ", ".join(labels[place] for place in places)
        lines.append(
            f"{names} {'has' if one else 'have'} {len(groups) - len(missing)} of {len(groups)} matrices; "
            f"{'its' if one else 'their'} ΔW is 0 in the other{'' if len(missing) == 1 else 's'}, such as {missing[0]}."
        )
    for place, (adapter, label) in enumerate(zip(adapters, labels, strict=True)):
        held = {group[place].name for group in groups if group[place] is not None}  # type: ignore[union-attr]
        other = [matrix.name for matrix in adapter.matrices if matrix.name not in held]
        if other:
            many = "1 matrix" if len(other) == 1 else f"{len(other)} matrices"
            lines.append(f"{many} of {label} left out, of another shape in the others: {other[0]}.")
    return lines


def _shapes(group: Sequence[AdapterMatrix | None]) -> set[tuple[int, int]]:
    return {(matrix.in_features, matrix.out_features) for matrix in group if matrix is not None}


def _cosines(products: np.ndarray) -> np.ndarray:
    return np.clip(np.linalg.svd(products, compute_uv=False), 0.0, 1.0) if products.size else np.zeros(0)
