"""A true journey through Train: start, watch rank move, steer, close the tab, come back, stop."""

from __future__ import annotations

import time

from flexlora.run_log import read_run

PLAYER = "[data-testid=stMain] .fl-player[data-step]"
LOADING_MS = 90_000
TIMEOUT_MS = 40_000


def controls(page) -> str:
    return page.locator(".st-key-train_controls").inner_text()


def settle(page):
    """Wait until the server has nothing to say any more about what was typed."""
    page.wait_for_timeout(300)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=TIMEOUT_MS)


def wait_for(page, condition, timeout_ms=TIMEOUT_MS):
    deadline = time.monotonic() + timeout_ms / 1000
    while not condition():
        assert time.monotonic() < deadline, controls(page)
        page.wait_for_timeout(200)


def test_start_watch_steer_close_the_tab_come_back_and_stop(open_page):
    # Stills: that the film is drawn is seen elsewhere, and frames take half of what the machine has.
    page = open_page("/train", new=True, reduced_motion="reduce")
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
    wait_for(page, lambda: int(player.get_attribute("data-updates")) >= updates + 6)
    assert player.get_attribute("data-mark") == "same", "the player was mounted anew while the run grew"

    page.locator(".st-key-train_pause button").first.click()
    wait_for(page, lambda: "paused" in controls(page))
    at_pause = controls(page)
    page.locator(".st-key-train_step button").first.click()
    wait_for(page, lambda: controls(page) != at_pause and "paused" in controls(page))

    steer = page.locator("[class*=st-key-train_steer]").first
    steer.get_by_role("spinbutton", name="initial budget").fill("3")
    page.keyboard.press("Enter")
    wait_for(page, lambda: "Changed: initial_budget = 3" in steer.inner_text())
    steer.get_by_role("button", name="Apply").click()
    wait_for(page, lambda: "initial_budget = 3" in steer.inner_text() and "--edit" in steer.inner_text())

    address = page.url
    again = page.context.new_page()
    page.close()
    again.goto(address)
    again.wait_for_selector(PLAYER, timeout=TIMEOUT_MS)
    wait_for(again, lambda: "paused" in controls(again))
    again.locator(".st-key-train_resume button").first.click()
    wait_for(again, lambda: "training" in controls(again))
    again.locator(".st-key-train_stop button").first.click()
    wait_for(again, lambda: "stopped" in controls(again))
    again.locator(".st-key-train_explore button").first.click()
    again.wait_for_url("**/*run=runs%2Fdigits-flexlora-paper-s0*", timeout=TIMEOUT_MS)
    again.wait_for_selector(PLAYER, timeout=TIMEOUT_MS)
    assert "digits-flexlora-paper-s0" in again.get_by_role("combobox", name="Run").input_value()


def test_two_browsers_press_start_at_the_same_instant(open_page, served_root):
    """Both are accepted, one after the other trains to its end, each page shows its own and watches the other."""
    names = [f"digits-flexlora-paper-s{seed}" for seed in (70, 71)]
    pages = [open_page("/train", reduced_motion="reduce") for _ in range(2)]
    for seed, page in zip(("70", "71"), pages, strict=True):
        page.get_by_role("combobox", name="Task").click()
        page.get_by_text("Digits (toy)", exact=True).click()
        page.wait_for_selector("text=A toy for tests", timeout=TIMEOUT_MS)
        for name, value in (("Steps", "12"), ("Seed", seed)):
            page.get_by_role("spinbutton", name=name, exact=True).fill(value)
            page.keyboard.press("Enter")
        settle(page)
    # However the two follow each other, in the end this one waits for its owner: time to look.
    pages[0].get_by_text("paused, to go step by step").click()
    settle(pages[0])
    for page in pages:
        # The click does not wait for the server: the two arrive within milliseconds.
        page.evaluate("document.querySelector('.st-key-train_start button').click()")
    # In line, or with a run that has ended.
    watching = pages[1]
    watching.wait_for_selector("text=paused, step 0 of 12", timeout=LOADING_MS)
    assert f"Another browser's run {names[0]}" in watching.inner_text("[data-testid=stMain]")
    watching.get_by_role("button", name="Watch it in Explore").wait_for(timeout=LOADING_MS)
    # Old elements stay until the page is drawn to its end.
    watching.wait_for_function("!document.querySelector('.st-key-train_stop, .st-key-train_resume')")
    pages[0].locator(".st-key-train_resume button").first.click(timeout=TIMEOUT_MS)
    seen = [set(), set()]

    def ended() -> bool:
        told = [page.locator("[data-testid=stMain]").inner_text() for page in pages]
        for texts, text in zip(seen, told, strict=True):
            texts.add(text)
        return all("finished, step 12 of 12" in text for text in told)

    wait_for(pages[0], ended, 2 * LOADING_MS)
    for name, other, page, texts in zip(names, names[::-1], pages, seen, strict=True):
        assert name in controls(page)
        assert read_run(served_root / "runs" / name).state == "finished"
        assert not any(f"{other} · " in text for text in texts), "a page took the other's run for its own"
    watching.wait_for_function('!document.body.innerText.includes("Another browser\'s run")', timeout=TIMEOUT_MS)
