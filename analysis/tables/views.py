"""``VIEWS``: what the player can show, and the table behind each picture, as its CSV has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa

from analysis.entropy_scale import ENTROPY_SCALES, shown_colour
from analysis.quantities import quantity
from analysis.runs import Run, event_number
from analysis.stages import MOST_EVENTS, chosen_events
from analysis.tables.columns import spread
from analysis.tables.curves import curves, rank_share, rank_trajectories
from analysis.tables.maps import compare_maps, event_stages, layer_means, rank_map, rank_maps, shown_step, strip
from analysis.tables.spectra import energy_shares, spectra_map, spectra_over_time, spectrum
from analysis.tables.why import why


class Moment(NamedTuple):
    """What a player stands at and what was chosen in it.

    Attributes:
        step: of the clock, that of a record; None = where the run is parked.
        matrix: name of the selected one; None = the first that the parked event moves.
        since: step that rank change is counted from; None = the first record.
        colour: key of ``QUANTITIES``.
        sort: key of ``SORTS``.
        entropy_scale: of the entropy colour, one of ``ENTROPY_SCALES``.
        stages: slow motion unfolds the event at the clock.
        other: the pinned run.
    """

    step: int | None = None
    matrix: str | None = None
    since: int | None = None
    colour: str = "rank"
    sort: str = "architecture"
    entropy_scale: str = ENTROPY_SCALES[0]
    stages: bool = False
    other: Run | None = None

    def event_of(self, run: Run) -> int:
        """Return the number of the latest event at or before the step, −1 before the first."""
        return event_number(run, shown_step(run, self.step))


def _events(run: Run, at: Moment) -> pa.Table:
    """The evenly chosen events; the one at or before the clock takes the place of its nearest neighbour."""
    numbers = {event["step"]: number for number, event in enumerate(run.events)}
    chosen = [numbers[step] for step in chosen_events(run, MOST_EVENTS)]
    current = at.event_of(run)
    if current >= 0 and current not in chosen:
        distances = [abs(number - current) for number in chosen]
        chosen[distances.index(min(distances))] = current
    return rank_maps(run, [run.events[number]["step"] for number in chosen], at.colour, at.since)


def _strip(run: Run, at: Moment) -> pa.Table:
    """Beside a map of ranks the strip shows what a number in a cell cannot, where the log knows λ."""
    known = run.header.get("singular_values") != "unknown"
    colour = shown_colour(run, "entropy" if at.colour == "rank" and known else at.colour, at.entropy_scale)
    return spread(strip(run, colour, at.sort, at.since), quantity(colour).column)


def _pair(run: Run, at: Moment) -> pa.Table:
    """What differs must be one quantity: the entropy of σ for both where λ is no spectrum in either."""
    other = at.other or run
    shown = {shown_colour(own, at.colour) for own in (run, other)}
    return compare_maps(run, other, at.step, "true_entropy" if "true_entropy" in shown else at.colour, at.since)


def _lines(measure: str) -> Callable[[Run, Moment], pa.Table]:
    return lambda run, at: spread(rank_trajectories(run, measure=measure), quantity(measure).column)


VIEWS: dict[str, dict[str, Callable[[Run, Any], pa.Table]]] = {
    "map": {
        "map": lambda run, at: event_stages(run, at.step) if at.stages else rank_map(run, at.step, at.colour, at.since),
        "spectra": lambda run, at: spectra_map(run, at.step),
        "rank_time": _lines("rank"),
        "stages": lambda run, at: event_stages(run, run.events[max(0, at.event_of(run))]["step"]),
        "events": _events,
        "pair": _pair,
    },
    "side": {
        "spectrum": lambda run, at: spectrum(run, at.matrix, at.step),
        "why": lambda run, at: why(run, at.matrix, at.step),
    },
    "band": {
        "directions": lambda run, at: spectra_over_time(run, at.matrix),
        "strip": _strip,
        # A mean is no score: on the scale of decisions it is that of the run's range.
        "layers": lambda run, at: layer_means(run, shown_colour(run, at.colour), at.since),
        "trajectories": _lines("rank"),
        "entropies": lambda run, at: _lines(shown_colour(run, "entropy", at.entropy_scale))(run, at),
        "share_type": lambda run, at: rank_share(run, "type"),
        "share_layer": lambda run, at: rank_share(run, "layer"),
        "energy_shares": lambda run, at: energy_shares(run, at.matrix),
        "curves": lambda run, at: curves(run),
    },
}
"""Place in the player → key of the view → f(run, moment) → table; the scripts of app/player list the same keys."""
