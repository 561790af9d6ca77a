"""What may happen to a class: functions of its state, and back from JSON without a loss."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classroom.attempts import Attempts, Rate
from classroom.board import Board, Entry, ranked
from classroom.codes import LETTERS, Codes, digest, make_codes, read_codes
from classroom.error import ClassError
from classroom.progress import noted, standings
from classroom.state import (
    ClassState,
    answered,
    asked,
    capped,
    compared,
    joined,
    led,
    next_version,
    progressed,
    removed,
    seen_by,
    turned,
)
from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from jobs.caps import Caps, refused_size
from runs.store import plain


def show_board(state: ClassState, metric: str, steps: int, anonymous: bool) -> ClassState:
    held = {"task": "digits", "metric": metric, "steps": steps, "rank": 8, "anonymous": anonymous}
    return compared(state, Board.of(held) if steps else None)


KEYS = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
NAMES = st.text(max_size=60)
MOVES = st.one_of(
    st.tuples(st.just(joined), st.tuples(KEYS, NAMES, st.floats(0, 2e9))),
    st.tuples(st.just(removed), st.tuples(KEYS)),
    st.tuples(st.just(led), st.tuples(st.booleans(), st.text("abz-", max_size=9), st.dictionaries(NAMES, NAMES))),
    st.tuples(st.just(asked), st.tuples(NAMES, st.lists(NAMES, max_size=10))),
    st.tuples(st.just(answered), st.tuples(KEYS, st.integers(-1, 4), st.integers(-1, 9))),
    st.tuples(
        st.just(progressed),
        st.tuples(KEYS, st.fixed_dictionaries({"lesson": NAMES, "step": st.integers(0, 9) | NAMES, "version": NAMES})),
    ),
    st.tuples(st.just(capped), st.tuples(st.builds(Caps, st.integers(1, 9), st.integers(1, 9)))),
    st.tuples(st.just(show_board), st.tuples(NAMES, st.integers(0, 99), st.booleans())),
)


def after(moves) -> ClassState:
    """The class after all moves that it takes; what it refuses is said in one line."""
    state = ClassState()
    for move, given_ in moves:
        try:
            new = move(state, *given_)
        except FlexLoRAError as error:
            assert len(str(error).splitlines()) == 1
            continue
        state = next_version(state, new) if new != state else state
    return state


@given(st.lists(MOVES, max_size=25))
def test_a_class_comes_back_from_its_file_as_it_was(moves):
    state = after(moves)
    assert ClassState.of(json.loads(json.dumps(state.to_dict()))) == state


@given(st.lists(MOVES, max_size=25))
def test_whatever_happened_names_are_different_and_votes_are_of_members_choices(moves):
    state = after(moves)
    names = [member.name.casefold() for member in state.members.values()]
    assert len(set(names)) == len(names) and all(
        1 <= len(name) <= 60 and name.isprintable() for name in names if name.isascii()
    )
    for poll in state.polls:
        assert sum(poll.counts) == len(poll.votes)
    assert sum(poll.open for poll in state.polls) <= 1
    assert state.shown <= state.version


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"schema": 1},
        {"schema": 2},
        {**ClassState().to_dict(), "members": []},
        {**ClassState().to_dict(), "lead": 3},
    ],
)
def test_what_is_no_class_is_said_in_one_line(held):
    with pytest.raises(ClassError) as error:
        ClassState.of(held)
    assert len(str(error.value).splitlines()) == 1


def class_of(*names: str) -> ClassState:
    state = joined(ClassState(), "leader", "Leader", 0.0, leads=True)
    for name in names:
        state = joined(state, name, name, 1.0)
    return state


def test_the_second_anna_is_told_apart_and_who_comes_back_keeps_the_lead():
    state = class_of("x")
    state = joined(joined(state, "p", "Anna", 2.0), "q", " anna\n", 3.0)
    assert [state.members[key].name for key in "pq"] == ["Anna", "anna (2)"]
    state = joined(state, "leader", "Somebody", 9.0)
    assert state.members["leader"].leads and state.members["leader"].joined_unix_s == 0.0


@pytest.mark.parametrize(
    "name",
    ["", "  \n ", "x" * 41, None, 3, ["a"], "\u202e\u0000", "\u200b", "\u3164", "\u061c", "\U000e0041", "\u0301\u0301"],
)
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ClassError, match="name"):
        joined(ClassState(), "a", name, 0.0)


def test_marks_that_turn_what_follows_are_left_out_of_a_name():
    assert joined(ClassState(), "a", "A\u202ennA\x07 👩\u200d🔬", 0.0).members["a"].name == "AnnA 👩\u200d🔬"


@pytest.mark.parametrize("sign", [*"\u200b\u200d\u00ad\u061c\u2060\u3164\ufe0f\u034f", "\U000e0041", "\U000e0100"])
def test_signs_that_show_nothing_make_no_second_leader(sign):
    state = joined(ClassState(), "a", "Leader", 0.0, leads=True)
    for name in (f"Leader{sign}", f"Lea{sign}der", f"{sign}Leader"):
        assert joined(state, "b", name, 0.0).members["b"].name == "Leader (2)"


def test_one_vote_each_that_can_change_until_the_poll_is_closed():
    state = asked(class_of("a", "b"), "Which?", ["one", "two"])
    state = answered(answered(answered(state, "a", 1, 0), "b", 1, 1), "a", 1, 1)
    assert state.polls[0].counts == [0, 2]
    closed = turned(state, 1, open=False)
    with pytest.raises(ClassError, match="closed"):
        answered(closed, "a", 1, 0)
    with pytest.raises(ClassError, match="no such poll"):
        answered(state, "a", 2, 0)
    assert removed(state, "a").polls[0].counts == [0, 1]
    both = asked(turned(closed, 1, open=True), "And?", ["x", "y"])
    assert [poll.open for poll in both.polls] == [False, True]


@pytest.mark.parametrize("choice", [2, -1, "0", 0.0, None, True, [0]])
def test_a_vote_for_what_is_no_choice_is_refused(choice):
    with pytest.raises(ClassError, match="whole number"):
        answered(asked(class_of("a"), "Which?", ["one", "two"]), "a", 1, choice)


@pytest.mark.parametrize(
    ("question", "choices"),
    [("", ["a", "b"]), ("x" * 10_000, ["a", "b"]), ("Q", ["a"]), ("Q", ["a", "A"]), ("Q", "ab"), ("Q", ["a", 3])],
)
def test_a_poll_that_nobody_could_answer_is_refused(question, choices):
    with pytest.raises(ClassError):
        asked(class_of(), question, choices)


def test_counts_are_the_leaders_until_they_are_shown():
    state = asked(class_of("a", "b"), "Which?", ["one", "two"])
    voted = next_version(state, answered(state, "a", 1, 0))
    assert seen_by(voted, "b")["poll"]["counts"] is None and seen_by(voted, "leader")["poll"]["counts"] == [1, 0]
    assert (voted.version, voted.shown) == (1, 0), "nobody but the leader need be told of it"
    shown = next_version(voted, turned(voted, 1, revealed=True))
    assert seen_by(shown, "b")["poll"]["counts"] == [1, 0] and (shown.version, shown.shown) == (2, 2)
    assert (seen_by(shown, "a")["poll"]["vote"], seen_by(shown, "b")["poll"]["vote"]) == (0, None)


def test_the_bar_counts_members_and_no_leader_however_often_one_joined():
    state = class_of("a", "b")
    twice = joined(state, "leader again", "Leader", 0.0, leads=True)
    assert seen_by(twice, "leader again")["members"] == seen_by(twice, "a")["members"] == 2


@pytest.mark.parametrize(
    ("page", "query"),
    [("../x", {}), ("a" * 41, {}), (None, {}), ("train", []), ("train", {"a": 1}), ("", {"a": "x" * 401}),
     ("", {str(n): "" for n in range(31)})],
)  # fmt: skip
def test_the_leader_is_at_an_address_of_a_page(page, query):
    with pytest.raises(ClassError):
        led(class_of(), True, page, query)


def test_each_move_of_the_leader_has_a_number_and_standing_still_has_none():
    state = led(class_of(), True, "", {"run": "a", "step": "3"})
    assert state.lead.number == 1 and led(state, True, "", {"run": "a", "step": "3"}) == state
    assert led(state, True, "", {"run": "a", "step": "4"}).lead.number == 2


def told(lesson="Rank", step=1, right=None, version="1"):
    return {"lesson": lesson, "step": step, "right": right, "version": version}


def test_progress_counts_members_steps_and_right_answers():
    anna = noted(noted({}, told()), told(step=2, right=False))
    ben = noted(noted(noted({}, told()), told(step=2, right=False)), told(step=2, right=True))
    (standing,) = standings([anna, ben, {}])
    assert (standing.begun, standing.steps, standing.asked["2"], standing.right["2"]) == (2, {"1": 2, "2": 2}, 2, 1)
    again = noted(ben, told(version="2"))
    assert again["Rank"].steps == {"1": None}, "another version of a lesson begins anew"
    assert noted(ben, told(step=2))["Rank"].steps["2"] is True, "who opens a step again has answered it"
    assert noted({}, told(version=None))["Rank"].version == ""


@pytest.mark.parametrize(
    "bad",
    [{}, told(lesson=None), told(lesson="x" * 10_000), told(lesson=["Rank"]), told(step=-1), told(step=1.5),
     told(step=True), told(right="yes"), told(version=1.5)],
)  # fmt: skip
def test_progress_that_is_none_is_refused(bad):
    with pytest.raises(ClassError):
        noted({}, bad)


def test_progress_has_an_end():
    progress = {}
    for step in range(200):
        progress = noted(progress, told(step=step))
    with pytest.raises(ClassError):
        noted(progress, told(step=200))
    assert noted(progress, told(step=7, right=True))["Rank"].steps["7"] is True


def entry(owner, run, result, **other):
    held = {"method": "lora", "task": "digits", "metric": "test accuracy", "steps": 60, "rank": 8}
    return Entry(owner, run, **{**held, **other}, result=result)


BOARD = Board("digits", "test accuracy", 60, 8)


def test_the_board_has_each_members_best_run_at_that_budget_and_ties_share_a_place():
    entries = [
        entry("a", "a1", 0.5), entry("a", "a2", 0.9), entry("b", "b1", 0.9), entry("c", "c1", 0.7),
        entry("c", "c2", 0.99, steps=61), entry("c", "c3", 0.99, rank=16), entry("c", "c4", 0.99, task="words"),
        entry("d", "d1", 1.0), entry("c", "c5", float("nan")), entry("b", "b2", 0.1, metric="test loss"),
    ]  # fmt: skip
    places = ranked(BOARD, entries, ["a", "b", "c"])
    assert [(place.number, place.entry.run) for place in places] == [(1, "a2"), (1, "b1"), (3, "c1")]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=12))
def test_a_loss_is_better_when_it_is_lower(results):
    board = Board("digits", "test loss", 60, 8)
    entries = [entry(owner, f"r{place}", value, metric="test loss") for place, (owner, value) in enumerate(results)]
    places = ranked(board, entries, "abc")
    best = {owner: min(value for other, value in results if other == owner) for owner, _ in results}
    assert [place.entry.result for place in places] == sorted(best.values())
    assert all(place.number == 1 + sum(value < place.entry.result for value in best.values()) for place in places)


@pytest.mark.parametrize("held", [{}, {"task": "digits", "metric": "m", "steps": "60", "rank": 8}, {"task": 3}])
def test_a_board_of_nothing_is_refused(held):
    with pytest.raises(ClassError):
        Board.of(held)


def test_jobs_above_the_caps_are_refused_by_what_is_too_much():
    caps = Caps(steps=100, rank=8)
    assert refused_size(caps, build_job("digits", "flexlora", steps=100)) is None
    assert "101 steps" in str(refused_size(caps, build_job("digits", "flexlora", steps=101)))
    large = build_job("digits", "lora", steps=60, settings={"initial_rank": 9})
    assert "9 directions" in str(refused_size(caps, large))
    for name in ("steps", "rank", "study_runs", "study_steps"):
        for value in (0, -1, "9", True, 1.5, 10**7):
            with pytest.raises(FlexLoRAError):
                Caps.of({name: value})


def test_codes_are_kept_for_their_user_only_and_the_token_not_at_all(tmp_path):
    codes, token = make_codes(tmp_path, "School")
    path = tmp_path / ".class" / "codes.json"
    assert path.stat().st_mode & 0o777 == 0o600 and token not in path.read_text()
    assert read_codes(tmp_path) == codes and codes.leads(token) and set(codes.code) <= set(LETTERS)
    typed = codes.code.lower()
    assert codes.opens(f" {typed[:3]} {typed[3:]}") and codes.opens(f"{typed[:3]}-{typed[3:]}")
    for wrong in ("", codes.code[:-1], codes.code + "A", token[1:], "é" * 6, "\ud800"):
        assert not codes.opens(wrong) and not codes.leads(wrong)
    path.write_text("{")
    with pytest.raises(FlexLoRAError, match="--new-codes"):
        read_codes(tmp_path)


@given(st.text())
def test_a_code_opens_to_nothing_but_itself(typed):
    assert Codes("x", "ABCDEF", digest("t")).opens(typed) == (
        "".join(typed.upper().split()).replace("-", "") == "ABCDEF"
    )


def test_wrong_codes_wait_an_address_by_itself_and_all_together():
    now = [0.0]
    attempts = Attempts(Rate(3, 2.0), Rate(5, 1.0), lambda: now[0])
    for _ in range(3):
        assert attempts.wait_s("10.0.0.1") == 0
        attempts.failed("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == 2.0 and attempts.wait_s("10.0.0.2") == 0
    now[0] += 1.99
    assert attempts.wait_s("10.0.0.1") > 0
    now[0] += 0.02
    assert attempts.wait_s("10.0.0.1") == 0
    for number in range(5):
        attempts.failed(f"10.1.0.{number}")
    assert attempts.wait_s("10.2.0.1") > 0, "many addresses together are slowed, too"


def test_a_network_of_ipv6_counts_as_one_address():
    attempts = Attempts(Rate(1, 60.0), Rate(100, 1.0), lambda: 0.0)
    attempts.failed("2001:db8::1")
    assert attempts.wait_s("2001:db8::2") > 0 and attempts.wait_s("2001:db8:1::2") == 0


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, json.dumps({"name": "C", "code": "", "leader": "0" * 64}),
     json.dumps({"name": "C", "code": "ABCDEF", "leader": "\u00e9"}),
     json.dumps({"name": "C", "code": "\ud800", "leader": "0" * 64})],
)  # fmt: skip
def test_damaged_codes_say_how_new_ones_are_made(tmp_path, text):
    make_codes(tmp_path, "C")
    (tmp_path / ".class" / "codes.json").write_text(text, encoding="utf-8")
    with pytest.raises(FlexLoRAError, match="--new-codes makes new ones"):
        read_codes(tmp_path)


def test_an_empty_code_never_opens():
    assert not Codes("C", "", "0" * 64).opens("") and not Codes("C", "", "\u00e9").leads("x")


@pytest.mark.parametrize("words", [":material/home:", ":streamlit:", ":smile:", "at 10:30:45, :material/how_to_vote:"])
def test_words_between_colons_stay_words(words):
    shown = plain(words).replace("\\", "")
    assert re.search(r":[\w+-]+(/\w+)?:", shown) is None and shown.replace("\u2060", "") == words
