"""Tables of the views: the run's own arrays, tidy; undefined is null; CSV and Parquet hold the same."""

from __future__ import annotations

import csv as text_csv
import io
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import compute, csv, parquet

from analysis import metrics
from analysis.directions import directions_at
from analysis.figures import FIGURES
from analysis.groups import layer_rows, matrix_groups
from analysis.order import SORTS
from analysis.quantities import QUANTITIES
from analysis.rank_limits import change_limit
from analysis.stages import event_stages, standing_out
from analysis.tables import TABLES, write_csv_bytes, write_parquet_bytes
from analysis.tables.columns import numbers
from analysis.tables.spectra import spectra_map


def table_of(name, run, **options):
    if name == "compare_curves":
        return TABLES[name]({"first": run, "second": run}, **options)
    return TABLES[name](run, run, **options) if name == "compare_maps" else TABLES[name](run, **options)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_of_every_run_survives_parquet_and_csv(name, edge_runs, sample_runs):
    for run in (*edge_runs.values(), sample_runs["words-flexlora-paper"]):
        table = table_of(name, run)
        assert parquet.read_table(io.BytesIO(write_parquet_bytes(table))).equals(table)
        data = write_csv_bytes(table)
        assert data.splitlines()[0].decode() == ",".join(f'"{column}"' for column in table.column_names)
        options = csv.ConvertOptions(column_types=table.schema, strings_can_be_null=True)
        assert csv.read_csv(io.BytesIO(data), convert_options=options).equals(table)


def test_no_name_becomes_a_formula_of_a_spreadsheet():
    names = ['=HYPERLINK("//x")', "+1", "-1", "@A1", "\tx", "a=b", "", None]
    table = pa.table({"matrix": pa.array(names, pa.string()), "value": [-1.0] * len(names)})
    rows = list(text_csv.reader(io.StringIO(write_csv_bytes(table).decode(), newline="")))[1:]
    assert [name for name, _ in rows] == ["'" + name for name in names[:5]] + ["a=b", "", ""]
    assert {float(value) for _, value in rows} == {-1.0}
    assert parquet.read_table(io.BytesIO(write_parquet_bytes(table)))["matrix"].to_pylist() == names


@pytest.mark.parametrize("name", TABLES)
def test_a_table_keeps_its_columns_and_types_for_a_run_without_records(name, edge_runs):
    full, empty = (table_of(name, edge_runs[label]) for label in ("plain", "empty"))
    assert empty.schema.equals(full.schema)


@pytest.mark.parametrize("name", TABLES)
def test_undefined_is_null_and_never_nan(name, edge_runs):
    for run in edge_runs.values():
        for column in table_of(name, run).columns:
            if pa.types.is_floating(column.type):
                values = column.drop_null().to_numpy(zero_copy_only=False)
                assert not np.isnan(values).any()


def test_the_table_of_everything_holds_every_array_of_the_run(sample_runs):
    for run in sample_runs.values():
        table = TABLES["everything"](run)
        shape = run.ranks.shape
        assert (numbers(table, "rank").reshape(shape) == run.ranks).all()
        assert (numbers(table, "stored_directions").reshape(shape) == run.stored).all()
        # One direction cannot share its energy: the log's 1 takes no part.
        entropy = np.where(run.ranks > 1, run.entropy, np.nan)
        assert np.array_equal(numbers(table, "entropy").reshape(shape), entropy, equal_nan=True)
        assert np.array_equal(numbers(table, "energy").reshape(shape), run.energy, equal_nan=True)
        assert table["step"].to_pylist()[:: shape[1]] == run.steps.tolist()
        assert table["matrix"].to_pylist()[: shape[1]] == [matrix.name for matrix in run.matrices]
        assert numbers(table, "pruned").sum() == sum(len(event["prune"]) for event in run.events)
        assert numbers(table, "extended").sum() == sum(len(event["extend"]) for event in run.events)
        parameters = numbers(table, "parameters").reshape(shape).sum(axis=1)
        assert (parameters == metrics.active_parameters(run)).all()


