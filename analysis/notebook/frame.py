"""The player as one HTML element, an iframe with its whole page; and what such a page lacks of a run that grew."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import struct
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from analysis.glossary import told_in_file
from analysis.order import by_similarity
from analysis.payload import increment, pack_matrix, pack_run
from analysis.payload.container import as_json, read_header
from analysis.player_modules import import_map
from analysis.report.contents import rounded
from analysis.report.page import ReportError
from analysis.runs import Run
from analysis.why import why_cards

WHOLE_BYTES = 1_200_000
"""Payload up to which every λ is in the page: notebooks keep it, and their servers drop more than 1 MB a second."""
HEIGHT_PX = 740
LEAST_WIDTH_PX = 840
"""Narrower, the player would stack its pictures and have its clock below the frame's edge; outputs scroll sideways."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """What a page was given.

    Attributes:
        state: of its payload, from which ``news_since`` goes on.
        events: how many it has.
        on_demand: its payload has no λ; those at events came beside it.
        html: the page itself, one HTML document.
    """

    state: str
    events: int
    on_demand: bool
    html: str


def page_of(run: Run, *, whole_bytes: int = WHOLE_BYTES) -> Page:
    """Return the player and a run as one HTML document that needs nothing else.

    Args:
        run: as far as it is.
        whole_bytes: payload up to which it holds every λ; beyond, those at events.

    Raises:
        ReportError: the player's modules are not beside this package.
    """
    payload = pack_run(run, whole_bytes)
    header, _ = read_header(payload)
    name = _printable(str(run.header.get("name") or run.folder.name))
    request = {
        "run": name,
        "id": name,
        "link": None,
        "step": None,
        "matrix": None,
        "since": None,
        "order": by_similarity(run).tolist() if len(run.steps) else [],
    }
    try:
        modules = import_map("player/source/frame.js")
    except FileNotFoundError as error:
        raise ReportError(f"The player's modules are not here ({error.filename}): install the whole Lab.") from error
    told = told_in_file(run) if len(run.steps) else {"tour": [], "terms": {"": {"place": "", "terms": {}}}}
    parts = {
        "request": json.dumps(request).encode(),
        "run": rounded(payload),
        "parcels": _parcels(run, payload) if header["onDemand"] else b"",
        "cards": _cards(run, 0),
        "told": as_json(told),
        "modules": as_json({"imports": modules}),
    }
    html = Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=(_HERE.parent / "report" / "page.css").read_text(encoding="utf-8"),
        **{part: _packed(data) for part, data in parts.items()},
    )
    return Page(header["state"], len(run.events), header["onDemand"], html)


def news_since(page: Page, run: Run, *, whole_bytes: int = WHOLE_BYTES) -> str | None:
    """Return what ``page`` lacks of a run that grew, as JSON for ``app/player/source/frame.js``; None for nothing.

    It holds everything since the page was made: a page that got none of the earlier news needs only the last.
    """
    payload = pack_run(run, whole_bytes)
    lacking = increment(payload, page.state)
    if lacking is None:
        return None
    grown = len(run.events) > page.events
    on_demand = read_header(payload)[0]["onDemand"]
    parcels = _packed(_parcels(run, payload)) if on_demand and (grown or not page.on_demand) else ""
    message = {
        "base": page.state,
        "run": _packed(rounded(lacking)),
        "parcels": parcels,
        "cards": _packed(_cards(run, page.events)),
        "live": run.state == "running",
    }
    return json.dumps(message)


def framed(html: str, name: str, title: str) -> str:
    """Return a page as an iframe: it runs its own scripts, and has no access to the notebook around it.

    Args:
        html: the page.
        name: of the frame; the page finds it as ``window.name``.
        title: what the frame is called for those who do not see it.
    """
    size = f"width:100%;min-width:{LEAST_WIDTH_PX}px;height:{HEIGHT_PX}px"
    return (
        f'<iframe name="{escape(name)}" title="{escape(title)}" sandbox="allow-scripts allow-downloads" '
        f'style="{size};border:0" srcdoc="{escape(html)}"></iframe>'
    )


def frame_html(run: Run) -> str:
    """Return the player with a run as one HTML element that needs no server and no network.

    Raises:
        ReportError: the player's modules are not beside this package.
    """
    return framed(page_of(run).html, new_name(), title_of(run))


def new_name() -> str:
    """Return a name that no other frame of a notebook has."""
    return f"flexlora-{secrets.token_hex(6)}"


def title_of(run: Run) -> str:
    """Return what the frame of a run is called."""
    return _printable(f"{run.header.get('name') or run.folder.name}: rank over time")


def _cards(run: Run, first: int) -> bytes:
    """Return, of the events from ``first`` on, the cards of the matrices that each moved."""
    found = {}
    for number in range(first, len(run.events)):
        event = run.events[number]
        moved = {move["matrix"] for move in (*event["prune"], *event["extend"])}
        cards = why_cards(run, number) if moved else ()
        found[str(event["step"])] = {card["matrix"]: card for card in cards if card["matrix"] in moved}
    return json.dumps(found, separators=(",", ":")).encode()


def _parcels(run: Run, payload: bytes) -> bytes:
    steps = [event["step"] for event in run.events]
    own = [rounded(pack_matrix(run, matrix.name, payload, only=steps)) for matrix in run.matrices]
    return b"".join(struct.pack("<I", len(one)) + one for one in own)


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _printable(text: str) -> str:
    """A name in a header may hold lone surrogates, which UTF-8 has no place for."""
    return text.encode("utf-8", "backslashreplace").decode()
