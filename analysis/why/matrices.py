"""Cards of FlexLoRA's events, where matrices are scored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from analysis.runs import Run
from analysis.why.alternatives import Alternative, alternative_rows, alternatives
from analysis.why.formulas import formula
from analysis.why.margins import Margin, margin
from analysis.why.noise import Noise, event_noise, noise_line, ratio_line
from analysis.why.ranking import HIGHEST, LOWEST, Ranking, ranking
from analysis.why.rules import matrix_rules, refusal, why_undefined
from analysis.why.scene import Scene
from analysis.why.wording import line, number, percent, standing
from flexlora.config import FlexLoRAConfig
from flexlora.importance import measure_label

PRUNE_RULE_TEXTS: dict[str, str] = {
    "magnitude": "the smallest |λ| of the matrix",
    "signed": "the smallest signed λ of the matrix, however large",
    "component_norm": "the smallest |λ| · ‖p‖ · ‖q‖ of the matrix",
}
NEW_DIRECTION_TEXTS: dict[str, str] = {
    "zero_impact": "λ = 0 with random vectors: the output does not change at once",
    "small_value": "a small λ with random vectors",
    "all_zero": "λ and vectors 0",
    "gram_schmidt": "λ = 0 with vectors orthogonal to the others",
}


@dataclass(frozen=True)
class MatrixEvent:
    """One event of FlexLoRA explained, all matrices at once."""

    at: Scene
    config: FlexLoRAConfig | None
    order: Ranking
    noise: Noise
    others: list[Alternative]
    others_note: str

    def card(self, name: str) -> dict[str, Any]:
        """Return the parts of one matrix's card that depend on how the event was decided."""
        verdict = self._verdict(name)
        room = margin(self.at, self.order, name)
        return {
            "verdict": verdict,
            "headline": self._headline(name, verdict),
            "lines": [
                self._importance(name),
                *self._used(name),
                self._place(name),
                self._threshold(room),
                self._margin(room, name),
                noise_line(self.noise, self.at.index[name]),
                ratio_line(room.value, self.noise.of(self.at.index[name])),
                self._budget(),
                *self._adaptive(name),
                *self._directions(name),
                rank_line(self.at, name),
            ],
            "rules": matrix_rules(self.at, self.order, self.config, name),
            "alternatives": alternative_rows(self.others, self.at, name),
            "alternatives_note": self.others_note,
        }

    def _verdict(self, name: str) -> str:
        moved = [word for half, word in (("prune", "pruned"), ("extend", "extended")) if self.at.moves(half, name)]
        if moved:
            return " and ".join(moved)
        if self.order.used[name] is None:
            return "undefined"
        return "refused" if name in self.at.event.get("refused", {}) else "stayed"

    def _headline(self, name: str, verdict: str) -> str:
        event = self.at.event
        if verdict == "undefined":
            if self.order.own[name] is not None:
                return "Undefined: it has rank 1, of which entropy says nothing, so it takes no part."
            return f"Undefined: {why_undefined(self.at, name)}, so it takes no part."
        if name not in self.order.position:
            return f"{verdict.capitalize()}: no score of it was logged, budget {event['budget']}."
        place, end = self._seen_place(name)
        told = f"{standing(place, end, len(self.order.order))} by {measure_label(event['measure'])}"
        if verdict == "refused":
            return f"Passed over: {told}, but {refusal(self.at, self.order, name, event['refused'][name])}."
        if verdict == "stayed" and not event["budget"]:
            return f"Stayed: the budget is 0 at this event; {told}."
        if verdict == "stayed" and not event["prune"] and not event["extend"]:
            return f"Stayed: nothing was moved at this event; {told}, budget {event['budget']}."
        return f"{verdict.capitalize()}: {told}, budget {event['budget']}."

    def _seen_place(self, name: str) -> tuple[int, str]:
        pruned, extended = self.at.moves("prune", name), self.at.moves("extend", name)
        end = None if bool(pruned) == bool(extended) else LOWEST if pruned else HIGHEST
        return cast(tuple[int, str], self.order.place(name, end))

    def _importance(self, name: str) -> dict[str, Any]:
        value = self.order.own[name]
        lam, true = self.at.lam, self.at.true
        detail = formula(
            self.at.event["measure"],
            None if lam is None else lam[name],
            None if true is None else true[name],
            self.config.epsilon if self.config else 0.0,
        )
        return line("importance", "Importance", "undefined" if value is None else f"I = {number(value)}", detail, value)

    def _used(self, name: str) -> list[dict[str, Any]]:
        """Tell the score that a rule put in place of the measure's own."""
        own, used = self.order.own[name], self.order.used[name]
        if own == used:
            return []
        if used is None:
            return [line("used", "Score used", "none: it takes no part")]
        if math.isinf(used):
            return [line("used", "Score used", "above all others, by a rule")]
        return [line("used", "Score used", f"{number(used)}, by a rule", "", used)]

    def _place(self, name: str) -> dict[str, Any]:
        missing = len(self.at.names) - len(self.order.order)
        unplaced = [f"{missing} of {len(self.at.names)} matrices are undefined and have no place"] if missing else []
        if name not in self.order.position:
            return line("place", "Place", "none", "; ".join(unplaced))
        place, end = self._seen_place(name)
        same = self.order.sharing[self.order.rounded[name]] - 1
        passed = self.order.ends["prune" if end == LOWEST else "extend"].passed[place - 1]
        told = [f"{same} more with the same score"] if same else []
        told += [f"{passed} before it could not be {'pruned' if end == LOWEST else 'extended'}"] if passed else []
        text = standing(place, end, len(self.order.order))
        return line("place", "Place", text, "; ".join([*told, *unplaced]), place)

    def _threshold(self, room: Margin) -> dict[str, Any]:
        cuts = []
        for half, told in (("prune", "pruned up to"), ("extend", "extended from")):
            if self.at.event[half]:
                last = self.at.moved(half)[-1]
                score = self.order.used[last]
                cuts.append(f"{told} {'above all' if score is None or math.isinf(score) else number(score)}")
        detail = "; ".join(cuts)
        if room.half is None:
            return line("threshold", "Threshold", "none for this matrix" if cuts else "none: nothing was moved", detail)
        word = "last pruned" if room.half == "prune" else "last extended"
        label = self.at.labels[self.at.moved(room.half)[-1]]
        score = "placed by a rule" if room.cut is None else number(room.cut)
        return line("threshold", "Threshold", f"{score}: {label}, the {word}", detail, room.cut)

    def _margin(self, room: Margin, name: str) -> dict[str, Any]:
        if room.value is None or room.rival is None:
            return line("margin", "Margin", f"none: {room.why_none}")
        moved = name in self.at.moved(room.half or "prune")
        side = "below" if moved == (room.half == "prune") else "above"
        word = "pruned" if room.half == "prune" else "extended"
        which = f"first not {word}" if moved else f"last {word}"
        text = f"{number(room.value)} {side} {self.at.labels[room.rival]}, the {which}"
        return line("margin", "Margin", text, "what its score would have had to change, all else as it was", room.value)

    def _budget(self) -> dict[str, Any]:
        event, detail = self.at.event, ""
        if self.config is not None:
            detail = (
                f"schedule {self.config.schedule}, b0 = {self.config.initial_budget}, direction {self.config.direction}"
            )
        text = f"b = {event['budget']}: {len(event['prune'])} pruned, {len(event['extend'])} extended"
        return line("budget", "Budget", text, detail, event["budget"])

    def _adaptive(self, name: str) -> list[dict[str, Any]]:
        seen = self.at.event.get("adaptive")
        if not seen:
            return []
        label = "Adaptive schedule"
        if seen["noise"] is None:
            text = "no pair moves: the first event only measures the noise"
            return [line("adaptive", label, text, f"at most {seen['ceiling']} pairs")]
        text = f"{self.at.event['budget']} of at most {seen['ceiling']} pairs stand out of the noise σ "
        text += number(seen["noise"])
        pairs = list(zip(seen["gaps"], seen["thresholds"], strict=False))
        own = [end.able.index(name) for end in self.order.ends.values() if name in end.could]
        told = []
        if own and min(own) < len(pairs):
            gap, needed = pairs[min(own)]
            told.append(f"its pair, number {min(own) + 1}, has gap {_gap(gap)} and needs more than {number(needed)}")
        stop = self.at.event["budget"]
        if stop < len(pairs):
            gap, needed = pairs[stop]
            told.append(f"pair {stop + 1} ends it: gap {_gap(gap)} is not above {number(needed)}")
        if seen["undone"] is not None:
            told.append(f"{percent(seen['undone'])} of the prunes of the event before took back")
        return [line("adaptive", label, text, "; ".join(told), seen["noise"])]

    def _directions(self, name: str) -> list[dict[str, Any]]:
        found = []
        for move in self.at.moves("prune", name):
            why = PRUNE_RULE_TEXTS.get(self.config.prune_rule, "") if self.config else ""
            found.append(pruned_line(self.at, name, move, why))
        for move in self.at.moves("extend", name):
            start = NEW_DIRECTION_TEXTS.get(self.config.new_direction, self.config.new_direction) if self.config else ""
            found.append(line("new_direction", "New direction", f"in slot {move['slot']}", start, move["slot"]))
        return found


