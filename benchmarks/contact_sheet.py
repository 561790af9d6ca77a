"""An event's film at twenty moments on one sheet, as the player draws it: to be looked at.

python benchmarks/contact_sheet.py RUN [--event 6] [--dark] [--width 1440] [--height 900] [--out sheet.png] [--cost]
python benchmarks/contact_sheet.py --generated 560 ...

RUN is a bundled run's name. ``--generated N`` writes a log of N matrices first (see generated_log.py; no training is
behind it). ``--cost`` also prints what a frame costs, in milliseconds of processor time. Needs a Chromium.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from first_picture import ARGUMENTS, DRAWN, ROOT, TAKEN_OVER, free_port, wait_until_healthy
from generated_log import SHAPES, write_log
from PIL import Image
from playwright.sync_api import Page, sync_playwright

MOMENTS = [
    0.02,
    0.25,
    0.45,
    0.7,
    1.0,
    1.2,
    1.35,
    1.55,
    1.75,
    1.97,
    2.3,
    2.6,
    2.75,
    2.84,
    3.3,
    3.65,
    3.97,
    4.3,
    4.7,
    4.97,
]
COLUMNS = 4
SCRUB = """(slider, moment) => new Promise((done) => {
  slider.value = String(moment);
  slider.dispatchEvent(new Event("input"));
  requestAnimationFrame(() => requestAnimationFrame(done));
})"""
FRAMES = 300
SWEEP = """async ([slider, frames]) => {
  for (let i = 0; i < frames; i += 1) {
    slider.value = String((5 * i) / frames);
    slider.dispatchEvent(new Event("input"));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  }
}"""


def cost_of(page: Page) -> dict[str, float]:
    """Return milliseconds of the page's own thread a frame, sweeping over the event; others do not count."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> dict[str, float]:
        return {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}

    before = spent()
    page.locator(".fl-scrub").evaluate(f"(slider) => ({SWEEP})([slider, {FRAMES}])")
    after = spent()
    return {name: round(1000 * (after[name] - before[name]) / FRAMES, 2) for name in ("ScriptDuration", "TaskDuration")}


def sheet_of(page: Page) -> Image.Image:
    """Return the player at each moment, reading order, half size."""
    slider = page.locator(".fl-scrub")
    player = page.locator(DRAWN)
    pictures = []
    for moment in MOMENTS:
        slider.evaluate(SCRUB, moment)
        picture = Image.open(io.BytesIO(player.screenshot())).convert("RGB")
        box = page.locator(".fl-bar").bounding_box()
        top = player.bounding_box()
        if box and top:
            picture = picture.crop((0, 0, picture.width, int(box["y"] - top["y"])))
        pictures.append(picture)
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + 12), rows * (height + 12)), "#888888")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % COLUMNS * (width + 12), i // COLUMNS * (height + 12)))
    return sheet


def main() -> None:
    """Serve the app, scrub, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", default="words-flexlora-paper")
    parser.add_argument("--generated", type=int, choices=SHAPES)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--event", type=int, default=6, help="its number, from 1")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--query", default="", help="more of the address, as map=stages")
    parser.add_argument("--out", type=Path, default=Path("sheet.png"))
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        name = options.run
        if options.generated:
            name = f"runs/generated-{options.generated}"
            write_log(Path(folder) / f"generated-{options.generated}", options.generated, options.records)
            steps = [options.records // 10 + 10 * i for i in range(options.event)]
        else:
            lines = (ROOT / "sample_runs" / name / "events.jsonl").read_text().splitlines()
            steps = [json.loads(line)["step"] for line in lines if json.loads(line)["record"] == "event"]
        environment = {**os.environ, "FLEXLORA_LAB_RUNS": folder, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}", timeout_s=120)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
                scheme = "dark" if options.dark else "light"
                size = {"width": options.width, "height": options.height}
                page = browser.new_page(viewport=size, color_scheme=scheme)
                step = steps[options.event - 1]
                page.goto(f"http://127.0.0.1:{port}/?run={name}&step={step}&stage=score&{options.query}")
                page.wait_for_selector(f"{DRAWN}[data-stage=score]", timeout=60_000)
                page.wait_for_function(TAKEN_OVER, timeout=60_000)
                page.wait_for_timeout(2500)
                if options.query:
                    page.locator(DRAWN).screenshot(path=options.out)
                else:
                    sheet_of(page).save(options.out)
                if options.cost:
                    print(json.dumps(cost_of(page)))
                browser.close()
        finally:
            server.terminate()
            server.wait(10)
    print(options.out)


if __name__ == "__main__":
    main()
