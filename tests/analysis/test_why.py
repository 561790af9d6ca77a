"""The Why? card of FlexLoRA's runs: every number on it is computed again from the raw log, in another way."""

from __future__ import annotations

import gc
import itertools
import json
import math
import re
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from analysis.runs import load_run
from analysis.why import card as why_cache
from analysis.why import why_card, why_cards, why_event
from flexlora.adaptive import AdaptiveSchedule
from flexlora.config import PRESETS, FlexLoRAConfig
from flexlora.decision import Decider
from flexlora.importance import IMPORTANCES, score_all, spectral_entropy
from flexlora.reallocation import DIRECTIONS
from flexlora.run_log import RunWriter, read_run

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


def place_numbers(place, order):
    """Numbers in "lowest of 36" and in "2nd lowest of 36"."""
    return [place, len(order)] if place > 1 else [len(order)]


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
        if key in ("sensitivity", "random"):
            return event["importance"][key]
        arrays = (self.sigma if key == "true_spectral_entropy" else self.lam)[event["step"]]
        return [DEFINITIONS[key](np.abs(values), epsilon) if np.isfinite(values).all() else None for values in arrays]

    def ruled(self, event, key, own):
        ranks = [len(values) for values in self.lam[event["step"]]]
        # Norms of zeros are 0, and sensitivity lacks a gradient where it has no value.
        first = self.config["all_zero"] == "first" and "entropy" in key.replace("effective_rank", "entropy")
        used = [math.inf if value is None and first else value for value in own]
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

    def budget(self, number, key):
        """b under a measure; the adaptive schedule asks the importances of this event and of those before it."""
        event = self.events[number]
        if self.config["schedule"] != "adaptive":
            return event["budget"]
        schedule = AdaptiveSchedule()

        def seen(at):
            used = self.ruled(at, key, self.measured(at, key))
            return used, dict(enumerate(used)), dict(enumerate(map(len, self.lam[at["step"]])))

        for earlier in self.events[:number]:
            halves = [[self.names.index(move["matrix"]) for move in earlier[half]] for half in ("prune", "extend")]
            schedule.observe(*seen(earlier)[1:], *halves, churn_limit=self.config["adaptive_churn"])
        used, scores, ranks = seen(event)
        gives, gets = self.able(event, self.order(event, used))
        rounded = {m: round(used[m], 9) for m in (*gives, *gets)}
        gaps = [rounded[high] - rounded[low] for low, high in zip(gives, gets, strict=False)]
        gaps = [gap for gap in gaps if gap > 0]
        b0, margin = self.config["initial_budget"], self.config["adaptive_margin"]
        return schedule.decide(scores, ranks, gaps, initial_budget=b0, margin=margin).budget

    def plan(self, event, used, budget):
        """(pruned, extended) of the rules in words: pairs while strictly lower, or both ends without a look."""
        order = self.order(event, used)
        gives, gets = self.able(event, order)
        direction = self.config["direction"]
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
    if not values.any():
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

