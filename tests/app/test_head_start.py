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
from player.early_picture import with_picture
from player.head_start import component_scripts


def is_early(address: str) -> bool:
    return address.rpartition("/")[2].startswith(("run?", *component_scripts()))


EARLY = ".lab-early .fl-player[data-step]"
READY = "[data-testid=stMain] .fl-player[data-step]"
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


def test_names_of_runs_are_told_to_the_early_picture_as_text():
    page = with_picture(b"<head><title>x</title></head>", '"><script>alert(1)</script>', "lab/run?run=a&state=b")
    assert b"alert(1)</script>" not in page.replace(b"&lt;", b"")
    assert b'data-run="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;" data-source="lab/run?run=a&amp;state=b"' in page
    assert page.endswith(b"<title>x</title></head>")


class Gate:
    """Keeps Streamlit's page from its server until it is opened; what stands before needs neither."""

    def __init__(self, page):
        self.held: list | None = []
        for name in ("health", "host-config"):
            page.route(f"**/_stcore/{name}", self._hold)

    def _hold(self, route):
        if self.held is None:
            route.continue_()
        else:
            self.held.append(route)

    def open(self):
        held, self.held = self.held, None
        for route in held or []:
            route.continue_()


@pytest.fixture
def gated(browser, server):
    """A page whose Streamlit waits, and its gate; errors in the page fail the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page, Gate(page)
    context.close()
    assert not errors


def received_by(page) -> list:
    """What comes through the page's sockets from now on."""
    frames = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    return frames


@pytest.mark.browser
class TestInTheBrowser:
    def test_the_picture_stands_before_streamlit_which_goes_on_with_it(self, gated, server, logged):
        page, gate = gated
        page.goto(f"{server}/?run=runs%2Fother&step={logged.events[0]}&colour=entropy")
        page.wait_for_selector(EARLY, timeout=TIMEOUT_MS)
        player = page.locator(".fl-player")
        assert player.get_attribute("data-step") == str(logged.events[0])
        early = player.bounding_box()
        page.keyboard.press("Shift+ArrowRight")
        page.wait_for_selector(f'.fl-player[data-step="{logged.events[1]}"]', timeout=TIMEOUT_MS)
        gate.open()
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        page.wait_for_url(re.compile(f"step={logged.events[1]}"), timeout=TIMEOUT_MS)
        page.wait_for_selector(".lab-early", state="detached", timeout=TIMEOUT_MS)
        assert player.count() == 1
        assert player.get_attribute("data-updates") == "1"
        assert player.get_attribute("data-step") == str(logged.events[1])
        assert abs(player.bounding_box()["y"] - early["y"]) < 2
        page.keyboard.press("w")
        page.locator(".fl-why").get_by_text("Importance").wait_for(timeout=TIMEOUT_MS)
        assert "colour=entropy" in page.url

    @pytest.mark.parametrize(
        "asked", ["", "&step={event}", "&step={between}", "&step=9999", "&matrix={matrix}", "&step=no"]
    )
    def test_the_early_picture_shows_what_the_page_will(self, gated, server, logged, asked):
        page, gate = gated
        own = {"event": logged.events[2], "between": logged.events[1] + 2, "matrix": logged.name(1, "value")}
        page.goto(f"{server}/?run=runs%2Fother{asked.format(**own)}")
        page.wait_for_selector(EARLY, timeout=TIMEOUT_MS)
        player = page.locator(".fl-player")
        early = [player.get_attribute(f"data-{name}") for name in ("step", "matrix")]
        gate.open()
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        page.wait_for_timeout(300)
        assert [player.get_attribute(f"data-{name}") for name in ("step", "matrix")] == early

    def test_the_run_crosses_the_wire_once_and_not_through_the_script(self, gated, server, served_root):
        page, gate = gated
        fetched, frames = [], received_by(page)
        page.on("request", lambda request: is_early(request.url) and fetched.append(request.url))
        page.goto(f"{server}/?run=runs%2Fother")
        page.wait_for_selector(EARLY, timeout=TIMEOUT_MS)
        gate.open()
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        page.keyboard.press("End")
        page.wait_for_url(re.compile("step="), timeout=TIMEOUT_MS)
        page.wait_for_timeout(1000)
        payload = pack_run(load_run(served_root / "runs" / "other"))
        assert len(fetched) == len({*fetched}) == 1 + len(component_scripts())
        assert not [frame for frame in frames if isinstance(frame, bytes) and payload in frame]

    def test_the_picture_goes_when_the_page_is_another(self, gated, server):
        page, _ = gated
        page.goto(f"{server}/?run=runs%2Fother")
        page.wait_for_selector(EARLY, timeout=TIMEOUT_MS)
        page.evaluate("history.pushState({}, '', '/train')")
        page.wait_for_selector(".lab-early", state="detached", timeout=TIMEOUT_MS)

    def test_the_picture_goes_when_the_page_has_something_else_to_show(self, gated, server):
        page, _ = gated
        page.goto(f"{server}/?run=runs%2Fother")
        page.wait_for_selector(EARLY, timeout=TIMEOUT_MS)
        page.evaluate(
            """() => {
                const [app, main, text] = ["stApp", "stMain", "stElementContainer"].map((name) =>
                    Object.assign(document.createElement("div"), { ariaLabel: name }));
                [app, main, text].forEach((node) => node.setAttribute("data-testid", node.ariaLabel));
                app.setAttribute("data-test-script-state", "notRunning");
                document.body.append(app); app.append(main); main.append(text);
            }"""
        )
        page.wait_for_selector(".lab-early", state="detached", timeout=TIMEOUT_MS)

    @pytest.mark.parametrize("lost", ["**/lab/run*", "**/lab/*"])
    def test_where_the_run_cannot_be_fetched_the_script_sends_it(self, gated, server, served_root, lost):
        page, gate = gated
        frames = received_by(page)
        page.route(lost, lambda route: route.abort())
        gate.open()
        page.goto(f"{server}/?run=runs%2Fother")
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        payload = pack_run(load_run(served_root / "runs" / "other"))
        assert [frame for frame in frames if isinstance(frame, bytes) and payload in frame]
