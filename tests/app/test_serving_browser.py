"""The page of Explore draws its run at once, before Streamlit, which goes on with the same picture."""

from __future__ import annotations

import contextlib
import re
import shutil

import numpy as np
import pytest

from assets import ADDRESS
from flexlora.run_log import RunLogError, RunWriter

EARLY = ".lab-early .fl-player[data-step]"
READY = "[data-testid=stMain] .fl-player[data-step]"
TIMEOUT_MS = 40_000


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
def gated(tab):
    """A page whose Streamlit waits, and its gate."""
    return tab, Gate(tab)


def received_by(page) -> list:
    """What comes through the page's sockets from now on."""
    frames = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    return frames


def test_the_picture_stands_before_streamlit_which_goes_on_with_it(gated, server, logged):
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
def test_the_early_picture_shows_what_the_page_will(gated, server, logged, asked):
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


def test_the_run_crosses_the_wire_once_and_not_through_the_script(gated, server, served_root):
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


def test_the_picture_goes_when_the_page_is_another(gated, server):
    page, _ = gated
    page.goto(f"{server}/?run=runs%2Fother")
    page.wait_for_selector(EARLY, timeout=TIMEOUT_MS)
    page.evaluate("history.pushState({}, '', '/train')")
    page.wait_for_selector(".lab-early", state="detached", timeout=TIMEOUT_MS)


def test_the_picture_goes_when_the_page_has_something_else_to_show(gated, server):
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


def test_a_run_that_does_not_come_is_told_and_asked_for_again(gated, server):
    page, gate = gated
    page.route("**/lab/run/**", lambda route: route.abort())
    gate.open()
    page.goto(f"{server}/?run=runs%2Fother")
    page.get_by_text("The server does not answer").wait_for(timeout=TIMEOUT_MS)
    page.unroute("**/lab/run/**")
    page.wait_for_selector(READY, timeout=TIMEOUT_MS)
    assert page.get_by_text("The server does not answer").count() == 0


def test_the_player_runs_from_the_servers_files_where_the_page_brings_none(gated, server):
    page, gate = gated
    gate.open()
    page.goto(f"{server}/methods")
    page.get_by_role("link", name="Explore").click()
    page.wait_for_selector(READY, timeout=TIMEOUT_MS)
    assert page.evaluate("document.querySelector('#lab-early')") is None


@pytest.fixture
def live(served_root):
    """A run that goes on: f(step) records one."""
    folder, names = served_root / "runs" / "live", ("a", "b")
    rows = [{"name": n, "layer": 0, "module_type": n, "in_features": 4, "out_features": 4} for n in names]
    header = {"method": "flexlora", "preset": "paper", "task": "digits", "config": {"total_steps": 3}, "matrices": rows}
    writer = RunWriter(folder, header)

    def record(step: int) -> RunWriter:
        writer.step(step, 1.0, 0.0, 1.0, 1e-3, 4)
        writer.spectrum(step, [np.ones(2), np.ones(2)])
        writer.flush()
        return writer

    yield record
    with contextlib.suppress(RunLogError):
        writer.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_the_line_above_the_player_follows_a_run_to_its_end(live, open_page):
    live(1)
    page = open_page("/?run=runs%2Flive")
    page.get_by_text("flexlora (paper) on digits · running, step 1 of 3").wait_for(timeout=TIMEOUT_MS)
    live(2)
    page.get_by_text("running, step 2 of 3").wait_for(timeout=TIMEOUT_MS)
    writer = live(3)
    writer.eval(3, "test", {"accuracy": 0.875})
    writer.end("completed")
    page.get_by_text("finished, step 3 of 3 · test accuracy 0.875").wait_for(timeout=TIMEOUT_MS)


def test_a_run_that_goes_while_it_is_followed_is_called_gone_and_its_picture_stays(live, open_page, served_root):
    live(1)
    page = open_page("/?run=runs%2Flive")
    page.wait_for_selector(READY, timeout=TIMEOUT_MS)
    shutil.rmtree(served_root / "runs" / "live")
    page.get_by_text("This run is gone: There is no such run.").wait_for(timeout=TIMEOUT_MS)
    page.get_by_text("on digits · running").wait_for(state="detached", timeout=TIMEOUT_MS)
    assert page.locator(READY).count() == 1
    assert page.get_by_text("The server does not answer").count() == 0
