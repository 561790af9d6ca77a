"""The true singular values of ΔW, to hold against λ."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def true_singular_values(P: ArrayLike, lam: ArrayLike, Q: ArrayLike, scale: float = 1.0) -> NDArray[np.float64]:
    """Return the singular values of ``scale · P diag(λ) Q`` without forming that matrix.

    λ holds them only where P and Q are orthonormal. With P = U R and Qᵀ = V S (thin QR), ΔW has the singular values of
    the small core R diag(λ) Sᵀ.

    Args:
        P: (out, r).
        lam: (r,) signed.
        Q: (r, in).
        scale: the fixed factor s.

    Returns:
        (r,) descending, float64; zeros where r exceeds in or out; all NaN when anything is not finite.
    """
    left, values, right = (np.asarray(part, dtype=np.float64) for part in (P, lam, Q))
    found = np.zeros(values.size)
    if not (np.isfinite(left).all() and np.isfinite(values).all() and np.isfinite(right).all() and np.isfinite(scale)):
        return np.full(values.size, np.nan)
    if values.size:
        R = np.asarray(np.linalg.qr(left, mode="r"))  # (min(out, r), r)
        S = np.asarray(np.linalg.qr(right.T, mode="r"))  # (min(in, r), r)
        core = (R * values) @ S.T
        if not np.isfinite(core).all():
            # LAPACK would write a line of its own about it.
            return np.full(values.size, np.nan)
        core_values = np.linalg.svd(core, compute_uv=False)
        found[: core_values.size] = abs(scale) * core_values
    return found


LEAST_DIAGONAL = 1e-3
"""A Cholesky factor whose diagonal spans more than this is not trusted: its error grows with the square."""


def singular_values_from_grams(
    left: NDArray[np.float64], lam: NDArray[np.float64], right: NDArray[np.float64], scale: float = 1.0
) -> NDArray[np.float64] | None:
    """Return ``true_singular_values`` of n matrices of one rank from the small products PᵀP and QQᵀ.

    The Cholesky factor of PᵀP is the R of P = U R. It agrees with ``true_singular_values`` to 1e-9 of the largest value
    where P and Q are anywhere near orthonormal, and it needs r × r numbers of each factor instead of all.

    Args:
        left: PᵀP, (n, r, r) float64.
        lam: (n, r) signed.
        right: QQᵀ, (n, r, r) float64.
        scale: the fixed factor s.

    Returns:
        (n, r) descending; None when a factor is too far from orthonormal or anything is not finite: use
        ``true_singular_values``.
    """
    if not all(np.isfinite(part).all() for part in (left, lam, right)):
        return None
    try:
        R, S = np.linalg.cholesky(left), np.linalg.cholesky(right)  # lower: PᵀP = R Rᵀ
    except np.linalg.LinAlgError:
        return None
    for factor in (R, S):
        diagonal = np.diagonal(factor, axis1=1, axis2=2)
        if diagonal.size and (diagonal.min(axis=1) < LEAST_DIAGONAL * diagonal.max(axis=1)).any():
            return None
    core = (R.transpose(0, 2, 1) * lam[:, None, :]) @ S
    return np.asarray(abs(scale) * np.linalg.svd(core, compute_uv=False), np.float64)
