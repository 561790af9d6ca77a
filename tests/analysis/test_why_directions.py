"""The Why? card of methods that score directions: its numbers against the raw log."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from analysis.runs import load_run
from analysis.why import why_cards
from flexlora.run_log import read_run

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"
METHODS = ("adalora", "elalora", "l1ra", "sora", "salora", "autolora", "dora_dynamic")
ORDERED = ("adalora", "dora_dynamic", "elalora")


class RawRun:
    """A log as its files say."""

    def __init__(self, folder):
        self.log = read_run(folder)
        self.method = self.log.header["method"]
        self.names = [row["name"] for row in self.log.header["matrices"]]
        lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        self.events = [line for line in lines if line["record"] == "event"]

    def values(self, step):
        """λ and gate of every stored direction of every matrix."""
        record, count = self.log.spectra_steps.tolist().index(step), len(self.names)
        bounds = self.log.offsets[record * count : (record + 1) * count + 1]
        gates = np.ones_like(self.log.values) if self.log.gates is None else self.log.gates
        return [(self.log.values[a:b].astype(float), gates[a:b] > 0) for a, b in itertools.pairwise(bounds)]

    def scores(self, event):
        if "scores" in event:
            return [np.array(event["scores"][name], float) for name in self.names]
        return [values for values, _ in self.values(event["step"])]

    def cut(self, event):
        """The score that separates, by what each method's source says."""
        if self.method == "elalora":
            return max((move["score"] for move in event["prune"]), default=None)
        return {"sora": 0.0, "salora": -math.log(11)}.get(self.method, event.get("threshold"))

    def pool(self, event):
        scores = self.scores(event)
        if self.method == "elalora":
            scores = [np.sort(own)[: self.log.header["config"]["pool"]] for own in scores]
        return np.sort(np.concatenate(scores))


def soft(move):
    return bool({"masked", "revived"} & set(move["rules"]))


def verdict_of(lost, got):
    words = [("off" if soft(move) else "pruned") for move in lost] + [
        ("back" if soft(move) else "extended") for move in got
    ]
    return " and ".join(dict.fromkeys(words)) or "stayed"


def place_of(raw, event, m, lost, got):
    """(place, end, of how many): of the lowest that went, else the highest that came, else the lowest of all."""
    scores, everybody = raw.scores(event), raw.pool(event)
    score_of = lambda move: move.get("score", move.get("singular_value"))  # noqa: E731
    if lost:
        lowest = min(map(score_of, lost))
        return 1 + sum(one < lowest for one in everybody), "lowest", len(everybody)
    if got and raw.method == "l1ra":
        losers = {move["matrix"] for move in event["prune"]}
        least = [own.min() for name, own in zip(raw.names, scores, strict=True) if name not in losers]
        return 1 + sum(one > scores[m].min() for one in least), "highest", len(least)
    if got:
        highest = max(map(score_of, got))
        return 1 + sum(one > highest for one in everybody), "highest", len(everybody)
    return 1 + sum(one < scores[m].min() for one in everybody), "lowest", len(everybody)


def margins_of(raw, event, m, lost, got, slots):
    """Distance of every direction that counts to what it would have had to pass; direction → distance."""
    cut, own, everybody = raw.cut(event), raw.scores(event)[m], raw.pool(event)
    if cut is None or (got and not lost and not soft(got[0])):
        return {}
    scores = dict(enumerate(own))
    moved = [*lost, *(move for move in got if soft(move))]
    if moved:
        scores = {slots.index(move["slot"]): move.get("score", own[slots.index(move["slot"])]) for move in moved}
    near = 1e-7 * abs(cut)
    above = [one for one in everybody if one > cut + near]
    found = {}
    for place, score in scores.items():
        if score > cut + near or raw.method in ("salora", "autolora"):
            found[place] = abs(score - cut)
        elif raw.method in ORDERED and above:
            found[place] = above[0] - score
    return found


def noise_of(raw, number, m, place, slot):
    """Changes of one direction's score over the last five pairs of events, since the matrix's storage last changed."""
    own = [
        [move for move in event["prune"] + event["extend"] if move["matrix"] == raw.names[m]] for event in raw.events
    ]
    first = max(0, number - 5)
    for index in range(first, number):
        if "restarted" in raw.events[index]["rules"] or not all(map(soft, own[index])):
            first = index + 1
    return [
        abs(raw.scores(raw.events[index + 1])[m][place] - raw.scores(raw.events[index])[m][place])
        for index in range(first, number)
        if slot not in [move["slot"] for move in own[index]]
    ]


@pytest.mark.parametrize(("method", "stride"), [(method, 1 if method == "autolora" else 5) for method in METHODS])
def test_every_number_of_a_direction_card_is_what_the_raw_log_gives(method, stride):
    folder = SAMPLES / f"digits-{method}"
    raw, run = RawRun(folder), load_run(folder)
    slots = [list(range(len(values))) for values, _ in raw.values(0)]
    seen = set()
    for number, event in enumerate(raw.events):
        if number % stride == stride - 1 or number == 0:
            cards = why_cards(run, number)
            json.dumps(cards, allow_nan=False)
            for m, card in enumerate(cards):
                check_card(raw, number, m, card, slots[m])
                seen.add(card["verdict"])
        for half in ("prune", "extend"):
            for move in event[half]:
                own = slots[raw.names.index(move["matrix"])]
                if not soft(move):
                    (own.remove if half == "prune" else own.append)(move["slot"])
                    own.sort()
    assert seen == {"pruned"} if method == "autolora" else len(seen) > 1


