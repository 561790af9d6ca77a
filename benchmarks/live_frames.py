"""A run that trains, watched in a browser on the same machine: frames a second, and whether each event was shown.

python benchmarks/live_frames.py [--times 5] [--steps 120]

One row a round: frames a second from the first picture to the end of the film, the slowest tenth of the frames in
milliseconds, seconds of film, events of the log and those that the film showed. Exits with 1 when one
was not shown. The browser's frames stop at 60 a second.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from explore_scale import DRAWN, STOP, WATCH, served
from first_picture import ARGUMENTS
from playwright.sync_api import Browser, sync_playwright
from two_browsers import opened

from flexlora.run_log import read_run

TIMEOUT_MS = 300_000
ROW = "{:>5} {:>7} {:>13} {:>7} {:>6} {:>5}\n"


def watch(browser: Browser, address: str, runs: Path, seed: int, steps: int) -> dict[str, float]:
    """Start a digits run, look at it to its end."""
    page = opened(browser, address, seed, steps)
    page.locator(".st-key-train_start button").first.click()
    player = page.locator(f"[data-testid=stMain] {DRAWN}")
    page.wait_for_selector(f"{DRAWN}[data-following=true]", timeout=TIMEOUT_MS)
    player.evaluate(WATCH)
    page.wait_for_selector(f"{DRAWN}[data-following=false][data-step='{steps}']", timeout=TIMEOUT_MS)
    times = [at for at, _ in page.evaluate(STOP)]
    shown = (player.get_attribute("data-events-shown") or "").split(",")
    page.context.close()
    log = read_run(runs / f"digits-flexlora-paper-s{seed}")
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    film_s = (times[-1] - times[0]) / 1000
    return {
        "frames": len(gaps) / film_s,
        "slow_ms": statistics.quantiles(gaps, n=10)[-1],
        "film_s": film_s,
        "events": len(log.events),
        "shown": len({str(event["step"]) for event in log.events} & set(shown)),
    }


def main() -> int:
    """Serve the app, watch, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    rounds = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, served(Path(folder)) as (address, _):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
        sys.stdout.write(ROW.format("round", "frames", "slow 10 % ms", "film s", "events", "shown"))
        for turn in range(options.times):
            seen = watch(browser, address, Path(folder) / "none", 200 + turn, options.steps)
            rounds.append(seen)
            cells = (f"{seen[key]:.1f}" for key in ("frames", "slow_ms", "film_s"))
            sys.stdout.write(ROW.format(turn + 1, *cells, seen["events"], seen["shown"]))
            sys.stdout.flush()
        browser.close()
    rates = [seen["frames"] for seen in rounds]
    sys.stdout.write(f"frames a second: median {statistics.median(rates):.1f}, {min(rates):.1f} to {max(rates):.1f}\n")
    return any(seen["events"] != seen["shown"] for seen in rounds)


if __name__ == "__main__":
    sys.exit(main())
