"""Figures of runs as data: the run's own numbers, in their cells, on scales that stay fixed."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import metrics
from analysis.entropy_scale import entropy_range
from analysis.figures import FIGURES, RUN_FIGURES
from analysis.figures.curves import JITTER, jitter
from analysis.figures.scales import SCALES, blend, nice_ceiling
from analysis.figures.theme import METHOD_LOOKS, method_style
from analysis.order import SORTS
from analysis.quantities import QUANTITIES
from analysis.rank_limits import change_limit
from analysis.tables import TABLES
from analysis.tables.columns import numbers
from flexlora.matrix_names import module_type_order
from flexlora.methods import METHODS


def draw(name, run, **options):
    if name in ("compare_curves", "total_rank"):
        return FIGURES[name]({"first": run, "second": run}, **options)
    if name == "compare_maps":
        return FIGURES[name](run, run, **options)
    if name == "spectra_over_time":
        options.setdefault("matrix", run.matrices[0].name)
    return FIGURES[name](run, **options)


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def cell(run, matrix):
    """Where a matrix of a model with one matrix a layer and type stands: (row, column)."""
    kinds = module_type_order({m.module_type for m in run.matrices})
    return sorted({m.layer for m in run.matrices}).index(matrix.layer), kinds.index(matrix.module_type)


def in_cells(run, values):
    z = np.full((6, 6), np.nan)
    for matrix, value in zip(run.matrices, values, strict=True):
        z[cell(run, matrix)] = value
    return z


@pytest.fixture(scope="module")
def paper(sample_runs):
    return sample_runs["words-flexlora-paper"]


@pytest.mark.parametrize("name", RUN_FIGURES)
def test_every_figure_draws_every_run_and_is_valid_json(name, edge_runs, sample_runs):
    for run in (*edge_runs.values(), sample_runs["digits-adalora"]):
        assert len(draw(name, run).to_json()) > 100


@pytest.mark.parametrize("name", [name for name in RUN_FIGURES if name not in ("spectra_over_time", "total_rank")])
def test_a_run_without_records_says_so_in_an_empty_figure(name, edge_runs):
    figure = draw(name, edge_runs["empty"])
    assert len(figure.data) == 0
    assert any("record" in note.text or "logged no" in note.text for note in figure.layout.annotations)


@pytest.mark.parametrize("colour", QUANTITIES)
@pytest.mark.parametrize("step", [0, 45, 47, 200])
def test_a_map_holds_the_quantity_of_each_matrix_in_its_cell(colour, step, paper):
    figure = FIGURES["rank_map"](paper, step, colour)
    record = paper.record_at(step)
    drawn = np.array(named(figure, "map")[0].z, float)
    assert np.array_equal(drawn, in_cells(paper, QUANTITIES[colour].values(paper, None)[record]), equal_nan=True)
    undefined = np.isnan(drawn).sum()
    hatched = named(figure, "undefined")
    assert sum(len(trace.x) for trace in hatched) == undefined
    assert all(trace.marker.pattern.shape for trace in hatched)


@pytest.mark.parametrize("colour", QUANTITIES)
def test_the_scale_of_a_map_is_the_same_at_every_step(colour, paper):
    axes = [FIGURES["rank_map"](paper, step, colour).layout.coloraxis for step in (0, 40, 200)]
    assert axes[0] == axes[1] == axes[2]
    low, high = axes[0].cmin, axes[0].cmax
    values = QUANTITIES[colour].values(paper, None)
    known = values[np.isfinite(values)]
    if colour in ("entropy", "true_entropy"):
        assert (low, high) == entropy_range(paper, colour)
        assert (low <= np.percentile(known, 5)) and (np.percentile(known, 95) <= high)
    else:
        assert low <= known.min() <= known.max() <= high
    if colour == "gap":
        # As the player has it: the limit is never at the end of the scale.
        assert low == 0
        assert max(known.max(), 2 * metrics.GAP_LIMIT) < high <= 1
    if colour == "change":
        # Whole numbers with a colour each: half a step more at either end. It holds from whichever step change counts.
        assert low == -high == -0.5 - change_limit(paper)
        assert FIGURES["rank_map"](paper, 40, colour, 100).layout.coloraxis.cmax == high


def test_whole_numbers_have_one_flat_colour_each_and_no_change_is_pale(paper):
    for colour in ("rank", "change"):
        axis = FIGURES["rank_map"](paper, 45, colour).layout.coloraxis
        count = round(axis.cmax - axis.cmin)
        assert len(axis.colorscale) == 2 * count
        pairs = list(zip(axis.colorscale[::2], axis.colorscale[1::2], strict=True))
        assert all(first[1] == second[1] for first, second in pairs)
        assert len({first[1] for first, _ in pairs}) == count
    assert pairs[count // 2][0][1] == "rgb(238,238,238)"


def test_signs_stand_in_the_cells_that_the_event_moves_and_numbers_say_what_follows(paper):
    for event in paper.events[3:6]:
        figure = FIGURES["rank_map"](paper, event["step"])
        for key, name, symbol in (("prune", "− pruned", "−"), ("extend", "+ extended", "+")):
            (trace,) = named(figure, name)
            assert set(trace.text) == {symbol}
            places = [(row, round(x)) for x, row in zip(trace.x, trace.y, strict=True)]
            moved = {move["matrix"] for move in event[key]}
            assert sorted(places) == sorted(cell(paper, m) for m in paper.matrices if m.name in moved)
        record = paper.record_at(event["step"])
        for number, matrix in enumerate(paper.matrices):
            before, after = paper.ranks[record : record + 2, number].tolist()
            told = str(before) if before == after else f"{before} → {after}"
            assert named(figure, "map")[0].text[cell(paper, matrix)] == told


def test_no_signs_without_an_event_or_when_not_asked_for(paper):
    step = paper.events[3]["step"]
    for figure in (FIGURES["rank_map"](paper, step + 1), FIGURES["rank_map"](paper, step, event=False)):
        assert [trace.name for trace in figure.data] == ["map"]


def test_the_default_step_is_the_parked_event(paper, sample_runs):
    assert f"step {metrics.instructive_event(paper)}" in FIGURES["rank_map"](paper).layout.title.text
    still = sample_runs["digits-lora"]
    assert f"step {still.steps[-1]}" in FIGURES["rank_map"](still).layout.title.text


def test_matrices_that_share_a_cell_stand_beside_each_other(edge_runs):
    figure = FIGURES["rank_map"](edge_runs["shared"], 5)
    z = np.array(named(figure, "map")[0].z, float)
    assert sorted(z[np.isfinite(z)].tolist()) == sorted(edge_runs["shared"].ranks[-1].tolist())
    assert any("query (2)" in text for text in figure.layout.xaxis.ticktext)
    assert any(text.startswith("–") for text in figure.layout.yaxis.ticktext)
    # A place where no matrix is, is empty and not undefined.
    assert not named(figure, "undefined")


def test_what_a_log_does_not_know_is_hatched(edge_runs):
    for colour, count in (("entropy", 3), ("energy", 2), ("parameters", 3), ("gap", 3), ("rank", 0)):
        figure = FIGURES["rank_map"](edge_runs["unknown"], 2, colour)
        assert sum(len(trace.x) for trace in named(figure, "undefined")) == count


@pytest.mark.parametrize("sort", SORTS)
def test_the_strip_is_the_table_with_a_row_a_matrix(sort, paper):
    figure = FIGURES["strip"](paper, "entropy", sort)
    (trace,) = [trace for trace in figure.data if trace.name != "undefined"]
    table = numbers(TABLES["strip"](paper, "entropy", sort), "entropy").reshape(paper.ranks.shape)
    assert np.array_equal(trace.z, table.T, equal_nan=True)
    assert list(trace.y) == [paper.matrices[place].name for place in SORTS[sort](paper)]
    assert list(trace.x[:-1]) == paper.steps.tolist()
    (grey,) = named(figure, "undefined")
    assert np.array_equal(np.isfinite(grey.z), np.isnan(table.T))


def test_a_long_strip_is_thinned_but_keeps_every_event_and_says_so(paper, monkeypatch):
    monkeypatch.setattr("analysis.figures.maps.MOST_COLUMNS", 90)
    figure = FIGURES["strip"](paper)
    drawn = set(figure.data[-1].x[:-1])
    assert len(drawn) < len(paper.steps)
    assert {event["step"] for event in paper.events} <= drawn
    assert f"{len(drawn)} of {len(paper.steps)} records" in figure.layout.title.text


def test_trajectories_highlight_eight_over_grey_and_read_the_rank_itself(paper):
    figure = FIGURES["rank_trajectories"](paper)
    lines = [trace for trace in figure.data if trace.mode == "lines" and "others" not in trace.name]
    assert len(lines) == 8
    assert len({trace.line.color for trace in lines}) == 8
    ranks = {tuple(column) for column in paper.ranks.T.tolist()}
    for trace in lines:
        assert tuple(int(value) for value in trace.customdata) in ranks
        assert np.abs(np.array(trace.y) - trace.customdata).max() <= JITTER + 1e-9
        assert trace.line.shape == "hv"
    (others,) = named(figure, "28 others")
    assert np.isnan(np.array(others.y, float)).sum() == 28


def test_asked_lines_are_highlighted_in_the_asked_order(paper):
    asked = [paper.matrices[5].name, paper.matrices[2].name]
    lines = [t for t in FIGURES["rank_trajectories"](paper, asked, "entropy").data if t.line.width and t.line.width > 2]
    assert [trace.name for trace in lines] == [metrics.matrix_label(paper.matrices[place]) for place in (5, 2)]
    assert np.array_equal(np.array(lines[0].y, float), paper.entropy[:, 5], equal_nan=True)


@pytest.mark.parametrize("count", [1, 36, 560])
def test_ties_are_kept_apart_always_in_the_same_way(count):
    shifts = jitter(count)
    assert np.abs(shifts).max() <= JITTER
    assert len(set(shifts.tolist())) == count
    assert (shifts == jitter(count)).all()


def test_shares_are_stacked_to_one_under_the_total(paper):
    figure = FIGURES["rank_share"](paper, "layer")
    bands = [trace for trace in figure.data if trace.stackgroup]
    assert np.sum([trace.y for trace in bands], axis=0) == pytest.approx(1.0)
    assert list(named(figure, "total rank")[0].y) == metrics.total_rank(paper).tolist()
    assert len({(trace.fillcolor, trace.fillpattern.shape) for trace in bands}) == 6


def test_stems_stand_at_the_logged_values_and_pruned_ones_are_hollow(paper):
    event = paper.events[5]
    name = event["prune"][0]["matrix"]
    figure = FIGURES["spectrum"](paper, name, event["step"])
    heads = [trace for name in ("kept", "new", "pruned") for trace in named(figure, name)]
    drawn = sorted(row[1] for trace in heads for row in trace.customdata)
    assert drawn == sorted(paper.singular_values(event["step"])[name].astype(float).tolist())
    (pruned,) = named(figure, "pruned")
    assert all(symbol.endswith("-open") for symbol in pruned.marker.symbol)
    assert [row[1] for row in pruned.customdata] == pytest.approx([event["prune"][0]["singular_value"]])
    (shares,) = named(figure, "share of energy")
    assert sum(shares.y) == pytest.approx(1.0)
    # The axis is that of the whole run.
    assert figure.layout.yaxis.range == FIGURES["spectrum"](paper, name, 0).layout.yaxis.range
    later = FIGURES["spectrum"](paper, event["extend"][0]["matrix"], event["step"] + 1)
    assert named(later, "new: rings")


def test_an_unknown_spectrum_says_so(edge_runs):
    for name in ("spectrum", "energy_shares"):
        figure = FIGURES[name](edge_runs["unknown"])
        assert any("not known" in note.text for note in figure.layout.annotations)


def test_energy_is_stacked_to_one_and_a_direction_keeps_its_look(paper):
    figure = FIGURES["energy_shares"](paper, paper.matrices[0].name)
    bands = [trace for trace in figure.data if trace.stackgroup]
    total = np.sum([trace.y for trace in bands], axis=0)
    assert total[1:] == pytest.approx(1.0)
    assert len({(trace.fillcolor, trace.fillpattern.shape) for trace in bands}) == len(bands)


def test_the_parts_of_the_loss_are_drawn_apart(paper, edge_runs):
    figure = FIGURES["loss"](paper)
    assert list(named(figure, "task loss")[0].y) == paper.log.steps["task_loss"].tolist()
    assert list(named(figure, "γ · regulariser")[0].y) == (0.1 * paper.log.steps["regularizer"]).tolist()
    assert not named(figure, "penalty, as weighted")
    assert named(FIGURES["loss"](edge_runs["soft"]), "penalty, as weighted")
    assert len({trace.yaxis for trace in figure.data}) == 2


def test_moves_go_up_and_down_from_zero_within_the_budget(paper):
    figure = FIGURES["moves"](paper)
    up, down = named(figure, "+ extended")[0], named(figure, "− pruned")[0]
    assert list(up.x) == [event["step"] for event in paper.events]
    assert list(up.y) == [len(event["extend"]) for event in paper.events]
    assert list(down.y) == [-len(event["prune"]) for event in paper.events]
    budget = dict(zip(named(figure, "b(t)")[0].x, named(figure, "b(t)")[0].y, strict=True))
    assert all(count <= budget[step] for step, count in zip(up.x, up.y, strict=True))


def test_net_and_gross_end_at_the_numbers_of_the_run(paper):
    figure = FIGURES["net_gross"](paper, 3)
    ends = [trace.y[-1] for trace in figure.data]
    assert ends == pytest.approx([metrics.gross_moves(paper), metrics.net_moves(paper), metrics.churn(paper, 3)])
    assert len({trace.line.dash for trace in figure.data}) == 3


def test_an_event_unfolds_in_five_maps_that_end_at_the_next_ranks(paper):
    event = paper.events[4]
    figure = FIGURES["event_stages"](paper, event["step"])
    maps = [np.array(trace.z, float) for trace in named(figure, "map")]
    record = paper.record_at(event["step"])
    importance = [event["importance"][event["measure"]][matrix.name] for matrix in paper.matrices]
    assert np.array_equal(maps[0], in_cells(paper, importance))
    assert np.array_equal(maps[4], in_cells(paper, paper.ranks[record + 1]))
    assert [note.text[0] for note in figure.layout.annotations] == list("12345")
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    (minus,), (plus,) = named(figure, "− pruned"), named(figure, "+ extended")
    assert (len(minus.x), len(plus.x)) == (len(event["prune"]), len(event["extend"]))
    assert minus.xaxis != plus.xaxis


@pytest.mark.parametrize("count", [1, 6, 9])
def test_small_multiples_show_events_with_one_scale(count, paper):
    figure = FIGURES["events_grid"](paper, count)
    maps = named(figure, "map")
    steps = [int(note.text.removeprefix("step ")) for note in figure.layout.annotations]
    assert len(maps) == len(steps) == count
    assert {trace.coloraxis for trace in maps} == {"coloraxis"}
    for step, trace in zip(steps, maps, strict=True):
        assert np.array_equal(np.array(trace.z, float), in_cells(paper, paper.ranks[paper.record_at(step)]))


def test_two_maps_and_their_difference_hatch_what_only_one_run_has(edge_runs):
    figure = FIGURES["compare_maps"](edge_runs["plain"], edge_runs["soft"], 3)
    first, second, difference = (np.array(trace.z, float) for trace in named(figure, "map"))
    shared = np.isfinite(difference)
    assert (difference[shared] == second[shared] - first[shared]).all()
    # m.1.value is not in the second, m.1.query not in the first; neither has a difference.
    assert sum(len(trace.x) for trace in named(figure, "undefined")) == 4
    assert figure.layout.coloraxis2.cmin == -figure.layout.coloraxis2.cmax


def test_a_method_has_one_look_and_a_second_run_of_it_another_dash(sample_runs, paper):
    runs = {"a": paper, "b": sample_runs["digits-adalora"], "c": paper}
    lines = {trace.name: trace for trace in FIGURES["compare_curves"](runs).data if trace.showlegend}
    assert [lines[name].line.color for name in "abc"] == ["#0072B2", "#E69F00", "#0072B2"]
    assert lines["a"].line.dash != lines["c"].line.dash
    total = [trace for trace in FIGURES["compare_curves"](runs).data if trace.name == "b"][1]
    assert list(total.y) == metrics.total_rank(sample_runs["digits-adalora"]).tolist()


def test_total_rank_gives_a_method_the_same_colour_as_any_other_figure(sample_runs, paper):
    figure = FIGURES["total_rank"]({"b": sample_runs["digits-adalora"], "a": paper, "c": paper})
    lines = {trace.name: trace.line for trace in figure.data}
    assert [lines[name].color for name in "abc"] == ["#0072B2", "#E69F00", "#0072B2"]
    assert lines["a"].dash != lines["c"].dash


def test_every_method_has_its_own_colour_and_symbol():
    assert set(METHOD_LOOKS) == set(METHODS)
    styles = [method_style(name) for name in (*METHODS, "of another version")]
    for key in ("color", "symbol"):
        assert len({style[key] for style in styles}) == len(styles)


@pytest.mark.parametrize("colour", SCALES)
def test_a_scale_of_nothing_still_has_a_domain(colour):
    scale = SCALES[colour]([np.full(3, np.nan)])
    assert scale.low < scale.high
    places = [place for place, _ in scale.colours]
    assert places[0] == 0
    assert places[-1] == 1
    assert places == sorted(places)


@pytest.mark.parametrize("value", [0.003, 0.9, 1.0, 1.1, 7.5, 1234.0])
def test_the_top_of_an_axis_is_just_above_the_largest_value(value):
    assert value <= nice_ceiling(value) * 1.000001 <= 1.35 * value
    assert nice_ceiling(float("nan")) == 1.0


def test_a_blend_reaches_both_ends():
    assert blend(["#000000", "#ffffff"], 0.0) == "rgb(0,0,0)"
    assert blend(["#000000", "#ffffff"], 1.0) == "rgb(255,255,255)"
    assert blend(["#000000", "#808080", "#ffffff"], 0.5) == "rgb(128,128,128)"
