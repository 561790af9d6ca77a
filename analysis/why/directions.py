"""Cards of methods that score directions: AdaLoRA, ElaLoRA, L1RA, SaLoRA, AutoLoRA, SoRA, DoRA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.directions import is_soft
from analysis.runs import Run
from analysis.why.cuts import CUTS, FLOOR, ORDERED, Cut, unknown
from analysis.why.matrices import pruned_line, rank_line
from analysis.why.noise import ENOUGH, WINDOW, ratio_line
from analysis.why.rules import move_rules
from analysis.why.scene import Scene
from analysis.why.wording import line, number, standing
from flexlora.importance import measure_label
from flexlora.methods import METHODS

NO_ALTERNATIVES = (
    "This method scores directions, not matrices: what a measure of matrices would have done is not defined for it."
)
OWN_LAMBDA = ("l1ra",)
"""Methods whose score of a direction is its λ, which is therefore not logged a second time."""

ROUNDED = 1e-7
"""Scores are logged with eight digits, thresholds with all: what differs by less is the same direction."""

Table = dict[str, np.ndarray]
"""Name → score of each stored direction, in slot order."""


@dataclass(frozen=True)
class Focus:
    """The direction of a matrix that its card speaks of: the one nearest to the cut.

    Attributes:
        score: its score; None when it has none.
        place: index among the matrix's stored directions; None when unknown.
        against: score that it would have had to pass to fare otherwise; None when that cannot be said.
    """

    score: float | None = None
    place: int | None = None
    against: float | None = None

    @property
    def distance(self) -> float | None:
        """Margin of this direction."""
        return None if self.score is None or self.against is None else abs(self.score - self.against)


@dataclass(frozen=True)
class DirectionEvent:
    """One event explained, all matrices at once.

    Attributes:
        at: the event and what it saw.
        tables: scores at the last ``WINDOW`` + 1 events, this one last.
        records: the same events' records.
        slots: name → slots of its stored directions, in order.
        cut: what separated the directions.
        everybody: scores that the directions were ordered among, ascending.
    """

    at: Scene
    tables: list[Table]
    records: list[dict[str, Any]]
    slots: dict[str, list[int]]
    cut: Cut
    everybody: np.ndarray

    def card(self, name: str) -> dict[str, Any]:
        """Return the parts of one matrix's card that depend on how the event was decided."""
        verdict, focus = self._verdict(name), self._focus(name)
        noise = self._noise(name, focus)
        distance = None if verdict == "extended" else focus.distance
        return {
            "verdict": verdict,
            "headline": self._headline(name, verdict),
            "lines": [
                self._score(name),
                self._place(name),
                line("threshold", "Threshold", self.cut.told, "", self.cut.score),
                self._margin(verdict, focus, distance),
                self._noise_line(noise),
                ratio_line(distance, noise[0]),
                self._budget(),
                *self._moved(name),
                rank_line(self.at, name),
            ],
            "rules": move_rules(self.at, name),
            "alternatives": [],
            "alternatives_note": NO_ALTERNATIVES,
        }

    def _verdict(self, name: str) -> str:
        told = []
        for half, gone, soft in (("prune", "pruned", "off"), ("extend", "extended", "back")):
            for move in self.at.moves(half, name):
                told.append(soft if is_soft(move) else gone)
        return " and ".join(dict.fromkeys(told)) or "stayed"

    def _headline(self, name: str, verdict: str) -> str:
        lost, got = (len(self.at.moves(half, name)) for half in ("prune", "extend"))
        counts = [f"{lost} of its directions went"] * bool(lost) + [f"{got} came"] * bool(got)
        did = " and ".join(counts) or "none of its directions went or came"
        found = self._standing(name)
        place = "" if found is None else f"; its {found[3]} is {standing(*found[:3])}"
        return f"{verdict.capitalize()}: {did}, by {measure_label(self.at.event['measure'])}{place}."

    def _score(self, name: str) -> dict[str, Any]:
        value = (self.at.event["importance"].get(self.at.event["measure"]) or {}).get(name)
        method = METHODS.get(self.at.method)
        detail = method.score if method else ""
        own = _finite(self.tables[-1].get(name))
        if not len(own):
            return line("importance", "Score", "no direction's score was logged", detail, value)
        text = f"{number(own.min())} to {number(own.max())} over {len(own)} directions"
        return line("importance", "Score", text, detail, value)

    def _standing(self, name: str) -> tuple[int, str, int, str, int] | None:
        """Return place, end, of how many, what is placed, and how many more have the same score."""
        lost, got = self._move_scores("prune", name), self._move_scores("extend", name)
        own = _finite(self.tables[-1].get(name))
        if lost:
            score, end, what, among = min(lost), "lowest", "lowest direction that went", self.everybody
        elif got:
            score, end, what, among = max(got), "highest", "highest direction that came", self.everybody
        elif self.at.moves("extend", name) and len(own):
            # L1RA gives to the matrices that lost nothing, those with the largest smallest λ first.
            losers = set(self.at.moved("prune"))
            kept = [_finite(table) for other, table in self.tables[-1].items() if other not in losers]
            among = np.sort([table.min() for table in kept if len(table)])
            score, end, what = float(own.min()), "highest", "smallest λ among matrices that lost nothing"
        elif len(own):
            score, end, what, among = float(own.min()), "lowest", "lowest direction", self.everybody
        else:
            return None
        lower, upto = np.searchsorted(among, score, "left"), np.searchsorted(among, score, "right")
        place = int(lower) + 1 if end == "lowest" else len(among) - int(upto) + 1
        return place, end, len(among), what, max(0, int(upto - lower) - 1)

    def _place(self, name: str) -> dict[str, Any]:
        found = self._standing(name)
        if found is None:
            return line("place", "Place", "none")
        place, end, count, what, same = found
        detail = f"its {what}" + (f"; {same} more with the same score" if same else "")
        return line("place", "Place", standing(place, end, count), detail, place)

    def _move_scores(self, half: str, name: str) -> list[float]:
        found = [
            move.get("score", move.get("singular_value") if self.at.method in OWN_LAMBDA else None)
            for move in self.at.moves(half, name)
        ]
        return [score for score in found if score is not None]

    def _focus(self, name: str) -> Focus:
        """Return the direction nearest to the cut: among those that went or came, or else among all of them."""
        own = self.tables[-1].get(name)
        if own is None or self.cut.score is None:
            return Focus()
        slots = self.slots[name]
        scores = {place: float(score) for place, score in enumerate(own)}
        # A new direction has no score of its own: what an extension logs is the score that won it.
        came = [move for move in self.at.moves("extend", name) if "revived" in move.get("rules", [])]
        moves = [move for move in [*self.at.moves("prune", name), *came] if move["slot"] in slots]
        if moves:
            scores = {slots.index(move["slot"]): move.get("score") for move in moves}
            scores = {place: own[place] if score is None else score for place, score in scores.items()}
        found = [
            Focus(float(score), place, self._against(float(score)))
            for place, score in scores.items()
            if np.isfinite(score)
        ]
        return min(found, key=lambda each: np.inf if each.distance is None else each.distance, default=Focus())

    def _against(self, score: float) -> float | None:
        """Return what a score is held against: the cut, or of a direction that an order took, the first it left."""
        cut = self.cut.score
        if cut is None or score > cut + abs(cut) * ROUNDED or self.cut.kind not in (ORDERED, FLOOR):
            return cut
        if self.cut.kind == FLOOR:
            return None
        left = self.everybody[self.everybody > cut + abs(cut) * ROUNDED]
        return float(left[0]) if len(left) else None

    def _margin(self, verdict: str, focus: Focus, distance: float | None) -> dict[str, Any]:
        if distance is None or focus.score is None or focus.against is None:
            reason = "no direction here has a score to hold against a threshold"
            if verdict == "extended":
                reason = "who gets a direction follows from the order, not from the threshold"
            elif self.cut.score is None:
                reason = self.cut.told
            elif focus.score is not None and self.cut.kind == FLOOR:
                reason = "a score at 0 was pulled there step by step, and does not say how firmly it is held"
            elif focus.score is not None:
                reason = "every direction that could go went"
            return line("margin", "Margin", f"none: {reason}")
        other = "the threshold" if focus.against == self.cut.score else "the first that was left"
        text = f"{number(distance)} between its nearest direction, {number(focus.score)}, and {other}"
        text += "" if focus.against == self.cut.score else f", {number(focus.against)}"
        return line("margin", "Margin", text, "what that score would have had to change, all else as it was", distance)

    def _noise(self, name: str, focus: Focus) -> tuple[float | None, int]:
        """Return the median change of that direction's score between events, and of how many; None below ENOUGH."""
        if focus.place is None:
            return None, 0
        slot = self.slots[name][focus.place] if focus.place < len(self.slots[name]) else None
        changes = []
        pairs = list(zip(self.tables, self.tables[1:], self.records, strict=False))
        for before, after, record in reversed(pairs):
            moves = [move for half in ("prune", "extend") for move in record[half] if move["matrix"] == name]
            if not all(map(is_soft, moves)) or "restarted" in record.get("rules", []):
                # Before this its directions stood at other places, or were others.
                break
            pair = [table.get(name, np.empty(0)) for table in (before, after)]
            if slot not in [move["slot"] for move in moves] and len(pair[0]) == len(pair[1]) > focus.place:
                changes.append(abs(pair[1][focus.place] - pair[0][focus.place]))
        known = [change for change in changes if np.isfinite(change)]
        return (float(np.median(known)) if len(known) >= ENOUGH else None), len(known)

    def _noise_line(self, noise: tuple[float | None, int]) -> dict[str, Any]:
        value, count = noise
        if value is None:
            return line(
                "noise", "Noise", "unknown", f"changes of this direction's score seen: {count}, needed: {ENOUGH}"
            )
        detail = (
            f"median |change| of this direction's score, {count} changes over the last {WINDOW} pairs of events "
            "at most, after events that did not move it"
        )
        return line("noise", "Noise", f"{number(value)} from event to event", detail, value)

    def _budget(self) -> dict[str, Any]:
        event = self.at.event
        method = METHODS.get(self.at.method)
        when = method.when if method else ""
        counts = f"{len(event['prune'])} went, {len(event['extend'])} came"
        if event.get("target_rank") is not None:
            text = f"target rank {event['target_rank']}, {event['budget']} above it: {counts}"
            return line("budget", "Target", text, when, event["budget"])
        text = f"b = {event['budget']}: {counts}"
        return line("budget", "Budget", text, when, event["budget"])

    def _moved(self, name: str) -> list[dict[str, Any]]:
        found = []
        for move in self.at.moves("prune", name):
            gone = pruned_line(self.at, name, move, _scored(move))
            soft = "masked" in move.get("rules", [])
            found.append(gone | {"label": "Direction switched off"} if soft else gone)
        for move in self.at.moves("extend", name):
            label = "Direction back" if "revived" in move.get("rules", []) else "New direction"
            found.append(line("new_direction", label, f"in slot {move['slot']}", _scored(move), move["slot"]))
        return found


