"""The Why? card of FlexLoRA's runs: every number on it is computed again from the raw log, in another way."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from analysis.runs import load_run
from analysis.why import why_card, why_cards
from flexlora.run_log import read_run

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"
NUMBER = re.compile(r"(?<!\w)-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def numbers(text, labels):
    """Numbers in a text, matrix labels left out: [(as written, value)]."""
    for label in sorted(labels, key=len, reverse=True):
        text = text.replace(label, "@")
    return [(found, float(found)) for found in NUMBER.findall(text)]


def same_numbers(text, expected, labels, where):
    found = numbers(text, labels)
    assert len(found) == len(expected), f"{where}: {text!r} should hold {expected}"
    for (written, value), wanted in zip(found, expected, strict=True):
        mantissa, _, power = written.partition("e")
        unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
        assert abs(value - wanted) <= 0.5001 * unit, f"{where}: {text!r} should hold {expected}"
        assert abs(value - wanted) <= 0.05 * abs(wanted) + 1e-300, f"{where}: {text!r} is too coarse for {expected}"


class RawRun:
    """A log as its files say, and what a card should hold, by definition and one matrix at a time."""

    def __init__(self, folder):
        log = read_run(folder)
        self.config = log.header["config"]
        self.rows = log.header["matrices"]
        self.names = [row["name"] for row in self.rows]
        self.labels = [f"layer {row['layer']} {row['module_type']}" for row in self.rows]
        lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        self.events = [line for line in lines if line["record"] == "event"]
        self.lam, self.sigma = {}, {}
        count = len(self.names)
        for record, step in enumerate(log.spectra_steps.tolist()):
            bounds = log.offsets[record * count : (record + 1) * count + 1]
            self.lam[step] = [log.values[a:b].astype(float) for a, b in itertools.pairwise(bounds)]
            start = int(log.true_index[record])
            if start >= 0:
                shift = start - bounds[0]
                self.sigma[step] = [
                    log.true_values[a + shift : b + shift].astype(float) for a, b in itertools.pairwise(bounds)
                ]

    def measured(self, event, key):
        """Importance by its definition where λ or σ gives it, else as logged."""
        epsilon = self.config["epsilon"] if key == "spectral_entropy" else 0.0
        arrays = (self.sigma if key == "true_spectral_entropy" else self.lam)[event["step"]]
        if key in ("sensitivity", "random"):
            return event["importance"][key]
        return [DEFINITIONS[key](np.abs(values), epsilon) for values in arrays]

    def ruled(self, event, key, own):
        ranks = [len(values) for values in self.lam[event["step"]]]
        used = [math.inf if value is None and self.config["all_zero"] == "first" else value for value in own]
        if key not in ("spectral_entropy", "true_spectral_entropy") or self.config["rank_one"] == "one":
            return used
        others = [value for value, rank in zip(own, ranks, strict=True) if value is not None and rank > 1]
        alone = {"zero": 0.0, "undefined": None, "first": math.inf}
        alone["median"] = median(others) if others else None
        return [
            alone[self.config["rank_one"]] if rank == 1 and value is not None else kept
            for rank, value, kept in zip(ranks, own, used, strict=True)
        ]

    def order(self, event, used):
        """Places of the defined matrices, lowest score first."""
        drawn = list(range(len(used)))
        if self.config["plan"] == "disjoint":
            drawn = np.random.default_rng([self.config["seed"], event["step"]]).permutation(len(used)).tolist()
        return sorted((m for m in drawn if used[m] is not None), key=lambda m: round(used[m], 9))

    def able(self, event, order):
        """Who could give, lowest first, and who could get, highest first."""
        ranks = [len(values) for values in self.lam[event["step"]]]
        most = [min(row["in_features"], row["out_features"]) for row in self.rows]
        if self.config["max_rank"]:
            most = [min(limit, self.config["max_rank"]) for limit in most]
        since = self.protected(event)
        gives = [m for m in order if ranks[m] > 1 and m not in since]
        return gives, [m for m in reversed(order) if ranks[m] < most[m]]

    def protected(self, event):
        window = self.config["protection"] * self.config["interval"]
        last = {}
        for earlier in self.events:
            if earlier["step"] < event["step"]:
                last |= {self.names.index(move["matrix"]): earlier["step"] for move in earlier["extend"]}
        return {m: step for m, step in last.items() if window and event["step"] - step <= window}

    def plan(self, event, used):
        """(pruned, extended) of the rules in words: pairs while strictly lower, or both ends without a look."""
        order = self.order(event, used)
        gives, gets = self.able(event, order)
        budget, direction = event["budget"], self.config["direction"]
        if direction != "both" or self.config["plan"] == "overlapping":
            return (
                set(gives[:budget]) if direction != "extend_only" else set(),
                set(gets[:budget]) if direction != "prune_only" else set(),
            )
        pruned, extended = set(), set()
        for low, high in list(zip(gives, gets, strict=False))[:budget]:
            if round(used[low], 9) >= round(used[high], 9):
                break
            pruned.add(low)
            extended.add(high)
        return pruned, extended

    def noise(self, number, key):
        """Per matrix its changes less the shared one, and all of them, over the last five pairs."""
        own = [[] for _ in self.names]
        for before, after in itertools.pairwise(self.events[max(0, number - 5) : number + 1]):
            moved = {move["matrix"] for move in before["prune"] + before["extend"]}
            pairs = zip(before["importance"][key], after["importance"][key], strict=True)
            change = {
                m: new - old
                for m, (old, new) in enumerate(pairs)
                if old is not None and new is not None and self.names[m] not in moved
            }
            if len(change) > 1:
                for m, value in change.items():
                    own[m].append(abs(value - median(change.values())))
        return own


def shares(values):
    return values**2 / (values**2).sum()


def entropy(values, epsilon=0.0):
    if not np.isfinite(values).all() or not values.any():
        return None
    if len(values) == 1:
        return 1.0
    return -sum(s * math.log(s + epsilon) for s in shares(values).tolist() if s + epsilon) / math.log(len(values))


def norm(values):
    return math.sqrt((values**2).sum())


DEFINITIONS = {
    "spectral_entropy": entropy,
    "true_spectral_entropy": entropy,
    "nuclear_norm": lambda values, _: values.sum(),
    "frobenius_norm": lambda values, _: norm(values),
    "energy_gated_entropy": lambda values, _: None if entropy(values) is None else entropy(values) * norm(values),
    "effective_rank": lambda values, _: (
        None if entropy(values) is None else math.exp(entropy(values) * math.log(len(values)))
    ),
}


def nearer(position, count):
    return min((position + 1, "lowest"), (count - position, "highest"), key=lambda place: place[0])


class Expected:
    """Every number that one card should hold: line → (value, numbers in the text, numbers in the detail)."""

    def __init__(self, raw, number, m, shared):
        self.raw, self.number, self.m = raw, number, m
        self.event, self.own, self.used, self.order, self.gives, self.gets, self.changes = shared
        self.pruned, self.extended = (
            [raw.names.index(move["matrix"]) for move in self.event[half]] for half in ("prune", "extend")
        )
        self.lam = raw.lam[self.event["step"]][m]
        self.place = None
        if m in self.order:
            position, count = self.order.index(m), len(self.order)
            ends = {"lowest": position + 1, "highest": count - position}
            in_one = (m in self.pruned) != (m in self.extended)
            end = ("lowest" if m in self.pruned else "highest") if in_one else nearer(position, count)[1]
            self.place = ends[end], end

    def margin(self):
        """(half, distance, cut), None where there is no such thing."""
        m, used = self.m, self.used
        if used[m] is None:
            return None, None, None
        for half, taken, able in (("prune", self.pruned, self.gives), ("extend", self.extended, self.gets)):
            if m in taken:
                rest = [other for other in able if other not in taken]
                return half, self.distance(rest[0]) if rest else None, self.finite(taken[-1])
        found = [
            (half, self.distance(taken[-1]), self.finite(taken[-1]))
            for half, taken, able in (("prune", self.pruned, self.gives), ("extend", self.extended, self.gets))
            if taken and m in able and self.event["budget"]
        ]
        return min(found, key=lambda one: math.inf if one[1] is None else one[1], default=(None, None, None))

    def distance(self, other):
        pair = self.finite(self.m), self.finite(other)
        return None if None in pair else abs(pair[0] - pair[1])

    def finite(self, m):
        return None if self.used[m] is None or math.isinf(self.used[m]) else self.used[m]

    def formula(self):
        values = np.sort(np.abs(self.lam))[::-1]
        if not np.isfinite(values).all():
            return [int((~np.isfinite(values)).sum()), len(values)]
        if self.event["measure"] == "nuclear_norm":
            return values[:6].tolist()
        if not values.any():
            return [0]
        if len(values) == 1:
            return [1, 1, 0, 1]
        epsilon = [self.raw.config["epsilon"]] if self.raw.config["epsilon"] else []
        return [1, len(values), *epsilon, *shares(values)[:6].tolist()]

    def lines(self):
        m, event, raw = self.m, self.event, self.raw
        half, distance, cut = self.margin()
        own, used = self.own[m], self.used[m]
        found = {"importance": (own, [own] if own is not None else [], self.formula())}
        if own != used:
            known = self.finite(m)
            found["used"] = (known, [known] if known is not None else [], [])
        missing = len(raw.names) - len(self.order)
        unplaced = [missing, len(raw.names)] if missing else []
        if self.place is None:
            found["place"] = (None, [], unplaced)
        else:
            place, end = self.place
            same = sum(round(self.used[other], 9) == round(used, 9) for other in self.order) - 1
            before = self.order[: place - 1] if end == "lowest" else self.order[::-1][: place - 1]
            able = self.gives if end == "lowest" else self.gets
            passed = sum(other not in able for other in before)
            detail = [same] * bool(same) + [passed] * bool(passed) + unplaced
            found["place"] = (place, [place, len(self.order)], detail)
        cuts = [self.finite(taken[-1]) for taken in (self.pruned, self.extended) if taken]
        found["threshold"] = (cut, [cut] * (cut is not None), [one for one in cuts if one is not None])
        budget = event["budget"]
        none = [0] if distance is None and used is not None and not budget else []
        found["margin"] = (distance, none if distance is None else [distance], [])
        noise = self.noise_line(found)
        found["ratio"] = (None, [], [])
        if distance is not None and noise:
            found["ratio"] = (distance / noise, [distance / noise], [])
        detail = [raw.config["initial_budget"]]
        found["budget"] = (budget, [budget, len(self.pruned), len(self.extended)], detail)
        self.directions(found)
        before = len(self.lam)
        after = before - self.pruned.count(m) + self.extended.count(m)
        moved = m in self.pruned or m in self.extended
        found["rank"] = (after, [before, after] if moved else [before], [])
        return found

    def noise_line(self, found):
        own, every = self.changes[self.m], [one for each in self.changes for one in each]
        if not every:
            found["noise"] = (None, [], [])
            return None
        if len(own) >= 3:
            value, detail = median(own), [len(own), 5, median(every)]
        else:
            value, detail = median(every), [len(every), 5, len(own)]
        found["noise"] = (value, [value], detail)
        return value

    def directions(self, found):
        name = self.raw.names[self.m]
        for move in self.event["prune"]:
            if move["matrix"] == name:
                value = move["singular_value"]
                assert np.float32(value) in self.lam.astype(np.float32)
                share = value**2 / (self.lam**2).sum() if self.lam.any() else None
                told = [move["slot"], value] + ([] if share is None else [100 * share])
                found["direction"] = (share, told, [])
        for move in self.event["extend"]:
            if move["matrix"] == name:
                starts = [0] if self.raw.config["new_direction"] == "zero_impact" else []
                found["new_direction"] = (move["slot"], [move["slot"]], starts)

    def headline(self):
        if self.place is None:
            return [1] if self.own[self.m] is not None else [0] if not self.lam.any() else []
        budget = self.event["budget"]
        refused = self.raw.names[self.m] in self.event["refused"]
        moved = self.m in self.pruned or self.m in self.extended
        told = [self.place[0], len(self.order)]
        if refused and not moved:
            return told
        return [*told, budget] if budget else [0, *told]


def check_event(raw, run, number):
    """Compare all cards of one event; return their verdicts."""
    event = raw.events[number]
    key = event["measure"]
    own = raw.measured(event, key)
    used = raw.ruled(event, key, own)
    order = raw.order(event, used)
    shared = (event, own, used, order, *raw.able(event, order), raw.noise(number, key))
    others = {}
    for measure in event["importance"]:
        scores = raw.measured(event, measure)
        ruled = raw.ruled(event, measure, scores)
        others[measure] = scores, raw.order(event, ruled), raw.plan(event, ruled)
    cards = why_cards(run, number)
    json.dumps(cards, allow_nan=False)
    for m, card in enumerate(cards):
        expected = Expected(raw, number, m, shared)
        check_card(card, expected, where := f"{raw.labels[m]}, event {number + 1}")
        check_alternatives(card, others, expected, where)
    return {card["verdict"] for card in cards}


def check_card(card, expected, where):
    raw = expected.raw
    assert (card["event"], card["events"]) == (expected.number + 1, len(raw.events))
    assert (card["step"], card["matrix"], card["label"]) == (
        expected.event["step"], raw.names[expected.m], raw.labels[expected.m],
    )  # fmt: skip
    wanted = expected.lines()
    assert {line["key"] for line in card["lines"]} - {"adaptive"} == set(wanted), where
    for line in card["lines"]:
        if line["key"] == "adaptive":
            continue
        value, text, detail = wanted[line["key"]]
        about = f"{where}, {line['key']}"
        assert line["value"] == (value if value is None else pytest.approx(value, rel=1e-8, abs=1e-12)), about
        same_numbers(line["text"], text, raw.labels, about)
        same_numbers(line["detail"], detail, raw.labels, about)
    same_numbers(card["headline"], expected.headline(), raw.labels, where)
    moved = ["pruned"] * (expected.m in expected.pruned) + ["extended"] * (expected.m in expected.extended)
    other = "undefined" if expected.place is None else "stayed"
    if other == "stayed" and raw.names[expected.m] in expected.event["refused"]:
        other = "refused"
    assert card["verdict"] == (" and ".join(moved) or other), where


def check_alternatives(card, others, expected, where):
    m = expected.m
    actual = m in expected.pruned, m in expected.extended
    for row in card["alternatives"]:
        about = f"{where}, {row['measure']}"
        if row["measure"] not in others:
            assert (row["verdict"], row["score"], row["place"], row["of"]) == ("not logged", None, None, None), about
            continue
        scores, order, (prune, extend) = others[row["measure"]]
        wanted = scores[m]
        assert row["score"] == (wanted if wanted is None else pytest.approx(wanted, rel=1e-6, abs=1e-12)), about
        assert row["of"] == len(order), about
        would = m in prune, m in extend
        assert row["agrees"] == (would == actual), about
        if m not in order:
            assert (row["verdict"], row["place"]) == ("undefined", None), about
            continue
        assert (row["place"], row["end"]) == nearer(order.index(m), len(order)), about
        words = {(True, False): "prune", (False, True): "extend", (True, True): "both", (False, False): "stay"}
        assert row["verdict"] == words[would], about
        if row["measure"] == expected.event["measure"]:
            assert row["own"] and row["agrees"], about


@pytest.mark.parametrize(
    ("name", "stride"), [("words-flexlora-paper", 1), ("words-flexlora-reference", 1), ("digits-flexlora-paper", 2)]
)
def test_every_number_on_every_card_of_a_sample_run_is_what_its_raw_log_gives(name, stride):
    raw, run = RawRun(SAMPLES / name), load_run(SAMPLES / name)
    seen = set()
    for number in range(0, len(raw.events), stride):
        seen |= check_event(raw, run, number)
    assert {"pruned", "extended", "stayed"} <= seen


def test_the_card_is_that_of_the_latest_event_at_or_before_the_clock():
    run = load_run(SAMPLES / "words-flexlora-paper")
    name = run.matrices[5].name
    first, second = (event["step"] for event in run.events[:2])
    assert why_card(run, first - 1, name) is None
    assert why_card(run, first, name)["at"] is True
    between = why_card(run, second - 1, name)
    assert between["at"] is False and between["step"] == first
    assert {**between, "at": True} == why_card(run, first, name) == why_cards(run, 0)[5]
    assert why_card(run, 10**9, name)["event"] == len(run.events)
    with pytest.raises(ValueError, match="no matrix 'nonsense'"):
        why_card(run, first, "nonsense")
    with pytest.raises(IndexError, match="count from 0"):
        why_cards(run, len(run.events))
    assert why_card(load_run(SAMPLES / "words-lora"), 100, name) is None
