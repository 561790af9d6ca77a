"""The server hands out runs and files to who may have them, and a page that names its run."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import urllib.error
import urllib.request
from email.message import Message

import pytest
from payload_bytes import decode

from analysis.glossary import explain, tour
from analysis.order import by_similarity
from analysis.payload import pack_matrix, pack_run, pack_spectra
from analysis.payload.container import as_json
from analysis.player_modules import import_map, module_closure, module_text
from analysis.runs import load_run
from analysis.why import why_card
from assets import ADDRESS, FILES, loader
from player.first_page import with_player


def get(address: str, **headers: str) -> tuple[int, Message, bytes]:
    """Status, headers, content."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def named_in(page: bytes) -> str | None:
    """Address of the run that a page asks for at once."""
    found = re.search(rb'href="\./(lab/run/[^"]*)"', page)
    return found[1].decode() if found else None


@pytest.mark.parametrize(
    ("query", "folder"),
    [("", "samples/test-paper"), ("?run=runs%2Fother", "runs/other"), ("?run=..%2F..%2Fetc", "samples/test-paper")],
)
def test_the_page_asks_for_the_run_that_it_will_show(server, served_root, query, folder):
    status, _, page = get(f"{server}/{query}")
    assert (status, b"<html" in page) == (200, True)
    status, headers, payload = get(f"{server}/{named_in(page)}")
    assert status == 200
    assert payload == pack_run(load_run(served_root / folder))
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_is_the_same_when_it_comes_compressed(server):
    _, headers, packed = get(f"{server}/", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == get(f"{server}/")[2]
    assert len(packed) < 150_000


def test_the_page_brings_the_players_modules_under_the_names_by_which_they_import_each_other(server):
    page = get(f"{server}/")[2].decode()
    found = json.loads(re.search(r'<script type="importmap">(.*?)</script>', page)[1])["imports"]
    modules = import_map("player/source/component.js")
    assert found == {**modules, f"./{ADDRESS}/player/source/component.js": modules["player/source/component.js"]}
    assert page.index("importmap") < page.index('type="module"')


def test_every_file_is_handed_out_as_it_is_and_for_ever(server):
    for name in [*module_closure("player/source/component.js"), "schedule/editor.js", "runs/picker.js"]:
        status, headers, content = get(f"{server}/{ADDRESS}/{name}")
        assert (status, content.decode()) == (200, module_text(name))
        assert headers["Content-Type"].startswith("text/javascript")
        assert "immutable" in headers["Cache-Control"] and headers["X-Content-Type-Options"] == "nosniff"
    _, headers, packed = get(f"{server}/{ADDRESS}/player/ui/player.js", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed).decode() == module_text("player/ui/player.js")


@pytest.mark.parametrize("name", ["nothing.js", "../main.py", "main.py", "%2e%2e/main.py", ""])
def test_nothing_else_is_handed_out(server, name):
    status, _, text = get(f"{server}/{ADDRESS}/{name}")
    assert status in (400, 404) and len(text.splitlines()) == 1


def test_files_of_another_version_are_not_handed_out_as_these(server):
    assert get(f"{server}/lab/js/000000000000/player/ui/player.js")[2] != FILES["player/ui/player.js"]


def test_what_streamlit_sends_each_time_is_short():
    assert len(loader("player/source/component.js")) < 200


@pytest.mark.parametrize("query", ["", "?run=runs%2Fother&step=3"])
def test_explore_has_a_name_too(server, query):
    told = urllib.request.urlopen(f"{server}/explore{query}")
    assert (told.status, told.url) == (200, f"{server}/{query}")
    assert named_in(told.read()) == named_in(get(f"{server}/{query}")[2])


@pytest.mark.parametrize("path", ["/static/manifest.json", "/train", "/runs?run=test-paper", "/_stcore/health"])
def test_what_is_not_explore_asks_for_none(server, path):
    assert named_in(get(server + path)[2]) is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("run", 404),
        ("nosuch", 404),
        ("run/nothing", 404),
        ("run/", 404),
        ("run/..%2Ftest-paper", 400),
        ("run/%00", 400),
        ("run/runs/nothing", 404),
        ("run/test-paper?since=-1", 400),
        ("run/test-paper?since=", 400),
        ("run/test-paper?since=soon", 400),
        ("run/test-paper?since=1.5", 400),
        ("run/test-paper?since=41", 400),
        ("run/test-paper?since=%D9%A3", 400),
        ("run/test-paper?since=99999999999999999999999999", 400),
        ("why/test-paper", 400),
        ("why/test-paper?step=10", 404),
        ("why/test-paper?step=10&matrix=other", 404),
        ("why/nothing?step=10&matrix=other", 404),
        ("matrix/test-paper", 404),
        ("matrix/test-paper?matrix=%00", 404),
        ("terms/test-paper?step=10&matrix=other", 404),
        ("terms/test-paper?matrix=other", 400),
        ("tour/nothing", 404),
        ("order/test-paper", 400),
        ("order/test-paper?by=taste", 400),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(server, path, status):
    found, _, text = get(f"{server}/lab/{path}")
    assert found == status
    assert text.strip() and len(text.splitlines()) == 1 and len(text) < 200
    assert b"<" not in text and b"Traceback" not in text


def test_only_what_is_new_is_sent(server, logged):
    whole = get(f"{server}/lab/run/test-paper")[2]
    header, arrays = decode(whole)
    for since in (0, logged.events[1], logged.steps - 1):
        news, found = decode(get(f"{server}/lab/run/test-paper?since={since}")[2])
        assert found["steps"].tolist() == [step for step in arrays["steps"].tolist() if step > since]
        assert [event["step"] for event in news.get("events", [])] == [s for s in logged.events if s > since]
    last = get(f"{server}/lab/run/test-paper?since={logged.steps}")[2]
    assert "steps" not in decode(last)[1]
    status, _, nothing = get(f"{server}/lab/run/test-paper?since={logged.steps}&state={header['state']}")
    assert (status, nothing) == (204, b"")
    # Who has another run, or has read further than there is, is sent everything.
    other = decode(get(f"{server}/lab/run/runs/soft")[2])[0]["state"]
    assert get(f"{server}/lab/run/test-paper?since=9999&state={other}")[2] == whole


def test_cards_spectra_and_orders_are_those_of_the_analysis(server, served_root, logged):
    run, matrix = load_run(served_root / "samples" / "test-paper"), logged.name(1, "value")
    card = json.loads(get(f"{server}/lab/why/test-paper?step={logged.events[1] + 1}&matrix={matrix}")[2])
    assert card == {
        "event": logged.events[1],
        "matrix": matrix,
        "card": why_card(run, logged.events[1] + 1, matrix),
    }
    assert json.loads(get(f"{server}/lab/why/test-paper?step=1&matrix={matrix}")[2])["card"] is None
    order = json.loads(get(f"{server}/lab/order/test-paper?by=similarity")[2])
    assert order == by_similarity(run).tolist()
    terms = json.loads(get(f"{server}/lab/terms/test-paper?step={logged.events[1]}&matrix={matrix}")[2])
    assert terms == json.loads(as_json(explain(run, logged.events[1], matrix)))
    assert json.loads(get(f"{server}/lab/tour/test-paper")[2]) == json.loads(as_json(tour(run)))
    spectra = get(f"{server}/lab/spectra/test-paper?step={logged.events[1]}")[2]
    assert spectra == pack_spectra(run, logged.events[1])
    assert get(f"{server}/lab/spectra/test-paper?step=x")[0] == 400
    parcel = get(f"{server}/lab/matrix/test-paper?matrix={matrix}")[2]
    assert parcel == pack_matrix(run, matrix, pack_run(run))
    state = decode(parcel)[0]["state"]
    assert get(f"{server}/lab/matrix/test-paper?matrix={matrix}&state={state}")[0] == 204


@pytest.mark.parametrize("path", ["run/test-paper", "why/test-paper?step=1&matrix=x", "order/test-paper?by=layer"])
def test_a_page_of_another_name_reads_nothing(server, path):
    assert get(f"{server}/lab/{path}", Host="attacker.example")[0] == 400


def test_a_run_that_still_grows_is_sent_as_far_as_it_is(server, served_root, make_run):
    folder = make_run(served_root / "runs" / "growing", steps=12, finish=False)
    try:
        (folder / "heartbeat.json").write_text("{}")
        page = get(f"{server}/?run=runs%2Fgrowing")[2]
        assert decode(get(f"{server}/{named_in(page)}")[2])[1]["steps"].tolist() == list(range(1, 13))
    finally:
        shutil.rmtree(folder)


def test_names_of_runs_stand_in_the_page_as_text():
    page = with_player(b"<head><title>x</title></head>", '"><script>alert(1)</script>')
    assert b"<script>alert(1)" not in page
    assert b'data-run="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in page
    assert page.endswith(b"<title>x</title></head>")


def test_a_page_without_a_head_stays_as_it_is():
    assert with_player(b"<p>nothing</p>", "test-paper") == b"<p>nothing</p>"
