"""The configuration: presets, derived values, round trips, and errors that name the fix."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.config import PRESETS, FlexLoRAConfig, parse_setting
from flexlora.errors import FlexLoRAError
from flexlora.importance import IMPORTANCES
from flexlora.schedules import SCHEDULES

FIELDS = FlexLoRAConfig.__dataclass_fields__


def choice(name):
    return st.sampled_from(FIELDS[name].metadata["choices"])


stds = st.one_of(st.none(), st.floats(1e-6, 10.0))
settings_ = st.fixed_dictionaries(
    {},
    optional={
        "preset": st.sampled_from(list(PRESETS)),
        "target_modules": st.one_of(st.none(), st.lists(st.sampled_from(["query", "a.b", "o"]), min_size=1)),
        "initial_rank": st.integers(1, 64),
        "max_rank": st.one_of(st.none(), st.integers(64, 128)),
        "alpha": st.one_of(st.none(), st.floats(0.1, 256.0)),
        "total_steps": st.one_of(st.none(), st.integers(1, 10**6)),
        "points": st.dictionaries(st.integers(0, 1000), st.floats(0, 9), min_size=1).map(lambda d: sorted(d.items())),
        "initial_budget": st.integers(0, 50),
        "protection": st.integers(0, 5),
        "regularization_weight": st.floats(0, 10.0),
        "initial_std": stds,
        "new_direction_std": stds,
        "epsilon": st.floats(0, 0.1),
        "seed": st.integers(0, 2**31),
        **{name: choice(name) for name in ("importance", "direction", "new_direction", "rank_one", "all_zero")},
        **{name: choice(name) for name in ("prune_rule", "plan", "regularizer", "optimizer_at_event", "lr_at_event")},
    },
)


@given(settings_)
def test_a_configuration_survives_json(values):
    config = FlexLoRAConfig(**values)
    assert FlexLoRAConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@given(settings_)
def test_replacing_nothing_changes_nothing(values):
    config = FlexLoRAConfig(**values)
    assert config.replace() == config
    assert hash(config.replace()) == hash(config)


@given(settings_)
def test_given_values_are_kept_and_the_rest_follows_the_preset(values):
    config = FlexLoRAConfig(**values)
    preset = PRESETS[values.get("preset", "paper")]
    for name, value in preset.items():
        assert getattr(config, name) == values.get(name, value)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_governs_the_same_fields_and_is_valid(preset):
    assert list(PRESETS[preset]) == list(PRESETS["paper"])
    assert set(PRESETS[preset]) <= set(FIELDS)
    config = FlexLoRAConfig(preset=preset, total_steps=300)
    assert {name: getattr(config, name) for name in PRESETS[preset]} == PRESETS[preset]


def test_the_contract_defaults():
    config = FlexLoRAConfig()
    assert (config.initial_rank, config.alpha, config.max_rank, config.preset) == (8, 16.0, None, "paper")
    assert (config.warmup_steps, config.final_steps, config.interval) == (None, None, None)
    config = FlexLoRAConfig(initial_rank=3, total_steps=300)
    assert (config.alpha, config.warmup_steps, config.final_steps, config.interval) == (6.0, 30, 90, 7)
    assert FlexLoRAConfig(total_steps=20).interval == 1


@given(st.integers(2, 10**5))
def test_the_derived_window_always_has_an_event(total):
    assert FlexLoRAConfig(total_steps=total).event_steps()


@given(
    st.integers(2, 400), st.integers(0, 100), st.integers(0, 100), st.integers(1, 60), st.sampled_from(list(SCHEDULES))
)
def test_events_and_budget_are_those_of_the_schedule(total, warmup, final, interval, schedule):
    window = {"warmup_steps": warmup, "final_steps": final, "interval": interval, "total_steps": total}
    try:
        config = FlexLoRAConfig(**window, schedule=schedule, points=[(5, 3.0)], initial_budget=5)
    except FlexLoRAError as error:
        assert warmup + interval >= total - final
        assert "No room for an event" in str(error)
        return
    events = config.event_steps()
    assert events == tuple(t for t in range(-5, total + 5) if config.is_event(t))
    del window["interval"]
    for t in events:
        assert config.budget(t) == SCHEDULES[schedule](t, initial_budget=5, points=[(5, 3.0)], **window)


def test_the_values_that_no_room_suggests_do_fit():
    with pytest.raises(FlexLoRAError, match="No room") as caught:
        FlexLoRAConfig(total_steps=100, warmup_steps=60, final_steps=60)
    advice = str(caught.value).split("These fit: ")[1].rstrip(".")
    fitting = {key: int(value) for key, value in (pair.split("=") for pair in advice.split(", "))}
    assert set(fitting) == {"warmup_steps", "final_steps", "interval"}
    assert FlexLoRAConfig(total_steps=100, **fitting).event_steps()


def test_a_run_that_moves_nothing_needs_no_room():
    assert FlexLoRAConfig(total_steps=1).event_steps() == ()
    assert FlexLoRAConfig(total_steps=10, warmup_steps=10, initial_budget=0).event_steps() == ()
    assert FlexLoRAConfig(total_steps=1, warmup_steps=0).event_steps() == ()


def test_without_total_steps_the_error_says_so():
    config = FlexLoRAConfig()
    for ask in (lambda: config.budget(3), config.event_steps, lambda: config.is_event(3)):
        with pytest.raises(FlexLoRAError, match="total_steps is needed"):
            ask()


def test_replace_lets_derived_values_follow_and_keeps_chosen_ones():
    config = FlexLoRAConfig(total_steps=100, interval=5, rank_one="zero")
    longer = config.replace(total_steps=1000, initial_rank=4)
    assert (longer.warmup_steps, longer.final_steps, longer.interval, longer.alpha) == (100, 300, 5, 8.0)
    taught = config.replace(preset="reference")
    assert (taught.prune_rule, taught.rank_one, taught.initial_budget) == ("signed", "zero", 4)
    assert FlexLoRAConfig(total_steps=9).replace(preset="reference") == FlexLoRAConfig(
        preset="reference", total_steps=9
    )
    with pytest.raises(FlexLoRAError, match="initial_budget"):
        config.replace(initial_budgt=3)


BAD = [
    ({"preset": "papr"}, "Did you mean paper"),
    ({"importance": "spectral_entrop"}, "Did you mean spectral_entropy"),
    ({"importance": "entropy of everything"}, ", ".join(IMPORTANCES)),
    ({"schedule": "exponential"}, ", ".join(SCHEDULES)),
    ({"direction": "sideways"}, "both, prune_only, extend_only"),
    ({"new_direction": "ones"}, "zero_impact, small_value, all_zero, gram_schmidt"),
    ({"rank_one": 1}, "rank_one=1 is not a name"),
    ({"initial_rank": 0}, "initial_rank=0 must be at least 1"),
    ({"initial_rank": True}, "initial_rank=True is not a whole number"),
    ({"initial_rank": 2.5}, "whole number"),
    ({"initial_rank": "8"}, "whole number"),
    ({"initial_rank": None}, "whole number"),
    ({"max_rank": 4}, "max_rank=4 is below initial_rank=8"),
    ({"alpha": 0}, "alpha=0.0 must be above 0"),
    ({"alpha": float("nan")}, "finite number"),
    ({"alpha": "big"}, "finite number"),
    ({"total_steps": 0}, "total_steps=0 must be at least 1"),
    ({"warmup_steps": -1}, "Leave it out for the default"),
    ({"interval": 0}, "interval=0 must be at least 1"),
    ({"initial_budget": -1}, "initial_budget=-1 must be at least 0"),
    ({"initial_std": 0.0}, "initial_std=0.0 must be above 0"),
    ({"epsilon": -1e-9}, "must be at least 0"),
    ({"regularization_weight": float("inf")}, "finite number"),
    ({"seed": -1}, "seed=-1 must be at least 0"),
    ({"target_modules": ""}, "such as query,value"),
    ({"target_modules": []}, "such as query,value"),
    ({"target_modules": ["query", 3]}, "such as query,value"),
    ({"points": [[5, 1], [5, 2]]}, "steps rising"),
    ({"points": [[5, -1]]}, "nothing negative"),
    ({"points": [5, 1]}, "pairs"),
    ({"schedule": "points"}, "needs points"),
]


@pytest.mark.parametrize(("values", "named"), BAD, ids=lambda value: str(value)[:40])
def test_bad_values_are_refused_with_the_fix(values, named):
    with pytest.raises(FlexLoRAError) as caught:
        FlexLoRAConfig(**values)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_from_dict_refuses_an_unknown_key_and_names_the_close_one():
    with pytest.raises(FlexLoRAError, match=r"Unknown setting 'intial_rank'. Did you mean initial_rank") as caught:
        FlexLoRAConfig.from_dict({"intial_rank": 4})
    assert "warmup_steps" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("initial_rank", "4", 4),
        ("alpha", "1e1", 10.0),
        ("alpha", "none", None),
        ("max_rank", "None", None),
        ("initial_std", "none", None),
        ("initial_std", " 0.02 ", 0.02),
        ("target_modules", "query, value", ("query", "value")),
        ("target_modules", "none", None),
        ("points", "[[10, 8], [100, 0.5]]", ((10, 8.0), (100, 0.5))),
        ("rank_one", "median", "median"),
        ("seed", "7", 7),
    ],
)
def test_text_becomes_the_type_of_the_field(key, text, value):
    parsed = parse_setting(FlexLoRAConfig, key, text)
    assert parsed == value
    assert type(parsed) is type(value)


@given(settings_)
def test_text_of_any_value_parses_back(values):
    config = FlexLoRAConfig(**values)
    for key, value in config.to_dict().items():
        if isinstance(value, list):
            text = ",".join(value) if key == "target_modules" else json.dumps(value)
        else:
            text = "none" if value is None else str(value)
        assert parse_setting(FlexLoRAConfig, key, text) == getattr(config, key)


@pytest.mark.parametrize(
    ("key", "text", "named"),
    [
        ("initial_rnk", "4", "Did you mean initial_rank"),
        ("initial_rank", "four", "whole number"),
        ("initial_rank", "none", "cannot be none"),
        ("initial_rank", "0", "at least 1"),
        ("rank_one", "none", "one, zero, undefined, median, first"),
        ("alpha", "inf", "finite number"),
        ("points", "10:8", "pairs such as"),
        ("points", "{}]", "pairs such as"),
        ("target_modules", "query,,value", "a list of names"),
    ],
)
def test_bad_text_is_refused_with_the_fix(key, text, named):
    with pytest.raises(FlexLoRAError, match="(?s).*" + named):
        parse_setting(FlexLoRAConfig, key, text)


def test_every_field_says_what_it_is_for():
    for name, item in FIELDS.items():
        assert len(item.metadata["help"]) > 10, name
        assert "live" in item.metadata


def test_the_choices_are_those_that_the_torch_side_implements():
    from flexlora.allocator import PRUNE_RULES
    from flexlora.initializers import NEW_DIRECTIONS
    from flexlora.regularization import REGULARIZERS

    assert FIELDS["prune_rule"].metadata["choices"] == tuple(PRUNE_RULES)
    assert FIELDS["new_direction"].metadata["choices"] == tuple(NEW_DIRECTIONS)
    assert FIELDS["regularizer"].metadata["choices"] == tuple(REGULARIZERS)
