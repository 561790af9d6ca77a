"""One budget over all matrices: as good as trying everything, to the byte, and to the setting."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.adapters import (
    AdapterError,
    analyse_adapter,
    compress_adapter,
    open_adapter,
    size_at,
    size_now,
    suggest_ranks,
    suggest_sizes,
    total_error,
)
from analysis.adapters.__main__ import main
from analysis.adapters.budget import least_error_curve
from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors
from analysis.adapters.patterns import Patterns, unambiguous

SEEDS = st.integers(0, 2**32 - 1)


def problem(seed: int, equal: bool = False):
    """Up to four spectra and what a direction of each costs; some directions are equal, some 0."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 5))
    spectra = [np.sort(rng.integers(0, 5, rng.integers(1, 5)) * rng.uniform(0.1, 1))[::-1] for _ in range(count)]
    return spectra, ([3] * count if equal else rng.integers(1, 9, count).tolist())


def allocations(spectra, prices, least):
    """Every allocation: what it costs and loses."""
    for ranks in itertools.product(*(range(min(least, len(s)), len(s) + 1) for s in spectra)):
        lost = sum(float(np.square(s[rank:]).sum()) for s, rank in zip(spectra, ranks, strict=True))
        yield sum(r * p for r, p in zip(ranks, prices, strict=True)), lost


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([0, 1]))
def test_no_allocation_of_a_size_loses_less_than_the_bound_and_ours_is_within_one_direction(seed, equal, least):
    spectra, prices = problem(seed, equal)
    every = list(allocations(spectra, prices, least))
    curve = least_error_curve(spectra, prices, least)
    largest = max(float(np.square(s).max(initial=0.0)) for s in spectra)
    for limit in range(min(price for price, _ in every), int(curve.price[0]) + 2):
        best = min(lost for price, lost in every if price <= limit)
        cut = curve.within_price(limit)
        assert cut is not None and cut.price <= limit
        assert cut.price == int(cut.ranks @ np.array(prices))
        assert cut.lost == pytest.approx(
            sum(float(np.square(s[r:]).sum()) for s, r in zip(spectra, cut.ranks, strict=True))
        )
        assert cut.least <= best + 1e-9 and best <= cut.lost + 1e-9
        assert cut.lost - best <= largest + 1e-9
        if equal or limit in curve.price:
            assert cut.lost == pytest.approx(best, abs=1e-9)
    assert curve.within_price(min(price for price, _ in every) - 1) is None


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([0, 1]), st.floats(0, 0.999))
def test_no_allocation_within_an_error_is_smaller_than_the_bound(seed, equal, least, share):
    spectra, prices = problem(seed, equal)
    whole = sum(float(np.square(s).sum()) for s in spectra)
    cut = least_error_curve(spectra, prices, least).within_loss(share * whole)
    best = min(price for price, lost in allocations(spectra, prices, least) if lost <= share * whole + 1e-12)
    assert cut.lost <= share * whole + 1e-9
    assert cut.least <= best + 1e-6 and best <= cut.price < best + max(prices) + 1
    if equal:
        assert cut.price == best


def test_room_between_two_steps_is_filled():
    # 8 would go to the cheap ones alone; with 7 the dear one does not fit, and a cheap one does.
    curve = least_error_curve([np.array([3.0, 2.9]), np.array([1.0, 0.5, 0.4])], [5, 1], 1)
    cut = curve.within_price(8)
    assert cut.ranks.tolist() == [1, 3]
    assert cut.least < cut.lost


@pytest.fixture
def folder(tmp_path, spectrum, write_adapter):
    values = {"layer.0.query": [8, 4, 2, 1], "layer.0.value": [3, 2.9, 2.8, 2.7], "layer.1.query": [1, 1e-3, 1e-4, 0]}
    made = {name: spectrum(v, 12 + 8 * n, 10, seed=n) for n, (name, v) in enumerate(values.items())}
    return write_adapter(tmp_path / "adapter", made)


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("dtype", [None, "F32", "BF16"])
def test_a_number_of_bytes_is_met_to_the_byte_and_the_error_is_that_of_the_file(folder, tmp_path, dtype, drop):
    spectra = analyse_adapter(open_adapter(folder))
    whole = {name: open_adapter(folder).factors(name) for name in spectra.singular_values}
    largest = size_at(spectra.adapter, dict.fromkeys(spectra.singular_values, 4), dtype).total
    for number, limit in enumerate((largest, int(largest * 0.8), int(largest * 0.65))):
        found = suggest_ranks(spectra, "bytes", limit, least=int(not drop), dtype=dtype)
        out = tmp_path / f"small{number}"
        stated = total_error(compress_adapter(spectra, found.ranks, out, dtype=dtype), spectra)["relative"]
        planned = size_at(spectra.adapter, found.ranks, dtype)
        assert (out / WEIGHTS).stat().st_size == planned.total <= limit
        again = open_adapter(out)
        assert size_now(again).factors == planned.factors
        new = {matrix.name: (*again.factors(matrix.name), matrix.scale) for matrix in again.matrices}
        lost = norm = 0.0
        for name, (B, A) in whole.items():
            dense = B @ A
            left = np.zeros(dense.shape) if name not in new else new[name][2] * new[name][0] @ new[name][1]
            lost += float(np.square(dense - left).sum())
            norm += float(np.square(dense).sum())
        assert stated == pytest.approx(np.sqrt(lost / norm), abs=1e-9)
        assert found.error == pytest.approx(stated, abs=2e-2 if dtype == "BF16" else 1e-6)
        assert found.bound <= found.error + 1e-12


