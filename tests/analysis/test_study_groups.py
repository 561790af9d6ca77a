"""Groups of runs: bands, costs, rank maps, rates and claims, on numbers that can be checked by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analysis.runs import load_run
from analysis.statistics import interval
from analysis.study import (
    COSTS,
    CURVES,
    claims,
    compare_study,
    group_ranks,
    group_table,
    load_study,
    metric_bands,
    pareto_points,
    plain_groups,
    rank_difference,
    rate_curves,
    study_groups,
)
from analysis.study.bands import aligned, mean_band, ranks_left
from analysis.study.export import comparison_files
from analysis.study.pareto import standings_of
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunWriter

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_runs" / "studies" / "four_ways"
MATRICES = [
    {"name": f"m.{layer}.{kind}", "layer": layer, "module_type": kind, "in_features": 4, "out_features": 5}
    for layer in (0, 1)
    for kind in ("query", "value")
]
ONE_DIRECTION = 4 + 5 + 1


@pytest.fixture(scope="module")
def sample():
    return load_study(SAMPLE)


@pytest.fixture(scope="module")
def sample_groups(sample):
    return study_groups(sample)


@pytest.fixture
def write(tmp_path):
    """f(name, method, seed, accuracy, **config) → run with 2 directions a matrix; ``moved`` goes to another matrix."""

    def written(name, method, seed, accuracy, ranks=(2, 2, 2, 2), moved=(), reason="completed", task="toy", **config):
        header = {"matrices": MATRICES, "task": task, "method": method, "seed": seed}
        with RunWriter(tmp_path / name, {**header, "config": {"seed": seed, **config}}) as writer:
            for step in (0, 2, 4):
                writer.spectrum(step, [np.ones(rank) for rank in ranks])
                if step == 2 and moved:
                    taken, given = (
                        [{"matrix": MATRICES[place]["name"], "slot": slot, "rules": []}]
                        for place, slot in zip(moved, (0, 9), strict=True)
                    )
                    writer.event(2, 1, {"random": {}}, "random", taken, given)
                    ranks = tuple(r - (i == moved[0]) + (i == moved[1]) for i, r in enumerate(ranks))
                writer.step(step + 1, task_loss=1.0, step_s=0.5)
                writer.eval(step, "validation", {"loss": 1.0, "accuracy": accuracy * step / 4})
            writer.end(reason, "Non-finite loss" if reason == "failed" else None)
        return load_run(tmp_path / name)

    return written


def two_methods(write, seeds=range(4), big=(2, 2, 2, 2)):
    runs = {}
    for seed in seeds:
        runs[f"l{seed}"] = write(f"l{seed}", "lora", seed, 0.5 + seed / 100, rank=2)
        runs[f"f{seed}"] = write(f"f{seed}", "flexlora", seed, 0.6 + seed / 100 + 0.001 * seed, ranks=big, rank=2)
    return runs


# --- groups ----------------------------------------------------------------------


def test_plain_runs_are_grouped_by_method_and_the_settings_that_differ(write):
    runs = {
        "a": write("a", "lora", 0, 0.5, rank=2, device="cpu"),
        "b": write("b", "lora", 1, 0.5, rank=2, device="cuda"),
        "c": write("c", "lora", 0, 0.5, rank=4),
        "d": write("d", "flexlora", 0, 0.5, rank=2),
        "e": write("e", "lora", 1, 0.5, rank=2),
        "f": write("f", "lora", None, 0.5, rank=2),
        "g": write("g", "lora", 0, 0.5, rank=2, task="other"),
    }
    groups, notices = plain_groups(runs)
    assert [(g.task, g.label, list(g.runs), g.number) for g in groups] == [
        ("toy", "LoRA, rank 2", [0, 1], 0),
        ("toy", "LoRA, rank 4", [0], 1),
        ("toy", "FlexLoRA", [0], 0),
        ("other", "LoRA", [0], 0),
    ]
    assert [notice.split(" ")[0] for notice in notices] == ["e", "f"]


def test_plain_runs_are_compared_as_a_study_is(write):
    groups, notices = plain_groups(two_methods(write))
    table = group_table(groups, margin=0.2)
    reference, one = compare_study(table)
    assert (notices, reference.pairs, one.pairs.n) == ([], None, 4)
    assert one.metric == "validation_accuracy"
    assert one.pairs.mean == pytest.approx(0.1 + 0.001 * 1.5)
    assert (one.pairs.p, one.verdict) == (2 / 2**4, "no difference")
    assert table.summary["equal"]["held"]


def test_unequal_budgets_are_refused_by_how_much_and_shown_only_when_the_person_says_so(write):
    groups, _ = plain_groups(two_methods(write, big=(3, 2, 2, 2)))
    with pytest.raises(FlexLoRAError, match=r"FlexLoRA has 9 total rank in the end, 12.5 % above the 8 of LoRA \(toy"):
        group_table(groups)
    with pytest.raises(FlexLoRAError, match="final_parameters allows 2 %"):
        group_table(groups, unit="final_parameters")
    assert group_table(groups, tolerance=0.2).summary["equal"]["held"]
    table = group_table(groups, allow_unequal=True)
    (claim,) = claims(table, compare_study(table))
    assert claim.verdict == "refused"
    assert claim.text.endswith("Their budgets are not equal, so nothing is claimed.")
    (claim,) = claims(table := group_table(groups, unit="none"), compare_study(table))
    assert (claim.verdict, table.summary["equal"]["note"]) == ("not told apart", "Nothing is held equal.")


def test_one_group_is_no_comparison(write):
    groups, _ = plain_groups({"a": write("a", "lora", 0, 0.5), "b": write("b", "lora", 0, 0.5, task="other")})
    with pytest.raises(FlexLoRAError, match="needs two groups of one task; toy, other"):
        group_table(groups)
    with pytest.raises(FlexLoRAError, match="needs two groups"):
        group_table([])


def test_runs_that_failed_or_stopped_leave_with_their_pairs_and_are_counted(write):
    runs = two_methods(write)
    runs["f1"] = write("f1b", "flexlora", 1, 0.9, reason="failed", rank=2)
    runs["f2"] = write("f2b", "flexlora", 2, 0.9, reason="stopped", rank=2)
    groups, _ = plain_groups(runs)
    table = group_table(groups)
    assert {row["state"] for row in table.rows} == {"completed", "diverged", "stopped"}
    assert [one.pairs.n for one in compare_study(table) if one.pairs] == [2]
    (band,) = metric_bands([groups[1]])
    assert (band.n, band.missing) == (3, 1)


def test_the_groups_of_a_study_are_its_variants_in_order(sample, sample_groups):
    assert [g.label for g in sample_groups] == sample.summary["groups"][0]["variants"]
    assert {tuple(g.runs) for g in sample_groups} == {tuple(sample.summary["seeds"])}
    assert [(g.method, g.number) for g in sample_groups[1:3]] == [("flexlora", 0), ("flexlora", 1)]


def test_the_sample_is_small_names_no_place_of_a_machine_and_is_what_its_file_makes(sample):
    files = [path for path in SAMPLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_500_000
    for group in study_groups(sample):
        for run in group.runs.values():
            assert f"--out sample_runs/studies/four_ways/runs/{run.folder.name}" in run.header["command"]
            assert run.state == "finished" and run.notices == []
    kept = ROOT / "benchmarks" / "studies" / "four_ways.yaml"
    assert (SAMPLE / "study.yaml").read_text(encoding="utf-8") == kept.read_text(encoding="utf-8")
    made = comparison_files(sample, compare_study(sample))
    # In CSV the last digits are the machine's.
    for name in ("comparison.md", "comparison.tex"):
        assert (SAMPLE / name).read_bytes() == made[name]


# --- bands ----------------------------------------------------------------------


def test_a_band_has_the_steps_that_every_seed_has(write):
    one = np.array([0, 2, 4]), np.array([0.0, 2.0, 4.0])
    other = np.array([0, 3, 6]), np.array([1.0, 4.0, 7.0])
    steps, values = aligned([one, other], held=False)
    assert (steps.tolist(), values.tolist()) == ([0], [[0.0], [1.0]])
    steps, values = aligned([one, other], held=True)
    assert (steps.tolist(), values.tolist()) == ([0, 2, 3, 4], [[0, 2, 2, 4], [1, 1, 4, 4]])


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(1, 4)), elements=st.floats(-5, 5, width=16)))
def test_a_band_is_the_interval_of_each_step(values):
    mean, low, high = mean_band(values)
    for place, column in enumerate(values.T):
        assert (low[place], high[place]) == pytest.approx(interval(column), abs=1e-12)
        assert low[place] - 1e-12 <= mean[place] <= high[place] + 1e-12


def test_the_band_of_a_metric_is_the_mean_of_its_runs(write):
    groups, _ = plain_groups(two_methods(write))
    band = metric_bands(groups)[0]
    assert (band.label, band.n, band.steps.tolist()) == ("validation accuracy", 4, [0, 2, 4])
    assert band.mean == pytest.approx([0.0, 0.515 / 2, 0.515])
    assert [metric_bands(groups, curve)[0].n for curve in CURVES if curve != "churn"] == [4] * (len(CURVES) - 1)
    assert metric_bands(groups, "churn") == []
    with pytest.raises(ValueError, match="unknown curve 'beauty'"):
        metric_bands(groups, "beauty")


def test_one_seed_has_no_band(write):
    (band,) = metric_bands(plain_groups({"a": write("a", "lora", 0, 0.4)})[0])
    assert band.mean.tolist() == [0.0, 0.2, 0.4]
    assert np.isnan(band.low).all()


def test_an_event_counts_from_its_own_step_on(write):
    run = write("a", "flexlora", 0, 0.5, moved=(0, 3))
    assert run.ranks.tolist() == [[2, 2, 2, 2], [2, 2, 2, 2], [1, 2, 2, 3]]
    assert ranks_left(run).tolist() == [[2, 2, 2, 2], [1, 2, 2, 3], [1, 2, 2, 3]]


# --- costs ----------------------------------------------------------------------

CHEAP = {seed: (1.0, 0.5 + 0.001 * seed) for seed in range(8)}
BETTER = {seed: (2.0, 0.6 + 0.001 * (seed % 3)) for seed in range(8)}
WASTE = {seed: (3.0, 0.4 + 0.001 * (seed % 2)) for seed in range(8)}
NOISY = {seed: (2.5, 0.6 + 0.05 * (-1) ** seed) for seed in range(8)}


def test_the_front_is_what_is_told_apart_from_all_that_is_not_dearer():
    found = standings_of({"cheap": CHEAP, "better": BETTER, "waste": WASTE, "noisy": NOISY})
    assert found == {
        "cheap": "surely cheapest",
        "better": "on the front",
        "waste": "surely behind",
        "noisy": "not told apart",
    }
    # Of a loss, less is better.
    flipped = {
        name: {seed: (cost, -value) for seed, (cost, value) in own.items()}
        for name, own in {"cheap": CHEAP, "waste": WASTE}.items()
    }
    assert standings_of(flipped, lower_is_better=True) == {
        "cheap": "surely cheapest",
        "waste": "surely behind",
    }
    # With a rival that costs as much and is worse there is something to tell apart.
    worse = {seed: (1.0, value - 0.1 - 1e-4 * seed) for seed, (_, value) in CHEAP.items()}
    assert standings_of({"cheap": CHEAP, "worse": worse}) == {"cheap": "on the front", "worse": "surely behind"}
    assert standings_of({"cheap": CHEAP}) == {"cheap": "not told apart"}


def test_two_that_cost_the_same_and_differ_by_chance_are_neither_on_the_front_nor_behind():
    alike = {seed: (1.0, value + 1e-3 * (-1) ** seed) for seed, (_, value) in CHEAP.items()}
    assert set(standings_of({"a": CHEAP, "b": alike}).values()) == {"not told apart"}


def test_with_three_pairs_nothing_is_surely_behind():
    few = [{seed: own[seed] for seed in range(3)} for own in (CHEAP, WASTE)]
    assert standings_of({"a": few[0], "b": few[1]})["b"] == "not told apart"


def test_points_hold_the_means_of_the_table(sample):
    for cost in COSTS:
        points = pareto_points(sample, cost)
        assert len(points) == 4
        rows = [row for row in sample.rows if row["variant"] == "FlexLoRA"]
        point = next(p for p in points if p.variant == "FlexLoRA")
        assert (point.method, point.n, point.metric) == ("flexlora", 8, "test_accuracy")
        assert point.y == pytest.approx(np.mean([row["test_accuracy"] for row in rows]))
        if cost in rows[0]:
            assert point.x == pytest.approx(np.mean([row[cost] for row in rows]))
    assert pareto_points(replace(sample, costs=[]), "train_s") == []
    with pytest.raises(ValueError, match="unknown cost 'luck'"):
        pareto_points(sample, "luck")


# --- rank maps ----------------------------------------------------------------------


def test_ranks_of_a_group_and_their_difference_by_seed(write):
    moves = [(0, 3), (0, 3), (1, 3)]
    groups, _ = plain_groups(
        {f"l{seed}": write(f"l{seed}", "lora", seed, 0.5) for seed in range(4)}
        | {f"f{seed}": write(f"f{seed}", "flexlora", seed, 0.5, moved=own) for seed, own in enumerate(moves)}
    )
    lora, flex = map(group_ranks, groups)
    assert flex.mean == pytest.approx([4 / 3, 5 / 3, 2, 3])
    assert flex.spread == pytest.approx([1 / math.sqrt(3), 1 / math.sqrt(3), 0, 0])
    apart = rank_difference(flex, lora)
    assert (apart.pairs, apart.mean) == (3, pytest.approx([-2 / 3, -1 / 3, 0, 1]))
    assert rank_difference(lora, flex).mean == pytest.approx(-apart.mean)
    # All three pairs agree on the last matrix; three pairs cannot give less than 1/4, before Holm over four matrices.
    assert apart.apart.tolist() == [False, False, False, True]
    assert (apart.adjusted_p[3], apart.claimed.any()) == (1.0, False)


def test_the_final_ranks_of_a_study_add_up_to_what_its_table_holds(sample, sample_groups):
    for group in sample_groups:
        ranks = group_ranks(group)
        own = [row["final_rank"] for row in sample.rows if row["variant"] == group.label]
        assert ranks.ranks.sum(axis=1).tolist() == own


def test_groups_without_a_common_seed_or_matrix_have_no_difference(write):
    one = group_ranks(plain_groups({"a": write("a", "lora", 0, 0.5)})[0][0])
    other = group_ranks(plain_groups({"b": write("b", "lora", 1, 0.5)})[0][0])
    with pytest.raises(FlexLoRAError, match="share no seed"):
        rank_difference(one, other)
    renamed = [matrix._replace(name=f"x.{matrix.name}") for matrix in one.matrices]
    with pytest.raises(FlexLoRAError, match="share no matrix"):
        rank_difference(one, replace(one, matrices=renamed))


# --- rates and claims ----------------------------------------------------------------------


def test_rates_rise_and_the_choice_is_the_best_trial(sample):
    curves = rate_curves(sample)
    assert [one.variant for one in curves] == sample.summary["groups"][0]["variants"]
    for one in curves:
        assert (np.diff(one.rates) > 0).all()
        assert one.values[one.chosen] == np.nanmax(one.values)
        assert one.at_end == {0: "lowest", len(one.rates) - 1: "highest"}.get(one.chosen, "")
    told = [one.split(" · ")[0] for one in sample.summary["tuned"]["edges"]]
    assert [one.variant for one in curves if one.at_end] == told


def test_a_study_without_a_search_has_no_rates_and_a_damaged_file_one_line(sample, tmp_path):
    assert rate_curves(replace(sample, folder=None)) == rate_curves(replace(sample, folder=tmp_path)) == []
    (tmp_path / "choices.json").write_text('{"variants": [{}]}', encoding="utf-8")
    with pytest.raises(FlexLoRAError, match="is damaged"):
        rate_curves(replace(sample, folder=tmp_path))


def test_trials_that_share_a_rate_are_told_by_what_else_they_set(sample, tmp_path):
    settings = [{"learning_rate": rate, "initial_budget": budget} for rate, budget in ((2e-3, 4), (1e-3, 4), (2e-3, 8))]
    row = {"task": "digits", "cell": "", "variant": "FlexLoRA", "metric": "loss", "settings": settings}
    row |= {"validation": [0.3, None, 0.2], "chosen": settings[2]}
    (tmp_path / "choices.json").write_text(json.dumps({"variants": [row]}), encoding="utf-8")
    (one,) = rate_curves(replace(sample, folder=tmp_path))
    assert (one.rates.tolist(), one.chosen, one.at_end, one.method) == ([1e-3, 2e-3, 2e-3], 2, "highest", "flexlora")
    assert one.others == ["initial budget 4", "initial budget 4", "initial budget 8"]
    assert np.isnan(one.values[0]) and one.lower_is_better


def test_a_claim_says_its_numbers_and_its_verdict(sample):
    told = {one.compared.variant: one for one in claims(sample, compare_study(sample))}
    assert list(told) == ["FlexLoRA", "random moves", "train big, then cut"]
    for one in told.values():
        assert one.text.startswith(f"On digits, {one.compared.variant} ")
        assert f"{one.compared.pairs.n} pairs" in one.text
    assert told["FlexLoRA"].text == (
        "On digits, FlexLoRA is not told apart from LoRA in test accuracy: −0.0208 [−0.0459, +0.0010], 8 pairs, "
        "p 0.258; a difference of 0.0329 would have been found in 80 % of such studies."
    )
    assert told["train big, then cut"].text.endswith(
        "p 0.750; it lies within ± 0.02. It trained with 1.47 × the parameter·steps of LoRA."
    )


def test_one_pair_claims_nothing(write):
    table = group_table(plain_groups(two_methods(write, seeds=[0]))[0])
    (claim,) = claims(table, compare_study(table))
    assert claim.text.endswith("+0.1000, one pair, which cannot tell anything apart: 6 are needed.")


def test_parameters_of_a_direction_are_what_the_table_counts(write):
    table = group_table(plain_groups(two_methods(write))[0])
    assert {row["final_parameters"] for row in table.rows} == {8 * ONE_DIRECTION}
