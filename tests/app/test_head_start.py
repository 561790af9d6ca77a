"""A run is named in the header of the page, and handed out over HTTP to who may have it."""

from __future__ import annotations

import os
import re
import shutil
import urllib.error
import urllib.request
from email.message import Message

import pytest

from analysis.payload import pack_run
from analysis.runs import load_run
from head_start import component_scripts


def is_early(address: str) -> bool:
    return address.rpartition("/")[2].startswith(("run?", *component_scripts()))


READY = ".fl-player[data-step]"
TIMEOUT_MS = 15_000


def get(address: str, **headers: str) -> tuple[int, Message, bytes]:
    """Status, headers, content."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def named_in(headers: Message) -> str | None:
    """Address of the payload that a page's header names."""
    found = re.search(r"<\./(lab/run[^>]*)>; rel=preload; as=fetch", headers.get("Link", ""))
    return found[1] if found else None


@pytest.mark.parametrize(
    ("query", "folder"),
    [("", "samples/test-paper"), ("?run=runs%2Fother", "runs/other"), ("?run=..%2F..%2Fetc", "samples/test-paper")],
)
def test_the_page_names_the_payload_of_the_run_that_it_will_show(server, served_root, query, folder):
    status, headers, text = get(f"{server}/{query}")
    assert (status, b"<html" in text) == (200, True)
    status, headers, payload = get(f"{server}/{named_in(headers)}", **{"Accept-Encoding": "gzip"})
    assert status == 200
    assert payload == pack_run(load_run(served_root / folder))
    assert headers["Content-Encoding"] == "identity"


def test_the_page_names_the_scripts_that_a_component_waits_for(server):
    names = re.findall(r"<\./(static/js/[^>]*)>; rel=modulepreload", get(f"{server}/")[1]["Link"])
    assert any("BidiComponent" in name for name in names)
    page = get(f"{server}/")[2].decode()
    for name in names:
        assert name not in page
        assert get(f"{server}/{name}")[1]["Content-Type"].startswith(("text/javascript", "application/javascript"))


@pytest.mark.parametrize("path", ["/static/manifest.json", "/train", "/runs?run=test-paper", "/_stcore/health"])
def test_what_is_not_explore_names_none(server, path):
    assert named_in(get(server + path)[1]) is None


@pytest.mark.parametrize(
    "query",
    ["", "?run=test-paper", "?run=test-paper&state=0123456789abcdef", "?run=..%2Ftest-paper&state=0", "?run=%00"],
)
def test_a_run_that_is_not_here_or_has_changed_is_not_handed_out(server, query):
    status, _, text = get(f"{server}/lab/run{query}")
    assert (status, text) == (404, b"There is no such run, or it has changed.")


def test_a_page_of_another_name_reads_nothing(server):
    link = named_in(get(f"{server}/")[1])
    assert get(f"{server}/{link}", Host="attacker.example")[0] == 400
    assert get(f"{server}/{link}")[0] == 200


def test_a_run_that_may_still_grow_is_not_named(server, served_root, make_run):
    folder = make_run(served_root / "runs" / "growing", steps=12, finish=False)
    try:
        (folder / "heartbeat.json").write_text("{}")
        assert named_in(get(f"{server}/?run=runs%2Fgrowing")[1]) is None
        os.utime(folder / "heartbeat.json", (0, 0))
        assert named_in(get(f"{server}/?run=runs%2Fgrowing")[1])
    finally:
        shutil.rmtree(folder)


def test_a_run_that_has_just_ended_is_named(server, served_root):
    (served_root / "runs" / "other" / "heartbeat.json").write_text("{}")
    assert named_in(get(f"{server}/?run=runs%2Fother")[1])


@pytest.mark.browser
class TestInTheBrowser:
    def test_the_run_crosses_the_wire_once_and_not_through_the_script(self, open_page, server, served_root):
        page = open_page("/methods")
        fetched, received = [], []
        page.on("request", lambda request: is_early(request.url) and fetched.append(request.url))
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
        page.goto(f"{server}/?run=runs%2Fother")
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        page.keyboard.press("End")
        page.wait_for_url(re.compile("step="), timeout=TIMEOUT_MS)
        page.wait_for_timeout(1000)
        payload = pack_run(load_run(served_root / "runs" / "other"))
        assert len(fetched) == len({*fetched}) == 1 + len(component_scripts())
        assert not [frame for frame in received if isinstance(frame, bytes) and payload in frame]

    def test_where_the_run_cannot_be_fetched_the_script_sends_it(self, browser, server, served_root):
        context = browser.new_context()
        page = context.new_page()
        received = []
        page.route("**/lab/run*", lambda route: route.abort())
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
        page.goto(f"{server}/?run=runs%2Fother")
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        payload = pack_run(load_run(served_root / "runs" / "other"))
        assert [frame for frame in received if isinstance(frame, bytes) and payload in frame]
        context.close()
