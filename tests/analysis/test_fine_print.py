"""The fine print of a schedule: the published tables, the closed forms, and the numbers in its sentences."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analysis.fine_print import DECIDED, describe_fine_print, fine_print, schedule_facts
from flexlora.config import FlexLoRAConfig
from flexlora.schedules import ADAPTIVE, CONFIGURABLE, SCHEDULES, event_steps

# T, t_warmup, t_final, interval, b0: events; paper: moved, closed form, first zero, predicted zero; released code's
# scheduler: the same four, where the table has them; cubic moved, where the table has it; constant moved.
GOLDEN = {
    "CoLA": ((6700, 800, 3500, 10, 4), 239, (307, 316.7, 2400, 2400), (727, 718.0, 3100, 3095.5), 229, 956),
    "RTE": ((3900, 600, 1800, 1, 4), 1499, (2029, 2084.0, 1650, 1650), (4547, 4498.0, 2035, 2034.7), 1449, 5996),
    "MNLI": ((85904, 8000, 50000, 100, 4), 279, (346, 356.2, 26000, 25952), (844, 835.1, 34700, 34689), 268, 1116),
    "toy": ((1000, 100, 200, 10, 4), 69, (75, 78.0, 500, 500), (210, 208.0, 770, 769.5), 66, 276),
    "toy, b0 = 8": ((1000, 100, 200, 10, 8), 69, (154, 156.0, 590, 582.5), (418, 416.0, None, None), None, 552),
    "toy, b0 = 1": ((1000, 100, 200, 10, 1), 69, (16, 19.5, 270, 265), (55, 52.0, None, None), None, 69),
}

CLOSED = ("paper", "reference", "cubic", "linear", "constant")
SIDES = ("paper", "released code, scheduler on", "released code, as published", "this schedule")


def setting(total: int, warmup: int, final: int, interval: int, b0: int) -> dict[str, int]:
    return {
        "total_steps": total,
        "warmup_steps": warmup,
        "final_steps": final,
        "interval": interval,
        "initial_budget": b0,
    }


@st.composite
def settings(draw):
    total = draw(st.integers(2, 5000))
    warmup = draw(st.integers(0, total - 2))
    final = draw(st.integers(0, total - warmup - 1))
    return setting(total, warmup, final, draw(st.integers(1, 200)), draw(st.integers(0, 1000)))


@pytest.mark.parametrize("name", GOLDEN)
def test_the_table_of_the_research_notes(name):
    own, events, *rows = GOLDEN[name]
    paper, reference, cubic, constant = rows
    for schedule, expected in (("paper", paper), ("reference", reference)):
        facts = schedule_facts(schedule, **setting(*own))
        found = (facts.moved, facts.closed_form, facts.first_zero, facts.predicted_zero)
        assert facts.events == events
        assert facts.unrounded == pytest.approx(expected[1], abs=0.05)
        for value, published in zip(found, expected, strict=True):
            # MNLI's prediction is printed without a decimal.
            assert published is None or value == pytest.approx(published, abs=0.3 if name == "MNLI" else 0.05)
    assert cubic is None or schedule_facts("cubic", **setting(*own)).moved == cubic
    assert schedule_facts("constant", **setting(*own)).moved == constant


@given(settings(), st.sampled_from(CLOSED))
def test_the_closed_form_is_the_sum_before_rounding(own, schedule):
    facts = schedule_facts(schedule, **own)
    if not facts.events:
        assert (facts.closed_form, facts.unrounded, facts.moved) == (None, 0, 0)
        return
    # One event near the window's end leaves next to nothing of terms as large as b0.
    assert facts.closed_form == pytest.approx(facts.unrounded, rel=1e-6, abs=1e-9 * own["initial_budget"])


@given(settings(), st.sampled_from(sorted(SCHEDULES)), st.floats(0.1, 10))
def test_the_facts_are_what_the_schedule_does(own, schedule, exponent):
    facts = schedule_facts(schedule, **own, exponent=exponent, points=[(50, 3.0), (500, 0.2)])
    window = {key: own[key] for key in ("warmup_steps", "total_steps", "final_steps")}
    steps = event_steps(**window, interval=own["interval"])
    rest = {"initial_budget": own["initial_budget"], "points": [(50, 3.0), (500, 0.2)], "exponent": exponent}
    budgets = {step: SCHEDULES[schedule](step, **window, **rest) for step in steps}
    active, idle = [t for t in steps if budgets[t]], [t for t in steps if not budgets[t]]
    found = (facts.events, facts.active, facts.moved, facts.last_active, facts.first_zero)
    assert found == (
        len(steps),
        len(active),
        sum(budgets.values()),
        max(active, default=None),
        min(idle, default=None),
    )
    assert abs(facts.unrounded - facts.moved) <= 0.5 * facts.events + 1e-6


@given(settings(), st.sampled_from(("paper", "reference", "cubic", "linear")), st.floats(0.5, 6))
def test_the_rounded_curve_is_zero_from_the_predicted_step_on(own, schedule, exponent):
    assume(own["initial_budget"])
    facts = schedule_facts(schedule, **own, exponent=exponent)
    assert facts.predicted_zero is not None
    slack = 1e-6 * own["total_steps"]
    if facts.last_active is not None:
        assert facts.last_active <= facts.predicted_zero + slack
    if facts.first_zero is not None:
        assert facts.first_zero >= facts.predicted_zero - slack


@pytest.mark.parametrize(
    ("schedule", "exponent", "has_sum", "has_zero"),
    [
        ("paper", 2.0, False, True),
        ("reference", 2.0, False, True),
        ("cubic", 2.0, False, True),
        ("linear", 2.0, True, True),
        ("constant", 3.0, True, False),
        ("cosine", 3.0, False, False),
        ("points", 3.0, False, False),
    ],
)
def test_no_formula_is_given_where_there_is_none(schedule, exponent, has_sum, has_zero):
    own = setting(1000, 100, 200, 10, 4)
    facts = schedule_facts(schedule, **own, exponent=exponent, points=[(100, 4.0), (800, 0.0)])
    assert (facts.closed_form is not None, facts.predicted_zero is not None) == (has_sum, has_zero)


def test_each_side_has_its_own_schedule_over_the_same_window():
    own = setting(1000, 100, 200, 10, 4)
    rows = fine_print(FlexLoRAConfig(**own, schedule="cubic", exponent=2.0))
    assert all(list(row) == ["quantity", *SIDES] for row in rows)
    facts = [schedule_facts(name, **own) for name in ("paper", "reference", "constant")]
    facts.append(schedule_facts("cubic", **own, exponent=2.0))
    names = ["events", "active", "moved", "unrounded", "closed_form", "last_active", "first_zero", "predicted_zero"]
    shown = [[row[side] for side in SIDES] for row in rows]
    assert shown[0] == [CONFIGURABLE[key].formula for key in ("paper", "reference", "constant", "cubic")]
    assert shown[1:] == [[getattr(side, name) for side in facts] for name in names]


def test_the_exponent_of_this_run_leaves_paper_and_released_code_alone():
    own = setting(1000, 100, 200, 10, 4)
    third, other = (fine_print(FlexLoRAConfig(**own, schedule="paper", exponent=e)) for e in (3.0, 1.5))
    assert [[row[side] for side in SIDES[:3]] for row in third] == [[row[side] for side in SIDES[:3]] for row in other]
    assert all(row["paper"] == row["this schedule"] for row in third)
    assert third[3]["this schedule"] != other[3]["this schedule"]


def test_an_adaptive_schedule_is_decided_while_training():
    rows = fine_print(FlexLoRAConfig(total_steps=1000, schedule=ADAPTIVE))
    assert [row["this schedule"] for row in rows] == [CONFIGURABLE[ADAPTIVE].formula, *[DECIDED] * (len(rows) - 1)]
    assert rows[1]["paper"] == 23


def test_every_number_in_the_sentences_is_recomputed():
    total, warmup, final, interval, b0 = 1000, 100, 200, 10, 4
    window = {"warmup_steps": warmup, "total_steps": total, "final_steps": final}
    steps = event_steps(**window, interval=interval)
    budgets = {
        name: [SCHEDULES[name](t, **window, initial_budget=b0) for t in steps]
        for name in ("paper", "reference", "constant")
    }
    idle = [t for t, budget in zip(steps, budgets["paper"], strict=True) if not budget]
    moved = {name: math.fsum(each) for name, each in budgets.items()}
    end = total - final
    assert describe_fine_print(FlexLoRAConfig(**setting(total, warmup, final, interval, b0))) == [
        f"The paper divides by T − t_final = {end}, so its curve would reach 0 only at step {warmup + end}, "
        f"{warmup} steps after the window's end.",
        f"Rounding ends it much earlier: {len(idle)} of {len(steps)} events have b = 0, the first at step {idle[0]}.",
        f"With its scheduler on, the released code moves {moved['reference'] / moved['paper']:.1f} times as many "
        f"directions as the paper's formula; as published, with it off, {moved['constant'] / moved['paper']:.1f} "
        "times.",
    ]


def test_no_sentence_claims_what_is_not_so():
    assert describe_fine_print(FlexLoRAConfig(total_steps=1000, initial_budget=0)) == [
        "With b0 = 0 no formula moves anything."
    ]
    told = describe_fine_print(FlexLoRAConfig(total_steps=1000, warmup_steps=0))
    assert told[0] == "The paper divides by T − t_final = 700, so its curve reaches 0 at step 700, the window's end."
    never_zero = describe_fine_print(FlexLoRAConfig(total_steps=1000, initial_budget=100_000))
    assert not any("Rounding" in line for line in never_zero)
