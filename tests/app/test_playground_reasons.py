"""Why a matrix lost, gained or stayed: the words say what the event saw."""

from __future__ import annotations

import pytest

from tests.app.playground_script import NODE, answers

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the playground's modules here; it is not installed")

NAMES = [f"layer {place} mix" for place in range(5)]


def event(measure="spectral_entropy", **own) -> dict:
    scores = [0.9, 0.4121, 1, 0.5, 0.5]
    return {
        "step": 40, "budget": 2, "measure": measure, "importances": scores, "decided": scores, "refused": [],
        "prune": [{"matrix": 1}], "extend": [{"matrix": 2}], "ranks": [4, 3, 5, 4, 1], "rules": [], **own,
    }  # fmt: skip


def why(told: dict, matrix: int) -> str:
    return answers(["ui/reasons", "reasonWords", told, matrix, 7, "smallest direction"])[0]


@pytest.mark.parametrize(
    "told, matrix, words",
    [
        (event(), 1, "entropy .412, lowest of 5: lost its smallest direction."),
        (event(), 2, "entropy 1, highest of 5: gained one."),
        (event(), 0, "entropy .900, 2nd highest of 5: stayed, for only the lowest lost and the highest gained."),
        (event(prune=[]), 3, "entropy .500, 2nd lowest of 5 with 1 more: stayed, for only the highest gained."),
        (event(prune=[], extend=[]), 1, "entropy .412, lowest of 5: stayed, as all did."),
        (
            event(refused=[[4, "rank_1"]]),
            4,
            "entropy .500 (at rank 1 by definition), 2nd lowest of 5 with 1 more: "
            "stayed, for its only direction is never taken.",
        ),
        (
            event(decided=[0.9, 0.4121, 1, 0.5, None]),
            4,
            "a single direction has no entropy to compare, so it took no part.",
        ),
        (
            event("inverted", importances=[-0.9, -0.4], decided=[-0.9, -0.4], prune=[{"matrix": 0}], ranks=[3, 5]),
            0,
            "entropy .900, highest of 2: lost its smallest direction.",
        ),
        (
            event(decided=[0.9, 0.4121, 1, 0.5, 0.2], prune=[{"matrix": 1}], refused=[[4, "rank_1"]]),
            1,
            "entropy .412, 2nd lowest of 5, lowest of those that can lose: lost its smallest direction.",
        ),
        (
            event(decided=[0.9, 0.4121, 1, 0.5, None], extend=[{"matrix": 0}], refused=[[2, "at_max_rank"]]),
            0,
            "entropy .900, 2nd highest of 4 with a score, highest of those that can gain: gained one.",
        ),
        (
            event("inverted", importances=[-0.9, -0.4], decided=[-0.9, -0.4], refused=[[0, "rank_1"]], ranks=[1, 5]),
            1,
            "entropy .400, lowest of 2: lost its smallest direction.",
        ),
        (event("random"), 1, "number drawn .412, lowest of 5: lost its smallest direction."),
        (event("oracle", decided=[0, -1, 1, 0, 0]), 1, "had 4 and needs 7: lost its smallest direction."),
        (
            event("adalora_rule", extend=[{"matrix": 1}]),
            1,
            "lost its smallest direction and gained one. "
            "Directions of least sensitivity go; owners of the most sensitive gain.",
        ),
        (event("still", prune=[], extend=[]), 0, "stayed: this rule moves nothing."),
    ],
)
def test_a_reason_says_what_decided(told, matrix, words):
    assert why(told, matrix) == words


def test_cells_show_what_decided_where_a_rule_has_scores():
    undefined = event(importances=[0.9, None, 1, 0.5, 1], decided=[0.9, None, 1, 0.5, None])
    assert answers(["ui/reasons", "scoreWords", undefined]) == [[".900", "–", "1", ".500", "–"]]
    assert answers(["ui/reasons", "scoreWords", event("oracle")]) == [[]]


def test_a_guess_is_told_what_it_was_worth():
    two = event(prune=[{"matrix": 1}, {"matrix": 3}])
    assert answers(*(["ui/reasons", "guessWords", two, guess, NAMES] for guess in (1, 3, 0))) == [
        "You were right, it was the first to lose: ",
        "You were nearly right, layer 1 mix came first: ",
        "Not your pick, layer 1 mix lost first: ",
    ]


def test_small_numbers_are_said_to_be_those_of_an_event():
    measures = ("spectral_entropy", "random", "inverted", "frobenius_norm", "still", "oracle")
    told = answers(*(["ui/reasons", "scoredWords", event(measure, step=160)] for measure in measures))
    assert told[0] == told[2] == "Small numbers: entropy at the event of step 160."
    assert told[1] == "Small numbers: number drawn at the event of step 160."
    assert told[3].endswith(" at the event of step 160.") and told[4:] == ["", ""]
