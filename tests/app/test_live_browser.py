"""A run that trains, watched: the picture stays behind the log, shows every event, waits for who looks elsewhere."""

from __future__ import annotations

import time

from flexlora.run_log import read_run

PLAYER = "[data-testid=stMain] .fl-player[data-step]"
NAME = "digits-flexlora-paper-s33"
TIMEOUT_MS = 120_000


def wait_for(page, condition):
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, page.locator(".fl-player").evaluate("node => node.outerHTML.slice(0, 900)")
        page.wait_for_timeout(50)


def test_every_event_of_a_run_that_trains_is_shown_also_to_who_left_the_film_and_comes_back(open_page, served_root):
    page = open_page("/train")
    page.get_by_role("combobox", name="Task").click()
    page.get_by_text("Digits (toy)", exact=True).click()
    page.wait_for_selector("text=A toy for tests", timeout=TIMEOUT_MS)
    for name, value in (("Steps", "30"), ("Seed", "33")):
        page.get_by_role("spinbutton", name=name, exact=True).fill(value)
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=TIMEOUT_MS)
    page.locator(".st-key-train_start button").first.click()
    page.wait_for_selector(f"{PLAYER}[data-following=true]", timeout=TIMEOUT_MS)
    player = page.locator(PLAYER)

    def told(name: str) -> str:
        return player.get_attribute(f"data-{name}") or ""

    assert player.locator(".fl-eventForward, .fl-forward, .fl-follow").filter(visible=True).count() == 0

    wait_for(page, lambda: told("events-shown"))
    player.get_by_role("button", name="Pause the picture (space)").click()
    wait_for(page, lambda: told("following") == "false")
    left, updates = told("step"), int(told("updates"))
    wait_for(page, lambda: int(told("updates")) >= updates + 2)
    assert told("step") == left
    assert "left the run, which is at step" in player.locator(".fl-readout").inner_text()
    player.get_by_role("button", name="Follow the run").click()

    controls = page.locator(".st-key-train_controls")
    wait_for(page, lambda: "finished" in controls.inner_text() and told("following") == "false")
    log = read_run(served_root / "runs" / NAME)
    shown = [int(step) for step in told("events-shown").split(",")]
    assert shown == [event["step"] for event in log.events] and len(shown) == 17
    assert told("step") == "30"
    assert player.get_by_role("button", name="Play (space)").count() == 1
