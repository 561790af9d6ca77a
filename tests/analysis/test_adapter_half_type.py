"""What the page says of half the bits beside fewer directions is what is measured in a written file."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.adapters import analyse_adapter, compress_adapter, suggest_ranks, total_error
from analysis.adapters.own import open_any
from analysis.adapters.sizes import size_at, size_now
from analysis.adapters.words import HALF_ERROR, describe_bound, describe_sizes, half_type

SAMPLES = sorted((Path(__file__).parents[2] / "sample_runs" / "adapters").iterdir())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_half_the_bits_cost_about_what_is_said_and_are_told_where_directions_cost_more(path, tmp_path):
    spectra = analyse_adapter(open_any(path))
    now = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
    errors = compress_adapter(spectra, now, tmp_path / "half", dtype="BF16")
    assert HALF_ERROR / 2 < total_error(errors, spectra)["relative"] < HALF_ERROR * 1.5
    before, half = size_now(spectra.adapter), size_at(spectra.adapter, now, "BF16")
    for share, told in ((0.5, True), (0.2, False), (1.0, False)):
        found = suggest_ranks(spectra, "bytes", int(share * before.total))
        after = size_at(spectra.adapter, found.ranks)
        assert bool(half_type(before, half, after, found.error)) == told
        assert describe_sizes(before, after).count("F32") == 1
    assert half_type(half, half, half, 0.5) == ""
    assert describe_sizes(before, half).count("BF16") == 1


@pytest.mark.parametrize("target, value", [("energy", 0.9), ("error", 0.1)])
def test_the_bound_of_a_loss_stands_beside_what_was_chosen(target, value):
    found = suggest_ranks(analyse_adapter(open_any(SAMPLES[0])), target, value)
    told = describe_bound(found)
    assert f"with this {target} has fewer than {found.bound:,.0f} parameters" in told
    assert (f"this one has {found.parameters:,}" in told) == (found.parameters > found.bound)
