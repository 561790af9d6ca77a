"""Study files: what they may say, how they expand, and one clear line for everything else."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.study.__main__ import main
from flexlora.study.equality import expected_budget, expected_differences, refusal
from flexlora.study.plain_yaml import read_plain_yaml
from flexlora.study.plan import plan_study
from flexlora.study.spaces import points, read_space
from flexlora.study.spec import KEYS, LIMIT, TOLERANCES, parse_study, read_study

ROOT = Path(__file__).parents[2]
PLAIN = {"tasks": ["digits"], "methods": ["lora", "flexlora"], "seeds": 2, "equal": "final_rank"}


def plan(**changes):
    told = {key: value for key, value in {**PLAIN, **changes}.items() if value is not ...}
    return plan_study(parse_study(told, "study.yaml"))


def refused(**changes) -> str:
    with pytest.raises(FlexLoRAError) as caught:
        plan(**changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_methods_settings_tasks_and_seeds_are_multiplied():
    found = plan(
        tasks=["digits", "words"],
        methods=["lora", {"method": "flexlora", "name": "random", "settings": {"importance": "random"}}],
        axes={"rank": [2, 4], "place": {"one": {"target_modules": ["q_proj"]}, "all": {}}},
        seeds={"first": 100, "count": 3},
        within=["rank"],
    )
    runs = found.runs()
    assert len(runs) == 2 * 2 * 2 * 2 * 3
    assert len({run.name for run in runs}) == len(runs)
    assert {run.seed for run in runs} == {100, 101, 102}
    assert len(found.groups()) == 4
    assert [v.label for v in found.groups()["words", "rank 4"]] == [
        "lora, place one", "lora, place all", "random, place one", "random, place all"
    ]  # fmt: skip
    for run in runs:
        assert run.job.config.initial_rank == run.variant.axes["rank"]
        assert run.job.config.seed == run.seed
        assert (run.job.config.target_modules == ("q_proj",)) == (run.variant.axes["place"] == "one")


def test_rank_is_the_rank_in_the_end_whatever_a_method_calls_it():
    runs = plan(methods=["lora", "adalora", "salora"], settings={"rank": 4}, seeds=1, equal="none").runs()
    assert [run.job.config.initial_rank for run in runs] == [4, 6, 6]
    assert runs[1].job.config.target_rank == 4


def test_the_innermost_setting_holds():
    found = plan(
        tasks=[{"task": "digits", "settings": {"batch_size": 5, "lr_decay": "constant"}}],
        methods=[{"method": "lora", "settings": {"batch_size": 6}, "by_seed": {0: {}, 1: {"batch_size": 8}}}],
        settings={"batch_size": 4, "lr_decay": "linear", "steps": 7},
    ).runs()
    assert [run.job.loop.batch_size for run in found] == [6, 8]
    assert {(run.job.loop.lr_decay, run.job.steps) for run in found} == {("constant", 7)}


@given(st.lists(st.sampled_from(["a b", "a-b", "A b", "a_b", "λ", "a" * 130]), min_size=2, max_size=6, unique=True))
def test_folder_names_are_plain_and_differ(names):
    methods = [
        {"method": "lora", "name": name, "settings": {"initial_rank": place + 1}} for place, name in enumerate(names)
    ]
    found = [run.name for run in plan(methods=methods, equal="none").runs()]
    assert len({name.lower() for name in found}) == len(found)
    assert all(name.isascii() and "/" not in name and len(name) < 130 for name in found)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"axes": {"inital_rank": [2, 4]}}, "Unknown axis 'inital_rank'. Did you mean initial_rank"),
        ({"axes": {"colour": ["red"]}}, "An axis is an option with a list of values, or a name of your own"),
        ({"axes": {"place": {}}}, "place has no value"),
        ({"axes": {"seed": {"a": {}}}}, "seed is a column of the table already"),
        ({"axes": {"test_accuracy": {"a": {}}}}, "is a column of the table already"),
        ({"axes": {"rank": []}}, "must be a list of at least one"),
        ({"axes": {"rank": [2, 2]}}, "has '2' twice"),
        ({"axes": {"rank": [2]}, "within": ["task"]}, "no axis of axes: rank"),
        ({"axes": {"initial_budget": [2, 4]}}, "initial_budget does not belong to method lora"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"methods": ["lore"]}, "Unknown method 'lore'"),
        ({"methods": ["dora"]}, "weight-decomposed DoRA moves no rank"),
        ({"methods": ["lora", "lora"]}, "'lora' twice"),
        ({"methods": [{"name": "x"}]}, "has no method"),
        ({"methods": [{"method": "lora", "sets": {}}]}, "unknown key 'sets'"),
        ({"methods": []}, "must be a list of at least one"),
        ({"methods": ["lora", {"method": "lora", "name": "twin"}]}, "are the same run in every option"),
        ({"methods": ["lora", {"method": "lora", "name": "t", "settings": {"initial_rank": 8}}]}, "the same run"),
        ({"tasks": ["digit"]}, "Unknown task 'digit'"),
        ({"tasks": ...}, "has no tasks"),
        ({"equal": ...}, "has no equal"),
        ({"equal": "rank"}, "Choose one of: final_rank, final_parameters, parameter_steps, time, none"),
        ({"equal": {"unit": "time", "tolerance": -1}}, "at least 0"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": 10**22}, "at most 1,000,000,000,000,000"),
        ({"seeds": [1, 1]}, "1 twice"),
        ({"seeds": [-1]}, "at least 0"),
        ({"seeds": "all"}, "give a number, a list"),
        ({"settings": {"seed": 3}}, "unknown option 'seed'"),
        ({"settings": {"steps": 0}}, "steps is 0"),
        ({"settings": {"steps": 1.5}}, "steps is 1.5"),
        ({"settings": {"rank": "many"}}, "lora · digits: initial_rank='many'"),
        ({"settings": {"batch_size": {"a": 1}}}, "an option takes one value"),
        ({"settings": {"data": "folder"}}, "brings its own model and data"),
        ({"reference": "adalora"}, "reference 'adalora' is no variant. Variants: lora; flexlora"),
        ({"margin": 0}, "must be above 0"),
        ({"methods": [{"method": "lora", "by_seed": {0: {}}}]}, "by_seed of lora lacks seed 1"),
    ],
)
def test_what_a_file_cannot_say(changes, says):
    assert says in refused(**changes)


def test_a_million_combinations_are_counted_before_anything_is_built():
    began = time.monotonic()
    axes = {"rank": list(range(1, 101)), "learning_rate": [0.001 * place for place in range(1, 101)]}
    message = refused(axes=axes, seeds=50)
    assert "1,000,000 runs" in message
    assert "the limit is 2,000" in message
    assert "--limit" in message
    assert "2,000,000,000,000 runs" in refused(seeds=10**12)
    assert time.monotonic() - began < 2
    assert len(plan(seeds=1500, limit=3000).runs()) == 3000


# --- YAML ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x [1]\nb: *x", "line 1: &x is an anchor"),
        ("a: *x", "line 1: *x is an alias"),
        ("&x a: *x", "anchor"),
        ("a: &a [b, *a]", "anchor"),
        ("a: 1\na: 2", "line 2: key 'a' stands there twice"),
        ("<<: {a: 1}", "merges"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: !secret 1", "could not determine a constructor"),
        ("a: 2026-01-01", "is a date"),
        ("a: .nan", "not a finite number"),
        ("a: .inf", "not a finite number"),
        ("a: 1e999", "not a finite number"),
        ("? [1, 2]\n: 3", "cannot be a key"),
        ("a: [1", "line"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: \x00", "no YAML"),
        ("[" * 100 + "]" * 100, "levels deep"),
        ("[" * 100_000, "levels deep"),
        ("a: " + "9" * 5000, "no YAML"),
        ("a" * (1 << 20) + ": 1", "characters; at most"),
    ],
)
def test_what_is_no_plain_yaml(text, says):
    with pytest.raises(FlexLoRAError) as caught:
        read_plain_yaml(text, "s.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s.yaml" in str(caught.value)


def test_numbers_are_read_as_people_write_them():
    assert read_plain_yaml("[1e-3, 5E-3, .5e1, 2, 0.1, -1e2, e3, 1e]", "s") == [
        1e-3,
        5e-3,
        5.0,
        2,
        0.1,
        -100.0,
        "e3",
        "1e",
    ]


_scalars = (
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", min_codepoint=32), max_size=8)
)  # fmt: skip
_lists = st.lists(_scalars, max_size=3)
_values = _scalars | _lists | st.dictionaries(st.text("abc", min_size=1), _scalars | _lists, max_size=3)


@given(_values)
def test_plain_data_survives_the_way_through_yaml(value):
    assert read_plain_yaml(json.dumps(value), "s") == value


@given(_values, st.sampled_from(sorted({*PLAIN, "axes", "settings", "tune", "within", "margin", "limit", "name"})))
def test_nothing_in_a_file_raises_anything_else(value, key):
    try:
        plan_study(parse_study({**PLAIN, key: value, "limit": 50} | ({"limit": value} if key == "limit" else {}), "s"))
    except FlexLoRAError as error:
        assert "\n" not in str(error)


def test_bad_files_exit_two_with_one_line_and_leave_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = yaml.safe_dump(PLAIN)
    cases = {
        "a: *a": "alias", "": "must be a mapping", good + "colour: 1\n": "unknown key", good + "limit: 3\n": "4 runs",
    }  # fmt: skip
    for text, says in cases.items():
        (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
        assert main(["s.yaml", "--json"]) == 2
        out, err = capsys.readouterr()
        assert says in json.loads(out)["error"]
        assert [line.startswith("error: ") for line in err.splitlines()] == [True]
    (tmp_path / "s.yaml").write_bytes(b"\xff\xfe\x00")
    assert main(["s.yaml"]) == 2
    assert main(["missing.yaml"]) == 2
    assert main([]) == 2
    (tmp_path / "s.yaml").write_text(good, encoding="utf-8")
    for words in (["--jobs", "0"], ["--limit", "-1"], ["--jobs", "two"], ["--out", "s.yaml"], ["--out", "."]):
        assert main(["s.yaml", *words]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


def test_a_dry_run_counts_and_makes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(PLAIN), encoding="utf-8")
    assert main(["s.yaml", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "variants": ["lora · digits", "flexlora · digits"],
        "runs": 4,
        "trials": 0,
    }
    assert len(list(tmp_path.iterdir())) == 1


# --- the search ---------------------------------------------------------------------------------------------------


TUNE = {"trials": 4, "learning_rate": {"low": 1e-4, "high": 1e-2}, "knobs": {"flexlora": {"initial_budget": [0, 4, 8]}}}


def test_every_variant_gets_as_many_trials_and_the_same_rates():
    found = plan(axes={"rank": [2, 4]}, within=["rank"], tune=TUNE)
    assert len(found.trials) == 4 * 4
    assert len({len(own) for own in found.chosen}) == 1
    rates = [[own["learning_rate"] for own in chosen] for chosen in found.chosen]
    assert all(own == rates[0] for own in rates)
    assert all(1e-4 < rate < 1e-2 for rate in rates[0])
    for trial in found.trials:
        assert not trial.job.loop.evaluate_test
        assert trial.seed not in found.study.seeds
    assert all(run.job.loop.evaluate_test for run in found.runs([own[0] for own in found.chosen]))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trials": 0}, "at least 1"),
        ({"trials": ...}, "has no trials"),
        ({"learning_rate": ...}, "has no learning_rate"),
        ({"learning_rate": {"low": 1e-2, "high": 1e-3}}, "no log range"),
        ({"learning_rate": {"low": 0, "high": 1e-3}}, "no log range"),
        ({"learning_rate": {"low": 1e-4, "high": 1e-3, "scale": "cubic"}}, "Choose one of: log, linear"),
        ({"learning_rate": {"lora": [1e-3]}}, "has no flexlora"),
        ({"learning_rate": {"lora": [1e-3], "flexlora": [1e-3], "lara": [1]}}, "unknown key 'lara'"),
        ({"learning_rate": [1e-3, 2e-3]}, "would try"),
        ({"seeds": [1]}, "is one of the study's"),
        ({"knobs": {"flexlora": {"initial_budget": [1], "interval": [2]}}}, "2 knobs"),
        ({"knobs": {"adalora": {"beta1": [0.8]}}}, "which is no method of this study"),
        ({"knobs": {"flexlora": {"beta1": [0.8]}}}, "unknown key 'beta1'"),
        ({"knobs": {"flexlora": {"initial_budget": [-3]}}}, "at least 0"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_what_a_search_cannot_be(changes, says):
    tune = {key: value for key, value in {**TUNE, **changes}.items() if value is not ...}
    assert says in refused(tune=tune)


def test_what_is_tuned_is_not_set_as_well():
    assert "sets learning_rate, which is tuned" in refused(tune=TUNE, settings={"learning_rate": 1e-3})
    own = {"method": "flexlora", "settings": {"initial_budget": 4}}
    assert "sets initial_budget, which is tuned" in refused(tune=TUNE, methods=["lora", own])


@given(st.integers(1, 40), st.integers(2, 9))
def test_points_are_spread_evenly(trials, values):
    rates = read_space({"low": 1e-4, "high": 1e-1}, "x", scale="log")
    knob = read_space(list(range(values)), "x", scale="linear")
    found = points(rates, knob, trials)
    assert len(found) == trials
    assert [rate for rate, _ in found] == sorted({rate for rate, _ in found})
    counts = [sum(value == own for _, value in found) for own in range(values)]
    # Van der Corput's sequence leaves no interval more than log2(n) + 2 points from its share.
    assert max(abs(count - trials / values) for count in counts) <= trials.bit_length() + 2


def test_a_range_of_whole_numbers_gives_whole_numbers():
    space = read_space({"low": 1, "high": 9}, "x", scale="linear")
    assert {type(space.at(random.Random(0).random())) for _ in range(9)} == {int}
    assert space.at(0.5) == 5


# --- equal budgets, before -----------------------------------------------------------------------------------------


def test_what_will_not_be_equal_is_told_before_anything_runs(tmp_path, capsys, monkeypatch):
    uneven = plan(methods=["lora", {"method": "lora", "name": "big", "settings": {"initial_rank": 12}}])
    told = expected_differences(uneven, uneven.runs())
    assert told == ["big has 12 directions a matrix in the end, 50 % above the 8 of lora (digits, seed 0)"]
    assert refusal(uneven.study.equal, told).endswith("equal: final_rank allows 0 %.")
    monkeypatch.chdir(tmp_path)
    content = {**PLAIN, "methods": ["lora", {"method": "lora", "name": "big", "settings": {"rank": 12}}]}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert main(["s.yaml"]) == 2
    assert "50 % above the 8 of lora" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


def test_a_tolerance_and_other_units():
    methods = ["lora", {"method": "lora", "name": "big", "settings": {"initial_rank": 9, "steps": 200}}]

    def count(**equal):
        own = plan(methods=methods, settings={"steps": 225}, equal=equal)
        return len(expected_differences(own, own.runs()))

    assert count(unit="final_rank") == 1
    assert count(unit="final_rank", tolerance=0.13) == 0
    assert count(unit="final_parameters", tolerance=0.1) == 1
    assert count(unit="parameter_steps") == 0
    assert count(unit="time") == 0
    assert count(unit="none") == 0


def test_only_what_a_job_can_know_is_estimated():
    def rank(method, **settings):
        return expected_budget(build_job("digits", method, settings=settings), "final_rank")

    assert rank("lora") == rank("flexlora") == rank("adalora") == rank("dylora") == rank("elalora") == 8
    assert rank("flexlora", direction="prune_only") is None
    assert rank("flexlora", direction="prune_only", initial_budget=0) == 8
    assert rank("sora") is rank("autolora") is rank("salora") is rank("lora", control="head_only") is None
    assert expected_budget(build_job("digits", "flexlora"), "final_parameters") is None


# --- the studies that come with the project --------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_bundled_studies_can_be_made(path):
    study = read_study(path)
    found = plan_study(study)
    assert study.name == path.stem
    runs = found.runs([own[0] for own in found.chosen] if study.tuning else None)
    assert expected_differences(found, runs) == []


def test_the_docs_name_every_key_and_every_unit_and_their_example_can_be_made():
    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in text] == []
    assert [unit for unit, allowed in TOLERANCES.items() if f"| `{unit}` |" not in text] == []
    for unit, allowed in TOLERANCES.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{unit}` |"))
        assert unit == "none" or row.endswith(f"| {100 * allowed:g} % |")
    example, search = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert f"`limit` | runs at most, {LIMIT:,} otherwise" in text
    content = read_plain_yaml(example, "docs")
    assert len(plan_study(parse_study(content, "docs")).runs()) == 48
    assert len(plan_study(parse_study({**content, **read_plain_yaml(search, "docs")}, "docs")).trials) == 6 * 8 * 2
