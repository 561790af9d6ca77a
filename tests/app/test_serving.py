"""The page of Explore draws its run at once; the server hands out runs and files to who may have them."""

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

from analysis.order import by_similarity
from analysis.payload import pack_matrix, pack_run
from analysis.player_modules import import_map, module_closure, module_text
from analysis.runs import load_run
from analysis.why import why_card
from assets import ADDRESS, FILES, loader
from player.first_page import with_player

EARLY = ".lab-early .fl-player[data-step]"
READY = "[data-testid=stMain] .fl-player[data-step]"
TIMEOUT_MS = 40_000


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


@pytest.mark.parametrize("path", ["/static/manifest.json", "/train", "/runs?run=test-paper", "/_stcore/health"])
def test_what_is_not_explore_asks_for_none(server, path):
    assert named_in(get(server + path)[2]) is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
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
        page.on("request", lambda request: "/lab/" in request.url and fetched.append(request.url))
        page.goto(f"{server}/?run=runs%2Fother")
        page.wait_for_selector(EARLY, timeout=TIMEOUT_MS)
        gate.open()
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        page.keyboard.press("End")
        page.wait_for_url(re.compile("step="), timeout=TIMEOUT_MS)
        page.wait_for_timeout(1000)
        assert fetched.count(f"{server}/lab/run/runs/other") == 1
        # The picker is the page's, not the player's: everything else came with the page.
        assert {*fetched} == {f"{server}/lab/run/runs/other", f"{server}/{ADDRESS}/runs/picker.js"}
        sizes = [len(frame) for frame in frames]
        assert max(sizes) < 20_000 and not [f for f in frames if isinstance(f, bytes) and b"class Player" in f]

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

    def test_a_run_that_does_not_come_is_told_and_asked_for_again(self, gated, server):
        page, gate = gated
        page.route("**/lab/run/**", lambda route: route.abort())
        gate.open()
        page.goto(f"{server}/?run=runs%2Fother")
        page.get_by_text("The server does not answer").wait_for(timeout=TIMEOUT_MS)
        page.unroute("**/lab/run/**")
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        assert page.get_by_text("The server does not answer").count() == 0

    def test_the_player_runs_from_the_servers_files_where_the_page_brings_none(self, gated, server):
        page, gate = gated
        gate.open()
        page.goto(f"{server}/methods")
        page.get_by_role("link", name="Explore").click()
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        assert page.evaluate("document.querySelector('#lab-early')") is None
