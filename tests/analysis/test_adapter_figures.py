"""Figures of adapters as data: what is drawn is what the table says."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.adapters import analyse_adapter, compare_adapters, energy_kept, open_adapter, suggest_ranks
from analysis.adapters.many import compare_many
from analysis.entropy_scale import range_of
from analysis.figures import FIGURES
from analysis.figures.adapters import ADAPTER_FIGURES, MAP_COLOURS, above_chance
from analysis.figures.cells import adapter_grid

QUERY, VALUE = "encoder.layer.{}.attention.self.query", "encoder.layer.{}.attention.self.value"


@pytest.fixture
def spectra(tmp_path, spectrum, write_adapter):
    matrices = {
        QUERY.format(0): spectrum([8, 4, 0.1, 0.01]),
        VALUE.format(0): spectrum([3, 3, 3, 3], seed=1),
        QUERY.format(1): spectrum([0, 0, 0, 0], seed=2),
        VALUE.format(1): spectrum([np.nan, 1, 1, 1], seed=3),
        "pooler.dense": spectrum([1], seed=4),
    }
    return analyse_adapter(open_adapter(write_adapter(tmp_path / "mine", matrices)))


def heat(figure):
    return next(trace for trace in figure.data if trace.type == "heatmap")


@pytest.mark.parametrize("colour", MAP_COLOURS)
def test_each_cell_of_the_map_is_a_number_of_the_table_or_says_why_not(spectra, colour):
    figure = FIGURES["adapter_map"](spectra, colour, QUERY.format(0))
    grid = adapter_grid(spectra.adapter.matrices)
    labels = [t for t in figure.data if t.type == "scatter" and t.mode == "text"]
    words = {text: (x, y) for t in labels for text, x, y in zip(t.text, t.x, t.y, strict=True)}
    for row in spectra.table():
        place = grid.place[row["matrix"]]
        shown = heat(figure).z[place]
        if row["state"] == "live":
            assert shown == row[MAP_COLOURS[colour].column]
        elif row["state"] == "not finite":
            assert np.isnan(shown)
            assert words["NaN"] == place[::-1]
        elif colour in ("rank", "parameters"):
            assert shown == row[colour]
        else:
            assert np.isnan(shown)
            assert words["dead"] == place[::-1]
    assert len(figure.layout.shapes) == 1
    if colour == "entropy":
        known = np.array([row["entropy"] for row in spectra.table() if row["state"] == "live"], float)
        assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == range_of(known)


def test_a_click_finds_every_matrix(spectra):
    figure = FIGURES["adapter_map"](spectra)
    cells = next(trace for trace in figure.data if trace.customdata is not None)
    grid = adapter_grid(spectra.adapter.matrices)
    assert {row[0]: (y, round(x)) for row, x, y in zip(cells.customdata, cells.x, cells.y, strict=True)} == grid.place


def test_matrices_of_one_layer_and_type_get_columns_of_their_own(spectra):
    places = {QUERY.format(0): (0, "query"), VALUE.format(0): (0, "query")}
    grid = adapter_grid(spectra.adapter.mapped(places).matrices)
    assert grid.columns[:2] == ["query", "query (2)"]
    assert len(set(grid.place.values())) == 5
    assert grid.rows == ["0", "1", "–"]


def test_the_spectrum_is_that_of_the_matrix(spectra):
    figure = FIGURES["adapter_spectrum"]({"mine": spectra, "again": spectra}, QUERY.format(0))
    bars = [trace for trace in figure.data if trace.type == "bar"]
    lines = [trace for trace in figure.data if trace.type == "scatter"]
    for bar, line in zip(bars, lines, strict=True):
        assert list(bar.y) == pytest.approx([8, 4, 0.1, 0.01])
        np.testing.assert_allclose(line.y, energy_kept(spectra.singular_values[QUERY.format(0)])[1:])
    with pytest.raises(ValueError, match="nobody"):
        FIGURES["adapter_spectrum"]({"mine": spectra}, "nobody")


def test_energy_curves_leave_out_what_has_none(spectra):
    figure = FIGURES["energy_curves"](spectra, VALUE.format(0))
    curves = [trace for trace in figure.data if trace.mode == "lines"]
    assert len(curves) == 3
    assert [trace.line.width for trace in curves].count(4) == 1
    assert all(trace.y[0] == 0 and trace.y[-1] == pytest.approx(1) for trace in curves)


def test_the_change_map_says_before_and_after(spectra):
    ranks = suggest_ranks(spectra, "rank", 11).ranks
    figure = FIGURES["rank_change_map"](spectra, ranks)
    for name, place in adapter_grid(spectra.adapter.matrices).place.items():
        before = spectra.adapter.find(name).rank
        assert heat(figure).z[place] == ranks[name] - before
        told = f"{before} → {ranks[name]}" if ranks[name] != before else str(before)
        assert heat(figure).text[place] == told
    # Ranks that only fall have no colours of gains.
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (np.nanmin(heat(figure).z) - 0.5, 0.5)


@pytest.mark.parametrize("changes", [[-5, 0], [-2, 3], [0, 7], [0, 0], [-90, 10], [-200, 0]])
def test_a_change_has_the_colour_of_its_size_and_none_that_nothing_has(changes):
    from analysis.figures.scales import CHANGE, blend, change_scale

    low, high = min(changes), max(changes)
    scale, extent = change_scale([np.array(changes, float)]), max(1, -low, high)
    ends = (blend(CHANGE, 0.5 + 0.5 * end / extent) for end in (low, high))
    assert (scale.colours[0][1], scale.colours[-1][1]) == tuple(ends)
    assert low - 0.5 <= scale.low <= low and high <= scale.high <= high + 0.5


@pytest.mark.parametrize("side", ["output", "input"])
def test_the_overlap_map_shows_the_overlap_of_its_side(spectra, side):
    found = compare_adapters(spectra.adapter, spectra.adapter)
    figure = FIGURES["overlap_map"](found, spectra.adapter.matrices, side)
    grid = adapter_grid([m for m in spectra.adapter.matrices if m.name != VALUE.format(1)])
    for overlap in found.overlaps:
        shown = heat(figure).z[grid.place[overlap.matrix]]
        value = getattr(overlap, f"{side}_overlap")
        chance = getattr(overlap, f"{side}_chance")
        assert np.isnan(shown) if value is None else shown == above_chance(value, chance)
    with pytest.raises(ValueError, match="sideways"):
        FIGURES["overlap_map"](found, spectra.adapter.matrices, "sideways")


def test_every_figure_is_in_the_registry_and_an_unknown_colour_is_named(spectra):
    assert set(ADAPTER_FIGURES) <= set(FIGURES)
    with pytest.raises(ValueError, match="mauve"):
        FIGURES["adapter_map"](spectra, "mauve")


def test_the_size_curve_ends_where_everything_stays_and_falls_with_size(spectra):
    chosen = suggest_ranks(spectra, "rank", 11)
    figure = FIGURES["size_curve"](spectra, {"chosen": chosen})
    line, point = figure.data
    assert line.x[0] == spectra.adapter.parameters and line.y[0] == 0
    assert (np.diff(line.x) < 0).all() and (np.diff(line.y) >= 0).all()
    assert (point.x[0], point.y[0]) == (chosen.parameters, chosen.error)


def test_the_overlap_matrix_is_that_of_the_side_and_layer(spectra):
    compared = compare_many([spectra.adapter, spectra.adapter])
    figure = FIGURES["overlap_matrix"](compared, "input")
    assert np.array(figure.data[0].z) == pytest.approx(compared.overall("input"))
    with pytest.raises(ValueError, match="unknown side"):
        FIGURES["overlap_matrix"](compared, "middle")


def test_on_a_dark_page_a_scale_keeps_its_order_and_neither_end_sinks_or_glares():
    from plotly.colors import hex_to_rgb, unlabel_rgb

    from analysis.figures.scales import BLUES, CHANGE_ON_DARK, CIVIDIS, VIOLETS, even_scale, on_dark

    def light(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    page = light(hex_to_rgb("#12171c"))
    for stops in (BLUES, VIOLETS, CIVIDIS):
        found = [light(unlabel_rgb(colour)) for _, colour in on_dark(even_scale(stops, [np.ones(2)])).colours]
        assert found == sorted(found)
        assert (min(found) + 0.05) / (page + 0.05) > 1.6 and max(found) < 0.75
    change = [light(hex_to_rgb(colour)) for colour in CHANGE_ON_DARK]
    assert change.index(min(change)) == len(change) // 2


@pytest.mark.parametrize("chance", [0.0, 0.1, 0.56, 1.0])
def test_what_chance_gives_has_the_colour_of_nothing(chance):
    assert above_chance(chance, chance) == 0 == above_chance(chance / 2, chance)
    assert above_chance(1.0, chance) == (1.0 if chance < 1 else 0.0)
