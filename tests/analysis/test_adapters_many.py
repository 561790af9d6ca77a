"""Several adapters: compared, merged, and as the checkpoints of one training."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.adapters import AdapterError, analyse_adapter, compare_adapters, open_adapter
from analysis.adapters.doctor import examine_together
from analysis.adapters.many import compare_many
from analysis.adapters.merging import MERGES, merge_adapters
from analysis.adapters.relations import describe_comparison, drowning, merge_summary, merge_warnings, times
from analysis.importers import LogImportError, detect_kind, import_log, propose_mapping
from analysis.importers.checkpoints import KIND
from analysis.runs import load_run

NAMES = ("layers.0.q_proj", "layers.1.q_proj", "layers.1.v_proj")


@pytest.fixture
def make(tmp_path, write_adapter):
    """f(name, seed, rank, **config) → an opened adapter of random factors; the same seed gives the same A."""

    def made(name: str, seed: int, rank: int = 2, names=NAMES, **config):
        rng = np.random.default_rng(seed)
        factors = {key: (rng.normal(size=(12, rank)), rng.normal(size=(rank, 10))) for key in names}
        return open_adapter(write_adapter(tmp_path / name, factors, r=rank, **config))

    return made


def dense(adapter, name):
    B, A = adapter.factors(name)
    return adapter.find(name).scale * B @ A


def test_many_are_compared_as_two_are(make):
    adapters = [make("a", 0, lora_alpha=2), make("b", 1, 3, lora_alpha=-4), make("c", 2)]
    found = compare_many(adapters)
    pair = compare_adapters(adapters[0], adapters[1])
    for place, overlap in enumerate(pair.overlaps):
        assert found.overlaps["output"][place, 0, 1] == pytest.approx(overlap.output_overlap)
        assert found.overlaps["input"][place, 1, 0] == pytest.approx(overlap.input_overlap)
        assert found.chances["output"][place, 0, 1] == pytest.approx(overlap.output_chance)
    for i, first in enumerate(adapters):
        for j, second in enumerate(adapters):
            products = [float((dense(first, name) * dense(second, name)).sum()) for name in NAMES]
            assert found.products[:, i, j] == pytest.approx(products)
    whole = [np.concatenate([dense(adapter, name).ravel() for name in NAMES]) for adapter in adapters]
    expected = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in whole] for b in whole]
    assert found.cosines() == pytest.approx(np.array(expected))
    assert np.diagonal(found.overall("output")) == pytest.approx(1)
    assert found.by_layer("input")[1] == pytest.approx(found.overlaps["input"][1:].mean(axis=0))
    assert (found.starts[~np.eye(3, dtype=bool)] < 0.5).sum() >= 2 and found.copies() == [[0], [1], [2]]
    assert pair.cosine == pytest.approx(found.cosines()[0, 1])
    assert pair.difference == pytest.approx(found.differences()[0, 1])


def test_a_shared_start_another_base_and_dead_matrices_are_told(make, tmp_path, write_adapter):
    rng = np.random.default_rng(0)
    start = {name: rng.normal(size=(2, 10)) for name in NAMES}
    paths = []
    for seed, base in ((1, "base/cased"), (2, "base/uncased")):
        own = np.random.default_rng(seed)
        factors = {k: (own.normal(size=(12, 2)), A + 0.1 * own.normal(size=A.shape)) for k, A in start.items()}
        factors[NAMES[0]] = (np.zeros((12, 2)), factors[NAMES[0]][1])
        paths.append(write_adapter(tmp_path / f"s{seed}", factors, r=2, base_model_name_or_path=base))
    found = compare_many([open_adapter(path) for path in paths])
    assert found.starts[0, 1] > 0.9
    assert any("base models differ" in line and "base/uncased" in line for line in found.notices)
    assert np.isnan(found.overlaps["output"][0]).all()
    assert np.isfinite(found.overall("output")).all()
    two = compare_adapters(*(open_adapter(path) for path in paths))
    assert any("base models differ" in line for line in two.notices)
    assert two.start == pytest.approx(found.starts[0, 1])
    assert any("comes from the seed" in line for line in describe_comparison(two, "s1", "s2"))


def test_copies_of_an_adapter_are_told_to_be_one(make, tmp_path, write_adapter):
    first, other = make("a", 0), make("other", 1)
    padded = {}
    for name in NAMES:
        B, A = first.factors(name)
        padded[name] = (np.hstack([B, np.zeros((12, 3))]), np.vstack([A, np.ones((3, 10))]))
    copy = open_adapter(write_adapter(tmp_path / "padded", padded, r=5, lora_alpha=5 * first.matrices[0].scale))
    two = compare_adapters(first, copy)
    assert describe_comparison(two, "a", "padded")[0].startswith("a and padded have the same ΔW in all 3 matrices that")
    assert "same ΔW" not in " ".join(describe_comparison(compare_adapters(first, other), "a", "other"))
    compared, findings = examine_together([first, other, copy, make("again", 0)])
    assert compared.copies() == [[0, 2, 3], [1]]
    assert [finding.check for finding in findings] == ["same_delta"]
    assert findings[0].text.startswith("a, padded and again have the same ΔW")


@pytest.mark.parametrize("ratio", [2, 0.25, -1])
def test_one_adapter_scaled_is_told_to_be_one(make, ratio):
    first, other, strong = make("a", 0), make("other", 1), make("strong", 0, lora_alpha=ratio * 4)
    two = compare_adapters(first, strong)
    assert two.times == pytest.approx(strong.matrices[0].scale / first.matrices[0].scale)
    told = describe_comparison(two, "a", "strong")
    assert told[0].startswith(f"ΔW of strong is {times(two.times)} that of a, in every matrix")
    assert "seed" not in " ".join(told)
    apart = compare_adapters(first, other)
    assert apart.times is None and "‖ΔW‖ of other is" in describe_comparison(apart, "a", "other")[0]
    compared, findings = examine_together([first, other, strong])
    assert [[place for place, _ in family] for family in compared.families()] == [[0, 2], [1]]
    assert [finding.check for finding in findings] == ["scaled"]
    assert f"strong is {times(two.times)} that of a" in findings[0].text and "Keep one" in findings[0].advice
    assert (findings[0].level == "look") == ("cancel" in findings[0].advice) == (ratio < 0)


def test_what_hangs_together_is_one_finding(make, tmp_path, write_adapter):
    rng, first = np.random.default_rng(5), make("a", 0)
    near = []
    for number in range(3):
        factors = {}
        for name in NAMES:
            B, A = first.factors(name)
            factors[name] = (B + 0.3 * rng.normal(size=B.shape), A)
        near.append(open_adapter(write_adapter(tmp_path / f"near{number}", factors, r=2)))
    _, findings = examine_together([first, *near])
    assert [finding.check for finding in findings] == ["interference", "shared_start"]
    assert all("a, near0, near1 and near2" in finding.text for finding in findings)
    assert "in 6 pairs" in findings[0].text


def test_a_merge_refuses_what_is_not_finite_and_warns_of_the_rest(make, tmp_path, write_adapter):
    first, factors = make("a", 0, task_type="CAUSAL_LM"), {}
    for name in NAMES:
        B, A = first.factors(name)
        factors[name] = (B.copy(), A)
    factors[NAMES[1]][0][0, 0] = np.nan
    broken = open_adapter(write_adapter(tmp_path / "broken", factors, r=2))
    with pytest.raises(AdapterError, match=f"broken holds NaN or infinity in 1 matrix, first {NAMES[1]}"):
        merge_adapters([first, broken], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    others = [make("other", 1, task_type="SEQ_CLS"), make("zero", 2, lora_alpha=0), make("large", 3, lora_alpha=40)]
    told = "\n".join(merge_adapters([first, *others], tmp_path / "out").warnings)
    assert "task types differ (a: CAUSAL_LM; other: SEQ_CLS" in told
    assert "zero adds nothing: its ΔW is 0" in told and "‖ΔW‖ of large, with its weight, is" in told
    assert merge_adapters([first, make("same", 0)], tmp_path / "twice").summary.startswith("a and same have the same")
    plain = merge_adapters([first, make("b", 7, task_type="CAUSAL_LM")], tmp_path / "plain")
    assert plain.warnings == () and "orthogonal" in plain.summary
    back = merge_adapters([first, make("c", 0)], tmp_path / "back", weights=[1, -0.5])
    assert "work against each other" in back.summary


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(-2, 2), st.integers(1, 7))
def test_a_linear_merge_is_the_weighted_sum(tmp_path_factory, adapter_writer, seed, weight, rank):
    home, rng = tmp_path_factory.mktemp("merge"), np.random.default_rng(seed)
    adapters = []
    for number, (own, alpha) in enumerate(((rank, 4), (6, -3))):
        factors = {name: (rng.normal(size=(12, own)), rng.normal(size=(own, 10))) for name in NAMES}
        adapters.append(open_adapter(adapter_writer(home / f"{number}", factors, r=own, lora_alpha=alpha)))
    merge = merge_adapters(adapters, home / "out", weights=[1.0, weight])
    merged = open_adapter(home / "out")
    lost = norm = 0.0
    for name in NAMES:
        expected = dense(adapters[0], name) + weight * dense(adapters[1], name)
        assert dense(merged, name) == pytest.approx(expected, abs=1e-4)
        lost += float(np.square(dense(merged, name) - expected).sum())
        norm += float(np.square(expected).sum())
    assert merge.norm == pytest.approx(np.sqrt(norm))
    assert merge.error == pytest.approx(np.sqrt(lost / norm), abs=1e-9)


@pytest.mark.parametrize("how", ["ties", "dare"])
def test_the_error_of_a_merge_is_what_the_rank_could_not_hold(make, tmp_path, how):
    adapters = [make("a", 0), make("b", 1)]
    merge = merge_adapters(adapters, tmp_path / "out", how, density=0.6, seed=3)
    merged, rng = open_adapter(tmp_path / "out"), np.random.default_rng(3)
    lost = norm = 0.0
    for name in NAMES:
        whole = MERGES[how]([dense(adapter, name) for adapter in adapters], [1.0, 1.0], 0.6, rng)
        lost += float(np.square(whole - dense(merged, name)).sum())
        norm += float(np.square(whole).sum())
        assert merged.find(name).rank == 4
    assert 0 < merge.error == pytest.approx(np.sqrt(lost / norm))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"how": "mean"}, "Unknown merge 'mean'. Choose one of: linear, ties, dare."),
        ({"weights": [1.0]}, "1 weights for 2 adapters"),
        ({"density": 0.0}, "density=0 must be above 0"),
        ({"how": "ties", "density": 0.005}, "keeps none of the 120 entries of .*: 1/120 or more"),
        ({"how": "dare", "density": 1e-9}, "keeps none of the 120 entries"),
        ({"weights": [1e300, 1.0]}, "within ±1e"),
        ({"weights": [1.0, float("nan")]}, "within ±1e"),
    ],
)
def test_a_merge_that_cannot_be_names_what_can(make, tmp_path, change, says):
    with pytest.raises(AdapterError, match=says):
        merge_adapters([make("a", 0), make("b", 1)], tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({}, {"lora_bias": True}, "b has lora_bias"),
        ({"lora_bias": True}, {}, "a has lora_bias"),
        ({"alora_invocation_tokens": [1, 2]}, {}, "a acts only from its invocation tokens on"),
        ({}, {"alora_invocation_tokens": [1, 2]}, "b acts only from its invocation tokens on"),
        ({"layer_replication": [[0, 2], [1, 3]]}, {}, "a numbers its layers as in an enlarged model"),
        ({"lora_alpha": 1e30}, {}, "too large for F32"),
    ],
)
def test_a_merge_that_would_drop_something_or_overflow_writes_nothing(make, tmp_path, first, second, says):
    weights = [1e30, 1] if "lora_alpha" in first else None
    with pytest.raises(AdapterError, match=says):
        merge_adapters([make("a", 0, **first), make("b", 1, **second)], tmp_path / "out", weights=weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_merge_keeps_what_says_how_the_first_one_is_used(make, tmp_path):
    said = {"alora_invocation_tokens": [1, 2], "bias": "all", "trainable_token_indices": [3]}
    merge_adapters([make("a", 0, **said), make("b", 1, alora_invocation_tokens=[1, 2])], tmp_path / "out")
    config = open_adapter(tmp_path / "out").config or {}
    assert {key: config.get(key) for key in said} == said


@pytest.mark.parametrize("sizes, says", [((1, 1.6), ""), ((1, 2), "b, with its weight, is 2.0 times that of a"),
    ((1, 1, 2), ""), ((1, 0.5, 4), "c, with its weight, is 5.3 times that of the middle one of the other 2"),
    ((1, 1, 0.2), "c hardly counts: less than 5% of the energy of all. Give it")])  # fmt: skip
def test_what_drowns_the_rest_and_what_hardly_counts_is_a_share_of_the_energy(sizes, says):
    names, own = "abc"[: len(sizes)], np.square(sizes)
    told = merge_warnings(names, [None] * len(own), np.diag(own), [1] * len(own))
    assert len(told) == bool(says) and says in "".join(told)
    # The sentence about the sum says the same, and the weight that is offered mends it.
    assert ("of the sum's energy is" in merge_summary(names, np.diag(own), [1] * len(own), "linear")) == (
        "drowns" in "".join(told)
    )
    if "drowns" in "".join(told):
        weights = [1.0] * (len(own) - 1) + [float(re.search(r"Weight (\S+) would", told[0])[1])]
        assert drowning(np.array(weights) * sizes) is None


def test_adapters_that_cancel_or_vanish_are_told_as_such(make, tmp_path):
    twins = [make("a", 0), make("b", 0)]
    merge = merge_adapters(twins, tmp_path / "out", weights=[1, -1])
    assert merge.error < 1e-6 and merge.warnings[0].startswith("The adapters cancel one another")
    gone = merge_adapters([twins[0], make("d", 2)], tmp_path / "gone", weights=[1e-60, 1e-60])
    assert gone.error == pytest.approx(1) and gone.warnings[0].startswith("F32 loses 100% of the merged ΔW")
    told = merge_adapters([twins[0], make("c", 2)], tmp_path / "small", weights=[1, 1e-20]).warnings
    assert any("c adds nothing: beside a its share is less than rounding" in line for line in told)


@pytest.fixture
def training(tmp_path, write_adapter):
    """A folder as the Trainer leaves it: three checkpoints, B growing from 0, and the history of the last."""
    rng, home = np.random.default_rng(0), tmp_path / "output"
    B, A = rng.normal(size=(12, 3)), rng.normal(size=(3, 10))
    for step, grown in ((5, 0.5), (10, 1.0), (100, 2.0)):
        factors = {name: (grown * (n + 1) * B, A) for n, name in enumerate(NAMES)}
        folder = write_adapter(home / f"checkpoint-{step}", factors, r=3, lora_alpha=6)
        history = [
            {"step": 5, "loss": 0.7, "learning_rate": 1e-3},
            {"step": 10, "eval_accuracy": 0.5, "eval_runtime": 3.0},
        ]
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    (home / "checkpoint-final").mkdir()
    return home


def test_checkpoints_become_a_run_with_their_own_spectra(training, tmp_path):
    assert detect_kind(training) == KIND
    assert [row["name"] for row in propose_mapping(training)] == list(NAMES)
    done = import_log(training, tmp_path / "run")
    run = load_run(done.folder)
    assert run.steps.tolist() == [5, 10, 100] and done.records == 3
    for step in (5, 10, 100):
        own = analyse_adapter(open_adapter(training / f"checkpoint-{step}")).singular_values
        for name, values in run.singular_values(step).items():
            assert values == pytest.approx(own[name], rel=1e-6)
    assert (np.diff(run.energy, axis=0) > 0).all()
    assert run.evals[0]["metrics"] == {"accuracy": 0.5}
    assert run.header["method"] == "lora"
    steps, losses = run.metrics["task_loss"]
    assert steps.tolist() == [5] and losses.tolist() == [0.7]


def test_checkpoints_of_unlike_adapters_are_refused_by_name(training, tmp_path, write_adapter):
    write_adapter(training / "checkpoint-200", {"other.q_proj": (np.ones((3, 1)), np.ones((1, 3)))}, r=1)
    with pytest.raises(LogImportError, match="checkpoint-200 has other matrices than the first checkpoint"):
        import_log(training, tmp_path / "run")
    assert not (tmp_path / "run").exists()
