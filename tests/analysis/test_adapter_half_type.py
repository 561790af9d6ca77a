"""What the page says of half the bits beside fewer directions is what is measured in a written file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.adapters import analyse_adapter, compress_adapter, suggest_ranks, total_error
from analysis.adapters.halves import HALVES, best_half, half_type, rounding_error
from analysis.adapters.own import open_any
from analysis.adapters.sizes import size_at, size_now
from analysis.adapters.words import describe_bound, describe_sizes

SAMPLES = sorted((Path(__file__).parents[2] / "sample_runs" / "adapters").iterdir())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_half_the_bits_cost_what_is_said_and_are_told_where_directions_cost_more(path, tmp_path):
    spectra = analyse_adapter(open_any(path))
    now = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
    for dtype in HALVES:
        errors = compress_adapter(spectra, now, tmp_path / dtype, dtype=dtype)
        measured = total_error(errors, spectra)["relative"]
        assert rounding_error(spectra.adapter, dtype) == pytest.approx(measured, rel=1e-3)
    best = best_half(spectra.adapter)
    assert best.dtype == "F16" and best.error < 0.001 and "BF16 by 0." in best.other
    before, half = size_now(spectra.adapter), size_at(spectra.adapter, now, best.dtype)
    for share, told in ((0.5, True), (0.2, False)):
        found = suggest_ranks(spectra, "bytes", int(share * before.total))
        after = size_at(spectra.adapter, found.ranks)
        assert bool(half_type(before, half, after, found.error, best)) == told
        assert describe_sizes(before, after).count("F32") == 1
    assert half_type(half, half, half, 0.5, best) == half_type(before, half, before, best.error, best) == ""
    assert describe_sizes(before, half).count("F32 → F16") == 1


@pytest.mark.parametrize("times, dtype", [(1, "F16"), (1e12, "BF16"), (1e-14, "BF16")])
def test_the_range_of_the_numbers_decides_the_type(times, dtype, tmp_path, write_adapter):
    rng = np.random.default_rng(0)
    factors = {"layers.0.q_proj": (times * rng.normal(size=(12, 2)), rng.normal(size=(2, 10)))}
    best = best_half(open_any(write_adapter(tmp_path / "made", factors, r=2, lora_alpha=2)))
    assert best.dtype == dtype and ("cannot hold" in best.other) == (times > 1)


@pytest.mark.parametrize("target, value", [("energy", 0.9), ("error", 0.1)])
def test_the_bound_of_a_loss_stands_beside_what_was_chosen(target, value):
    found = suggest_ranks(analyse_adapter(open_any(SAMPLES[0])), target, value)
    told = describe_bound(found)
    assert f"with this {target} has fewer than {found.bound:,.0f} parameters" in told
    assert (f"this one has {found.parameters:,}" in told) == (found.parameters > found.bound)