def test_the_numbers_of_spectra_over_time_are_those_that_the_figure_draws(edge_runs, sample_runs):
    for run in (*edge_runs.values(), sample_runs["words-flexlora-paper"], sample_runs["digits-adalora"]):
        name = run.matrices[0].name
        table = TABLES["spectra_over_time"](run, matrix=name)
        kinds = table["kind"].to_numpy(zero_copy_only=False)
        drawn = {trace.name: trace for trace in FIGURES["spectra_over_time"](run, matrix=name).data}
        truth = drawn["σ(ΔW) / s"]
        assert np.array_equal(numbers(table, "over_scale")[kinds == "true"], np.asarray(truth.y, float))
        assert table["step"].to_numpy()[kinds == "true"].tolist() == list(truth.x)
        λ = np.abs(numbers(table, "singular_value"))[(kinds == "direction") & (numbers(table, "gate") > 0)]
        lines = [trace for label, trace in drawn.items() if label.startswith("slot ")]
        assert len(lines) == len(set(table["stay"].drop_null().to_pylist()))
        λ = λ[np.isfinite(λ)]
        assert np.array_equal(np.sort(λ), np.sort(np.concatenate([[], *(t.y[np.isfinite(t.y)] for t in lines)])))


def test_the_map_of_spectra_holds_the_directions_of_every_matrix(edge_runs, sample_runs):
    for run in (*edge_runs.values(), sample_runs["words-flexlora-paper"], sample_runs["digits-adalora"]):
        for record in {0, len(run.steps) // 2, len(run.steps) - 1} if len(run.steps) else ():
            table = spectra_map(run, int(run.steps[record]))
            found = list(zip(*(table[name].to_pylist() for name in ("matrix", "place", "slot", "gate")), strict=True))
            expected = [
                (matrix.name, number, own.slot, own.gate)
                for place, matrix in enumerate(run.matrices)
                for number, own in enumerate(directions_at(run, record, place), 1)
            ]
            assert found == expected
            assert set(table["record_step"].to_pylist()) <= {int(run.steps[record])}


def test_the_gap_is_that_of_the_latest_record_with_true_values(sample_runs):
    run = sample_runs["words-flexlora-paper"]
    steps, _ = run.true_entropy
    gaps = numbers(TABLES["everything"](run), "entropy_gap").reshape(run.ranks.shape)
    medians = metrics.spectrum_gap(run)
    for number, step in enumerate(steps.tolist()):
        own = gaps[run.record_at(step)]
        expected = np.nanmedian(own) if np.isfinite(own).any() else np.nan
        assert expected == pytest.approx(medians[number], nan_ok=True)
    between = next(r for r, step in enumerate(run.steps.tolist()) if step not in steps and step > steps[2])
    latest = run.record_at(int(steps[np.searchsorted(steps, run.steps[between]) - 1]))
    assert np.array_equal(gaps[between], gaps[latest], equal_nan=True)


def test_change_is_counted_from_the_asked_step(sample_runs):
    run = sample_runs["words-flexlora-paper"]
    table = TABLES["rank_map"](run, 100, since=40)
    change = run.ranks[run.record_at(100)] - run.ranks[run.record_at(40)]
    assert numbers(table, "rank_change").tolist() == change.tolist()


def test_a_map_before_the_first_record_shows_the_first_and_says_so(edge_runs):
    table = TABLES["rank_map"](edge_runs["plain"], -5)
    assert table["step"].to_pylist() == [-5, -5]
    assert table["record_step"].to_pylist() == [0, 0]


@pytest.mark.parametrize("sort", SORTS)
def test_the_strip_lists_matrices_in_the_asked_order(sort, sample_runs):
    run = sample_runs["words-flexlora-paper"]
    names = TABLES["strip"](run, sort=sort)["matrix"].to_pylist()[: len(run.matrices)]
    assert names == [run.matrices[place].name for place in SORTS[sort](run)]


@pytest.mark.parametrize("colour", QUANTITIES)
def test_the_mean_of_a_layer_is_over_those_of_its_matrices_that_have_the_quantity(colour, sample_runs, edge_runs):
    for run in (*sample_runs.values(), edge_runs["unknown"], edge_runs["shared"], edge_runs["empty"]):
        table = TABLES["layer_means"](run, colour)
        everything = TABLES["everything"](run).group_by(["step", "layer"], use_threads=False)
        name = QUANTITIES[colour].column
        wanted = [(name, "mean"), (name, "min"), (name, "max"), (name, "count")]
        told = {(row["step"], row["layer"]): row for row in everything.aggregate(wanted).to_pylist()}
        assert [(row["step"], row["layer"]) for row in table.to_pylist()] == [
            (step, layer) for step in run.steps.tolist() for layer in layer_rows(run)
        ]
        for row in table.to_pylist():
            own = told[row["step"], row["layer"]]
            assert row["quantity"] == name and row["defined"] == own[f"{name}_count"]
            assert row["mean"] == pytest.approx(own[f"{name}_mean"])
            assert (row["least"], row["greatest"]) == (own[f"{name}_min"], own[f"{name}_max"])


def test_the_scale_of_change_covers_any_two_moments_and_what_a_run_that_goes_on_may_reach(sample_runs, edge_runs):
    for run in sample_runs.values():
        ranks = run.ranks.astype(int)
        limit = change_limit(run)
        assert all(np.abs(ranks - ranks[since]).max() <= limit for since in range(0, len(ranks), 20))
        assert limit == 1 or limit <= ranks.max() - ranks.min()
    assert change_limit(edge_runs["empty"]) == change_limit(edge_runs["live"]) == 1


@pytest.mark.parametrize(
    ("config", "gain"), [({"initial_rank": 4}, 4), ({"max_rank": 9, "initial_rank": 4}, 5), ({}, 1)]
)
def test_while_a_run_goes_on_its_scale_of_change_reaches_as_far_as_its_configuration_allows(config, gain):
    ranks = np.array([[4, 4], [3, 5], [3, 5]])
    own = {"places": {"first": 0, "second": 1}, "steps": np.arange(3), "ranks": ranks, "events": [], "config": config}
    assert change_limit(SimpleNamespace(**own, state="running")) == gain
    assert change_limit(SimpleNamespace(**own, state="finished")) == 1


@pytest.mark.parametrize("by", ["type", "layer"])
def test_shares_of_rank_add_up_to_one_and_ranks_to_the_total(by, sample_runs, edge_runs):
    for run in (sample_runs["words-flexlora-paper"], edge_runs["shared"], edge_runs["soft"]):
        table = TABLES["rank_share"](run, by)
        shape = (len(run.steps), -1)
        assert numbers(table, "rank_share").reshape(shape).sum(axis=1) == pytest.approx(1.0)
        assert (numbers(table, "rank").reshape(shape).sum(axis=1) == metrics.total_rank(run)).all()


def test_many_layers_are_put_into_twelve_bands(sample_runs):
    from dataclasses import replace

    from analysis.runs import Matrix

    run = sample_runs["digits-lora"]
    matrices = [Matrix(f"l.{i}.query", i, "query", 4, 4) for i in range(35)] + [Matrix("head", None, "head", 4, 4)]
    labels, groups = matrix_groups(replace(run, matrices=matrices), "layer")
    assert len(labels) == 12
    assert labels[0] == "layers 0–3"
    assert labels[-1] == "no layer"
    assert (np.diff(groups) >= 0).all()


def test_energy_shares_of_a_record_add_up_to_one(sample_runs, edge_runs):
    for run in (sample_runs["words-flexlora-paper"], sample_runs["digits-adalora"], edge_runs["soft"]):
        table = TABLES["energy_shares"](run, run.matrices[0].name)
        steps, shares = table["step"].to_numpy(), numbers(table, "energy_share")
        for record in (1, len(run.steps) // 2, len(run.steps) - 1):
            own = shares[steps == run.steps[record]]
            assert len(own) == run.stored[record, 0]
            assert own.sum() == pytest.approx(1.0)


def test_a_spectrum_has_the_logged_values_and_says_what_the_events_did(sample_runs):
    run = sample_runs["words-flexlora-paper"]
    event = run.events[5]
    for name in {move["matrix"] for move in (*event["prune"], *event["extend"])}:
        rows = TABLES["spectrum"](run, name, event["step"]).to_pylist()
        own = [row for row in rows if row["kind"] == "direction"]
        values = run.singular_values(event["step"])[name]
        assert sorted(row["singular_value"] for row in own) == sorted(values.astype(float).tolist())
        gone = {move["slot"]: move["singular_value"] for move in event["prune"] if move["matrix"] == name}
        assert {row["slot"]: row["singular_value"] for row in own if row["state"] == "pruned"} == pytest.approx(gone)
        came = [move["slot"] for move in event["extend"] if move["matrix"] == name]
        assert sum(row["kind"] == "arriving" for row in rows) == len(came)
        later = TABLES["spectrum"](run, name, event["step"] + 1).to_pylist()
        assert [row["slot"] for row in later if row["state"] == "new"] == came
        true = run.true_singular_values(event["step"])
        assert true is not None
        assert [r["singular_value"] for r in rows if r["kind"] == "true"] == sorted(
            true[1][name].tolist(), reverse=True
        )


def test_directions_that_are_off_are_told_from_those_that_go_and_come(edge_runs):
    states = [
        {row["slot"]: row["state"] for row in TABLES["spectrum"](edge_runs["soft"], "m.0.query", step).to_pylist()}
        for step in (2, 3, 4, 5)
    ]
    assert [found[1] for found in states] == ["goes off", "off", "comes back", "back"]


def test_moves_hold_every_event_and_the_recorded_budget(sample_runs):
    run = sample_runs["words-flexlora-paper"]
    rows = {row["step"]: row for row in TABLES["moves"](run).to_pylist()}
    for event in run.events:
        own = rows[event["step"]]
        assert (own["pruned"], own["extended"]) == (len(event["prune"]), len(event["extend"]))
        assert own["budget"] == event["budget"]
    assert all(row["pruned"] is None for step, row in rows.items() if step not in {e["step"] for e in run.events})


def test_stages_lead_from_the_logged_importance_to_the_next_ranks(sample_runs):
    run = sample_runs["words-flexlora-paper"]
    event = run.events[4]
    table = TABLES["event_stages"](run, event["step"])
    values = {
        stage: numbers(table.filter(compute.equal(table["stage"], stage)), "value")
        for stage in ("score", "order", "prune", "extend", "resume")
    }
    importance = event["importance"][event["measure"]]
    assert values["score"].tolist() == [importance[matrix.name] for matrix in run.matrices]
    assert sorted(values["order"].tolist()) == list(range(1, 37))
    assert (np.argsort(values["order"]) == np.argsort(values["score"])).all()
    record = run.record_at(event["step"])
    assert (values["resume"] == run.ranks[record + 1]).all()
    assert (values["prune"] <= run.ranks[record]).all()


def test_stages_of_scored_directions_count_those_above_the_threshold(edge_runs):
    rows = TABLES["event_stages"](edge_runs["soft"], 2).to_pylist()
    assert [row["value"] for row in rows if row["stage"] == "score"] == [2.0, 1.0]
    assert [row["value"] for row in rows if row["stage"] == "order"] == [1.0, 1.0]


def test_what_stands_out_are_the_lowest_and_the_highest_and_all_that_moved(sample_runs):
    run = sample_runs["words-flexlora-paper"]
    for event in run.events:
        stages = event_stages(run, event)
        low, high = standing_out(stages, event)
        assert (low[stages.pruned > 0]).all() and (high[stages.extended > 0]).all()
        count = min(event["budget"], len(stages.score))
        for ends, score in ((low, stages.score), (high, -stages.score)):
            assert set(np.flatnonzero(score <= np.sort(score)[count - 1]) if count else []) <= set(np.flatnonzero(ends))
            assert count or not ends.any()
        assert (standing_out(stages, event, "prune_only")[1] == (stages.extended > 0)).all()


def test_maps_are_compared_by_name_and_a_matrix_without_partner_is_null(edge_runs):
    rows = {row["matrix"]: row for row in TABLES["compare_maps"](edge_runs["plain"], edge_runs["soft"], 3).to_pylist()}
    assert set(rows) == {"m.0.query", "m.1.value", "m.1.query"}
    assert rows["m.0.query"]["difference"] == rows["m.0.query"]["value"] - rows["m.0.query"]["other_value"] == 0
    assert rows["m.1.value"]["other_value"] is rows["m.1.value"]["difference"] is None
    assert rows["m.1.query"]["value"] is None


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("rank_map", {"colour": "beauty"}, "rank, change, entropy, energy, parameters, gap"),
        ("strip", {"sort": "beauty"}, "architecture, layer"),
        ("rank_share", {"by": "beauty"}, "type, layer"),
        ("spectrum", {"matrix": "beauty"}, "this run has m.0.query"),
        ("rank_trajectories", {"highlight": ["beauty"]}, "this run has m.0.query"),
        ("event_stages", {"step": 3}, "the nearest are at 2, 4"),
        ("events_grid", {"count": 10}, "choose 1 to 9"),
        ("net_gross", {"within": 0}, "at least 1"),
    ],
)
def test_a_wrong_option_says_what_is_allowed(name, options, told, edge_runs):
    with pytest.raises(ValueError, match=told):
        table_of(name, edge_runs["plain"], **options)
