"""Open Explore on GENERATED logs of 36 to 560 matrices × 2,000 records × up to 64 values; no training is behind them.

    python benchmarks/explore_scale.py [--sizes 36 72 224 560] [--times 3] [--opens 10]

Prints one JSON object a size: milliseconds from the start of navigation to the first picture, without the cache (as
after a crash), with the cache that the writer leaves, with a server that has just started, and once the server has the
run in memory; bytes over the wire; frames a second while the clock is dragged and while it plays; memory of the server.
The first line is the peer, a bundled run opened in the same way. Each opening is a new browser profile.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from first_picture import ARGUMENTS, ROOT, TAKEN_OVER, free_port, wait_until_healthy
from generated_log import SHAPES, write_log
from playwright.sync_api import Browser, Page, sync_playwright

from flexlora.run_log.cache import CACHE
from flexlora.run_log.format import HEADER, SPECTRA

PEER = "digits-flexlora-paper"
DRAWN = ".fl-player[data-step]"
WATCH = """(root) => {
  window.flFrames = [];
  const frame = (now) => {
    window.flFrames.push([now, root.dataset.step]);
    if (window.flFrames.length) window.flWatch = requestAnimationFrame(frame);
  };
  window.flWatch = requestAnimationFrame(frame);
}"""
STOP = "() => { cancelAnimationFrame(window.flWatch); return window.flFrames; }"
FETCHED = """() => performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/lab/run/"))
  .reduce((sum, entry) => sum + entry.encodedBodySize, 0)"""
SECONDS = 3.0


@contextmanager
def served(samples: Path) -> Iterator[tuple[str, int]]:
    """Serve the app on a folder of runs; yield its address and process id."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    environment = {**os.environ, "FLEXLORA_LAB_SAMPLES": str(samples), "FLEXLORA_LAB_RUNS": str(samples / "none")}
    server = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_healthy(address)
        yield address, server.pid
    finally:
        server.terminate()
        server.wait(10)


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process (Linux)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


@contextmanager
def opened(browser: Browser, address: str, run: str) -> Iterator[tuple[Page, dict[str, Any]]]:
    """Open a run in a new profile; yield the page and what it took once it is drawn."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    took = {"socket_bytes": 0}

    def count(payload: bytes | str) -> None:
        took["socket_bytes"] += len(payload)

    page.on("websocket", lambda socket: socket.on("framereceived", count))
    page.goto(f"{address}/?run={run}", wait_until="commit")
    page.wait_for_selector(DRAWN, timeout=120_000)
    took["drawn_ms"] = round(page.locator(DRAWN).evaluate("node => Number(node.dataset.drawnAt)"))
    took["page_ms"] = round(page.wait_for_function(TAKEN_OVER, timeout=120_000).json_value())
    try:
        yield page, took
    finally:
        context.close()


def frames_of(page: Page, move: Any) -> dict[str, float]:
    """Return frames a second, and how many pictures they were, while something moves the clock."""
    page.locator(DRAWN).evaluate(WATCH)
    move()
    frames = page.evaluate(STOP)
    gaps = [after[0] - before[0] for before, after in pairwise(frames)]
    steps = sum(before[1] != after[1] for before, after in pairwise(frames))
    duration = (frames[-1][0] - frames[0][0]) / 1000
    return {
        "fps": round((len(frames) - 1) / duration, 1),
        "pictures_per_s": round(steps / duration, 1),
        "worst_gap_ms": round(max(gaps), 1),
        "p95_gap_ms": round(statistics.quantiles(gaps, n=20)[-1], 1),
    }


def scrub(page: Page) -> None:
    """Drag the clock to and fro over the time axis."""
    box = page.locator(".fl-moving").bounding_box()
    assert box is not None
    left, right, y = box["x"] + 100, box["x"] + box["width"] - 100, box["y"] + box["height"] - 40
    page.mouse.move(left, y)
    page.mouse.down()
    began, goals = time.monotonic(), cycle([right, left])
    while time.monotonic() - began < SECONDS:
        page.mouse.move(next(goals), y, steps=80)
    page.mouse.up()


def play(page: Page) -> None:
    """Play from the start."""
    page.locator(".fl-moving").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    page.wait_for_timeout(SECONDS * 1000)
    page.keyboard.press("Space")


def copies_of(source: Path, count: int, *, cached: bool, label: str) -> list[str]:
    """Return names of runs that share their files with a log but are others to the server."""
    names = []
    for number in range(count):
        folder = source.parent / f"{source.name}-{label}{number}"
        shutil.copytree(
            source, folder, copy_function=os.link, ignore=None if cached else shutil.ignore_patterns("cache")
        )
        # The header is replaced, never written through: no copy changes another.
        text = (folder / HEADER).read_bytes()
        (folder / HEADER).unlink()
        (folder / HEADER).write_bytes(text)
        names.append(folder.name)
    return names


def medians(browser: Browser, address: str, runs: list[str]) -> dict[str, int]:
    """Return the median times to the first picture and to the whole page, each run opened once."""
    found = []
    for run in runs:
        with opened(browser, address, run) as (_, took):
            found.append(took)
    return {name: round(statistics.median(took[name] for took in found)) for name in ("drawn_ms", "page_ms")}


def measure(browser: Browser, samples: Path, run: str, times: int, opens: int) -> dict[str, Any]:
    """Return what one log costs."""
    source = samples / run
    large = (source / CACHE).exists()
    found: dict[str, Any] = {
        "run": run,
        "log_mb": round(sum(f.stat().st_size for f in source.iterdir() if f.is_file()) / 1e6, 1),
    }
    found["spectra_mb"] = round((source / SPECTRA).stat().st_size / 1e6, 1)
    with_cache = copies_of(source, max(times, opens), cached=True, label="cached")
    with served(samples) as (address, _):
        with opened(browser, address, PEER):
            pass
        if large:
            without = copies_of(source, times, cached=False, label="bare")
            found["without_cache"] = medians(browser, address, without)
        found["with_cache"] = medians(browser, address, with_cache[:times])
        found["again"] = medians(browser, address, with_cache[:1] * times)
        with opened(browser, address, with_cache[0]) as (page, took):
            page.wait_for_timeout(1500)
            found["wire_mb"] = round((took["socket_bytes"] + page.evaluate(FETCHED)) / 1e6, 2)
            found["scrub"] = frames_of(page, lambda: scrub(page))
            page.wait_for_timeout(1000)
            found["play"] = frames_of(page, lambda: play(page))
    with served(samples) as (address, _):
        found["cold_server"] = medians(browser, address, with_cache[:1])
    with served(samples) as (address, pid):
        memory = []
        for name in with_cache[:opens]:
            with opened(browser, address, name) as (page, _):
                page.wait_for_timeout(1000)
            memory.append(round(memory_mb(pid)))
        found["memory_mb"] = memory
    return found


def main() -> None:
    """Write the logs, open them, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--opens", type=int, default=10)
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as root, sync_playwright() as playwright:
        samples = Path(root)
        shutil.copytree(ROOT / "sample_runs" / PEER, samples / PEER)
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
        print(json.dumps(measure(browser, samples, PEER, options.times, 1)), flush=True)
        for size in options.sizes:
            folder = samples / f"generated-{size}"
            write_log(folder, size, options.records)
            print(json.dumps(measure(browser, samples, folder.name, options.times, options.opens)), flush=True)
            for path in samples.glob(f"{folder.name}*"):
                shutil.rmtree(path)
        browser.close()


if __name__ == "__main__":
    main()