def check_card(raw, number, m, card, slots):
    event, name = raw.events[number], raw.names[m]
    lost, got = ([move for move in event[half] if move["matrix"] == name] for half in ("prune", "extend"))
    where = f"{name}, event {number + 1}"
    lines = {line["key"]: line for line in card["lines"] if line["key"] not in ("direction", "new_direction")}
    own = raw.scores(event)[m]
    assert card["verdict"] == verdict_of(lost, got), where
    assert card["alternatives"] == [] and "directions" in card["alternatives_note"]
    assert lines["importance"]["value"] == event["importance"][event["measure"]][m]
    low, high, count = lines["importance"]["text"].replace(" to ", " ").replace(" over ", " ").split()[:3]
    assert (float(low), float(high), int(count)) == (
        pytest.approx(own.min(), rel=6e-3), pytest.approx(own.max(), rel=6e-3), len(own),
    ), where  # fmt: skip
    place, end, of = place_of(raw, event, m, lost, got)
    told = lines["place"]
    counted = "" if place == 1 else told["text"].split()[0] + " "
    assert (told["value"], told["text"]) == (place, f"{counted}{end} of {of}"), where
    assert counted[:-3] == ("" if place == 1 else str(place)) and told["text"] in card["headline"], where
    cut = raw.cut(event)
    assert lines["threshold"]["value"] == (cut if cut is None else pytest.approx(cut)), where
    check_margin(raw, number, m, lines, margins_of(raw, event, m, lost, got, slots), slots)
    assert lines["budget"]["value"] == event["budget"]
    for part in (event["budget"], f"{len(event['prune'])} went, {len(event['extend'])} came"):
        assert str(part) in lines["budget"]["text"], where
    assert (str(event.get("target_rank")) in lines["budget"]["text"]) == ("target_rank" in event), where
    values, on = raw.values(event["step"])[m]
    assert lines["rank"]["value"] == on.sum() - len(lost) + len(got), where
    check_moves(card, lost, got, values, on, slots, where)
    rules = [rule for move in lost + got for rule in move["rules"]]
    rules += ["restarted"] if "restarted" in event["rules"] else []
    assert [row["rule"] for row in card["rules"]] == list(dict.fromkeys(rules)), where


def check_margin(raw, number, m, lines, margins, slots):
    where = f"{raw.names[m]}, event {number + 1}"
    value = lines["margin"]["value"]
    if not margins:
        assert value is None and lines["ratio"]["value"] is None, where
        return
    place = min(margins, key=lambda one: margins[one])
    assert value == pytest.approx(margins[place], rel=1e-6, abs=1e-15), where
    assert float(lines["margin"]["text"].split()[0]) == pytest.approx(value, rel=6e-3), where
    changes = noise_of(raw, number, m, place, slots[place])
    if len(changes) < 3:
        assert lines["noise"]["value"] is None and f"seen: {len(changes)}, needed: 3" in lines["noise"]["detail"], where
        return
    noise = median(changes)
    assert lines["noise"]["value"] == pytest.approx(noise), where
    assert f" {len(changes)} changes over the last 5" in lines["noise"]["detail"]
    assert float(lines["noise"]["text"].split()[0]) == pytest.approx(noise, rel=6e-3), where
    if noise:
        assert lines["ratio"]["value"] == pytest.approx(value / noise), where
        clear = "gone either way" if value < noise else "narrow" if value < 3 * noise else "clear of the noise"
        assert clear in lines["ratio"]["text"], where


def check_moves(card, lost, got, values, on, slots, where):
    told = [line for line in card["lines"] if line["key"] == "direction"]
    assert len(told) == len(lost), where
    for line, move in zip(told, lost, strict=True):
        assert line["text"].startswith(f"slot {move['slot']}, λ = "), where
        energy = (values[on] ** 2).sum()
        assert line["value"] == pytest.approx(move["singular_value"] ** 2 / energy, rel=1e-6), where
        assert move["singular_value"] == pytest.approx(values[slots.index(move["slot"])]), where
        if "score" in move:
            assert float(line["detail"].split()[1]) == pytest.approx(move["score"], rel=6e-3, abs=1e-300), where
    came = [line for line in card["lines"] if line["key"] == "new_direction"]
    assert [line["value"] for line in came] == [move["slot"] for move in got], where


@pytest.mark.parametrize("method", ["adalora", "dora_dynamic", "sora", "salora"])
def test_the_threshold_on_the_card_separates_what_is_on_from_what_is_off(method):
    raw, run = RawRun(SAMPLES / f"digits-{method}"), load_run(SAMPLES / f"digits-{method}")
    on = [gates.copy() for _, gates in raw.values(0)]
    for number, event in enumerate(raw.events):
        for half, value in (("prune", False), ("extend", True)):
            for move in event[half]:
                on[raw.names.index(move["matrix"])][move["slot"]] = value
        cut = next(line for line in why_cards(run, number)[0]["lines"] if line["key"] == "threshold")["value"]
        if cut is None:
            assert all(own.all() for own in on)
            continue
        for own, scores in zip(on, raw.scores(event), strict=True):
            near = np.abs(scores - cut) <= 1e-7 * abs(cut)
            assert ((scores > cut) == own)[~near].all()