KNOWN = {*DEFINITIONS, "sensitivity", "random"}
"""Measures that the logs read here may hold; one that came later is scored from λ, and has tests of its own."""


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
        measure = self.event["measure"]
        true = measure == "true_spectral_entropy"
        values = np.sort(np.abs(self.raw.sigma[self.event["step"]][self.m] if true else self.lam))[::-1]
        if measure == "sensitivity":
            return []
        if not np.isfinite(values).all():
            return [int((~np.isfinite(values)).sum()), len(values)]
        if measure == "random":
            return [len(values)]
        if measure in ("nuclear_norm", "frobenius_norm"):
            return values[:6].tolist()
        if not values.any():
            return [0]
        if measure == "energy_gated_entropy":
            return values[:6].tolist()
        if measure == "effective_rank":
            return shares(values)[:6].tolist()
        if len(values) == 1:
            return [1, 1, 0, 1]
        epsilon = [self.raw.config["epsilon"]] if self.raw.config["epsilon"] and not true else []
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
            found["place"] = (place, place_numbers(place, self.order), detail)
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
                finite = np.isfinite(self.lam).all()
                assert value is None or np.float32(value) in self.lam.astype(np.float32)
                share = value**2 / (self.lam**2).sum() if self.lam.any() and finite else None
                told = [move["slot"], value] if value is not None else [move["slot"]]
                told += [] if share is None else [100 * share]
                found["direction"] = (share, told, [])
        for move in self.event["extend"]:
            if move["matrix"] == name:
                starts = [0] if self.raw.config["new_direction"] == "zero_impact" else []
                found["new_direction"] = (move["slot"], [move["slot"]], starts)

    def headline(self):
        if self.place is None:
            return [1] if self.own[self.m] is not None else [0] if not self.lam.any() else []
        if not self.event["prune"] and not self.event["extend"] and self.event["budget"]:
            refused = self.raw.names[self.m] in self.event["refused"]
            told = place_numbers(self.place[0], self.order)
            return told + (refusal_numbers(self) if refused else [self.event["budget"]])
        budget = self.event["budget"]
        refused = self.raw.names[self.m] in self.event["refused"]
        moved = self.m in self.pruned or self.m in self.extended
        told = place_numbers(self.place[0], self.order)
        if refused and not moved:
            return told + refusal_numbers(self)
        return [*told, budget] if budget else [0, *told]


def refusal_numbers(expected):
    """Numbers in the reason why a matrix was passed over."""
    raw, event = expected.raw, expected.event
    reason = event["refused"][raw.names[expected.m]]
    if reason == "protected":
        since = raw.protected(event)[expected.m]
        return [since, since + raw.config["protection"] * raw.config["interval"]]
    return [1] if reason == "rank_1" else [len(expected.lam)]


def check_rules(card, expected, where):
    """The rules of a card, and their numbers; return their names."""
    raw, event, m = expected.raw, expected.event, expected.m
    told = {row["rule"]: row["text"] for row in card["rules"] if row["rule"] not in ("tie", "disjoint")}
    wanted = {}
    if expected.own[m] is None:
        zero = event["measure"] != "sensitivity" and not expected.lam.any()
        wanted["undefined"] = [0] if zero else []
    elif len(expected.lam) == 1 and event["measure"] in ("spectral_entropy", "true_spectral_entropy"):
        rule, used = raw.config["rank_one"], expected.finite(m)
        told_of = {"one": [1], "zero": [0], "median": [used] if used is not None else []}
        wanted["rank_one"] = [1, 1, 0, *told_of.get(rule, [])]
    if raw.names[m] in event["refused"]:
        wanted[event["refused"][raw.names[m]]] = refusal_numbers(expected)
    for move in event["prune"] + event["extend"]:
        if move["matrix"] == raw.names[m]:
            wanted |= {rule: [] for rule in move["rules"] if rule == "grown"}
    assert set(told) == set(wanted), where
    for rule, numbers_in in wanted.items():
        same_numbers(told[rule], numbers_in, raw.labels, f"{where}, rule {rule}")
    check_stops([row for row in card["rules"] if row["rule"] in ("tie", "disjoint")], expected, where)
    return {row["rule"] for row in card["rules"]}


def check_stops(rows, expected, where):
    raw, event, used = expected.raw, expected.event, expected.used
    pruned, budget = len(event["prune"]), event["budget"]
    for row in rows:
        if "Pairs stop" in row["text"]:
            low, high = expected.gives[pruned], expected.gets[pruned]
            assert raw.labels[low] in row["text"] and raw.labels[high] in row["text"], where
            assert used[low] >= used[high] - 1e-9, where
            same_numbers(row["text"], [pruned, budget], raw.labels, where)
            continue
        half = "prune" if "pruned" in row["text"] else "extend"
        able, taken = (expected.gives, expected.pruned) if half == "prune" else (expected.gets, expected.extended)
        equal = [m for m in able if round(used[m], 9) == round(used[expected.m], 9)]
        drawn = [raw.config["seed"], event["step"]] if raw.config["plan"] == "disjoint" else []
        assert 0 < sum(m in taken for m in equal) < len(equal), where
        same_numbers(row["text"], [len(equal), sum(m in taken for m in equal), *drawn], raw.labels, where)


