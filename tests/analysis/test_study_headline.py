"""The answer in one line, and a study read against another of its variants."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.statistics import Comparison
from analysis.study import Claim, claims, compare_study, headline, load_study, with_reference
from analysis.study.__main__ import main
from analysis.study.compare import Compared
from flexlora.errors import FlexLoRAError

SAMPLE = Path(__file__).resolve().parents[2] / "sample_runs" / "studies" / "four_ways"
NAN = float("nan")


@pytest.fixture(scope="module")
def study():
    return load_study(SAMPLE)


def one(variant: str, verdict: str, low: float, high: float, *, pairs: int = 8, moved: float = 5.0, **more) -> Compared:
    own = Comparison(pairs, (low + high) / 2, low, high, 0.2, NAN)
    told = {"task": "digits", "cell": "", "variant": variant, "method": "flexlora", "reference": "LoRA"}
    told |= {"metric": "test_accuracy", "lower_is_better": False, "n": pairs, "missing": 0, "mean": 0.5, "low": 0.4}
    told |= {"high": 0.6, "pairs": own, "adjusted_p": 0.2, "equivalent_p": None, "verdict": verdict, "moved": moved}
    return Compared(**{**told, "spent": {"parameter_steps": 1.0}, "needed": 7, **more})


def line(*compared: Compared, moved: float = 0.0) -> str:
    base = one("LoRA", "", NAN, NAN, moved=moved, pairs=8)
    said = [Claim("", own.verdict or "refused", own) for own in compared]
    return headline(said, [replace(base, pairs=None), *compared])


OPEN = one("A", "not told apart", -0.046, 0.001)
BETTER, WORSE = one("B", "better", 0.01, 0.03), one("C", "worse", -0.04, -0.02)
SAME = one("D", "no difference", -0.005, 0.004)


def test_nothing_compared_has_no_headline():
    assert headline([], []) == ""


def test_what_is_not_told_apart_could_be_better_or_worse():
    assert line(OPEN, SAME) == (
        "Nothing here shows that moving rank helps: A could be worse by 0.046 or better by 0.001 than LoRA."
    )
    # Of a loss, less is better.
    assert "A could be worse by 0.001 or better by 0.046" in line(replace(OPEN, lower_is_better=True))
    # Where neither moves, or both do, that is not what was asked.
    for own in (line(replace(OPEN, moved=0.0)), line(OPEN, moved=3.0)):
        assert own.startswith("Nothing here shows a gain over LoRA: A could be")


def test_an_interval_without_0_whose_test_says_chance_is_told_as_both():
    assert line(one("A", "not told apart", 0.002, 0.03)) == (
        "Nothing here shows that moving rank helps: A looks better than LoRA by 0.002 to 0.030, but the test does not "
        "tell it from chance (p 0.200)."
    )
    assert "A looks worse than LoRA by 0.002 to 0.030" in line(one("A", "not told apart", -0.03, -0.002))
    assert "A equals LoRA in every pair" in line(one("A", "not told apart", 0.0, 0.0))


def test_no_end_that_is_not_0_is_told_as_0():
    assert "worse by 0.0461 or better by 0.0004" in line(one("A", "not told apart", -0.0461, 0.0004))


def test_who_is_better_comes_first():
    assert line(BETTER) == "B is better than LoRA by 0.02."
    assert line(OPEN, SAME, WORSE, BETTER) == (
        "B is better than LoRA by 0.020; C is worse than LoRA by 0.030; 2 more are not better."
    )
    many = [replace(BETTER, variant=name) for name in "BEFG"]
    assert line(*many).endswith("E is better than LoRA by 0.02, 2 more are better.")


def test_who_is_worse_is_told_where_none_is_better():
    assert line(OPEN, WORSE) == "Nothing here shows that moving rank helps: C is worse than LoRA by 0.03."


def test_all_the_same_is_said_as_that():
    assert line(SAME) == "D makes no difference that matters against LoRA."
    assert line(SAME, SAME) == "None of the 2 variants differs from LoRA by as much as would matter."


def test_too_few_pairs_tell_nothing_apart():
    few = one("A", "not told apart", -0.04, 0.01, pairs=2)
    assert line(few, few) == "2 pairs cannot tell anything apart, however large: 7 are needed."
    assert line(replace(few, pairs=Comparison(1, 0.1, NAN, NAN, NAN, NAN))).startswith("One pair cannot tell")
    assert line(few, OPEN) == "Nothing here shows that moving rank helps: 2 pairs cannot tell A from LoRA."


def test_unequal_budgets_claim_nothing():
    assert line(replace(OPEN, verdict="")) == "Nothing is claimed here: the budgets are not equal."


def test_a_place_is_named_where_there_are_several():
    assert line(BETTER, replace(SAME, cell="rank 8")).startswith("B on digits is better than LoRA by ")


# --- another reference ------------------------------------------------------------------------------------------------


def test_against_another_variant_differences_turn_round_and_pairs_are_new(study):
    before = {one.variant: one for one in compare_study(study)}
    found = {one.variant: one for one in compare_study(with_reference(study, "FlexLoRA"))}
    assert {one.reference for one in found.values()} == {"FlexLoRA"}
    assert found["FlexLoRA"].pairs is None
    assert found["LoRA"].pairs.mean == -before["FlexLoRA"].pairs.mean
    assert found["random moves"].pairs.mean == pytest.approx(found["random moves"].mean - found["FlexLoRA"].mean)
    assert with_reference(study, "LoRA") is study
    assert study.summary["groups"][0]["reference"] == "LoRA"
    with pytest.raises(FlexLoRAError, match=r"No variant is called 'DoRA'\. There are: LoRA, FlexLoRA"):
        with_reference(study, "DoRA")


def test_budgets_are_measured_against_the_new_reference(study):
    # Ranks of 96, 100 and 104: within 5 % of the middle, not of each other.
    ranks = dict(zip(study.summary["groups"][0]["variants"], (100, 96, 104, 100), strict=True))
    rows = [{**row, "final_rank": ranks[row["variant"]]} for row in study.rows]
    loose = {**study.summary, "equal": {**study.summary["equal"], "tolerance": 0.05}}
    table = with_reference(replace(study, rows=rows, summary=loose), "FlexLoRA")
    assert not table.summary["equal"]["held"]
    assert (
        "random moves has 104 total rank in the end, 8.33 % above the 96 of FlexLoRA" in table.summary["equal"]["note"]
    )
    assert {claim.verdict for claim in claims(table, compare_study(table))} == {"refused"}


def test_the_command_takes_a_reference(tmp_path, capsys):
    folder = shutil.copytree(SAMPLE, tmp_path / "copy")
    assert main([str(folder), "--reference", "random moves", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {row["reference"] for row in report["comparisons"]} == {"random moves"}
    assert Path(report["md"]).read_text(encoding="utf-8").startswith("Nothing here shows a gain over random moves: ")
    assert main([str(folder), "--reference", "DoRA"]) == 2
    assert "No variant is called 'DoRA'" in capsys.readouterr().err
