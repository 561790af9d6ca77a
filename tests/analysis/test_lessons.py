"""The lessons: every claim holds for its run, every number is filled, and no step opens on its answer."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from analysis.lessons import LESSONS, lesson_book, material, missing
from analysis.lessons import spectrum as first_lesson
from analysis.lessons.book import filled_lesson, lesson_source, reading_minutes
from analysis.lessons.material import RUN, Material
from analysis.lessons.quiz import PHASES, RULES, SHOWN, quiz
from analysis.lessons.words import filled, sentence, unbroken
from analysis.player_modules import FOLDER

SAMPLES = Path(__file__).parents[2] / "sample_runs"
STEPS = [(name, step["key"]) for name in LESSONS for step in lesson_source(name)["steps"]]
USED_IN_CLAIMS = {function.__name__: function for function in (abs, all, any, len, max, min, round, set, str, sum)}
TOLD_BY_NOBODY = ("0.5", "0.0000001", "81.7 with 1.3", "88.1 and FlexLoRA 89.1 with 1.9", "(0.01)")
"""Decimals that are no result: a goal, an option that is wrong, the paper's own table, a unit."""


@pytest.fixture(scope="module")
def lab() -> Material:
    assert missing(SAMPLES) == []
    return material(SAMPLES)


@pytest.fixture(scope="module")
def facts(lab):
    return {name: found(lab) for name, found in LESSONS.items()}


@pytest.fixture(scope="module")
def book(lab):
    return lesson_book(lab)


def source_of(name, key):
    return next(step for step in lesson_source(name)["steps"] if step["key"] == key)


def names_in(claim: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(claim)) if isinstance(node, ast.Name)} - set(USED_IN_CLAIMS)


@pytest.mark.parametrize(("name", "key"), STEPS)
def test_what_a_step_claims_holds_for_its_run(name, key, facts):
    claims = source_of(name, key)["claims"]
    assert claims
    for claim in claims:
        # What it names beside its own loop variables are the run's facts: it could be false.
        assert names_in(claim) & set(facts[name]), claim
        assert eval(claim, {"__builtins__": {}, **USED_IN_CLAIMS, **facts[name]}), claim


def test_a_claim_that_is_false_is_noticed(facts):
    assert not eval("low_entropy > high_entropy", {"__builtins__": {}, **facts["1_spectrum"]})


def texts_of(part):
    if isinstance(part, str):
        return [part]
    items = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [text for item in items for text in texts_of(item)]


@pytest.mark.parametrize("name", LESSONS)
def test_no_measured_number_is_written_into_a_text(name):
    for step in lesson_source(name)["steps"]:
        shown = {key: value for key, value in step.items() if key != "claims"}
        for text in texts_of(shown):
            written = re.sub(r"\{[^}]*\}", "", text)
            for allowed in TOLD_BY_NOBODY:
                written = written.replace(allowed, "")
            assert not re.search(r"\d[.,]\d|\d{3}", written), text


def test_another_run_gives_other_numbers(lab):
    other = Material(lambda _: lab.run(RUN), lab.study)
    same = filled_lesson("1_spectrum", first_lesson.facts(other), 1)
    from analysis.runs import load_run

    digits = load_run(SAMPLES / "digits-flexlora-paper")
    told = filled_lesson("1_spectrum", first_lesson.facts(Material(lambda _: digits, lab.study)), 1)
    pairs = list(zip(same["steps"], told["steps"], strict=True))
    assert sum(one["text"] != two["text"] for one, two in pairs) >= 5


def test_everything_is_filled_and_the_book_is_json(book):
    text = json.dumps(book, allow_nan=False)
    assert json.loads(text) == book
    for part in texts_of(book["lessons"]):
        assert not re.search(r"\{\w+|^\$", part), part
    assert filled({"a": "$x", "b": ["{y:.1f}"]}, {"x": [1], "y": 2.0}) == {"a": [1], "b": ["2.0"]}
    with pytest.raises(KeyError):
        filled("{nothing}", {})


def test_six_lessons_fit_into_45_minutes_and_each_into_9(book):
    minutes = [reading_minutes(lesson) for lesson in book["lessons"]]
    assert len(minutes) == 6
    assert sum(minutes) <= 45 and max(minutes) <= 9 and min(minutes) > 3