def check_adaptive(card, expected, where):
    rows = [line for line in card["lines"] if line["key"] == "adaptive"]
    seen = expected.event.get("adaptive")
    assert len(rows) == bool(seen), where
    if not seen:
        return
    assert rows[0]["value"] == seen["noise"]
    if seen["noise"] is None:
        same_numbers(rows[0]["detail"], [seen["ceiling"]], expected.raw.labels, where)
        return
    budget, pairs = expected.event["budget"], list(zip(seen["gaps"], seen["thresholds"], strict=True))
    same_numbers(rows[0]["text"], [budget, seen["ceiling"], seen["noise"]], expected.raw.labels, where)
    ranks = [able.index(expected.m) for able in (expected.gives, expected.gets) if expected.m in able]
    own = min(ranks, default=len(pairs))
    detail = [own + 1, *pairs[own]] if own < len(pairs) else []
    detail += [budget + 1, *pairs[budget]] if budget < len(pairs) else []
    detail += [] if seen["undone"] is None else [100 * seen["undone"]]
    # An infinite gap, of a matrix that a rule puts first, is null in the log.
    detail = [one for one in detail if one is not None]
    same_numbers(rows[0]["detail"], detail, expected.raw.labels, where)


def check_event(raw, run, number):
    """Compare all cards of one event; return their verdicts and rules."""
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
        budget = raw.budget(number, measure)
        others[measure] = scores, raw.order(event, ruled), raw.plan(event, ruled, budget), budget
    cards, acted = why_cards(run, number), set()
    json.dumps(cards, allow_nan=False)
    for m, card in enumerate(cards):
        expected = Expected(raw, number, m, shared)
        check_card(card, expected, where := f"{raw.labels[m]}, event {number + 1}")
        acted |= check_rules(card, expected, where)
        check_adaptive(card, expected, where)
        check_alternatives(card, others, expected, where)
    for rule in ("tie", "disjoint"):
        assert (rule in acted) == (rule in event["rules"]), f"{rule} at event {number + 1}"
    return {card["verdict"] for card in cards} | acted


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
        if row["measure"] not in KNOWN:
            continue
        if row["measure"] not in others:
            assert (row["verdict"], row["score"], row["place"], row["of"]) == ("not logged", None, None, None), about
            continue
        scores, order, (prune, extend), budget = others[row["measure"]]
        assert row["budget"] == budget, about
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


