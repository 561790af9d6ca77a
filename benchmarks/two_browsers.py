"""Two browsers press Start at the same instant, again and again: does each get its own run, to its end?

python benchmarks/two_browsers.py [--times 10] [--steps 60]

Serves the app on an empty folder of runs and prints one row a round: milliseconds between the two clicks, whose run
trained first, how long the second page waited for its turn, the states of both logs, and whether a page ever showed the
other's run as its own. Exits with 1 when a round is not as it should be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from first_picture import ARGUMENTS, ROOT, free_port, wait_until_healthy
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(ROOT))
from flexlora.run_log import RunLogError, read_run

TIMEOUT_MS = 60_000
ROUND_S = 240.0
MAIN = "[data-testid=stMain]"
CONTROLS = ".st-key-train_controls"
PRESS = """([at, selector]) => new Promise(done => setTimeout(() => {
    document.querySelector(selector).click();
    done(Date.now());
}, at - Date.now()))"""


def settled(page: Page) -> None:
    """Wait until the server has answered what was typed."""
    page.wait_for_timeout(400)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=TIMEOUT_MS)


def opened(browser: Browser, address: str, seed: int, steps: int) -> Page:
    """Return the Train page of a new browser, ready to start a digits run of that seed."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(f"{address}/train")
    page.get_by_role("combobox", name="Task").click(timeout=TIMEOUT_MS)
    page.get_by_text("Digits (toy)", exact=True).click()
    page.wait_for_selector("text=A toy for tests", timeout=TIMEOUT_MS)
    for name, value in (("Steps", steps), ("Seed", seed)):
        settled(page)
        page.get_by_role("spinbutton", name=name, exact=True).fill(str(value))
        page.keyboard.press("Enter")
    settled(page)
    return page


def state_of(folder: Path) -> str:
    """Return the state of a log, or that there is none."""
    try:
        return read_run(folder).state
    except RunLogError:
        return "no log"


def play(browser: Browser, address: str, runs: Path, seed: int, steps: int) -> dict[str, object]:
    """One round: two new browsers, one instant."""
    names = [f"digits-flexlora-paper-s{seed + offset}" for offset in (0, 1)]
    pages = [opened(browser, address, seed + offset, steps) for offset in (0, 1)]
    at = time.time() * 1000 + 1500
    # One thread drives both pages, so each is told the instant beforehand.
    for page in pages:
        page.evaluate(f"(args) => {{ window.pressed = ({PRESS})(args) }}", [at, ".st-key-train_start button"])
    pressed = [float(page.evaluate("() => window.pressed")) for page in pages]
    began = time.monotonic()
    wrong, first, turn_s, done = 0, None, None, False
    while not done and time.monotonic() - began < ROUND_S:
        told = [page.inner_text(MAIN) for page in pages]
        own = [f"{name} · " in text for name, text in zip(names, told, strict=True)]
        wrong += sum(f"{name} · " in text for name, text in zip(names[::-1], told, strict=True))
        if first is None and any(own):
            first = own.index(True) + 1
        if turn_s is None and all(own):
            turn_s = time.monotonic() - began
        done = all(f"finished, step {steps} of {steps}" in text for text in told)
        pages[0].wait_for_timeout(100)
    states = [state_of(runs / name) for name in names]
    if not done:
        for page in pages:
            sys.stderr.write(f"{page.url}\n{page.inner_text(MAIN)}\n\n")
    for page in pages:
        page.context.close()
    good = done and not wrong and states == ["finished", "finished"]
    return {
        "apart_ms": round(abs(pressed[0] - pressed[1])),
        "first": first,
        "second_s": None if turn_s is None else round(turn_s, 1),
        "states": states,
        "foreign": wrong,
        "good": good,
    }


def main() -> int:
    """Serve the app, play, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    bad = 0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = Path(folder)
        command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "FLEXLORA_LAB_RUNS": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until_healthy(address)
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
            row = "{:>5} {:>9} {:>6} {:>9} {:>22} {:>8}\n"
            sys.stdout.write(row.format("round", "apart_ms", "first", "second_s", "states", "foreign"))
            for turn in range(options.times):
                found = play(browser, address, runs, 100 + 2 * turn, options.steps)
                bad += not found["good"]
                cells = (found["apart_ms"], found["first"], found["second_s"], " ".join(found["states"]))
                sys.stdout.write(row.format(turn + 1, *map(str, cells), found["foreign"]))
                sys.stdout.flush()
            browser.close()
        finally:
            server.terminate()
            server.wait(20)
    sys.stdout.write(f"{options.times - bad} of {options.times} rounds: both runs complete, each page shows its own\n")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
