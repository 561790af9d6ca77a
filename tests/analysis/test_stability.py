"""How stable the order of a measure is, from logs."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.figures import FIGURES
from analysis.runs import load_run
from analysis.stability import mean_stability, order_stability, smoothing_gain
from analysis.tables import TABLES
from flexlora.run_log import RunWriter

NAMES = [f"m.{place}.query" for place in range(4)]


@pytest.fixture
def write(tmp_path):
    """f(name, events, ranks) → run; an event is measure → one score a matrix."""

    def written(name, events, ranks=(3, 3, 3, 3)):
        rows = [
            {"name": own, "layer": place, "module_type": "query", "in_features": 8, "out_features": 8}
            for place, own in enumerate(NAMES)
        ]
        with RunWriter(tmp_path / name, {"matrices": rows, "method": "flexlora", "config": {}}) as writer:
            for step, scores in enumerate(events, 1):
                writer.spectrum(step, [np.ones(rank) for rank in ranks])
                told = {key: dict(zip(NAMES, values, strict=True)) for key, values in scores.items()}
                writer.event(step, 0, told, "sensitivity")
            writer.end("completed")
        return load_run(tmp_path / name)

    return written


def test_the_same_order_is_one_and_the_reverse_minus_one(write):
    run = write("a", [{"sensitivity": [1, 2, 3, 4]}, {"sensitivity": [2, 4, 6, 80]}, {"sensitivity": [4, 3, 2, 1]}])
    (one,) = order_stability(run)
    assert (one.measure, one.label, one.steps.tolist()) == ("sensitivity", "sensitivity", [2, 3])
    assert one.correlation == pytest.approx([1.0, -1.0])
    assert one.mean == pytest.approx(0.0)
    table = TABLES["order_stability"](run)
    assert table.to_pylist()[1] == {"step": 3, "measure": "sensitivity", "spearman": pytest.approx(-1.0)}


def test_a_swap_of_neighbours_in_four_is_four_fifths(write):
    run = write("a", [{"nuclear_norm": [1, 2, 3, 4]}, {"nuclear_norm": [2, 1, 3, 4]}])
    assert order_stability(run)[0].mean == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_what_is_undefined_takes_no_part(write):
    events = [{"spectral_entropy": [0.1, 0.2, 0.3, 1.0]}, {"spectral_entropy": [0.1, 0.2, 0.3, 1.0]}]
    assert order_stability(write("a", events))[0].mean == pytest.approx(1.0)
    # At rank 1 the entropy in the log is a convention: two matrices are left, which have no order to speak of.
    assert np.isnan(order_stability(write("b", events, ranks=(3, 3, 1, 1)))[0].mean)
    missing = [{"sensitivity": [None, 1, 2, 3]}, {"sensitivity": [9, 1, 2, 3]}]
    assert order_stability(write("c", missing))[0].mean == pytest.approx(1.0)
    constant = [{"sensitivity": [1, 1, 1, 1]}, {"sensitivity": [1, 2, 3, 4]}]
    assert np.isnan(order_stability(write("d", constant))[0].mean)


def test_a_run_with_one_event_has_nothing_to_compare(write):
    run = write("a", [{"sensitivity": [1, 2, 3, 4]}])
    assert order_stability(run) == []
    assert TABLES["order_stability"](run).num_rows == 0
    assert "two events" in FIGURES["order_stability"](run).layout.annotations[0].text


def test_smoothed_is_held_against_raw_in_the_logs_that_carry_both(write):
    steady, jumpy = [1, 2, 3, 4], [4, 3, 2, 1]
    runs = [
        write(
            f"r{place}",
            [
                {"sensitivity": steady, "smoothed_sensitivity": steady},
                {"sensitivity": jumpy, "smoothed_sensitivity": steady},
            ],
        )
        for place in range(3)
    ]
    found = smoothing_gain(runs)
    assert found is not None
    assert (found.n, found.mean) == (3, pytest.approx(2.0))
    assert smoothing_gain([write("raw", [{"sensitivity": steady}] * 2)]) is None
    best, worst = mean_stability(runs)
    assert (best.measure, best.n, best.mean, worst.mean) == ("smoothed_sensitivity", 3, 1.0, -1.0)


def test_figures_draw_the_numbers(write):
    runs = [write(f"r{i}", [{"sensitivity": [1, 2, 3, 4], "random": [1, 2, 3, i]}] * 3) for i in (5, 6)]
    figure = FIGURES["order_stability"](runs[0])
    assert {trace.name: list(trace.y) for trace in figure.data} == {
        "sensitivity": pytest.approx([1.0, 1.0]),
        "random (a control)": pytest.approx([1.0, 1.0]),
    }
    figure = FIGURES["group_stability"]({"a": mean_stability(runs), "b": mean_stability(runs[:1])}, ["lora", "lora"])
    assert [(trace.name, trace.marker.symbol) for trace in figure.data] == [("a", "square"), ("b", "square-open")]
    assert "No run" in FIGURES["group_stability"]({"a": []}).layout.annotations[0].text
