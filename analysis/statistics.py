"""Paired comparisons: interval, test, correction for several, detectable effect, equivalence. Pure numpy and scipy.

All take differences of pairs: the same seed, data and order under two settings. An interval and a test are both told,
since they answer different questions and fail differently: the bootstrap says how large, the sign-flip test whether.
SciPy is imported by the functions that need it: pages that compare nothing do not wait for it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
POWER = 0.8
RESAMPLES = 4999
EXACT_PAIRS = 14
"""Up to as many pairs all 2ⁿ sign patterns are tried; above, ``RESAMPLES`` random ones."""
QUADRATURE = 4000
"""Points at which a mean over the distribution of the sample variance is taken."""


@dataclass(frozen=True)
class Comparison:
    """What n paired differences say.

    Attributes:
        n: pairs.
        mean: of the differences.
        low: lower end of the 95 % interval of the mean; NaN for n < 2.
        high: its upper end.
        p: of the two-sided sign-flip test; NaN for n < 2.
        detectable: the smallest true difference that n pairs of this spread find with 80 % power; NaN for n < 2.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    detectable: float


def compare_pairs(differences: ArrayLike, *, seed: int = 0) -> Comparison:
    """Return interval, test and detectable effect of the mean of paired differences.

    Args:
        differences: (n,), in the unit of the metric.
        seed: of the resampling.

    Raises:
        ValueError: not one-dimensional, empty, or a value that is not finite.
    """
    found = _pairs(differences)
    low, high = interval(found, seed=seed)
    return Comparison(
        len(found), float(found.mean()), low, high, sign_flip_p(found, seed=seed), detectable_effect(found)
    )


def interval(differences: ArrayLike, *, confidence: float = CONFIDENCE, seed: int = 0) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of the mean, widened for small n.

    Departs from plain BCa (Efron 1987), which covers about 90 % where it says 95 % at n = 8, because the empirical
    distribution is √((n − 1)/n) too narrow and has the normal's tails: the level is taken from Student's t as in
    Hesterberg 2015 (expanded percentile).

    Args:
        differences: (n,).
        confidence: in (0, 1).
        seed: of the resampling.

    Returns:
        Both NaN for n < 2; both the mean where all differences are equal.
    """
    found = _pairs(differences)
    n = len(found)
    if n < 2:
        return math.nan, math.nan
    if np.ptp(found) == 0:
        return float(found[0]), float(found[0])
    draws = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
    low, high = bca_ends(found, found[draws].mean(axis=1), confidence)
    return float(low), float(high)


def bca_ends(sample: np.ndarray, resampled: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the expanded BCa interval of means, from their bootstrap means.

    Args:
        sample: (..., n).
        resampled: (..., resamples), means of samples drawn with replacement.
        confidence: in (0, 1).

    Returns:
        Two arrays (...).
    """
    from scipy import special, stats

    n = sample.shape[-1]
    half = (1.0 - confidence) / 2.0
    wide = -math.sqrt(n / (n - 1)) * stats.t.ppf(half, n - 1)
    mean = sample.mean(axis=-1, keepdims=True)
    below = (resampled < mean).mean(axis=-1) + (resampled == mean).mean(axis=-1) / 2.0
    bias = special.ndtri(np.clip(below, 1e-6, 1 - 1e-6))
    centred = sample - mean
    spread = (centred**2).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The jackknife of a mean in closed form.
        acceleration = np.nan_to_num((centred**3).sum(axis=-1) / (6.0 * spread**1.5))
    ends = []
    for z in (-wide, wide):
        shifted = bias + (bias + z) / (1.0 - acceleration * (bias + z))
        ends.append(_quantiles(resampled, special.ndtr(shifted)))
    return ends[0], ends[1]


