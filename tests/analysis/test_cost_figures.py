"""Figures of cost as data: the file's numbers, every contestant in a row, what failed said."""

from __future__ import annotations

import json

import pytest
from cost_files import contestant, document

from analysis.costs import find_measurements, find_series, read_measurement
from analysis.costs.words import LABELS
from analysis.figures import FIGURES
from analysis.figures.costs import COST_FIGURES, LOOKS, NOT_MEASURED


@pytest.fixture
def read(tmp_path):
    def opened(found):
        (tmp_path / "one.json").write_text(json.dumps(found))
        return read_measurement(tmp_path / "one.json")

    return opened


def axes(figure, side):
    return [axis for axis in figure.select_yaxes() if (axis.side or "left") == side]


def test_every_figure_of_cost_can_be_asked_for_by_name():
    assert COST_FIGURES.items() <= FIGURES.items()


def test_every_contestant_has_a_look_of_its_own():
    assert LOOKS.keys() == LABELS.keys()
    assert len({(look["color"], look["symbol"]) for look in LOOKS.values()}) == len(LOOKS)


def test_a_dot_is_the_median_and_its_bar_the_lowest_and_highest_round(read):
    figure = FIGURES["step_ratio"](read(document()))
    (dot,) = [trace for trace in figure.data if trace.name == "flexlora"]
    assert list(dot.x) == [1.25] and list(dot.y) == [2]
    assert dot.x[0] - dot.error_x.arrayminus[0] == 1.0 and dot.x[0] + dot.error_x.array[0] == 2.0
    assert figure.layout.xaxis.type == "log"
    marks = [shape for shape in figure.layout.shapes if shape.x0 == shape.x1 == 1]
    assert len(marks) == 2
    names, said = axes(figure, "left"), axes(figure, "right")
    assert names[0].ticktext[0] == "<i>Run eagerly</i>" and "<b>FlexLoRA</b>" in names[0].ticktext
    assert said[0].ticktext[2] == "1.25 (1.00 to 2.00)" and said[1].ticktext[-1] == NOT_MEASURED


def test_the_parts_of_a_step_are_its_time(read):
    figure = FIGURES["step_time"](read(document()))
    bars = {trace.name: trace for trace in figure.data if trace.type == "bar" and trace.showlegend}
    parts = {name.partition(":")[0]: list(bar.x) for name, bar in bars.items()}
    assert parts == {
        "busy, as without an adapter": [2.0, 2.0, 2.0, 2.0],
        "busy, for the adapter": [2.0, 1.5, 1.0, 0.0],
        "idle": [6.0, 6.5, 7.0, 8.0],
    }
    assert len({str(bar.marker.pattern.shape) for bar in bars.values()}) == 3
    assert axes(figure, "right")[0].ticktext[2] == "3.0 of 10.0 ms busy"


def test_a_gpu_is_never_idle_for_less_than_nothing(read):
    rows = [contestant("flexlora", (1.0,), busy_ms=11.0), contestant("floor", (0.5,), busy_ms=12.0)]
    figure = FIGURES["step_time"](read(document(contestants=rows)))
    assert all(value >= 0 for trace in figure.data if trace.type == "bar" for value in trace.x)


def test_growth_follows_the_number_that_changes(tmp_path):
    for rank in (64, 4):
        found = document()
        found["shape"]["rank"] = rank
        (tmp_path / f"{rank}.json").write_text(json.dumps(found))
    (series,) = find_series(find_measurements(tmp_path)[0])
    figure = FIGURES["cost_growth"](series)
    assert [list(trace.x) for trace in figure.data] == [[4, 64], [4, 64]]
    assert [list(trace.y) for trace in figure.data] == [[1.25, 1.25], [0.5, 0.5]]
    assert len({trace.line.dash for trace in figure.data}) == 2


def test_nothing_to_draw_is_said(read):
    rows = [contestant("flexlora", None, failed="RuntimeError: no"), contestant("floor", None)]
    found = read(document(contestants=rows))
    for name in ("step_ratio", "step_time"):
        figure = FIGURES[name](found)
        assert not figure.data and figure.layout.annotations[0].text.endswith(".")
