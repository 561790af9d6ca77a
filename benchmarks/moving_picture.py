"""The README's moving picture: Explore plays its run, event by event, as it does in a browser.

python benchmarks/moving_picture.py [--out docs/explore.webp]

Needs a Chromium; prints the number of frames and the size of the file.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from contact_sheet import SCRUB
from first_picture import ARGUMENTS, DRAWN, ROOT, free_port, wait_until_healthy
from PIL import Image
from playwright.sync_api import Page, sync_playwright

SIZE = {"width": 1200, "height": 720}
EVENT_MS, FILM_MS, LONG_MS, END_MS = 300, 160, 1300, 1800
FILM = [
    0.02,
    0.2,
    0.3,
    0.4,
    0.97,
    *(1 + i / 20 for i in range(2, 13)),
    1.97,
    2.3,
    *(2.5 + i / 12 for i in range(6)),
    2.99,
]
FILM += [3.1, *(3.5 + i / 12 for i in range(4)), 3.97, *(4 + i / 20 for i in range(2, 19, 2)), 4.97]
"""Moments of an event: a stage, and how much of it has passed."""


def frames(page: Page) -> list[tuple[Image.Image, int]]:
    """Return the pictures and how many milliseconds each stays: one event as a film, then all that follow."""
    player = page.locator(DRAWN)
    shown: list[tuple[Image.Image, int]] = []

    def shoot(duration_ms: int) -> str:
        page.wait_for_timeout(150)
        shown.append((Image.open(io.BytesIO(page.screenshot())).convert("RGB"), duration_ms))
        return str(player.get_attribute("data-step"))

    page.locator(".fl-guide-event").click()
    for moment in FILM:
        page.locator(".fl-scrub").evaluate(SCRUB, moment)
        shoot(LONG_MS if moment % 1 > 0.9 else FILM_MS)
    page.keyboard.press("Escape")
    step, before = str(player.get_attribute("data-step")), ""
    while step != before:
        before = step
        page.keyboard.press("Shift+ArrowRight")
        step = shoot(EVENT_MS)
    return [*shown[:-1], (shown[-1][0], END_MS)]


def main() -> None:
    """Serve the app, play, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "explore.webp")
    parser.add_argument("--quality", type=int, default=72)
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
            page = browser.new_page(viewport=SIZE, color_scheme="light")
            page.goto(f"http://127.0.0.1:{port}")
            page.wait_for_selector(DRAWN, timeout=60_000)
            page.wait_for_timeout(4000)
            pictures = frames(page)
            browser.close()
    finally:
        server.terminate()
        server.wait(10)
    images, durations = zip(*pictures, strict=True)
    images[0].save(
        options.out,
        save_all=True,
        append_images=images[1:],
        duration=list(durations),
        loop=0,
        quality=options.quality,
        method=4,
    )
    print(f"{len(images)} frames, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
