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


def settle(page):
    page.wait_for_timeout(300)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=TIMEOUT_MS)


def test_every_event_of_a_run_that_trains_is_shown_also_to_who_left_the_film_and_comes_back(open_page, served_root):
    page = open_page("/train", viewport={"width": 1024, "height": 700})
    page.get_by_role("combobox", name="Task").click()
    page.get_by_text("Digits (toy)", exact=True).click()
    page.wait_for_selector("text=A toy for tests", timeout=TIMEOUT_MS)
    for name, value in (("Steps", "18"), ("Seed", "33")):
        page.get_by_role("spinbutton", name=name, exact=True).fill(value)
        page.keyboard.press("Enter")
        settle(page)
    page.get_by_text("paused, to go step by step").click()
    settle(page)
    page.locator(".st-key-train_start button").first.click()
    page.wait_for_selector(f"{PLAYER}[data-following=true]", timeout=TIMEOUT_MS)
    player, controls = page.locator(PLAYER), page.locator(".st-key-train_controls")

    def told(name: str) -> str:
        return player.get_attribute(f"data-{name}") or ""

    def shown() -> list[int]:
        return [int(step) for step in told("events-shown").split(",") if step]

    assert player.locator(".fl-events").inner_text() == "No event yet: the first is due at step 2."
    assert player.locator(".fl-eventForward, .fl-forward, .fl-follow").filter(visible=True).count() == 0
    page.locator(".st-key-train_next_event button").first.click()
    wait_for(page, lambda: shown() == [2])

    player.get_by_role("button", name="Pause the picture (space)").click()
    wait_for(page, lambda: told("following") == "false")
    updates = int(told("updates"))
    page.locator(".st-key-train_next_event button").first.click()
    wait_for(page, lambda: int(told("updates")) > updates and "step 3 of 18" in controls.inner_text())
    assert told("step") == "2"
    wait_for(page, lambda: "left the run, which is at step 3" in player.locator(".fl-readout").inner_text())
    player.get_by_role("button", name="Follow the run").click()
    wait_for(page, lambda: shown() == [2, 3])

    page.locator(".st-key-train_resume button").first.click()
    wait_for(page, lambda: "finished" in controls.inner_text() and told("following") == "false")
    assert shown() == [event["step"] for event in read_run(served_root / "runs" / NAME).events]
    assert len(shown()) > 8
    assert told("step") == "18"
    assert player.get_by_role("button", name="Play (space)").count() == 1