def write_run(folder, draw, count, limit=6, drop=(), **options):
    """Log what training would log of a run whose λ are drawn: f(event, ranks) → one array a matrix."""
    options = {"total_steps": 60, "warmup_steps": 2, "final_steps": 5, "interval": 5, "initial_rank": 3} | options
    config = FlexLoRAConfig(**options)
    names = [f"layer.{m // 2}.{'qk'[m % 2]}" for m in range(count)]
    rows = [
        {"name": name, "layer": m // 2, "module_type": ("query", "key")[m % 2], "in_features": limit, "out_features": 8}
        for m, name in enumerate(names)
    ]
    settings = {name: getattr(config, name) for name in config.__dataclass_fields__}
    ranks, slots = [config.initial_rank] * count, [list(range(config.initial_rank)) for _ in names]
    decider = Decider()
    with RunWriter(folder, {"matrices": rows, "method": "flexlora", "config": settings}) as writer:
        for number, step in enumerate(config.event_steps()):
            lam = [np.asarray(values, np.float32) for values in draw(number, ranks)]
            assert [len(values) for values in lam] == ranks
            with np.errstate(invalid="ignore"):
                sigma = [np.sort(np.abs(values) * 1.5)[::-1].astype(np.float32) for values in lam]
            writer.spectrum(step, lam, sigma)
            arrays = {name: values.astype(float) for name, values in zip(names, lam, strict=True)}
            importance = score_all(arrays, IMPORTANCES)
            true = {name: values.astype(float) for name, values in zip(names, sigma, strict=True)}
            importance |= score_all(true, ["true_spectral_entropy"])
            if config.epsilon:
                scored = {name: spectral_entropy(values, epsilon=config.epsilon) for name, values in arrays.items()}
                importance["spectral_entropy"] = scored
            own, table = importance[config.importance], dict(zip(names, ranks, strict=True))
            decision = decider.decide(step, own, table, dict.fromkeys(names, limit), config)
            plan = decision.plan
            decider.observe(step, decision.importance, table, plan.prune, plan.extend, config)
            prune, extend = [], []
            for name in plan.prune:
                m = names.index(name)
                place = int(np.nanargmin(np.abs(lam[m]))) if not np.isnan(lam[m]).all() else 0
                value = float(lam[m][place])
                prune.append({"matrix": name, "slot": slots[m].pop(place), "singular_value": value, "rules": []})
            for name in plan.extend:
                own_slots = slots[names.index(name)]
                slot = min(set(range(limit + 1)) - set(own_slots))
                own_slots.append(slot)
                own_slots.sort()
                extend.append({"matrix": name, "slot": slot, "rules": ["grown"] if slot > 4 else []})
            ranks = [len(own_slots) for own_slots in slots]
            decided = {
                name: "first" if value == math.inf else value
                for name, value in decision.importance.items()
                if value != own[name]
            }
            kept = {key: scores for key, scores in importance.items() if key not in drop}
            extra = {"adaptive": decision.adaptive.record()} if decision.adaptive else {}
            writer.event(
                step, decision.budget, kept, config.importance, prune, extend, plan.refused, plan.rules,
                decided=decided, **extra,
            )  # fmt: skip
        writer.end("completed")
    return RawRun(folder), load_run(folder)


def check_run(raw, run):
    seen = set()
    for number in range(len(raw.events)):
        seen |= check_event(raw, run, number)
    return seen


def odd_spectra(rng):
    """λ with equal spectra, all zeros, NaN and infinite values among them."""
    shared = rng.normal(size=40)

    def draw(number, ranks):
        found = []
        for rank in ranks:
            kind = rng.choice(["own", "own", "shared", "zero", "broken"], p=[0.4, 0.2, 0.25, 0.1, 0.05])
            values = rng.normal(size=rank) * np.exp(-rng.uniform(0, 2) * np.arange(rank))
            if kind == "shared":
                values = shared[:rank]
            elif kind == "zero":
                values = np.zeros(rank)
            elif kind == "broken":
                values[rng.integers(rank)] = rng.choice([np.nan, np.inf])
            found.append(values)
        return found

    return draw


def any_options(rng):
    pick = lambda values: values[int(rng.integers(len(values)))]  # noqa: E731
    options = {
        "preset": pick(list(PRESETS)),
        "importance": pick([key for key in IMPORTANCES if key in KNOWN]),
        "direction": pick([*DIRECTIONS, "both"]),
        "rank_one": pick(["one", "zero", "undefined", "median", "first"]),
        "all_zero": pick(["undefined", "first"]),
        "plan": pick(["disjoint", "disjoint", "overlapping"]),
        "protection": pick([0, 1, 2]),
        "initial_budget": pick([1, 2, 4]),
        "initial_rank": pick([1, 2, 3]),
        "max_rank": pick([None, 4]),
        "seed": int(rng.integers(100)),
        "schedule": pick(["paper", "constant", "adaptive", "points"]),
        "points": ((10, 3), (30, 0)),
        "adaptive_margin": 0.3,
        "epsilon": pick([0.0, 1e-8]),
    }
    return options | ({"importance": "spectral_entropy"} if rng.random() < 0.5 else {})


def test_every_number_holds_under_any_rule_and_for_odd_spectra(tmp_path):
    seen = set()
    for seed in range(24):
        rng = np.random.default_rng(seed)
        raw, run = write_run(
            tmp_path / str(seed), odd_spectra(rng), int(rng.integers(1, 9)), **any_options(rng), interval=8
        )
        seen |= check_run(raw, run)
    assert seen >= {"pruned", "extended", "pruned and extended", "stayed", "refused", "undefined"}
    assert seen >= {"tie", "disjoint", "rank_one", "rank_1", "at_max_rank", "protected", "grown"}


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
    with pytest.raises(ValueError, match="unknown matrix 'nonsense'"):
        why_card(run, first, "nonsense")
    with pytest.raises(IndexError, match="count from 0"):
        why_cards(run, len(run.events))
    assert why_card(load_run(SAMPLES / "words-lora"), 100, name) is None


def constant(*spectra):
    return lambda number, ranks: [
        np.resize(np.array(own, float), rank) for own, rank in zip(spectra, ranks, strict=True)
    ]


def line_of(card, key):
    return next(line for line in card["lines"] if line["key"] == key)


def rules_of(card):
    return {row["rule"]: row["text"] for row in card["rules"]}


NORM = {"importance": "nuclear_norm", "schedule": "constant", "initial_budget": 1, "seed": 7}


def test_a_tie_across_the_cut_is_told_with_its_draw(tmp_path):
    spectra = constant([1, 1, 1], [1, 1, 1], [2, 2, 2], [5, 5, 5])
    raw, run = write_run(tmp_path / "run", spectra, 4, **NORM)
    check_event(raw, run, 0)
    taken = raw.events[0]["prune"][0]["matrix"]
    cards = {card["matrix"]: card for card in why_cards(run, 0)}
    assert taken in raw.names[:2]
    for name in raw.names[:2]:
        assert rules_of(cards[name])["tie"] == (
            "2 matrices that could be pruned have this score, for 1 place: a draw from seed 7 and step 7 settled it."
        )
        assert line_of(cards[name], "margin")["value"] == 0.0
    assert cards[taken]["headline"] == "Pruned: lowest of 4 by nuclear norm, budget 1."
    assert not cards[raw.names[2]]["rules"]
    assert line_of(cards[raw.names[2]], "margin")["value"] == pytest.approx(3.0)
    assert line_of(cards[raw.names[3]], "threshold")["value"] == pytest.approx(15.0)


def test_pairs_that_would_not_gain_stop_the_event_and_say_so(tmp_path):
    _, run = write_run(tmp_path / "equal", constant([1, 1, 1], [1, 1, 1]), 2, **NORM)
    card = why_cards(run, 0)[0]
    assert card["verdict"] == "stayed"
    assert rules_of(card)["tie"].startswith("Pairs stop after 0 of 1: the next two")
    assert line_of(card, "threshold")["text"] == "none: nothing was moved"
    assert line_of(card, "margin")["text"] == "none: nothing was moved at this event"
    options = NORM | {"initial_budget": 2}
    _, run = write_run(tmp_path / "middle", constant([1, 1, 1], [2, 2, 2], [3, 3, 3]), 3, **options)
    verdicts = [card["verdict"] for card in why_cards(run, 0)]
    assert verdicts == ["pruned", "stayed", "extended"]
    told = rules_of(why_cards(run, 0)[1])["disjoint"]
    assert told == "Pairs stop after 1 of 2: layer 0 key would be the next to give and the next to get."


@pytest.mark.parametrize(
    ("rule", "verdict", "used", "told"),
    [
        ("one", "extended", None, "by rank_one = one it counts as 1, the highest."),
        ("zero", "refused", 0.0, "by rank_one = zero it counts as 0, the lowest."),
        ("undefined", "undefined", None, "by rank_one = undefined it takes no part."),
        ("median", "stayed", "median", "rank_one = median gives it the median of the others: "),
        ("first", "extended", None, "by rank_one = first it comes before all others."),
    ],
)
def test_rank_one_is_told_under_each_of_its_rules(tmp_path, rule, verdict, used, told):
    """The first event prunes matrix 0 to rank 1; the second one meets it there."""
    spectra = ([9.0, 0.1], [3.0, 1.0], [2.0, 1.0], [2.0, 1.5], [1.0, 0.9])

    def draw(number, ranks):
        return [np.resize(np.array(own), rank) for own, rank in zip(spectra, ranks, strict=True)]

    options = {"initial_rank": 2, "rank_one": rule, "schedule": "constant", "initial_budget": 1, "limit": 9}
    raw, run = write_run(tmp_path / "run", draw, 5, **options)
    check_run(raw, run)
    assert len(raw.lam[12][0]) == 1
    card = why_cards(run, 1)[0]
    assert card["verdict"] == verdict
    assert rules_of(card)["rank_one"].startswith("Rank 1: log 1 = 0, so entropy has no value; ")
    assert told in rules_of(card)["rank_one"]
    if used == "median":
        used = median(entropy(values) for values in raw.lam[12][1:])
    lines = {line["key"]: line for line in card["lines"]}
    assert lines.get("used", {"value": None})["value"] == (used if used is None else pytest.approx(used))
    assert ("used" in lines) == (rule != "one")
    if rule == "first":
        assert lines["used"]["text"] == "above all others, by a rule"
        assert lines["margin"]["text"].startswith("none: a rule and not its score")


@pytest.mark.parametrize("rule", ["undefined", "first"])
def test_zero_and_broken_spectra_say_why_nothing_can_be_said(tmp_path, rule):
    spectra = constant([0, 0, 0], [np.nan, 1, 1], [1, 1, 1], [3, 2, 1])
    options = {"all_zero": rule, "schedule": "constant", "initial_budget": 1}
    raw, run = write_run(tmp_path / "run", spectra, 4, **options)
    check_event(raw, run, 0)
    zero, broken, *_ = why_cards(run, 0)
    assert rules_of(zero)["undefined"].startswith("Every λ is 0")
    assert rules_of(broken)["undefined"].startswith("A λ is not finite")
    assert line_of(broken, "importance")["detail"] == "1 of its 3 λ are not finite"
    assert zero["verdict"] in (("undefined",) if rule == "undefined" else ("extended", "stayed"))
    if rule == "undefined":
        assert zero["headline"] == "Undefined: every λ is 0, so it takes no part."


def test_limits_protection_and_one_sided_events_are_told(tmp_path):
    spectra = constant([3, 3, 3], [2, 2, 2], [1, 1, 1])
    raw, run = write_run(tmp_path / "full", spectra, 3, **NORM, max_rank=3)
    check_run(raw, run)
    card = why_cards(run, 0)[0]
    assert card["verdict"] == "refused"
    assert rules_of(card)["at_max_rank"] == "Passed over: rank 3 is the most it may have."
    assert card["headline"] == "Passed over: highest of 3 by nuclear norm, but rank 3 is the most it may have."

    def fading(number, ranks):
        return [np.full(rank, 3.0 if number == 0 else 0.01) if m == 0 else np.full(rank, m) for m, rank in enumerate(ranks)]  # fmt: skip  # noqa: E501

    raw, run = write_run(tmp_path / "protected", fading, 3, **NORM, protection=1)
    check_run(raw, run)
    card = why_cards(run, 1)[0]
    assert card["verdict"] == "refused"
    assert rules_of(card)["protected"] == ("Passed over: it was extended at step 7, which protects it up to step 12.")
    for direction in ("prune_only", "extend_only"):
        raw, run = write_run(tmp_path / direction, spectra, 3, **NORM, direction=direction)
        check_run(raw, run)
        verdicts = {card["verdict"] for card in why_cards(run, 0)}
        assert verdicts == {"stayed", "pruned" if direction == "prune_only" else "extended"}


def test_an_event_without_budget_says_that_no_score_would_have_moved_anything(tmp_path):
    options = NORM | {"schedule": "points", "points": ((10, 1), (20, 0))}
    raw, run = write_run(tmp_path / "points", constant([3, 3, 3], [2, 2, 2]), 2, **options)
    check_run(raw, run)
    card = why_cards(run, len(raw.events) - 1)[0]
    assert card["headline"] == "Stayed: the budget is 0 at this event; highest of 2 by nuclear norm."
    assert line_of(card, "margin")["text"] == "none: at budget 0 no score moves anything"
    assert {row["verdict"] for row in card["alternatives"]} == {"stay"}


def test_measures_that_were_not_logged_are_told_or_taken_from_the_spectrum(tmp_path):
    missing = ("sensitivity", "true_spectral_entropy", "frobenius_norm")
    raw, run = write_run(tmp_path / "run", constant([3, 3, 3], [2, 2, 2], [1, 1, 1]), 3, drop=missing, **NORM)
    rows = {row["measure"]: row for row in why_cards(run, 0)[2]["alternatives"]}
    for key in missing[:2]:
        assert (rows[key]["verdict"], rows[key]["score"], rows[key]["agrees"]) == ("not logged", None, False)
    assert rows["frobenius_norm"]["score"] == pytest.approx(norm(raw.lam[7][2]))
    assert (rows["frobenius_norm"]["place"], rows["frobenius_norm"]["verdict"]) == (1, "prune")


def plain_log(folder, events, header, records=((0, None),)):
    """A log of two matrices of rank 3 as somebody else may write it."""
    rows = [{"name": name, "layer": None, "module_type": name} for name in ("a", "b")]
    with RunWriter(folder, {"matrices": rows, **header}) as writer:
        for step, _ in records:
            writer.spectrum(step, [[3.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
        for event in events:
            writer.event(**event)
        writer.end("completed")
    return load_run(folder)


def test_a_log_from_elsewhere_gives_what_it_holds(tmp_path):
    moves = {"prune": [{"matrix": "a", "slot": 2}], "extend": [{"matrix": "b", "slot": 3}]}
    events = [
        {"step": 5, "budget": 1, "importance": {"theirs": {"a": 0.25, "b": 0.75}}, "measure": "theirs", **moves},
        {"step": 10, "budget": 1, "importance": {"theirs": {"a": 0.5}}, "measure": "theirs"},
    ]
    run = plain_log(tmp_path / "run", events, {"config": {"importance": "no such measure"}})
    first, second = why_cards(run, 0), why_cards(run, 1)
    assert [card["verdict"] for card in first] == ["pruned", "extended"]
    assert line_of(first[0], "margin")["value"] == 0.5
    assert first[0]["headline"] == "Pruned: lowest of 2 by theirs, budget 1."
    # The spectra of neither event are in the log: ranks follow from the moves, λ is not invented.
    assert line_of(first[0], "importance")["detail"] == "theirs as logged"
    assert line_of(first[0], "direction")["text"] == "slot 2, λ is not finite"
    assert [line_of(card, "rank")["text"] for card in second] == ["2, as before", "4, as before"]
    assert [card["verdict"] for card in second] == ["stayed", "undefined"]
    assert second[1]["headline"] == "Undefined: its theirs is undefined, so it takes no part."
    assert first[0]["alternatives"] == [] and "spectrum" in first[0]["alternatives_note"]
    json.dumps(first + second, allow_nan=False)


def test_what_is_kept_of_a_run_goes_with_it_and_stays_small():
    run = load_run(SAMPLES / "words-flexlora-paper")
    before = len(why_cache._explained)
    events = [why_event(run, number) for number in range(len(run.events))]
    assert why_event(run, len(run.events) - 1) is events[-1]
    assert len(why_cache._explained) == before + 1
    del run
    gc.collect()
    assert len(why_cache._explained) == before


def test_a_live_edit_holds_for_the_events_after_it_only(tmp_path):
    _, run = write_run(tmp_path / "run", constant([3, 3, 3], [2, 2, 2], [1, 1, 1]), 3, **NORM)
    run.notes.append({"kind": "edited", "step": 10, "new": {"prune_rule": "signed", "initial_budget": 9}})
    told = [line_of(why_cards(run, number)[2], "budget")["detail"] for number in (0, 1)]
    assert told == [f"schedule constant, b0 = {b0}, direction both" for b0 in (1, 9)]


def test_an_event_before_any_spectrum_has_no_card(tmp_path):
    event = {"step": 5, "budget": 1, "importance": {}, "measure": "theirs"}
    run = plain_log(tmp_path / "run", [event], {}, records=((9, None),))
    assert why_card(run, 7, "a") is None and why_cards(run, 0) == []


def test_a_large_event_costs_little_more_than_one_card(tmp_path):
    rng = np.random.default_rng(0)
    spectra = [rng.normal(size=8) for _ in range(560)]
    options = {"total_steps": 40, "interval": 11, "initial_rank": 8, "limit": 99, "initial_budget": 40}
    _, run = write_run(tmp_path / "run", constant(*spectra), 560, **options)
    start = time.process_time()
    assert len(why_cards(run, len(run.events) - 1)) == 560
    assert time.process_time() - start < 1.0
