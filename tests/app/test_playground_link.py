"""The playground's address holds what is shown: it comes back, and what cannot be is told and left out."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from flexlora.tally import count_moves
from tests.app.playground_script import NODE, answers

LESSONS = Path(__file__).parents[2] / "app/learn/lessons"
TABS = ["race", "spectrum", "zero", "starts", "cut", "price"]

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the playground's modules here; it is not installed")


def first() -> dict:
    return answers(["ui/choices", "firstChoices"])[0]


def read(text: str) -> dict:
    return answers(["ui/link", "readLink", text, TABS])[0]


def drawn(rng: random.Random) -> dict:
    """Choices as somebody might have made them."""
    layers = rng.choice([1, 2, 6])
    painted = ",".join(rng.choice(["1", "4", "16", "3:0.5", "2:0"]) for _ in range(3 * layers))
    shared = {"layers": layers, "seed": rng.randrange(2**32), "noise": rng.choice([0, 0.25]), "profile": "geometric"}
    own = [
        {"policy": rng.choice(["random", "oracle", "still", "true_ranks", "nuclear_norm"])},
        {"schedule": "points", "points": [[30, 4], [120, 1.5]], "initial_budget": rng.randrange(1, 20)},
        {"preset": "reference", "regularization_weight": 1e-5, "prune_rule": "magnitude"},
        {"warmup_steps": 3, "interval": 7, "new_direction": "all_zero", "direction": "both"},
        {},
    ]
    scenario = rng.choice(["agree", "uniform", painted])
    return {"scenario": scenario, "shared": shared, "a": rng.choice(own), "b": rng.choice(own)}


def test_choices_come_back():
    rng = random.Random(3)
    shown = [{"show": "race", "values": [], "choices": drawn(rng)} for _ in range(30)]
    shown += [{"show": "zero", "values": [1, 0.25, -3], "choices": first()}]
    texts = answers(*(["ui/link", "linkOf", one, TABS] for one in shown))
    assert len(set(texts)) > 25
    for one, found in zip(shown, answers(*(["ui/link", "readLink", f"#{text}", TABS] for text in texts)), strict=True):
        assert found == {"shown": one, "notes": []}


def test_a_link_to_an_experiment_is_its_race_and_shows_its_question():
    (experiments,) = answers(["ui/experiments", "all"])
    found = answers(*(["ui/link", "readLink", f"#try={one['key']}", TABS] for one in experiments))
    assert [one["shown"]["choices"] for one in found] == [one["choices"] for one in experiments]
    assert all(one["notes"] == [] for one in found)
    written = answers(*(["ui/link", "linkOf", one["shown"], TABS] for one in found))
    again = answers(*(["ui/link", "readLink", f"#{text}", TABS] for text in written))
    asked = answers(*(["ui/experiment_of", "experimentOf", one["shown"]["choices"]] for one in again))
    assert [one["key"] for one in asked] == [one["key"] for one in experiments]
    assert answers(["ui/experiment_of", "experimentOf", first()]) == [None]
    assert "nothing" in read("try=this")["notes"][0] and read("try=this")["shown"]["choices"] == first()


def test_links_of_lessons_to_races_name_experiments_that_exist():
    (experiments,) = answers(["ui/experiments", "all"])
    texts = [path.read_text(encoding="utf-8") for path in LESSONS.glob("*.yaml")]
    tried = [key for text in texts for key in re.findall(r"playground#try=(\w+)", text)]
    assert {"nothing", "fail"} <= set(tried) <= {one["key"] for one in experiments}


def test_an_empty_link_is_a_first_visit():
    shown = {"show": "race", "values": [], "choices": first()}
    assert read("") == read("#") == {"shown": shown, "notes": []}
    assert answers(["ui/link", "linkOf", shown, TABS]) == [""]


@pytest.mark.parametrize(
    "text, told",
    [
        ("show=nowhere", "nowhere"),
        ("show=%3Cb%3E", "There are"),
        ("values=1,x", "numbers"),
        ("values=", "numbers"),
        ("values=1e99", "numbers"),
        ("values=" + ",".join("1" * 40), "numbers"),
        ("seed=-1", "at least 0"),
        ("seed=1.5", "not a whole number"),
        ("steps=1e9", "at most"),
        ("layers=30", "at most 8"),
        ("a.policy=nobody", "one of spectral_entropy, "),
        ("b.points=1:2,3", "knots"),
        ("truth=1,2,3", "matrices"),
        ("truth=banana", "Unknown scenario"),
        ("truth=" + "1," * 900, "not a scenario"),
        ("a.interval=300", "No room"),
        ("c.interval=3", "nothing that can be set"),
        ("__proto__=1", "nothing that can be set"),
    ],
)
def test_what_cannot_be_is_told_and_the_defaults_stay(text, told):
    found = read(text)
    assert found["shown"] == {"show": "race", "values": [], "choices": first()}
    assert len(found["notes"]) == 1 and told in found["notes"][0] and len(found["notes"][0]) < 500


def test_of_two_only_the_bad_one_is_left_out():
    found = read("seed=7&truth=1,2,3&a.initial_budget=9")
    assert found["shown"]["choices"]["shared"] == {"seed": 7}
    assert found["shown"]["choices"]["scenario"] == first()["scenario"]
    assert found["shown"]["choices"]["a"]["initial_budget"] == 9
    assert len(found["notes"]) == 1


def test_moves_are_told_in_words():
    names = answers(*(["ui/words", "matrixName", 3 * place] for place in range(6)))
    moves = [{"matrix": place} for place in range(6)]
    cases = [
        {"step": 40, "prune": [moves[2]], "extend": [moves[0]]},
        {"step": 50, "prune": moves[:2], "extend": [moves[3], moves[3]]},
        {"step": 60, "prune": moves[:5], "extend": []},
        {"step": 70, "prune": [], "extend": []},
    ]
    assert answers(*(["ui/words", "eventWords", case, names, "smallest direction"] for case in cases)) == [
        "step 40: layer 2 mix lost its smallest direction; layer 0 mix gained one",
        "step 50: layer 0 mix and layer 1 mix lost their smallest direction; layer 3 mix (2 times) gained one",
        "step 60: layer 0 mix, layer 1 mix, layer 2 mix and 2 more lost their smallest direction",
        "step 70: nothing moved",
    ]


def test_one_direction_taken_and_one_given_are_one_move_as_the_lab_counts():
    counts = [[], [[5, 5]], [[1, 0], [0, 1], [2, 2]], [[4, 0], [3, 1]]]
    assert answers(*(["ui/ledger", case] for case in counts)) == [
        count_moves(sum(pruned for pruned, _ in case), sum(extended for _, extended in case)) for case in counts
    ]


def test_ranks_that_are_nearer_without_a_lower_loss_are_told():
    ranks = {"ranks": [2, 1], "trueRanks": [1, 2]}

    def ended(misplaced, loss):
        return {"way": {"misplaced": [9, misplaced]}, "last": {"testLoss": loss, **ranks}, "lastMove": 40}

    cases = [[(6, 0.0091), (9, 0.009)], [(9, 0.01), (6, 0.0099)], [(6, 0.005), (9, 0.01)], [(6, 0.01), (6, 0.01)]]
    told = answers(
        *(
            ["ui/verdict", "verdictWords", [*(ended(*own) for own in case), ended(0, 0.0048)], ["one", "other"]]
            for case in cases
        )
    )
    assert "The ranks of A are nearer to the true ones, its loss is not lower; with the true ranks" in told[0]
    assert "The ranks of B are nearer to the true ones, its loss is not clearly lower; with" in told[1]
    assert not any("nearer" in words for words in told[2:])


def test_where_more_is_given_than_needed_directions_are_counted_and_not_halved():
    assert answers(
        ["ui/words", "evenly", [2, 1], [1, 2]],
        ["ui/words", "evenly", [2, 2], [1, 2]],
        ["ui/words", "wrongWords", 25, True],
        ["ui/words", "wrongWords", 25.5, False],
    ) == [True, False, "25 directions misplaced", "51 directions too many or too few"]


def test_two_who_follow_one_rule_are_told_apart_by_what_differs():
    own = {"policy": "still", "prune_rule": "signed", "interval": 20, "points": []}
    other = {**own, "prune_rule": "magnitude", "points": []}
    cases = (["ui/words", "ownWords", *pair] for pair in ((own, other), (other, own), (own, own)))
    assert answers(*cases) == ["prune rule: signed", "prune rule: magnitude", ""]


def test_a_race_that_asks_for_a_guess_waits():
    experiments = answers(["ui/experiments", "experiments"])[0]
    assert all(bool(one.get("waits")) == ("Guess" in one["look"]) for one in experiments)
    assert any(one.get("waits") for one in experiments)


def test_every_experiment_can_be_trained_and_linked():
    experiments = answers(["ui/experiments", "experiments"])[0]
    assert len({one["key"] for one in experiments}) == len(experiments) > 5
    assert answers(*(["ui/choices", "trouble", one["choices"]] for one in experiments)) == [None] * len(experiments)
    texts = answers(*(["ui/link", "linkOf", {"show": "race", "values": [], **one}, TABS] for one in experiments))
    for one, text in zip(experiments, texts, strict=True):
        assert read(text)["shown"]["choices"] == one["choices"] and read(text)["notes"] == []


def test_a_first_visit_shows_what_the_docs_say():
    """docs/playground.md, What a first visit shows: seed 0."""
    chance = next(one for one in answers(["ui/experiments", "experiments"])[0] if one["key"] == "chance")["choices"]
    assert chance["scenario"] == first()["scenario"] and first()["b"]["policy"] == "still"
    settings = answers(*(["ui/choices", "settingsOf", chance, side] for side in "ab"))
    entropy, random_moves = answers(*(["engine/training", one] for one in settings))
    assert [round(value, 2) for value in (*entropy[:3], *random_moves[:2])] == [0.38, 0.25, 0.75, 0.38, 0.43]


def test_make_it_fail_costs_loss():
    fail = next(one for one in answers(["ui/experiments", "experiments"])[0] if one["key"] == "fail")["choices"]
    settings = answers(*(["ui/choices", "settingsOf", fail, side] for side in "ab"))
    entropy, still = answers(*(["engine/training", one] for one in settings))
    assert entropy[1] > still[1] == still[0], "further from the truth than it began"
    assert [round(found[3], 4) for found in (entropy, still)] == [0.0244, 0.0201]
