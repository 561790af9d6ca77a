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

from first_picture import ARGUMENTS, DRAWN, ROOT, free_port, wait_until_healthy
from PIL import Image
from playwright.sync_api import Page, sync_playwright

SIZE = {"width": 1200, "height": 720}
EVENT_MS, WARM_UP_MS, END_MS = 380, 120, 1800
WARM_UP_STEPS = 4
"""Steps between two frames before the first event: the spectra grow, no rank moves."""
FIRST_EVENT = 25
"""Of the run that Explore opens."""


def frames(page: Page) -> list[tuple[Image.Image, int]]:
    """Return the pictures and how many milliseconds each stays."""
    player = page.locator(DRAWN)
    shown: list[tuple[Image.Image, int]] = []

    def shoot(duration_ms: int) -> str:
        page.wait_for_timeout(150)
        shown.append((Image.open(io.BytesIO(page.screenshot())).convert("RGB"), duration_ms))
        return str(player.get_attribute("data-step"))

    page.keyboard.press("Home")
    step = shoot(WARM_UP_MS)
    while int(step) < FIRST_EVENT - WARM_UP_STEPS:
        for _ in range(WARM_UP_STEPS):
            page.keyboard.press("ArrowRight")
        step = shoot(WARM_UP_MS)
    before = ""
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
