"""Adapters that change unlike matrices of one model: what one lacks is ΔW = 0, in a sum and beside others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.adapters import AdapterError, compare_adapters, open_adapter
from analysis.adapters.comparison import base_notices
from analysis.adapters.doctor import examine_together
from analysis.adapters.many import compare_many
from analysis.adapters.merging import merge_adapters
from analysis.adapters.relations import describe_comparison, signed
from flexlora.matrix_places import plain_path

NAMES = ("layers.0.q_proj", "layers.1.q_proj", "layers.1.v_proj", "layers.2.v_proj")
SHAPE = (12, 10)


def opened(writer, folder, seed, names=NAMES, **config):
    rng = np.random.default_rng(seed)
    factors = {key: (rng.normal(size=(12, 2)), rng.normal(size=(2, 10))) for key in names}
    return open_adapter(writer(folder, factors, r=2, **config))


def whole(adapter):
    """All ΔW as one vector; 0 where the adapter has no matrix."""
    own = {matrix.name: matrix.scale for matrix in adapter.matrices}
    found = []
    for name in NAMES:
        if name in own:
            B, A = adapter.factors(name)
            found.append((own[name] * B @ A).ravel())
        else:
            found.append(np.zeros(SHAPE).ravel())
    return np.concatenate(found)


subsets = st.sets(st.sampled_from(NAMES), min_size=1)


@settings(max_examples=25, deadline=None)
@given(subsets, subsets, st.sampled_from(["linear", "ties"]))
def test_a_sum_keeps_every_matrix_of_both(tmp_path_factory, adapter_writer, first, second, how):
    home = tmp_path_factory.mktemp("merge")
    both = [
        opened(adapter_writer, home / name, seed, sorted(names), base_model_name_or_path="acme/one")
        for seed, (name, names) in enumerate((("a", first), ("b", second)))
    ]
    merge = merge_adapters(both, home / "out", how, density=1.0)
    merged = open_adapter(home / "out")
    assert {matrix.name for matrix in merged.matrices} == first | second
    if how == "linear":
        assert whole(merged) == pytest.approx(whole(both[0]) + whole(both[1]), abs=1e-5)
    for name in first ^ second:
        # What one alone has stays as it is, by any rule that keeps all entries.
        B, A = merged.factors(name)
        own = both[0] if name in first else both[1]
        D, C = own.factors(name)
        assert pytest.approx(own.find(name).scale * D @ C, abs=1e-4) == B @ A
    assert any("ΔW is 0 in the other" in line for line in merge.notices) == (first != second)


@settings(max_examples=25, deadline=None)
@given(st.lists(subsets, min_size=2, max_size=4))
def test_cosines_are_those_of_the_whole_vectors(tmp_path_factory, adapter_writer, names):
    home = tmp_path_factory.mktemp("many")
    adapters = [
        opened(adapter_writer, home / f"{i}", i, sorted(own), base_model_name_or_path="acme/one")
        for i, own in enumerate(names)
    ]
    found = compare_many(adapters)
    vectors = [whole(adapter) for adapter in adapters]
    expected = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in vectors] for b in vectors]
    assert found.cosines() == pytest.approx(np.array(expected), abs=1e-9)
    assert len(found.matrices) == len(set().union(*names))
    if names[0] & names[1]:
        assert compare_adapters(*adapters[:2]).cosine == pytest.approx(expected[0][1], abs=1e-9)


def test_a_small_adapter_does_not_spoil_the_comparison_of_the_others(tmp_path, write_adapter):
    large = [opened(write_adapter, tmp_path / name, seed) for seed, name in enumerate(("a", "b"))]
    small, other = (
        opened(write_adapter, tmp_path / "small", 5, NAMES[:1]),
        opened(write_adapter, tmp_path / "s2", 6, NAMES[:1]),
    )
    alone, among = compare_many(large), compare_many([*large, small, other])
    for side in ("output", "input"):
        assert among.overall(side)[:2, :2] == pytest.approx(alone.overall(side))
    assert among.cosines()[:2, :2] == pytest.approx(alone.cosines())
    told = [line for line in among.notices if "matrices" in line]
    assert told == [f"small, s2 have 1 of 4 matrices; their ΔW is 0 in the others, such as {NAMES[1]}."]
    assert not any("ΔW of" in line for line in among.notices)


def test_one_that_is_not_finite_is_left_out_alone(tmp_path, write_adapter):
    a, b = (opened(write_adapter, tmp_path / name, 1) for name in ("a", "b"))
    rng = np.random.default_rng(3)
    factors = {name: (rng.normal(size=(12, 2)), rng.normal(size=(2, 10))) for name in NAMES}
    factors[NAMES[2]][0][0, 0] = np.inf
    broken = open_adapter(write_adapter(tmp_path / "broken", factors, r=2))
    found, findings = examine_together([a, b, broken])
    assert found.copies() == [[0, 1], [2]] and "in all 4 matrices" in findings[0].text
    assert np.isfinite(found.cosines()).all() and np.isfinite(found.overlaps["output"][2, 0, 1])
    assert np.isnan(found.overlaps["output"][2, 0, 2])
    assert any(line.startswith("broken holds NaN or infinity in 1 matrix") for line in found.notices)
    assert not np.isfinite(found.differences()[0, 2])


def test_the_same_in_what_both_have_is_not_the_same(tmp_path, write_adapter):
    one, part = opened(write_adapter, tmp_path / "one", 1), opened(write_adapter, tmp_path / "part", 1, NAMES[:3])
    pair = compare_adapters(one, part)
    assert pair.difference == 1 and 0 < pair.cosine < 1
    assert "same ΔW" not in " ".join(describe_comparison(pair, "one", "part"))
    assert compare_many([one, part]).copies() == [[0], [1]]


def test_a_head_that_a_merge_loses_is_told(tmp_path, write_adapter):
    from safetensors.numpy import load_file, save_file

    first, second = (opened(write_adapter, tmp_path / name, seed) for seed, name in enumerate(("a", "b")))
    weights = tmp_path / "b" / "adapter_model.safetensors"
    save_file(load_file(weights) | {"base_model.model.score.weight": np.ones((2, 12), np.float32)}, weights)
    second = open_adapter(tmp_path / "b")
    (told,) = (line for line in merge_adapters([first, second], tmp_path / "ab").warnings if "score" in line)
    assert told.startswith("b has 1 tensor beside its matrices") and "a has none" in told
    assert not any("score" in line for line in merge_adapters([second, first], tmp_path / "ba").warnings)


def test_adapters_of_other_models_are_still_refused(tmp_path, write_adapter):
    first = opened(write_adapter, tmp_path / "a", 0, NAMES[:2], base_model_name_or_path="acme/one")
    second = opened(write_adapter, tmp_path / "b", 0, NAMES[2:], base_model_name_or_path="acme/two")
    with pytest.raises(AdapterError, match="no matrix of the same name"):
        compare_many([first, second])


def test_no_minus_is_shown_of_what_rounds_to_nothing():
    assert [signed(value) for value in (-1e-5, 1e-5, 0.25, None)] == ["0.000", "0.000", "+0.250", "undefined"]


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([(1.0, 1.0), (1.0, 0.5), (1.0, -1.0)]))
def test_an_adapter_that_is_two_others_together_is_found(tmp_path_factory, adapter_writer, weights):
    home = tmp_path_factory.mktemp("sum")
    parts = [opened(adapter_writer, home / name, seed, NAMES[seed:]) for seed, name in enumerate(("a", "b"))]
    merge_adapters(parts, home / "both", weights=weights)
    _, findings = examine_together([*parts, open_adapter(home / "both"), opened(adapter_writer, home / "c", 4)])
    told = [finding.text for finding in findings if finding.check == "sum"]
    assert told == (
        ["ΔW of both is that of a plus that of b."]
        if weights == (1.0, 1.0)
        else ["ΔW of a is that of b plus that of both."]
        if weights == (1.0, -1.0)
        else []
    )


def bases(tmp_path, write_adapter, spectrum, **configs):
    folders = [write_adapter(tmp_path / name, {"layers.0.q": spectrum([2, 1])}, **own) for name, own in configs.items()]
    return base_notices([open_adapter(folder) for folder in folders], list(configs))


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"base_model_name_or_path": "acme/base-cased"}, None),
        ({"base_model_name_or_path": "Acme/base-cased/"}, None),
        ({"base_model_name_or_path": "acme/base-uncased"}, "The base models differ (a: acme/base-cased; b: acme/"),
        ({"base_model_name_or_path": "/models/base-cased"}, "different names (a: acme/base-cased; b: /models/"),
        ({"base_model_name_or_path": "acme/base-cased", "revision": "v2"}, "revisions of the base model differ"),
        ({}, "b names no base model; the others are for acme/base-cased."),
    ],
)  # fmt: skip
def test_base_models_are_told_where_they_may_differ(tmp_path, write_adapter, spectrum, second, says):
    found = bases(tmp_path, write_adapter, spectrum, a={"base_model_name_or_path": "acme/base-cased"}, b=second)
    assert len(found) == bool(says)
    assert says is None or says in found[0]


def test_one_matrix_has_one_path_whatever_a_tool_writes_before_it():
    names = [
        "unet.mid_block.attn1.to_out.0",
        "mid_block.attn1.processor.to_out",
        "diffusion_model.mid_block.attn1.to_out",
    ]
    assert {plain_path(name) for name in names} == {"mid_block.attn1.to_out"}


def test_shapes_that_differ_everywhere_are_told(tmp_path, write_adapter, spectrum):
    first, second = (write_adapter(tmp_path / str(n), {"q": spectrum([2, 1], in_features=n)}) for n in (10, 20))
    with pytest.raises(AdapterError, match="q is 12 × 10 and 12 × 20"):
        compare_adapters(open_adapter(first), open_adapter(second))
