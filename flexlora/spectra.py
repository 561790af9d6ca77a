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
        core_values = np.linalg.svd(core, compute_uv=False)
        found[: core_values.size] = abs(scale) * core_values
    return found