def explain_directions(run: Run, at: Scene) -> DirectionEvent:
    """Explain one event of a method that scores directions."""
    window = run.events[max(0, at.number - WINDOW) : at.number + 1]
    tables = [_table(run, at, event) for event in window]
    everybody = [_finite(own) for own in tables[-1].values()]
    pool = getattr(at.config, "pool", None)
    if pool:
        # ElaLoRA orders only the lowest few of each matrix.
        everybody = [np.sort(own)[:pool] for own in everybody]
    return DirectionEvent(
        at,
        tables,
        window,
        _slots(run, at),
        CUTS.get(at.method, unknown)(at.event),
        np.sort(np.concatenate(everybody)) if everybody else np.empty(0),
    )


def _table(run: Run, at: Scene, event: dict[str, Any]) -> Table:
    scores = event.get("scores")
    if scores is not None:
        return {name: np.array(own, np.float64) for name, own in scores.items()}
    step = int(event["step"])
    if at.method not in OWN_LAMBDA or step not in run.steps:
        return {}
    return {name: own.astype(np.float64) for name, own in run.singular_values(step).items()}


def _slots(run: Run, at: Scene) -> dict[str, list[int]]:
    """Return name → slots of the stored directions before the event, as the earlier moves left them."""
    slots = {name: set(range(count)) for name, count in zip(at.names, run.stored[0].tolist(), strict=True)}
    for event in run.events[: at.number]:
        for half, change in (("prune", set.discard), ("extend", set.add)):
            for move in event[half]:
                if not is_soft(move):
                    change(slots[move["matrix"]], int(move["slot"]))
    return {name: sorted(own) for name, own in slots.items()}


def _finite(own: np.ndarray | None) -> np.ndarray:
    return np.empty(0) if own is None else own[np.isfinite(own)]


def _scored(move: dict[str, Any]) -> str:
    return "" if move.get("score") is None else f"score {number(move['score'])}"
