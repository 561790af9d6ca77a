"""A schedule as text: what is written is read back, and what cannot be read is refused in one line that says why."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.schedule_text import KEYS, MAX_TEXT, STYLES, format_schedule, parse_schedule, schedule_settings
from flexlora.schedules import ADAPTIVE, SCHEDULES

HUGE = "0x" + "f" * 5000
"""YAML reads it; Python refuses to print it."""


@st.composite
def configs(draw):
    knots = st.dictionaries(st.integers(0, 10_000), st.floats(0, 1_000_000), min_size=1, max_size=6)
    return FlexLoRAConfig(
        schedule=draw(st.sampled_from([*SCHEDULES, ADAPTIVE])),
        initial_budget=draw(st.integers(0, 1_000_000)),
        exponent=draw(st.floats(0, 100, exclude_min=True, exclude_max=True)),
        points=sorted(draw(knots).items()),
        warmup_steps=draw(st.none() | st.integers(0, 10_000_000)),
        final_steps=draw(st.none() | st.integers(0, 10_000_000)),
        interval=draw(st.none() | st.integers(1, 10_000_000)),
    )


def refusal(text: str) -> str:
    with pytest.raises(FlexLoRAError) as caught:
        parse_schedule(text)
    told = str(caught.value)
    assert "\n" not in told
    assert len(told) <= 250
    return told


def own_keys(config):
    """Every schedule shares the first five; knots, exponent and the adaptive settings belong to some."""
    shared = ["schedule", "initial_budget", "warmup_steps", "final_steps", "interval"]
    own = {"points": ["points"], "adaptive": ["adaptive_margin", "adaptive_churn"]}
    own |= {key: ["exponent"] for key in ("paper", "reference", "cubic")}
    return shared + own.get(config.schedule, [])


@given(configs(), st.sampled_from(sorted(STYLES)))
def test_what_is_written_is_read_back(config, style):
    read = parse_schedule(format_schedule(config, style))
    expected = {key: getattr(config, key) for key in own_keys(config)}
    assert read == expected
    assert {key: type(value) for key, value in read.items()} == {key: type(value) for key, value in expected.items()}


@given(configs())
def test_settings_are_plain_json_with_knots_only_where_the_schedule_has_them(config):
    settings = schedule_settings(config)
    assert json.loads(json.dumps(settings)) == settings
    assert list(settings) == own_keys(config)


def test_a_budget_near_zero_survives_yaml():
    config = FlexLoRAConfig(schedule="points", points=[(10, 1e-05), (20, 3.0)])
    assert parse_schedule(format_schedule(config, "yaml"))["points"] == ((10, 1e-05), (20, 3.0))


@pytest.mark.parametrize("style", STYLES)
def test_knots_take_one_line(style):
    config = FlexLoRAConfig(schedule="points", points=[(step, 1.5) for step in range(200)])
    lines = format_schedule(config, style).splitlines()
    assert len([line for line in lines if "[" in line]) == 1


def test_an_unknown_style_is_refused():
    with pytest.raises(FlexLoRAError, match=r"Unknown style 'toml'\. Choose one of: json, yaml"):
        format_schedule(FlexLoRAConfig(), "toml")


@pytest.mark.parametrize("text", ["[[10, 8], [100, 0.5]]", "- [10, 8]\n- [100, 0.5]"])
def test_a_bare_list_is_the_knots_of_schedule_points(text):
    assert parse_schedule(text) == {"schedule": "points", "points": ((10, 8.0), (100, 0.5))}


def test_an_int_becomes_the_type_of_its_field():
    read = parse_schedule('{"exponent": 2, "initial_budget": 7, "warmup_steps": null}')
    assert read == {"exponent": 2.0, "initial_budget": 7, "warmup_steps": None}
    assert type(read["exponent"]) is float


REFUSED = {
    "empty": ("", ["nothing to read"]),
    "blank": (" \n\t", ["nothing to read"]),
    "empty mapping": ("{}", ["empty", *KEYS]),
    "too long": ("#" * (MAX_TEXT + 1), ["100001", "100000"]),
    "broken JSON": ('{"interval": 3,\n "exponent": }}', ["line 2"]),
    "broken YAML": ("interval: 3\nexponent: [1,\nfinal_steps: 3", ["line 3"]),
    "two documents": ("interval: 3\n---\ninterval: 4", ["line 2"]),
    "alias": ("a: &x [1]\nb: *x", ["The YAML has anchors"]),
    "tag": ("!!python/object/apply:os.system ['true']", ["The YAML has anchors, aliases or tags"]),
    "text": ("hello", ["'hello'"]),
    "number": ("3", ["not 3"]),
    "null": ("null", ["not None"]),
    "unknown key": ("shedule: cubic", ["'shedule'", "Did you mean schedule?", *KEYS]),
    "huge key": (f"? {HUGE}\n: 1", ["20000 bits", *KEYS]),
    "long key": (json.dumps({"k" * 5000: 1}), ["kkk", *KEYS]),
    "unknown schedule": ("schedule: cubik", ["Unknown schedule 'cubik'", "Did you mean cubic?"]),
    "long schedule": (json.dumps({"schedule": "c" * 5000}), ["schedule", "too long"]),
    "nested value": ('{"interval": [[1]]}', ["interval", "a list of 1"]),
    "NaN": ('{"exponent": NaN}', ["exponent=nan", "finite"]),
    "infinity": ("exponent: .inf", ["exponent=inf", "finite"]),
    "boolean": ("initial_budget: true", ["initial_budget=True", "whole number"]),
    "text for a number": ("interval: '3'", ["interval='3'", "whole number"]),
    "fraction": ("interval: 2.5", ["interval=2.5", "whole number"]),
    "null budget": ("initial_budget: null", ["initial_budget=None"]),
    "negative b0": ("initial_budget: -1", ["initial_budget=-1", "at least 0"]),
    "huge b0": ("initial_budget: 1000001", ["initial_budget=1000001", "at most 1000000"]),
    "huge step": ("final_steps: 10000001", ["final_steps=10000001", "10000000"]),
    "unprintable b0": (f"initial_budget: {HUGE}", ["initial_budget", "20000 bits"]),
    "unprintable exponent": (f"exponent: {HUGE}", ["exponent", "20000 bits"]),
    "long negative": ('{"interval": -' + "9" * 4000 + "}", ["interval", "bits"]),
    "sexagesimal": ("exponent: 1" + ":00" * 300 + ".0", ["too large"]),
    "points are text": ("points: '1, 2'", ["points='1, 2'", "[[10, 8], [100, 0]]"]),
    "no points": ("points: []", ["points", "a list of 0"]),
    "no pair": ("[[1, 2], [3]]", ["points: knot 2", "a list of 1"]),
    "falling steps": ("[[10, 1], [80, 2], [50, 3]]", ["points: step 50 comes after step 80; steps must rise"]),
    "one step twice": ("[[10, 1], [10, 2]]", ["points: step 10 comes after step 10; steps must rise"]),
    "fraction of a step": ("[[1.5, 2]]", ["points: the step of knot 1 is 1.5"]),
    "negative step": ("[[-1, 2]]", ["points: the step of knot 1 is -1"]),
    "huge step of a knot": ("[[10000001, 2]]", ["points: the step of knot 1", "10000000"]),
    "unprintable step": (f"[[{HUGE}, 2]]", ["points: the step of knot 1", "20000 bits"]),
    "boolean step": ("[[true, 2]]", ["points: the step of knot 1 is True"]),
    "negative budget": ("[[1, 2], [2, -0.5]]", ["points: the budget of knot 2 is -0.5"]),
    "huge budget": ("[[1, 1000001]]", ["points: the budget of knot 1 is 1000001", "1000000 is needed"]),
    "unprintable budget": (f"[[1, {HUGE}]]", ["points: the budget of knot 1", "20000 bits"]),
    "NaN budget": ("[[1, NaN]]", ["points: the budget of knot 1 is nan"]),
    "infinite budget": ("[[1, .inf]]", ["points: the budget of knot 1 is inf"]),
    "boolean budget": ("[[1, true]]", ["points: the budget of knot 1 is True"]),
    "budget in words": ("[[1, two]]", ["points: the budget of knot 1 is 'two'"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_text_is_refused_in_one_line(case):
    text, parts = REFUSED[case]
    told = refusal(text)
    assert [part for part in parts if part not in told] == [], told


BOMBS = {
    "brackets": "[" * 90_000,
    "closed brackets": "[" * 49_000 + "]" * 49_000,
    "mappings": "{a: " * 24_000,
    "dashes": "- " * 49_000,
    "laughs": "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_text_made_to_be_slow_is_refused_at_once(bomb):
    start = time.perf_counter()
    told = refusal(BOMBS[bomb])
    assert time.perf_counter() - start < 5
    assert "anchors" in told if bomb == "laughs" else "nested" in told


pieces = ("schedule", "points", "exponent", ": ", "[", "]", "{", "}", "- ", "\n", ",", "1", ".5", "-", '"', "&a", "*a")


@given(st.lists(st.sampled_from(pieces), max_size=20).map("".join) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        assert set(parse_schedule(text)) <= set(KEYS)
    except FlexLoRAError as error:
        assert "\n" not in str(error)
        assert len(str(error)) <= 250