def sign_flip_p(differences: ArrayLike, *, seed: int = 0) -> float:
    """Return the p of the two-sided sign-flip test: how often random signs give as large a mean.

    Exact up to ``EXACT_PAIRS`` pairs. Valid where differences are symmetric about zero under "no difference", as those
    of exchangeable pairs are (Fisher's randomisation test).

    Returns:
        In (0, 1]; NaN for n < 2.
    """
    found = _pairs(differences)
    n = len(found)
    if n < 2:
        return math.nan
    # Sums that differ by rounding only are ties.
    least = abs(found.sum()) * (1 - 1e-12)
    if n <= EXACT_PAIRS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n - 1)))
        return float((abs(found[0] + signs @ found[1:]) >= least).mean())
    signs = np.random.default_rng(seed).integers(0, 2, (RESAMPLES, n)) * 2.0 - 1.0
    return float((1 + (abs(signs @ found) >= least).sum()) / (RESAMPLES + 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p of each comparison of one table (Holm 1979); NaN stays NaN and counts for nothing."""
    known = sorted((p, name) for name, p in p_values.items() if not math.isnan(p))
    adjusted, highest = dict.fromkeys(p_values, math.nan), 0.0
    for place, (p, name) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - place) * p))
        adjusted[name] = highest
    return adjusted


def detectable_effect(differences: ArrayLike, *, power: float = POWER, level: float = 1 - CONFIDENCE) -> float:
    """Return the smallest true mean difference that n pairs with this spread find with the given power.

    Two-sided paired t-test; NaN for n < 2, 0 where the differences do not vary.
    """
    found = _pairs(differences)
    n = len(found)
    if n < 2:
        return math.nan
    return detectable_shift(n, power, level) * float(found.std(ddof=1)) / math.sqrt(n)


@lru_cache
def detectable_shift(n: int, power: float = POWER, level: float = 1 - CONFIDENCE) -> float:
    """Return the true mean, in standard errors, at which the two-sided t-test of n pairs has the given power.

    The mean over the sample variance of the power that is left given it, which holds for every n ≥ 2: scipy's
    noncentral t has no value far from 0.
    """
    from scipy import optimize, special, stats

    limit = stats.t.ppf(1 - level / 2, n - 1)
    shares = (np.arange(QUADRATURE) + 0.5) / QUADRATURE
    bound = limit * np.sqrt(stats.chi2.ppf(shares, n - 1) / (n - 1))

    def missing(shift: float) -> float:
        return float((special.ndtr(shift - bound) + special.ndtr(-shift - bound)).mean() - power)

    highest = 8.0
    while missing(highest) < 0:
        highest *= 2.0
    return float(optimize.brentq(missing, 0.0, highest))  # type: ignore[arg-type]


def equivalence_p(differences: ArrayLike, margin: float) -> float:
    """Return the p of "the true mean difference lies within ± margin" (two one-sided t-tests, Schuirmann 1987).

    Raises:
        ValueError: the margin is not above 0.
    """
    from scipy import stats

    if not margin > 0:
        raise ValueError(f"margin={margin} must be above 0: it says which difference would not matter")
    found = _pairs(differences)
    n = len(found)
    if n < 2:
        return math.nan
    error = float(found.std(ddof=1)) / math.sqrt(n)
    mean = float(found.mean())
    if error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    return float(max(stats.t.sf((mean + margin) / error, n - 1), stats.t.cdf((mean - margin) / error, n - 1)))


def verdict(found: Comparison, adjusted_p: float, equivalent_p: float | None = None) -> str:
    """Return one of "better", "worse", "no difference", "not told apart" for a metric that should be high.

    Args:
        found: of the differences.
        adjusted_p: ``holm`` over the table; a difference is claimed below .05, and only where the interval agrees.
        equivalent_p: ``equivalence_p`` at a stated margin; "no difference" is claimed below .05 and never without it.
    """
    level = 1 - CONFIDENCE
    if adjusted_p <= level and not found.low <= 0.0 <= found.high:
        return "better" if found.mean > 0 else "worse"
    if equivalent_p is not None and equivalent_p <= level:
        return "no difference"
    return "not told apart"


def rank_stability(scores: Sequence[Sequence[float]]) -> np.ndarray:
    """Return Spearman's correlation of each row's order with the next one's.

    Args:
        scores: (events, matrices); a matrix without a finite score in either of two events is left out of their pair.

    Returns:
        (events − 1,), NaN where fewer than three matrices are left or one row is constant.
    """
    from scipy import stats

    rows = np.asarray(scores, float)
    found = np.full(max(0, len(rows) - 1), math.nan)
    for event, (one, other) in enumerate(itertools.pairwise(rows)):
        known = np.isfinite(one) & np.isfinite(other)
        one, other = one[known], other[known]
        if len(one) > 2 and np.ptp(one) > 0 and np.ptp(other) > 0:
            found[event] = np.corrcoef(stats.rankdata(one), stats.rankdata(other))[0, 1]
    return found


def _pairs(differences: ArrayLike) -> np.ndarray:
    found = np.asarray(differences, float)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise ValueError(f"differences must be a list of finite numbers, one a pair; got shape {found.shape}")
    return found


def _quantiles(resampled: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return one quantile of each row, (...)."""
    ordered = np.sort(resampled, axis=-1)
    place = np.clip(shares, 0.0, 1.0) * (ordered.shape[-1] - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, ordered.shape[-1] - 1)
    part = place - low
    return (
        np.take_along_axis(ordered, low[..., None], -1)[..., 0] * (1 - part)
        + np.take_along_axis(ordered, high[..., None], -1)[..., 0] * part
    )