def test_several_sizes_are_one_curve(folder):
    spectra = analyse_adapter(open_adapter(folder))
    found = suggest_sizes(spectra, "parameters")
    assert len(found) > 2
    assert all(a.parameters >= b.parameters and a.error <= b.error for a, b in itertools.pairwise(found))
    for one in found:
        assert one == suggest_ranks(spectra, "parameters", one.value)
    for one in found:
        assert suggest_ranks(spectra, "error", one.error + 1e-9).error == pytest.approx(one.error, abs=1e-8)


def test_the_type_stays_and_what_is_not_cut_is_copied(tmp_path, capsys):
    rng, tensors = np.random.default_rng(0), {}
    for name in ("layers.0.q_proj", "layers.1.q_proj"):
        for part, shape in (("A", (2, 64)), ("B", (64, 2))):
            data = rng.normal(size=shape).astype("<f2").tobytes()
            tensors[f"base_model.model.{name}.lora_{part}.weight"] = NewTensor("F16", shape, lambda data=data: data)
    folder = tmp_path / "half"
    folder.mkdir()
    write_tensors(folder / WEIGHTS, tensors)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"]}))
    assert main([str(folder), "--energy", "1", "--out", str(tmp_path / "same")]) == 0
    assert "Warning" not in capsys.readouterr().out
    assert (tmp_path / "same" / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert main([str(folder), "--rank", "3", "--out", str(tmp_path / "less")]) == 0
    assert "the same type (F16)" in capsys.readouterr().out
    assert main([str(folder), "--energy", "1", "--dtype", "F32", "--out", str(tmp_path / "more")]) == 0
    assert "Warning: the result takes" in capsys.readouterr().out


@pytest.mark.parametrize(("change", "says"), [({"lora_alpha": 0}, "alpha = 0"), ({}, "B = 0 everywhere")])
def test_of_an_adapter_that_does_nothing_there_is_nothing_to_keep(tmp_path, write_adapter, change, says):
    B = np.ones((6, 2)) if change else np.zeros((6, 2))
    spectra = analyse_adapter(open_adapter(write_adapter(tmp_path / "a", {"l.0.q": (B, np.ones((2, 5)))}, **change)))
    with pytest.raises(AdapterError, match=f"Nothing to keep: {says}"):
        suggest_ranks(spectra, "energy", 0.9)


def test_what_cannot_be_met_names_what_can(folder, capsys):
    for arguments, says in (
        (["--bytes", "10"], "bytes=10 cannot be met: every matrix keeps at least one direction"),
        (["--error", "1"], "error=1 must be at least 0 and below 1"),
        (["--params", "1"], "parameters=1 cannot be met"),
        (["--rank", "5", "--by", "uniform", "--drop"], "--drop needs --by least_error"),
        (["--energy", "1", "--dtype", "F8"], "invalid choice: 'F8'"),
    ):
        assert main([str(folder), *arguments]) == 2
        error = capsys.readouterr().err
        assert says in error and len(error.splitlines()) == 1


NAMES = st.lists(st.text("ab._", min_size=1, max_size=7), min_size=1, max_size=6, unique=True)


@settings(max_examples=300, deadline=None)
@given(NAMES, NAMES)
def test_patterns_find_what_the_regular_expressions_find(keys, modules):
    keys = [*keys, "^" + regex.escape(modules[0]), "a.*b"]
    for module in modules:
        expected = next((key for key in keys if regex.match(rf"(.*\.)?({key})$", module)), None)
        assert Patterns(keys).first(module) == expected


@settings(max_examples=200, deadline=None)
@given(NAMES, NAMES)
def test_an_unambiguous_pattern_names_its_own_module_only(names, others):
    for name, key in unambiguous(names, others).items():
        matched = {module for module in {*names, *others} if regex.match(rf"(.*\.)?({key})$", module)}
        assert matched == {name}
