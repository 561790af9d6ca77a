"""The budget curves: the quoted formulas, their window, and counts over whole runs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.schedules import SCHEDULES, event_steps


@st.composite
def windows(draw):
    total = draw(st.integers(1, 5000))
    return {
        "initial_budget": draw(st.integers(0, 64)),
        "warmup_steps": draw(st.integers(0, total)),
        "total_steps": total,
        "final_steps": draw(st.integers(0, total)),
    }


steps = st.integers(-10, 6000)


def inside(step, window):
    return window["warmup_steps"] < step < window["total_steps"] - window["final_steps"]


def test_the_registry_has_the_documented_schedules():
    assert list(SCHEDULES) == ["paper", "reference", "cubic", "linear", "cosine", "constant", "points"]


@given(steps, windows())
def test_the_paper_schedule_is_the_quoted_formula(t, window):
    b0, t_warmup = window["initial_budget"], window["warmup_steps"]
    T, t_final = window["total_steps"], window["final_steps"]
    quoted = round(b0 * (1 - (t - t_warmup) / (T - t_final)) ** 3) if inside(t, window) else 0
    assert SCHEDULES["paper"](t, **window) == quoted


@given(steps, windows())
def test_the_other_schedules_are_functions_of_progress(t, window):
    b0 = window["initial_budget"]
    expected = dict.fromkeys(("reference", "cubic", "linear", "cosine", "constant"), 0)
    if inside(t, window):
        length = window["total_steps"] - window["final_steps"] - window["warmup_steps"]
        p = (t - window["warmup_steps"]) / length
        expected = {
            "reference": round(b0 * (1 - p**3)),
            "cubic": round(b0 * (1 - p) ** 3),
            "linear": round(b0 * (1 - p)),
            "cosine": round(b0 * (1 + math.cos(math.pi * p)) / 2),
            "constant": b0,
        }
    assert {key: SCHEDULES[key](t, **window) for key in expected} == expected


@given(windows(), st.lists(st.tuples(st.integers(0, 5000), st.floats(-5, 64)), max_size=5, unique_by=lambda p: p[0]))
def test_every_schedule_is_a_whole_number_in_the_window_and_zero_outside(window, points):
    highest = max([window["initial_budget"], *(math.ceil(budget) for _, budget in points)])
    edge = window["total_steps"] - window["final_steps"]
    around = {0, 1, window["warmup_steps"], window["warmup_steps"] + 1, edge - 1, edge, edge + 1, 6000}
    for key, schedule in SCHEDULES.items():
        for t in around:
            budget = schedule(t, **window, points=points)
            assert type(budget) is int
            assert 0 <= budget <= highest
            if not inside(t, window):
                assert budget == 0, key


@given(windows())
def test_the_named_curves_never_rise(window):
    first, edge = window["warmup_steps"] + 1, window["total_steps"] - window["final_steps"]
    sampled = sorted({*range(first, edge, max(1, (edge - first) // 50 or 1)), max(first, edge - 1)})
    for key in ("paper", "reference", "cubic", "linear", "cosine", "constant"):
        budgets = [SCHEDULES[key](t, **window) for t in sampled if inside(t, window)]
        assert budgets == sorted(budgets, reverse=True), key


def test_points_joins_knots_by_straight_lines_and_stays_level_beyond_them():
    window = {"initial_budget": 3, "warmup_steps": 0, "total_steps": 1000, "final_steps": 0}
    knots = [(100, 10.0), (200, 0.0), (300, 4.0)]
    drawn = {t: SCHEDULES["points"](t, **window, points=knots) for t in (1, 100, 150, 200, 275, 300, 999)}
    assert drawn == {1: 10, 100: 10, 150: 5, 200: 0, 275: 3, 300: 4, 999: 4}
    assert SCHEDULES["points"](150, **window, points=knots[::-1]) == 5
    assert SCHEDULES["points"](150, **window) == 3


@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 500), st.integers(0, 200))
def test_events_are_every_interval_after_the_warm_up_and_before_the_end(warmup, interval, total, final):
    found = event_steps(warmup_steps=warmup, interval=interval, total_steps=total, final_steps=final)
    assert list(found) == [
        t for t in range(1, total + 1) if warmup < t < total - final and (t - warmup) % interval == 0
    ]
    assert len(found) == max(0, math.ceil((total - final - warmup) / interval) - 1)


# T, t_warmup, t_final, interval, b0: events, moved by the paper rounded, its closed form, its first zero event,
# moved by the released code's curve rounded, its closed form, moved at constant b0.
SETTINGS = {
    "CoLA": ((6700, 800, 3500, 10, 4), (239, 307, 316.7, 2400, 727, 718.0, 956)),
    "RTE": ((3900, 600, 1800, 1, 4), (1499, 2029, 2084.0, 1650, 4547, 4498.0, 5996)),
    "MNLI": ((85904, 8000, 50000, 100, 4), (279, 346, 356.2, 26000, 844, 835.1, 1116)),
    "toy": ((1000, 100, 200, 10, 4), (69, 75, 78.0, 500, 210, 208.0, 276)),
    "toy, b0 = 8": ((1000, 100, 200, 10, 8), (69, 154, 156.0, 590, 418, 416.0, 552)),
    "toy, b0 = 1": ((1000, 100, 200, 10, 1), (69, 16, 19.5, 270, 55, 52.0, 69)),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_whole_runs_move_as_many_directions_as_the_closed_forms_say(setting):
    (total, warmup, final, interval, b0), expected = SETTINGS[setting]
    window = {"initial_budget": b0, "warmup_steps": warmup, "total_steps": total, "final_steps": final}
    events = event_steps(warmup_steps=warmup, interval=interval, total_steps=total, final_steps=final)
    K, D = len(events), total - final
    h, g = interval / D, interval / (D - warmup)
    paper = b0 * (K - 3 * h * K * (K + 1) / 2 + h**2 * K * (K + 1) * (2 * K + 1) / 2 - h**3 * (K * (K + 1) / 2) ** 2)
    reference = b0 * (K - g**3 * (K * (K + 1) / 2) ** 2)
    moved = {key: sum(SCHEDULES[key](t, **window) for t in events) for key in ("paper", "reference", "constant")}
    first_zero = next(t for t in events if SCHEDULES["paper"](t, **window) == 0)
    found = (K, moved["paper"], paper, first_zero, moved["reference"], reference, moved["constant"])
    assert found == pytest.approx(expected, abs=0.05)
    # The rounded curve is 0 from here on, long before the window closes.
    assert first_zero - interval < warmup + D * (1 - (2 * b0) ** (-1 / 3)) <= first_zero + 1e-9
