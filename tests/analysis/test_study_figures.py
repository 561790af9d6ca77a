"""Figures of studies as data: what is drawn is what was computed, and nothing hides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.figures import FIGURES
from analysis.figures.looks import LATER_COLOURS, variant_numbers, variant_style
from analysis.figures.study import STUDY_FIGURES
from analysis.figures.theme import METHOD_LOOKS
from analysis.study import (
    compare_study,
    group_ranks,
    load_study,
    metric_bands,
    pareto_points,
    rank_difference,
    rate_curves,
    study_groups,
)
from analysis.study.pictures import study_pictures

SAMPLE = Path(__file__).resolve().parents[2] / "sample_runs" / "studies" / "four_ways"


@pytest.fixture(scope="module")
def study():
    return load_study(SAMPLE)


@pytest.fixture(scope="module")
def found(study):
    return compare_study(study)


@pytest.fixture(scope="module")
def groups(study):
    return study_groups(study)


def named(figure, name):
    (trace,) = [trace for trace in figure.data if trace.name == name]
    return trace


def test_every_figure_of_studies_can_be_asked_for_by_name():
    assert STUDY_FIGURES.items() <= FIGURES.items()


@pytest.mark.parametrize("name", [name for name in STUDY_FIGURES if name != "group_difference_map"])
def test_nothing_to_draw_is_said(name):
    figure = FIGURES[name]({} if name == "group_stability" else [])
    assert not figure.data and figure.layout.annotations[0].text.endswith(".")


def test_variants_of_one_method_share_its_symbol_in_colours_and_fills_of_their_own():
    methods = ["lora", "flexlora", "flexlora", "lora", "flexlora"]
    assert variant_numbers(methods) == [0, 0, 1, 1, 2]
    looks = [variant_style(*own) for own in zip(methods, variant_numbers(methods), strict=True)]
    assert [look["color"] for look in looks[:2]] == [METHOD_LOOKS[method][0] for method in methods[:2]]
    assert [look["symbol"].removesuffix("-dot").removesuffix("-open") for look in looks] == [
        METHOD_LOOKS[method][1] for method in methods
    ]
    for name in ("color", "symbol"):
        assert len({look[name] for look in looks}) == len(methods)
    assert not set(LATER_COLOURS) & {colour for colour, _ in METHOD_LOOKS.values()}


def test_a_band_lies_around_its_mean_and_says_how_many_seeds(groups):
    bands = metric_bands(groups)
    figure = FIGURES["group_bands"](bands)
    for band in bands:
        label = band.group.label
        assert np.array_equal(named(figure, label).y, band.mean)
        assert "8 seeds" in named(figure, label).hovertemplate
        assert np.array_equal(named(figure, f"{label}, low").y, band.low)
        assert named(figure, f"{label}, low").fill == "tonexty"
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == [g.label for g in groups]
    # A share has its whole range in view.
    assert FIGURES["group_bands"](metric_bands(groups, "churn")).layout.yaxis.range == (-0.02, 1.02)


def test_the_forest_draws_interval_margin_detectable_effect_and_verdict(found):
    figure = FIGURES["forest"](found, 0.02)
    compared = [one for one in found if one.pairs]
    for one in compared:
        trace = named(figure, one.variant)
        assert trace.x == (one.pairs.mean,)
        assert trace.x[0] + trace.error_x.array[0] == pytest.approx(one.pairs.high)
        assert trace.x[0] - trace.error_x.arrayminus[0] == pytest.approx(one.pairs.low)
    brackets = [trace.x[1] for trace in figure.data if trace.name == "detectable with 80 % power"]
    assert brackets == [one.pairs.detectable for one in compared]
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(-0.02, 0.02), (0, 0)]
    texts = [note.text for note in figure.layout.annotations]
    assert texts[0] == "not told apart · 8 pairs · p 0.258"
    unclaimed = FIGURES["forest"]([replace(one, verdict="") for one in found])
    assert unclaimed.layout.annotations[0].text == "nothing claimed · 8 pairs · p 0.258"
    low, high = figure.layout.xaxis.range
    assert all(low < min(one.pairs.low, -one.pairs.detectable) for one in compared)
    assert all(max(one.pairs.high, one.pairs.detectable) < high for one in compared)


def test_each_cell_has_a_panel_of_its_own(found, study):
    both = [*found, *(replace(one, cell="rank 8") for one in found)]
    figure = FIGURES["forest"](both)
    assert [note.text for note in figure.layout.annotations[:2]] == ["digits", "digits · rank 8"]
    points = pareto_points(study)
    figure = FIGURES["pareto"]([*points, *(replace(point, cell="rank 8") for point in points)])
    assert {trace.yaxis for trace in figure.data} == {"y", "y2"}
    assert sum(trace.showlegend is not False for trace in figure.data) == len(points)
    rates = rate_curves(study)
    figure = FIGURES["learning_rates"]([*rates, *(replace(one, cell="b") for one in rates)])
    assert len(figure.data) == 4 * len(rates)
    assert sum(trace.showlegend is not False for trace in figure.data) == len(rates) + 2


def test_only_what_is_told_apart_is_on_the_front(study):
    points = pareto_points(study, "final_parameters")
    figure = FIGURES["pareto"](points)
    ringed = [trace.x[0] for trace in figure.data if trace.name == "on the front"]
    assert ringed == [point.x for point in points if point.standing == "on the front"]
    behind = replace(points[0], standing="surely behind")
    assert named(FIGURES["pareto"]([behind]), "LoRA").marker.color.endswith("0.45)")


def test_maps_show_means_spreads_and_what_is_framed(groups):
    ranks = [group_ranks(group) for group in groups]
    figure = FIGURES["group_rank_maps"](ranks)
    assert [note.text for note in figure.layout.annotations] == [group.label for group in groups]
    drawn = [np.sum(trace.z) for trace in figure.data if trace.type == "heatmap"]
    assert drawn == pytest.approx([144] * 4)
    with pytest.raises(ValueError, match="unknown show 'median'"):
        FIGURES["group_rank_maps"](ranks, "median")
    apart = rank_difference(ranks[3], ranks[0])
    figure = FIGURES["group_difference_map"](apart)
    assert len(figure.layout.shapes) == apart.apart.sum() + apart.claimed.sum()
    assert f"in {apart.apart.sum()} of 36 (2 by chance)" in figure.layout.title.subtitle.text
    # A matrix that a group does not have is told, not drawn as 0.
    less = replace(ranks[1], matrices=ranks[1].matrices[1:], ranks=ranks[1].ranks[:, 1:])
    maps = [trace for trace in FIGURES["group_rank_maps"]([ranks[0], less]).data if trace.type == "heatmap"]
    assert np.isnan(maps[1].z[0][0]) and "not adapted" in maps[1].hovertext[0][0]


def test_rates_name_a_choice_at_an_end(study):
    figure = FIGURES["learning_rates"](rate_curves(study))
    names = [trace.name for trace in figure.data if not trace.name.startswith("chosen")]
    assert names == ["LoRA", "FlexLoRA", "random moves", "train big, then cut"]
    rings = [trace for trace in figure.data if trace.name.startswith("chosen")]
    assert [trace.marker.symbol for trace in rings] == ["circle-open", "circle-open", "square-open", "circle-open"]
    chosen = [trace.x[0] for trace in rings]
    assert chosen == [one.rates[one.chosen] for one in rate_curves(study)]


def test_the_pictures_of_a_study_have_names_and_captions_of_their_own(study, found, groups):
    pictures = study_pictures(study, found, groups[:2])
    names = [picture.name for picture in pictures]
    assert len(set(names)) == len(names) and {"forest", "learning-rates", "over-time-validation"} <= set(names)
    for picture in pictures:
        assert picture.caption.endswith(".")
        assert json.loads(picture.figure.to_json())["data"]
    # The final rank is the same for all, and so is a churn of 0: neither is worth a picture.
    assert not {"cost-final_rank", "over-time-churn"} & set(names)
    twice = study_pictures(study, found, [groups[1], replace(groups[1], cell="rank 8")])
    assert len({picture.name for picture in twice}) == len(twice)
    assert "over-time-validation-digits-rank-8" in {picture.name for picture in twice}