def test_the_quiz_takes_the_minutes_that_it_says(book):
    said = re.search(r"about (\w+) minutes", (FOLDER / "learn/quiz.js").read_text(encoding="utf-8"))[1]
    for phase in PHASES:
        steps = [{"title": "", "text": [one["text"]], "ask": one} for one in book["quiz"][phase]]
        assert ["three", "four", "five"].index(said) + 3 == round(reading_minutes({"steps": steps}))


def test_reading_counts_every_word_that_a_step_shows():
    part = {"title": "one", "text": ["two three"], "formula": "four", "stage": {"figure": {"title": "five six"}}}
    ask = {"question": "seven", "options": ["eight", "nine ten"]}
    reveal = {"text": ["eleven"], "formula": "twelve", "stage": {"figure": {"title": "thirteen"}}}
    assert reading_minutes({"steps": [{**part, "ask": ask, "reveal": reveal}]}) == pytest.approx(13 / 200 + 20 / 60)
    assert reading_minutes({"about": "one two", "steps": [part]}) == pytest.approx(8 / 200)


def test_a_step_asks_what_can_be_answered_and_does_not_open_on_its_answer(book):
    keys = [(lesson["key"], step["key"]) for lesson in book["lessons"] for step in lesson["steps"]]
    assert len(keys) == len(set(keys))
    for lesson in book["lessons"]:
        for step in lesson["steps"]:
            check_ask(step)


def check_ask(step):
    ask, stage = step["ask"], step["stage"]
    assert step["reveal"]["text"], step["key"]
    if ask["kind"] == "choose":
        assert len(set(ask["options"])) == len(ask["options"]) > ask["right"] >= 0, step["key"]
    elif ask["kind"] == "select":
        assert ask["answers"] and stage["view"].get(ask["field"]) not in ask["answers"], step["key"]
    elif ask["kind"] == "dial":
        low, high = ask["goal"]
        reached = [low <= frame["value"] <= high for frame in stage["dial"]["frames"]]
        assert any(reached) and not reached[stage["dial"]["start"]], step["key"]
    else:
        assert ask["kind"] == "draw"
        assert len(ask["x"]) == len(ask["truth"]) > ask["given"]
        assert all(ask["low"] <= value <= ask["high"] for value in ask["truth"]), step["key"]
        assert ask.get("mark", ask["x"][0]) in ask["x"]
        assert set(ask["said"]) == {"right", "wrong"}
        assert "tolerance" in ask or (ask["by_jump"] and ask["x"].index(ask["mark"]) + 1 < len(ask["x"])), step["key"]


def test_the_options_of_a_lesson_are_not_always_right_at_the_same_place(book):
    for lesson in book["lessons"]:
        places = [step["ask"]["right"] for step in lesson["steps"] if step["ask"]["kind"] == "choose"]
        assert len(set(places)) > 1, lesson["key"]


def test_the_quiz_asks_the_same_concepts_twice_with_other_words_and_numbers(book):
    before, after = (book["quiz"][phase] for phase in PHASES)
    assert [one["concept"] for one in before] == [two["concept"] for two in after] == list(RULES)
    assert len(before) == 8
    steps = {(lesson["key"], step["key"]) for lesson in book["lessons"] for step in lesson["steps"]}
    taught = set()
    for one, two in zip(before, after, strict=True):
        assert one["text"] != two["text"]
        assert tuple(one["teaches"]) in steps
        taught.add(one["teaches"][0])
        for question in (one, two):
            assert 0 <= question["right"] < len(question["options"]) == len(set(question["options"]))
    assert len(taught) >= 4


