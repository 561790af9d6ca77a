"""How one ΔW is made of tensors: low-rank, Hadamard, Kronecker or dense; it is formed only where it must be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from analysis.adapters.files import AdapterError, Tensor

MOST_NUMBERS = 1 << 28
"""Numbers of one ΔW, or of its factors, that are held at once: 2 GiB."""

Read = Callable[[str], np.ndarray]
"""f(name of a tensor) → its numbers, float64."""

Change = Callable[[np.ndarray], np.ndarray]
"""f(tensor as stored) → the 2-D factor that it means."""

GRAM_FROM = 1024
"""Least side from which a dense ΔW is decomposed through its Gram matrix: σ to 1e-8 of the largest, sooner."""


LOW_RANK, HADAMARD, KRONECKER, DENSE = "low rank", "Hadamard", "Kronecker", "dense"


@dataclass(frozen=True)
class Product:
    """ΔW / s of one matrix.

    Attributes:
        shape: (out, in) of ΔW as a matrix; in counts the kernel of a convolution.
        directions: columns of B: the most that the rank can be, unless out or in is less.
        tensors: what it is made of.
        load: f(read) → B (out, directions) and A (directions, in).
        values: f(read) → σ, descending, where there is a cheaper way than through B and A.
        share: how many matrices have these tensors together, in equal parts.
        form: ``LOW_RANK``, ``HADAMARD``, ``KRONECKER`` or ``DENSE``.
        plain: B and A are stored as they act, but for the shape of a convolution's.
    """

    shape: tuple[int, int]
    directions: int
    tensors: tuple[Tensor, ...]
    load: Callable[[Read], tuple[np.ndarray, np.ndarray]] = field(repr=False)
    values: Callable[[Read], np.ndarray] | None = field(default=None, repr=False)
    share: int = 1
    form: str = LOW_RANK
    plain: bool = False

    @property
    def rank(self) -> int:
        """Most directions that ΔW can have: never more than out or in."""
        return min(self.directions, *self.shape)

    @property
    def parameters(self) -> int:
        """Numbers that the file holds for it."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors) // self.share

    def factors(self, read: Read) -> tuple[np.ndarray, np.ndarray]:
        """Return B (out, rank) and A (rank, in) whose product is ΔW / s."""
        B, A = self.load(read)
        return (B, A) if B.shape[1] == self.rank else thin(B @ A)


def low_rank(
    B: Tensor,
    A: Tensor,
    shape: tuple[int, int],
    directions: int,
    *,
    change_B: Change | None = None,
    change_A: Change | None = None,
    middle: Tensor | None = None,
    share: int = 1,
) -> Product:
    """Return B A, or B diag(middle) A; the changes make 2-D factors of what is stored."""

    def load(read: Read) -> tuple[np.ndarray, np.ndarray]:
        left, right = read(B.name), read(A.name)
        left = _flat(left) if change_B is None else change_B(left)
        right = _flat(right) if change_A is None else change_A(right)
        return left, right if middle is None else right * read(middle.name).reshape(-1, 1)

    plain = change_A is None and change_B is None and middle is None
    return Product(shape, directions, (B, A) if middle is None else (B, A, middle), load, share=share, plain=plain)