def _gap(gap: float | None) -> str:
    """Return a gap; a matrix that a rule puts before all others makes an infinite one, which the log holds as null."""
    return "∞" if gap is None else number(gap)


def pruned_line(at: Scene, name: str, move: dict[str, Any], why: str) -> dict[str, Any]:
    """Return the line about a direction that went: its slot, λ and share of the energy."""
    value = move.get("singular_value")
    share = at.energy_share(name, value)
    told = "λ is not finite" if value is None else f"λ = {number(value)}"
    energy = "" if share is None else f", {percent(share)} of the energy of the matrix"
    return line("direction", "Direction pruned", f"slot {move['slot']}, {told}{energy}", why, share)


def rank_line(at: Scene, name: str) -> dict[str, Any]:
    """Return the line about the rank before and after."""
    before = at.ranks[name]
    after = before - len(at.moves("prune", name)) + len(at.moves("extend", name))
    text = f"{before} → {after}" if at.moves("prune", name) or at.moves("extend", name) else f"{before}, as before"
    return line("rank", "Rank", text, "", after)


def explain_matrices(run: Run, at: Scene) -> MatrixEvent:
    """Explain one event of a method that scores matrices."""
    config = at.config if isinstance(at.config, FlexLoRAConfig) else None
    found, note = alternatives(run, at)
    measure = at.event["measure"]
    return MatrixEvent(at, config, ranking(run, at, config), event_noise(run, at.number, measure), found, note)