def test_right_options_of_the_quiz_are_found_by_the_package(book):
    assert RULES["ends"]({"A": 0.2, "B": 0.9, "C": 0.5}, ["BA", "CA", "AB"]) == 2
    assert RULES["cut"]([0.3, -0.2, 0.1], [0.1, 0.3, -0.2]) == 2 and RULES["cut"]([0.3, 0.2], [0.2, 0.3]) == 0
    assert [RULES["joined"](rank, [[True, True], [False, True], [False, False]]) for rank in (2, 9)] == [1, 1]
    assert RULES["next_pruned"](0.9, {"A": 9, "B": 2}) == 1 and RULES["next_pruned"](0.9, {"A": 4, "B": 4}) == 2
    assert RULES["early"](12, 20, [[0, 0.3], [0.85, 1]]) == 1 and RULES["early"](12, 20, [[0.9, 1], [0, 0.5]]) == 0
    with pytest.raises(ValueError, match="True"):
        RULES["early"](12, 20, [[0, 0.5]])
    assert [RULES["apart"](gaps, [[0, 1], [1, 0]]) for gaps in ([0.1, 0.7], [0.7, 0.1])] == [0, 1]
    assert [RULES["shown"](own) for own in (["better", SHOWN], ["worse", "not told apart"])] == [1, 2]
    with pytest.raises(ValueError, match="one method"):
        RULES["shown"]([SHOWN, SHOWN])
    rivals, ranks = ["LoRA", "random moves", "random moves"], [1, 1, 1]
    assert RULES["helps"](rivals, [[0.1, 0.2], [-0.1, 0.9], [0.01, 0.02]], ranks) == 2
    assert RULES["helps"](rivals, [[0.1, 0.2], [0.1, 0.2], [0.3, 0.4]], [1, 1, 0.5]) == 1
    for lows in ([0.1, -0.1, -0.1], [0.1, 0.1, 0.1]):
        with pytest.raises(ValueError, match="values to unpack"):
            RULES["helps"](rivals, [[low, 1] for low in lows], ranks)
    assert {question["right"] for questions in book["quiz"].values() for question in questions} >= {0, 1, 2, 3}


def test_no_question_of_the_quiz_is_guessed_by_the_length_of_its_options(book):
    """Nor by always taking the same place: of eight, each way finds at most four."""
    for phase in PHASES:
        questions = book["quiz"][phase]
        for pick in (max, min):
            found = [
                pick(range(len(one["options"])), key=lambda i, one=one: len(one["options"][i])) for one in questions
            ]
            assert sum(own == one["right"] for own, one in zip(found, questions, strict=True)) <= 4, (phase, pick)
        assert max(Counter(one["right"] for one in questions).values()) <= 4


def test_the_right_place_moves_between_before_and_after(book):
    """Who learned only the place of an option by heart gains little."""
    places = [[question["right"] for question in book["quiz"][phase]] for phase in PHASES]
    assert sum(one == two for one, two in zip(*places, strict=True)) <= 2


def test_a_lesson_with_a_reading_version_says_everything_in_sentences(book):
    """Where nothing is asked, something else stands for a task, and no answer begins with what answers a question."""
    for lesson in book["lessons"]:
        for step in lesson["steps"] if lesson.get("versions") else ():
            assert step["ask"]["kind"] == "choose" or step["ask"]["instead"].endswith((".", "?")), step["key"]
            assert re.match(r"[A-Z][a-z]* \w", step["reveal"]["text"][0]), step["key"]
            assert not re.match("From|Between|Higher|Lower|Yes|No", step["reveal"]["text"][0]), step["key"]


def test_the_quiz_follows_the_runs(book, facts):
    found = {**facts["5_moving"], **facts["6_better"]}
    other = {
        **found,
        "flex_verdict": SHOWN,
        "cut_verdict": "better",
        "gap": 0.5,
    }
    changed = [
        one["concept"] for one, two in zip(quiz(found)["before"], quiz(other)["before"], strict=True) if one != two
    ]
    assert changed == ["apart", "shown"]


def test_a_formula_breaks_where_it_is_written_to(book):
    """A line on a phone holds 34 signs of its type."""
    parts = [part for lesson in book["lessons"] for step in lesson["steps"] for part in (step, step["reveal"])]
    formulas = [part["formula"] for part in parts if "formula" in part]
    assert len(formulas) >= 6
    assert all(len(line) <= 34 for formula in formulas for line in formula.splitlines()), formulas


def test_no_line_breaks_within_a_number_and_its_sign():
    text = unbroken("With λ = 0, b₀ = 2 it took 0.79 % ± 0.02 of 3 × 4, and rank = what it had.")
    assert text.replace("\u00a0", "~") == "With λ~=~0, b₀~=~2 it took 0.79~% ±~0.02 of 3~×~4, and rank = what it had."


def test_a_sentence_begins_with_a_large_letter_and_a_symbol_stays():
    assert [sentence(text) for text in ("layer 1", "λ = 0", "b(t) falls", "p and q", "")] == [
        "Layer 1",
        "λ = 0",
        "b(t) falls",
        "p and q",
        "",
    ]
