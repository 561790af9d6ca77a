"""What two configurations do not share, and what of it follows from something else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analysis.config_differences import MISSING, chosen_differences, config_differences
from flexlora.job import build_job


def flat(method="flexlora", preset=None, steps=100, seed=0, task="digits", **settings):
    return build_job(task, method, preset, steps, seed, settings).to_dict()


def told(left, right):
    return {one.option: (one.left, one.right, one.follows) for one in config_differences(left, right)}


def test_a_configuration_does_not_differ_from_itself():
    assert config_differences(flat(), flat()) == []


def test_what_is_derived_follows_and_what_is_chosen_does_not():
    assert told(flat(initial_rank=4), flat(initial_rank=8)) == {
        "initial_rank": (4, 8, ()),
        "alpha": (8.0, 16.0, ("initial_rank",)),
    }
    assert told(flat(initial_rank=4, alpha=8), flat(initial_rank=4, alpha=9)) == {"alpha": (8.0, 9.0, ())}
    # 3 is no consequence of rank 8.
    assert told(flat(initial_rank=4), flat(initial_rank=8, alpha=3))["alpha"] == (8.0, 3.0, ())


def test_the_window_follows_from_the_steps_and_a_preset_governs_its_options():
    steps = told(flat(steps=100), flat(steps=200))
    assert steps["total_steps"] == (100, 200, ())
    del steps["total_steps"]
    assert sorted(steps) == ["final_steps", "interval", "warmup_steps"]
    assert {own[2] for own in steps.values()} == {("total_steps",)}
    preset = told(flat(), flat(preset="reference"))
    assert preset["preset"] == ("paper", "reference", ())
    assert preset["schedule"] == ("paper", "constant", ("preset",))
    assert [option for option, own in preset.items() if not own[2]] == ["preset"]


def test_options_that_only_one_method_has_follow_from_the_method():
    found = told(flat("lora"), flat("flexlora"))
    assert found["method"] == ("lora", "flexlora", ())
    assert found["importance"] == (MISSING, "spectral_entropy", ("method",))
    assert {own[2] for key, own in found.items() if key != "method"} == {("method",)}
    assert next(iter(found)) == "method"


def test_lists_of_a_log_are_the_tuples_of_a_job():
    assert (
        config_differences(flat(target_modules="query,value"), {**flat(), "target_modules": ["query", "value"]}) == []
    )
    assert told({"a": 1}, {"a": True}) == {"a": (1, True, ())}


def test_a_configuration_from_elsewhere_has_differences_that_follow_from_nothing():
    assert told({"r": 8, "x": 1}, {"r": 16, "y": 2}) == {
        "r": (8, 16, ()),
        "x": (1, MISSING, ()),
        "y": (MISSING, 2, ()),
    }


def test_a_label_leaves_out_seed_and_bookkeeping():
    left, right = flat(seed=1, log_measures="all"), flat(seed=2, log_measures="lambda", initial_budget=5)
    assert [one.option for one in chosen_differences(left, right)] == ["initial_budget"]


@given(st.fixed_dictionaries({}, optional={"initial_rank": st.integers(2, 6), "initial_budget": st.integers(0, 5)}))
def test_both_ways_the_same_options_differ(settings):
    left, right = flat(), flat(**settings)
    there, back = told(left, right), told(right, left)
    assert {key: (one, other) for key, (one, other, _) in there.items()} == {
        key: (other, one) for key, (one, other, _) in back.items()
    }
