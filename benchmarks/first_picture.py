"""How long a newcomer waits for the first picture: new browser profile, warm server that never trained.

python benchmarks/first_picture.py [--times 3] [--width 1440] [--height 900]

Prints one JSON object: milliseconds from the start of navigation until the player has drawn its first frame and until
Streamlit's page has taken it over, what was fetched, and whether torch is in the server's memory (Linux only).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
DRAWN = ".fl-player[data-step]"
TAKEN_OVER = """() => performance.getEntriesByName("flexlora-page")[0]?.startTime"""
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


def measure(browser: Browser, address: str, width: int, height: int) -> dict[str, object]:
    """Open the page in a new profile and return what it took."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(address, wait_until="commit")
    page.wait_for_selector(DRAWN, timeout=30_000)
    drawn_ms = page.locator(DRAWN).evaluate("node => Number(node.dataset.drawnAt)")
    page_ms = page.wait_for_function(TAKEN_OVER, timeout=30_000).json_value()
    page.wait_for_timeout(1000)
    context.close()
    return {
        "drawn_ms": round(drawn_ms),
        "page_ms": round(page_ms),
        "requests": len(fetched),
        "plotly_fetched": any("plotly" in url.lower() for url in fetched),
        "elsewhere": sorted({url for url in fetched if not url.startswith((address, "blob:", "data:", "ws:"))}),
    }


def has_torch(pid: int) -> bool | None:
    """Return whether the process has torch's library in memory, None where that cannot be seen."""
    maps = Path(f"/proc/{pid}/maps")
    return "libtorch" in maps.read_text() if maps.exists() else None


def main() -> None:
    """Serve the app, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_until_healthy(address)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
            measure(browser, address, options.width, options.height)
            results = [measure(browser, address, options.width, options.height) for _ in range(options.times)]
            browser.close()
        median = statistics.median(int(str(result["drawn_ms"])) for result in results)
        print(json.dumps({"median_drawn_ms": median, "torch_in_server": has_torch(server.pid), "loads": results}))
    finally:
        server.terminate()
        server.wait(10)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until_healthy(address: str, timeout_s: float = 30) -> None:
    """Return as soon as the server answers."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
