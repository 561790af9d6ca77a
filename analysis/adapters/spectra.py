"""True singular values of every matrix of an adapter, and what they say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.formats.products import Read
from flexlora.brief import Brief
from flexlora.importance import effective_rank, spectral_entropy
from flexlora.spectra import true_singular_values

THREADS = 2
RECENT = 4
"""Tensors that are kept while the experts that share them are analysed."""
SHARES = (0.9, 0.99)
"""Shares of a matrix's energy for which the table says how many directions hold them."""

Progress = Callable[[int, int], object]
"""f(matrices done, matrices in all)."""


@dataclass(frozen=True, repr=False)
class AdapterSpectra(Brief):
    """An analysed adapter.

    Attributes:
        adapter: what was analysed.
        singular_values: matrix → σ of ΔW (r,), descending, float64; all NaN where the factors or Σσ² are not finite.
    """

    adapter: Adapter
    singular_values: dict[str, np.ndarray]

    def rows(self) -> Iterator[tuple[AdapterMatrix, np.ndarray]]:
        """Return each matrix with its singular values."""
        return ((matrix, self.singular_values[matrix.name]) for matrix in self.adapter.matrices)

    def finite(self) -> dict[str, np.ndarray]:
        """Return the singular values of the matrices that hold no NaN or infinity."""
        return {name: values for name, values in self.singular_values.items() if np.isfinite(values).all()}

    @property
    def broken(self) -> list[str]:
        """Names of the matrices that hold NaN or infinity."""
        return [name for name, values in self.singular_values.items() if not np.isfinite(values).all()]

    @property
    def notices(self) -> list[str]:
        """What to know before believing the numbers."""
        found = list(self.adapter.notices)
        if self.broken:
            hold = "holds" if len(self.broken) == 1 else "hold"
            found.append(
                f"{len(self.broken)} of {len(self.singular_values)} matrices {hold} NaN or infinity, first "
                f"{self.broken[0]}: they are left out of every sum, and cannot be compressed."
            )
        return found

    def table(self) -> list[dict[str, Any]]:
        """Return one row a matrix; None = undefined.

        ``energy`` is Σσ², ``norm`` ‖ΔW‖_F, ``stable_rank`` Σσ² / σ₁², ``rank_90`` and ``rank_99`` the directions that
        hold that share of the energy, ``root_mean_square`` that of ΔW's entries.
        """
        return [_row(matrix, values) for matrix, values in self.rows()]


def analyse_adapter(adapter: Adapter, progress: Progress | None = None, threads: int = THREADS) -> AdapterSpectra:
    """Compute the singular values of every ΔW, without forming one: thin QR of both factors, SVD of an r × r core.

    ``threads`` matrices are in work at once, as numpy leaves the interpreter free meanwhile; ``progress`` is called
    after each, from the thread that did it.

    Raises:
        AdapterError: numbers of a type that cannot be read.
    """
    lock, done = threading.Lock(), 0
    # Experts have their factors in one tensor, which is not read anew for each.
    recent = lru_cache(maxsize=RECENT)(adapter.file.read)

    def one(matrix: AdapterMatrix) -> np.ndarray:
        nonlocal done
        with np.errstate(all="ignore"):
            values = _singular_values(adapter, matrix, recent)
            if not np.isfinite(np.square(values).sum()):
                values = np.full(matrix.rank, np.nan)
        with lock:
            done += 1
            if progress is not None:
                progress(done, len(adapter.matrices))
        return values

    # Each matrix is small: threads of the linear algebra library inside ours would only wait for each other.
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(one, adapter.matrices))
    return AdapterSpectra(adapter, dict(zip((m.name for m in adapter.matrices), found, strict=True)))


def _singular_values(adapter: Adapter, matrix: AdapterMatrix, recent: Read) -> np.ndarray:
    product = adapter.entries[matrix.name].product
    read = recent if product.share > 1 else adapter.file.read
    if product.values is not None:
        return abs(matrix.scale) * product.values(read)[: matrix.rank]
    B, A = product.factors(read)
    return true_singular_values(B, np.ones(matrix.rank), A, matrix.scale)


def factored_svd(B: np.ndarray, A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return U (out, k), σ (k,) descending and V (in, k) of B A without forming it; k = its least side or r."""
    left, R = np.linalg.qr(B)
    right, S = np.linalg.qr(A.T)
    U, values, Vt = np.linalg.svd(R @ S.T, full_matrices=False)
    return left @ U, values, right @ Vt.T


def energy_kept(singular_values: np.ndarray) -> np.ndarray:
    """Return the share of the energy Σσ² in the first k directions, k = 0 … r, (r + 1,); all 1 where it is 0."""
    shares = np.concatenate([[0.0], np.cumsum(_squares(singular_values))])
    return shares / shares[-1] if shares[-1] > 0 else np.ones(len(shares))


def rank_for_energy(singular_values: np.ndarray, share: float) -> int:
    """Return the smallest number of directions that hold at least ``share`` of the energy; 0 for a dead matrix."""
    if not singular_values.size or not singular_values[0] > 0:
        return 0
    # A sum of shares may miss 1 by the last bits.
    return int(np.searchsorted(energy_kept(singular_values), share * (1 - 1e-12)))


def is_dead(singular_values: np.ndarray) -> bool:
    """True where ΔW is exactly 0: B (or A) never left its zero start."""
    return bool(np.isfinite(singular_values).all() and not singular_values.any())


def _squares(values: np.ndarray) -> np.ndarray:
    # Scaled first: squares of very small numbers would vanish.
    top = values.max(initial=0.0)
    return np.square(values / top) if top > 0 else np.zeros(values.size)


def _row(matrix: AdapterMatrix, values: np.ndarray) -> dict[str, Any]:
    finite = bool(np.isfinite(values).all())
    dead = is_dead(values)
    live = finite and not dead
    entries = matrix.in_features * matrix.out_features
    return {
        "matrix": matrix.name,
        "layer": matrix.layer,
        "module_type": matrix.module_type,
        "in_features": matrix.in_features,
        "out_features": matrix.out_features,
        "rank": matrix.rank,
        "parameters": matrix.parameters,
        "scale": matrix.scale,
        "state": "live" if live else "dead" if dead else "not finite",
        "entropy": spectral_entropy(values),
        "effective_rank": effective_rank(values),
        "stable_rank": float(_squares(values).sum()) if live else None,
        **{f"rank_{share * 100:.0f}": rank_for_energy(values, share) if finite else None for share in SHARES},
        "energy": float(np.square(values).sum()) if finite else None,
        "norm": float(np.linalg.norm(values)) if finite else None,
        "spectral_norm": float(values.max(initial=0.0)) if finite else None,
        "root_mean_square": float(np.linalg.norm(values) / entries**0.5) if finite and entries else None,
    }