def _flat(array: np.ndarray) -> np.ndarray:
    # A size of -1 would be unclear where there are no rows.
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def hadamard(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Product:
    """Return (a₁ b₁) ∘ (a₂ b₂), each given as (a, b) or (a, b, core); LoHa.

    It has at most r₁ · r₂ directions: columns a₁ᵢ ∘ a₂ⱼ times rows b₁ᵢ ∘ b₂ⱼ. Where that is no fewer than out or in, ΔW
    is formed.
    """
    tensors = (*first, *second)
    shape, ranks = _plain_shape(first), (_plain_rank(first), _plain_rank(second))
    if math.prod(ranks) >= min(shape):
        return dense(shape, tensors, lambda read: np.multiply(*(_whole(read, part) for part in (first, second))))

    _check_size(tensors, math.prod(ranks) * sum(shape))

    def load(read: Read) -> tuple[np.ndarray, np.ndarray]:
        (a1, b1), (a2, b2) = _plain(read, first), _plain(read, second)
        B = (a1[:, :, None] * a2[:, None, :]).reshape(shape[0], -1)
        A = (b1[:, None, :] * b2[None, :, :]).reshape(-1, shape[1])
        return B, A

    return Product(shape, math.prod(ranks), tensors, load, form=HADAMARD)


def kronecker(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Product:
    """Return w₁ ⊗ w₂, each given whole as (w,) or as (a, b) or (a, b, core); LoKr.

    Its singular values are the products of theirs.
    """
    (out1, in1), (out2, in2) = _plain_shape(first), _plain_shape(second)
    ranks = _plain_rank(first), _plain_rank(second)

    def load(read: Read) -> tuple[np.ndarray, np.ndarray]:
        _check_size((*first, *second), math.prod(ranks) * (out1 * out2 + in1 * in2))
        (a1, b1), (a2, b2) = _plain(read, first), _plain(read, second)
        return np.kron(a1, a2), np.kron(b1, b2)

    def values(read: Read) -> np.ndarray:
        one, two = (_values(*_plain(read, part)) for part in (first, second))
        return np.sort(np.outer(one, two), axis=None)[::-1]

    return Product((out1 * out2, in1 * in2), math.prod(ranks), (*first, *second), load, values, form=KRONECKER)


def dense(shape: tuple[int, int], tensors: tuple[Tensor, ...], form: Callable[[Read], np.ndarray]) -> Product:
    """Return a ΔW that is formed whole, one at a time: ``form`` returns it, of any shape with as many numbers."""
    _check_size(tensors, math.prod(shape))

    def load(read: Read) -> tuple[np.ndarray, np.ndarray]:
        return thin(form(read).reshape(shape))

    def values(read: Read) -> np.ndarray:
        return dense_values(form(read).reshape(shape))

    return Product(shape, min(shape), tensors, load, values, form=DENSE)


def _check_size(tensors: tuple[Tensor, ...], numbers: int) -> None:
    """Raise ``AdapterError`` for what would not fit into memory when it is formed."""
    if numbers > MOST_NUMBERS:
        raise AdapterError(
            f"{tensors[0].name} is of a matrix that would take {numbers * 8 / 2**30:,.0f} GiB to form; "
            f"{MOST_NUMBERS * 8 >> 30} are allowed."
        )


def thin(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return B and A of a whole (out, in) with min(out, in) directions, one of them the identity."""
    rows, columns = weight.shape
    return (np.eye(rows), weight) if rows <= columns else (weight, np.eye(columns))


def dense_values(weight: np.ndarray) -> np.ndarray:
    """Return the singular values of a whole matrix, descending; all NaN where it holds NaN or infinity."""
    least = min(weight.shape)
    if not np.isfinite(weight).all():
        return np.full(least, np.nan)
    if least < GRAM_FROM:
        return np.asarray(np.linalg.svd(weight, compute_uv=False))
    top = float(np.abs(weight).max(initial=0.0))
    if not top:
        return np.zeros(least)
    scaled = weight / top
    gram = scaled @ scaled.T if weight.shape[0] == least else scaled.T @ scaled
    return top * np.sqrt(np.clip(np.linalg.eigvalsh(gram)[::-1], 0.0, None))


def block_diagonal(weight: np.ndarray, blocks: int) -> np.ndarray:
    """Return blocks that are stored one below another, (rows, columns), as (rows, columns · blocks): the rest is 0."""
    rows, columns = weight.shape
    found = np.zeros((rows, columns * blocks))
    for number, part in enumerate(np.split(weight, blocks)):
        height = rows // blocks
        found[number * height : (number + 1) * height, number * columns : (number + 1) * columns] = part
    return found


def _plain_shape(part: tuple[Tensor, ...]) -> tuple[int, int]:
    """Return (out, in) of (w,), (a, b) or (a, b, core), whose a is (r, out) beside a core."""
    if len(part) == 1:
        return part[0].shape[0], math.prod(part[0].shape[1:])
    if len(part) == 2:
        return part[0].shape[0], math.prod(part[1].shape[1:])
    return part[0].shape[1], part[1].shape[1] * math.prod(part[2].shape[2:])


def _plain_rank(part: tuple[Tensor, ...]) -> int:
    return min(_plain_shape(part)) if len(part) == 1 else part[0].shape[1 if len(part) == 2 else 0]


def _plain(read: Read, part: tuple[Tensor, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a (out, r) and b (r, in)."""
    arrays = [read(tensor.name) for tensor in part]
    if len(arrays) == 1:
        return thin(arrays[0].reshape(arrays[0].shape[0], -1))
    if len(arrays) == 2:
        return arrays[0], arrays[1].reshape(arrays[1].shape[0], -1)
    left, right, core = arrays
    # core (r, r, k, k): the first r belongs to the outputs, the second to the inputs.
    inner = np.einsum("ij...,jq->iq...", core, right)
    return left.T, inner.reshape(core.shape[0], -1)


def _whole(read: Read, part: tuple[Tensor, ...]) -> np.ndarray:
    left, right = _plain(read, part)
    return left @ right


def _values(B: np.ndarray, A: np.ndarray) -> np.ndarray:
    if B.shape[1] < min(B.shape[0], A.shape[1]):
        R, S = np.linalg.qr(B, mode="r"), np.linalg.qr(A.T, mode="r")
        return dense_values(np.asarray(R) @ np.asarray(S).T)
    return dense_values(B @ A)[: min(B.shape[0], A.shape[1])]
