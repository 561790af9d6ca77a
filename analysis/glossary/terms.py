"""``GLOSSARY``: what every word of the page means, with the run's own numbers in its formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis.budget import budget_curve
from analysis.dynamics import churn_after_events, gross_after_events, net_after_events
from analysis.glossary import pictures
from analysis.glossary.moment import Moment
from analysis.glossary.pictures import Picture
from analysis.metrics import GAP_LIMIT, total_rank
from analysis.why.wording import number, percent, standing
from flexlora.importance import measure_label

_FIRST = 3
"""Of a sum, the parts that are written out."""


class Term(NamedTuple):
    """One word.

    Attributes:
        key: its name in code.
        label: its name on the page.
        words: how texts spell it, apart from capitals; the page underlines them.
        definition: one or two sentences.
        formula: as text; empty where there is none.
        own: f(moment) → the formula with the run's own numbers, None where the log does not tell.
        picture: f(moment) → what is drawn beside it, None for nothing.
    """

    key: str
    label: str
    words: tuple[str, ...]
    definition: str
    formula: str
    own: Callable[[Moment], str | None]
    picture: Callable[[Moment], Picture | None]


def _direction(at: Moment) -> str | None:
    if not len(at.weights):
        return None
    return f"{at.rank} here: |λ| from {number(at.weights[0])} down to {number(at.weights[-1])}"


def _rank(at: Moment) -> str:
    return f"r = {at.rank} now, {int(at.run.ranks[0, at.matrix])} at the start"


def _total_rank(at: Moment) -> str:
    totals = total_rank(at.run)
    now, first = int(totals[at.record]), int(totals[0])
    return f"Σ r = {now} over {len(at.run.matrices)} matrices, {'as' if now == first else first} at the start"


def _spectrum(at: Moment) -> str | None:
    return f"|λ| = {_listed(at.weights, 6)}" if len(at.weights) else None


def _lambda(at: Moment) -> str | None:
    if not len(at.weights):
        return None
    share = f", {percent(at.shares[-1])} of the energy" if len(at.shares) else ""
    return f"the smallest here: |λ| = {number(at.weights[-1])}{share}"


def _sigma(at: Moment) -> str | None:
    if at.true_values is None or not len(at.true_values[1]) or not len(at.weights) or at.run.scale is None:
        return None
    step, values = at.true_values
    at_step = Moment(at.run, step, at.matrix)
    if not len(at_step.weights):
        return None
    lam, scale = at_step.weights[0], at.run.scale
    product = f"{number(scale)} · {number(lam)} = {number(scale * lam)}"
    return f"step {step}: largest σ = {number(values[0])}; s · |λ| = {product}"


def _energy(at: Moment) -> str | None:
    if not len(at.weights):
        return None
    parts = " + ".join(f"{number(value)}²" for value in at.weights[:_FIRST])
    more = " + …" if len(at.weights) > _FIRST else ""
    return f"E = {parts}{more} = {number(float(np.square(at.weights).sum()))}"


def _entropy(at: Moment) -> str | None:
    if len(at.weights) == 1:
        return "undefined here: r = 1, a single direction shares with none"
    if at.entropy is None or not len(at.shares):
        return "undefined here: every λ is 0" if len(at.weights) else None
    shown = ", ".join(percent(share) for share in at.shares[:_FIRST])
    spread = -float((at.shares[at.shares > 0] * np.log(at.shares[at.shares > 0])).sum())
    more = ", …" if len(at.shares) > _FIRST else ""
    return f"s = {shown}{more}; I = {number(spread)} / ln {len(at.shares)} = {at.entropy:.3f}"


def _importance(at: Moment) -> str | None:
    event, score = at.event, at.scores.get(at.name)
    if event is None or score is None:
        return None
    known = sorted(value for value in at.scores.values() if value is not None)
    below, above = int(np.searchsorted(known, score)), len(known) - int(np.searchsorted(known, score, side="right"))
    place = standing(1 + min(below, above), "lowest" if below <= above else "highest", len(known))
    return f"{measure_label(event['measure'])} at step {event['step']}: {number(score)}, {place}"


def _event(at: Moment) -> str | None:
    event = at.event
    if event is None:
        return f"the first comes at step {at.run.events[0]['step']}" if at.run.events else "none in this run"
    lost, gained = at.moved
    here = f"; this matrix {f'−{lost}' if lost else ''}{f'+{gained}' if gained else ''}" if lost or gained else ""
    return (
        f"event {at.number + 1}, step {event['step']}: {len(event['prune'])} taken, {len(event['extend'])} given{here}"
    )


def _taken(at: Moment) -> str | None:
    return _moves(at, "prune", "taken")


def _given(at: Moment) -> str | None:
    return _moves(at, "extend", "given")


def _moves(at: Moment, half: str, word: str) -> str | None:
    event = at.event
    if event is None or not event[half]:
        return None
    own = [move for move in event[half] if move["matrix"] == at.name]
    values = [abs(move["singular_value"]) for move in own if isinstance(move.get("singular_value"), int | float)]
    here = f"; from here |λ| = {_listed(np.array(values), _FIRST)}" if values and half == "prune" else ""
    return f"event {at.number + 1}: {len(event[half])} {word}{here}"


def _budget(at: Moment) -> str | None:
    curve = budget_curve(at.run)
    known = [step for step in curve if step <= at.step]
    if not known:
        return None
    latest = f"; event {at.number + 1} had {at.event['budget']}" if at.event else ""
    return f"b({known[-1]}) = {curve[known[-1]]:g}{latest}"


def _threshold(at: Moment) -> str | None:
    event = at.event
    if event is None or not at.scores:
        return None
    told = [
        f"{word} {sign} {number(most(values))}"
        for half, word, sign, most in (("prune", "lost", "≤", max), ("extend", "gained", "≥", min))
        if (values := [score for move in event[half] if (score := at.scores.get(move["matrix"])) is not None])
    ]
    return f"event {at.number + 1}: {', '.join(told)}" if told else None


def _gross(at: Moment) -> str | None:
    return f"{int(gross_after_events(at.run)[at.number])} after event {at.number + 1}" if at.event else None


def _net(at: Moment) -> str | None:
    if at.event is None:
        return None
    gross, net = (int(f(at.run)[at.number]) for f in (gross_after_events, net_after_events))
    return f"{gross} moved, {net} stand elsewhere after event {at.number + 1}"


def _churn(at: Moment) -> str | None:
    values = churn_after_events(at.run)
    if at.event is None or not np.isfinite(values[at.number]):
        return None
    pruned = sum(len(event["prune"]) for event in at.run.events[: at.number + 1])
    undone = round(float(values[at.number]) * pruned)
    return f"{undone} of {pruned} so far = {percent(float(values[at.number]))}"


def _gap(at: Moment) -> str | None:
    steps, true = at.run.true_entropy
    place = int(np.searchsorted(steps, at.step, side="right")) - 1
    if place < 0:
        return None
    sigma = float(true[place, at.matrix])
    lam = float(at.run.entropy[at.run.record_at(int(steps[place])), at.matrix])
    if not np.isfinite(sigma) or not np.isfinite(lam):
        return None
    return f"step {int(steps[place])}: |{lam:.3f} − {sigma:.3f}| = {abs(lam - sigma):.3f}"


def _scale(at: Moment) -> str | None:
    alpha, rank = at.run.config.get("alpha"), at.run.config.get("initial_rank")
    return f"s = {alpha:g} / {rank:g} = {at.run.scale:g}" if at.run.scale and alpha and rank else None


def _listed(values: np.ndarray, most: int) -> str:
    return ", ".join(number(float(value)) for value in values[:most]) + (", …" if len(values) > most else "")


GLOSSARY: dict[str, Term] = {
    term.key: term
    for term in (
        Term(
            "direction",
            "direction",
            ("direction", "directions"),
            "One layer of the stack that is added to a weight matrix: a column p, a row q and a weight λ.",
            "ΔW = s · (λ₁·p₁q₁ᵀ + λ₂·p₂q₂ᵀ + …)",
            _direction,
            pictures.bars,
        ),
        Term(
            "rank",
            "rank",
            ("rank", "ranks"),
            "How many directions a matrix has.",
            "r = number of directions",
            _rank,
            pictures.ranks_over_time,
        ),
        Term(
            "total_rank",
            "total rank",
            ("total rank",),
            "All directions of all matrices. Where as many are given as are taken, it stays.",
            "Σ r",
            _total_rank,
            pictures.total_over_time,
        ),
        Term(
            "spectrum",
            "spectrum",
            ("spectrum", "spectra"),
            "The weights |λ| of a matrix's directions, largest first: few large = concentrated, all alike = even.",
            "|λ₁| ≥ |λ₂| ≥ …",
            _spectrum,
            pictures.bars,
        ),
        Term(
            "lambda",
            "λ",
            ("λ",),
            "The trained weight of one direction. A new direction starts at λ = 0 and so changes nothing at first.",
            "ΔW = s · Σ λ·pqᵀ",
            _lambda,
            pictures.smallest_marked,
        ),
        Term(
            "sigma",
            "σ",
            ("σ", "true singular values"),
            "A true singular value of ΔW, worked out from the whole update. If p and q are orthonormal, it is s·|λ|.",
            "σ = s · |λ| when PᵀP = QQᵀ = I",
            _sigma,
            pictures.pairs,
        ),
        Term(
            "energy",
            "energy",
            ("energy", "energies"),
            "How much all directions of a matrix do together. A matrix that has learned nothing has 0.",
            "E = Σ λ²",
            _energy,
            pictures.energy_shares,
        ),
        Term(
            "entropy",
            "entropy",
            ("spectral entropy", "entropy", "entropies"),
            "How evenly a matrix's energy is spread over its directions: 1 = all alike, 0 = one does everything.",
            "I = −Σ s·ln s / ln r, s = λ²/E",
            _entropy,
            pictures.entropies,
        ),
        Term(
            "importance",
            "importance",
            ("importance", "importances"),
            "The score that an event decides by: the lowest lose a direction, the highest get one.",
            "",
            _importance,
            pictures.scores,
        ),
        Term(
            "event",
            "event",
            ("event", "events", "reallocation"),
            "A moment at which rank moves: matrices are scored and ordered, some lose a direction, others get one.",
            "r → r − 1 at one end of the order, r → r + 1 at the other",
            _event,
            pictures.scores,
        ),
        Term(
            "prune",
            "prune",
            ("prune", "pruned", "prunes"),
            "Take a direction away: the one with the smallest |λ|.",
            "r → r − 1",
            _taken,
            pictures.smallest_marked,
        ),
        Term(
            "extend",
            "extend",
            ("extend", "extended", "extensions"),
            "Give a new direction: random p and q, and λ = 0, so that the model computes what it did before.",
            "r → r + 1, λ = 0",
            _given,
            pictures.bars,
        ),
        Term(
            "budget",
            "budget",
            ("budget", "b(t)", "b"),
            "The most directions that one event may take and give. A schedule says how it falls over the run.",
            "b(t)",
            _budget,
            pictures.budget_over_time,
        ),
        Term(
            "threshold",
            "threshold",
            ("threshold", "thresholds"),
            "The score of the last matrix that an event took at its end of the order.",
            "",
            _threshold,
            pictures.scores,
        ),
        Term(
            "gross",
            "gross moves",
            ("gross",),
            "All moves added up; one direction taken and one given count as one.",
            "Σ max(taken, given)",
            _gross,
            pictures.moves_over_time,
        ),
        Term(
            "net",
            "net moves",
            ("net",),
            "What is left of the moves: directions that stand in another matrix than at the start.",
            "Σ max(r − r₀, 0)",
            _net,
            pictures.moves_over_time,
        ),
        Term(
            "churn",
            "churn",
            ("churn",),
            "The share of prunes that take back a direction which the event before had given.",
            "taken back / taken",
            _churn,
            pictures.churn_after_each,
        ),
        Term(
            "gap",
            "gap",
            ("gap",),
            f"How far the entropy of λ is from that of σ. Above {GAP_LIMIT:g} (median), λ is not the spectrum of ΔW.",
            "|I(λ) − I(σ)|",
            _gap,
            pictures.pairs,
        ),
        Term(
            "scale",
            "scale s",
            ("scale s",),
            "A fixed factor before the update, the same for every matrix.",
            "s = α / initial rank",
            _scale,
            pictures.pairs,
        ),
    )
}
"""Key → term, in the order in which one explains them."""
