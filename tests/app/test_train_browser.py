"""A true journey through Train: start, watch rank move, steer, close the tab, come back, stop."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.browser

PLAYER = "[data-testid=stMain] .fl-player[data-step]"
LOADING_MS = 90_000
TIMEOUT_MS = 20_000


def controls(page) -> str:
    return page.locator(".st-key-train_controls").inner_text()


def wait_for(page, condition, timeout_ms=TIMEOUT_MS):
    deadline = time.monotonic() + timeout_ms / 1000
    while not condition():
        assert time.monotonic() < deadline, controls(page)
        page.wait_for_timeout(50)


def test_start_watch_steer_close_the_tab_come_back_and_stop(open_page):
    page = open_page("/train")
    editor = page.locator(".fl-schedule[data-serial]")
    editor.wait_for(timeout=TIMEOUT_MS)
    before = editor.get_attribute("data-values")
    page.get_by_role("spinbutton", name="initial budget").fill("5")
    page.keyboard.press("Enter")
    wait_for(page, lambda: editor.get_attribute("data-values") != before)

    page.get_by_role("combobox", name="Task").click()
    page.get_by_text("Digits (toy)", exact=True).click()
    page.wait_for_selector("text=A toy for tests", timeout=TIMEOUT_MS)
    page.locator(".st-key-train_start button").first.click()
    page.wait_for_selector(PLAYER, timeout=LOADING_MS)

    player = page.locator(".fl-player")
    player.evaluate("node => { node.dataset.mark = 'same' }")
    updates = int(player.get_attribute("data-updates"))
    started = time.monotonic()
    wait_for(page, lambda: int(player.get_attribute("data-updates")) >= updates + 6)
    assert time.monotonic() - started < 6 / 2 * 2, "fewer updates than one a second on a busy machine"
    assert player.get_attribute("data-mark") == "same", "the player was mounted anew while the run grew"

    page.locator(".st-key-train_pause button").first.click()
    wait_for(page, lambda: "paused" in controls(page))
    at_pause = controls(page)
    page.locator(".st-key-train_step button").first.click()
    wait_for(page, lambda: controls(page) != at_pause and "paused" in controls(page))

    page.get_by_text("Steer: edit the schedule of this run").click()
    steer = page.locator("[class*=st-key-train_steer]").first
    steer.get_by_role("spinbutton", name="initial budget").fill("3")
    page.keyboard.press("Enter")
    wait_for(page, lambda: "Changed: initial_budget = 3" in steer.inner_text())
    steer.get_by_role("button", name="Apply").click()
    wait_for(page, lambda: "initial_budget = 3" in steer.inner_text() and "--edit" in steer.inner_text())

    address = page.url.removesuffix("/train")
    page.close()
    again = open_page("/train")
    assert again.url.startswith(address)
    again.wait_for_selector(PLAYER, timeout=TIMEOUT_MS)
    wait_for(again, lambda: "paused" in controls(again))
    again.locator(".st-key-train_resume button").first.click()
    wait_for(again, lambda: "training" in controls(again))
    again.locator(".st-key-train_stop button").first.click()
    wait_for(again, lambda: "ended" in controls(again))
    again.locator(".st-key-train_explore button").first.click()
    again.wait_for_url(lambda url: "/train" not in url, timeout=TIMEOUT_MS)
    again.wait_for_selector(PLAYER, timeout=TIMEOUT_MS)
    assert "digits-flexlora-paper-s0" in again.get_by_role("combobox", name="Run").input_value()
