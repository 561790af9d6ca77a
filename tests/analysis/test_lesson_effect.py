"""What lessons did: files of answers are read as written or refused, and the interval covers what it should."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.lessons.__main__ import main
from analysis.lessons.effect import COLUMNS, AnswersError, compare_groups, gain, read_answers, version_effect

HEAD = ",".join(COLUMNS)


def answers(code: str, before: int, after: int, version: str = "a", of: int = 8) -> str:
    rows = [
        f"{code},{phase},c{i},{int(i < right)},0,zero_impact={version}"
        for phase, right in (("before", before), ("after", after))
        for i in range(of)
    ]
    return "\n".join([HEAD, *rows]) + "\n"


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from("ab")), min_size=1, max_size=8))
def test_answers_are_read_as_they_were_given(given_answers):
    learners = read_answers(answers(f"c{i}", *own) for i, own in enumerate(given_answers))
    assert [one.gain for one in learners] == pytest.approx([(after - before) / 8 for before, after, _ in given_answers])
    found = gain(learners)
    assert found and found.n == len(given_answers)
    groups = [[(q - p) / 8 for p, q, version in given_answers if version == name] for name in "ab"]
    effect = version_effect(learners, "zero_impact")
    assert (effect is None) == (not all(groups))
    if effect:
        assert effect.mean == pytest.approx(np.mean(groups[0]) - np.mean(groups[1]))
        assert effect.counts == (len(groups[0]), len(groups[1]))


def test_the_last_file_of_a_reader_counts_and_one_quiz_alone_is_no_gain():
    once, again = answers("x", 1, 2), answers("x", 1, 6)
    assert read_answers([once, again])[0].gain == pytest.approx(5 / 8)
    half = "\n".join(answers("y", 3, 0).splitlines()[:9])
    assert read_answers([half])[0].gain is None and gain(read_answers([half])) is None


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", f"{HEAD}\nx,before,c,yes,0,\n", f"{HEAD}\nx,before\n", f"{HEAD}\nx,before,c,1,0,odd\n"]
)
def test_what_is_no_file_of_answers_is_refused_in_words(text):
    with pytest.raises(AnswersError, match=r"\w+ \w+"):
        read_answers([text])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(7)
    found = [compare_groups(draw.normal(0.2, 0.1, 12), draw.normal(0.0, 0.3, 9)) for _ in range(300)]
    covered = np.mean([effect.low <= 0.2 <= effect.high for effect in found])
    assert 0.91 <= covered <= 0.985


def test_two_groups_are_compared_the_same_from_both_sides():
    one, other = [0.5, 0.25, 0.375, 0.625], [0.125, 0.25, 0.0]
    here, there = compare_groups(one, other), compare_groups(other, one)
    assert (here.mean, here.low, here.high) == pytest.approx((-there.mean, -there.high, -there.low))
    assert 0 < here.p < 0.2 and compare_groups(one, one).p == 1.0
    assert math.isnan(compare_groups([1.0], other).low)
    with pytest.raises(ValueError, match="each group"):
        compare_groups([], other)


def test_the_command_tells_gain_and_versions(tmp_path, capsys):
    for i, (before, after, version) in enumerate([(2, 6, "a"), (3, 7, "a"), (2, 3, "b"), (4, 5, "b")]):
        (tmp_path / f"{i}.csv").write_text(answers(str(i), before, after, version))
    files = [str(path) for path in sorted(tmp_path.glob("*.csv"))]
    assert main(["effect", *files, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["readers"] == 4 and told["versions"]["zero_impact"]["mean"] == pytest.approx(3 / 8)
    assert main(["effect", *files]) == 0
    assert "version a gained +0.375 more than b" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["effect"], ["effect", "nothing.csv"], ["page"], ["page", "--out", "no/folder/x.html"], ["other"]]
)
def test_bad_input_is_one_line(arguments, capsys):
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    ["a,b\n", f"code,phase,concept,right,chosen,versions\n{'x' * 200_000},before,c,1,a,\n",
     "code,phase,concept,right,chosen,versions\nq,sometime,c,1,a,\n"],
    ids=["header", "field", "phase"],
)  # fmt: skip
def test_what_is_no_file_of_answers_is_told(text):
    with pytest.raises(AnswersError):
        read_answers([text])


def test_a_gain_needs_the_same_questions_both_times():
    head = "code,phase,concept,right,chosen,versions\n"
    one, other = read_answers([head + "q,before,x,0,a,\nq,after,y,1,a,\nr,before,x,0,a,\nr,after,x,1,a,\n"])
    assert one.gain is None and other.gain == 1
