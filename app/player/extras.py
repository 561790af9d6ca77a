"""What a player needs later than its run: brought by couriers as the user's view asks for it."""

from __future__ import annotations

from analysis.metrics import parked_step
from analysis.runs import Run
from analysis.why import why_card
from player import PlayerView, courier
from runs.store import OpenRun, matrix_parcel


def bring_extras(run: Run, view: PlayerView, *, to: str, key: str) -> None:
    """Brings a player the card of what it shows, and the order of the strip that the browser cannot know.

    Args:
        run: The run that is shown.
        view: What the user looks at, as the player reported it.
        to: Streamlit key of the player.
        key: What tells this run from others, as the player was told.
    """
    if view.side == "why" and view.matrix in {matrix.name for matrix in run.matrices}:
        step = parked_step(run) if view.step is None else view.step
        before = [event["step"] for event in run.events if event["step"] <= step]
        courier(
            "why",
            to=to,
            run=key,
            event=before[-1] if before else None,
            matrix=view.matrix,
            card=why_card(run, step, view.matrix),
        )
    if view.sort == "similarity":
        # Imported here: the clustering brings scipy, which the first picture does without.
        from analysis.order import by_similarity

        courier("order", to=to, run=key, order=by_similarity(run).tolist())


def bring_spectrum(opened: OpenRun, view: PlayerView, *, to: str, key: str) -> None:
    """Brings a player the spectrum of the selected matrix in every record, where its payload had no room for it.

    Args:
        opened: What is shown.
        view: What the user looks at.
        to: Streamlit key of the player.
        key: What tells this run from others, as the player was told.
    """
    if parcel := matrix_parcel(opened, view.matrix):
        courier("matrix", to=to, run=key, data=parcel)
