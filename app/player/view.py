"""What a player shows, as a link and the browser name it; the browser's side is view_state.js."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from analysis.entropy_scale import ENTROPY_SCALES
from analysis.order import SORTS
from analysis.quantities import QUANTITIES
from analysis.stages import STAGES
from analysis.tables import VIEWS

CHOICES: dict[str, tuple[str, ...]] = {
    # That of σ is what entropy shows where λ is no spectrum; no button asks for it.
    "colour": tuple(key for key in QUANTITIES if key != "true_entropy"),
    **{place: tuple(views) for place, views in VIEWS.items()},
    "sort": tuple(SORTS),
    "scale": ("matrix", "run"),
    "entropy_scale": ENTROPY_SCALES,
}
"""Name → keys that may be chosen; the first is the default and stands in no link."""


@dataclass(frozen=True)
class PlayerView:
    """What the player shows, as last reported by the browser, or as asked for.

    Attributes:
        step: The recorded step at the clock, None = where the run is parked, or behind the log of one that trains.
        matrix: Name of the selected matrix, None = one of the parked event.
        since: Step from which rank change counts, None = the first record.
        colour: What the map and the strip are coloured by.
        map: The picture in the map's place.
        side: The picture beside it.
        band: The picture over time.
        sort: Order of the strip's rows.
        scale: What the bars of the map of spectra go up to: the largest |λ| of each matrix, or of the run.
        entropy_scale: Scale of the entropy colour.
        stage: Where slow motion stands in the event at the clock, one of `STAGES`; None = no slow motion.
    """

    step: int | None = None
    matrix: str | None = None
    since: int | None = None
    colour: str = CHOICES["colour"][0]
    map: str = CHOICES["map"][0]
    side: str = CHOICES["side"][0]
    band: str = CHOICES["band"][0]
    sort: str = CHOICES["sort"][0]
    scale: str = CHOICES["scale"][0]
    entropy_scale: str = CHOICES["entropy_scale"][0]
    stage: str | None = None

    @classmethod
    def reported(cls, report: Mapping[str, Any]) -> PlayerView:
        """Reads a report of the browser; what it leaves out or what is not allowed is the default."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in report.items() if name in known and _allowed(name, value)})

    def as_dict(self) -> dict[str, Any]:
        """Every field by its name."""
        return asdict(self)

    def as_link(self, run: str, pinned: str | None = None) -> dict[str, str]:
        """Query parameters of this view of a run, and of the run that is pinned under the same clock."""
        link = {"run": run, **({"with": pinned} if pinned else {})}
        if self.step is not None:
            link["step"] = str(self.step)
        if self.matrix:
            link["matrix"] = self.matrix
        link |= {name: getattr(self, name) for name, keys in CHOICES.items() if getattr(self, name) != keys[0]}
        if self.since is not None:
            link["since"] = str(self.since)
        if self.stage:
            link["stage"] = self.stage
        return link


def _allowed(name: str, value: Any) -> bool:
    """What may be chosen is told by a list; the rest is checked against the run."""
    keys = STAGES if name == "stage" and value is not None else CHOICES.get(name)
    return keys is None or value in keys
