"""What the server tells of a run over HTTP, as the player asks for it; docs/explore.md has the addresses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from analysis.glossary import explain, tour
from analysis.payload import increment, pack_matrix, pack_spectra, run_since
from analysis.payload.container import as_json
from analysis.runs import Run
from flexlora.run_log import RunLogError

if TYPE_CHECKING:
    from runs.store import OpenRun

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# Streamlit would spend a tenth of a second to compress a whole run.
_LARGE = 200_000
_CARDS = threading.Lock()


class Refused(Exception):
    """A request that cannot be answered: status, and why in one line."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def whole_run(request: Request) -> bytes | None:
    """Answers `lab/run/NAME?since=RECORD&state=STATE`.

    ``since`` is the step of the last record that the reader has, ``state`` what the header of its payload calls so;
    with neither, everything is sent. `analysis.payload.container` says what a reader does with the answer.
    """
    opened, asked = _opened(request), request.query_params
    steps = opened.run.steps
    since = _whole(asked["since"], "since") if "since" in asked else None
    if "state" in asked:
        return increment(opened.payload, asked["state"])
    if since is None:
        return opened.payload
    last = int(steps[-1]) if len(steps) else 0
    if since > last:
        raise Refused(400, f"since={since} is after the last record, which is of step {last}.")
    return run_since(opened.run, opened.payload, since)


def one_card(request: Request) -> bytes:
    """Answers `lab/why/NAME?step=&matrix=`: `analysis.why.why_card`, and the step of the event that it is about."""
    from analysis.why import why_card

    run, asked = _opened(request).run, request.query_params
    step, matrix = _whole(asked.get("step", ""), "step"), _matrix(request, run)
    before = [event["step"] for event in run.events if event["step"] <= step]
    with _CARDS:
        card = why_card(run, step, matrix)
    return as_json({"event": before[-1] if before else None, "matrix": matrix, "card": card})


def one_matrix(request: Request) -> bytes | None:
    """Answers `lab/matrix/NAME?matrix=&state=`: what of the spectrum of a matrix the reader lacks."""
    opened = _opened(request)
    parcel = pack_matrix(opened.run, _matrix(request, opened.run), opened.payload)
    return increment(parcel, request.query_params.get("state", ""))


def all_spectra(request: Request) -> bytes:
    """Answers `lab/spectra/NAME?step=`: λ of all matrices at the latest record at or before the step."""
    run, step = _opened(request).run, _whole(request.query_params.get("step", ""), "step")
    if not len(run.steps):
        raise Refused(404, "The run has no record yet.")
    return pack_spectra(run, step)


def one_order(request: Request) -> bytes:
    """Answers `lab/order/NAME?by=similarity`: places of the matrices, one of `analysis.order.SORTS`."""
    # Imported here: the clustering brings scipy, which the first picture does without.
    from analysis.order import SORTS, sorted_matrices

    run, by = _opened(request).run, request.query_params.get("by", "")
    if by not in SORTS:
        raise Refused(400, f"by is one of {', '.join(SORTS)}.")
    return as_json(sorted_matrices(run, by).tolist())


def all_terms(request: Request) -> bytes:
    """Answers `lab/terms/NAME?step=&matrix=`: `analysis.glossary.explain`."""
    run, step = _opened(request).run, _whole(request.query_params.get("step", ""), "step")
    return as_json(explain(run, step, _matrix(request, run)))


def one_tour(request: Request) -> bytes:
    """Answers `lab/tour/NAME`: `analysis.glossary.tour`."""
    return as_json(tour(_opened(request).run))


def routes(base: str) -> list[Route]:
    """What the server answers; ``base`` is where the app is, without a slash at its end."""
    # As Streamlit does at its socket: a page of another name that was pointed at this machine reads nothing.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=st.get_option("server.allowedHosts") or ["*"])
    answers = {
        "run": (whole_run, "application/octet-stream"),
        "matrix": (one_matrix, "application/octet-stream"),
        "spectra": (all_spectra, "application/octet-stream"),
        "why": (one_card, "application/json"),
        "order": (one_order, "application/json"),
        "terms": (all_terms, "application/json"),
        "tour": (one_tour, "application/json"),
    }
    found = [
        Route(f"{base}/lab/{name}/{{name:path}}", _endpoint(*answer), middleware=[hosts])
        for name, answer in answers.items()
    ]
    # What is no address would get the app's page.
    return [*found, Route(f"{base}/lab/{{_:path}}", lambda _: PlainTextResponse("There is no such address.", 404))]


def _endpoint(answer: Callable[[Request], bytes | None], kind: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        began = time.thread_time()
        try:
            content = answer(request)
        except Refused as refused:
            return PlainTextResponse(str(refused), refused.status, headers=_HEADERS)
        except RunLogError as error:
            return PlainTextResponse(str(error), 404, headers=_HEADERS)
        headers = _HEADERS | {"Server-Timing": f"make;dur={1000 * (time.thread_time() - began):.1f}"}
        if content is None:
            return Response(status_code=204, headers=headers)
        encoding = {"Content-Encoding": "identity"} if len(content) > _LARGE else {}
        return Response(content, media_type=kind, headers=headers | encoding)

    return endpoint


def _opened(request: Request) -> OpenRun:
    # Streamlit's caches and components want a server that runs: this module is imported before there is one.
    from runs.store import load_quietly, nearby_runs, resolve_run, run_entries

    asked, entries = request.path_params["name"], run_entries()
    entry = resolve_run(asked, entries)
    opened = load_quietly(entry) if entry else None
    if opened is None:
        hint = f" {nearby_runs(asked, entries)}" if entry is None else ""
        raise Refused(404, f"There is no such run.{hint}")
    return opened


def _matrix(request: Request, run: Run) -> str:
    matrix = request.query_params.get("matrix", "")
    if matrix not in run.places:
        raise Refused(404, "The run has no such matrix.")
    return matrix


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refused(400, f"{name} is the step of a record, a whole number from 0 on.")
    return int(text)
