"""What crosses the wire while a run of 36 matrices trains and a browser looks on.

    python benchmarks/live_bytes.py [--root OTHER_CHECKOUT ...] [--seconds 20]

Starts a `digits` job on the Train page of each checkout in turn (this one without --root) and counts from the moment
its player stands. Prints one JSON object each: bytes over HTTP and over Streamlit's socket, updates of the picture,
bytes an update, and bytes for each byte that the rows of the new records hold in the run's binary form.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from first_picture import ARGUMENTS, ROOT, free_port, wait_until_healthy
from playwright.sync_api import Browser, Page, sync_playwright

from analysis.payload import pack_run
from analysis.payload.container import read_arrays, read_header
from analysis.runs import load_run

PLAYER = ".fl-player[data-step]"
TIMEOUT_MS = 120_000


class Wire:
    """Counts what a page receives."""

    def __init__(self, page: Page) -> None:
        self.http = self.socket = 0
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._loaded)
        session.on("Network.webSocketFrameReceived", self._framed)

    def _loaded(self, event: dict[str, Any]) -> None:
        self.http += int(event["encodedDataLength"])

    def _framed(self, event: dict[str, Any]) -> None:
        frame = event["response"]
        # Binary frames are told in base64.
        self.socket += len(frame["payloadData"]) * 3 // 4 if frame["opcode"] == 2 else len(frame["payloadData"])


def start_job(page: Page, address: str) -> None:
    """Start a `digits` job as a user does."""
    page.goto(f"{address}/train")
    page.get_by_role("combobox", name="Task").click()
    page.get_by_text("Digits (toy)", exact=True).click()
    page.wait_for_selector("text=A toy for tests", timeout=TIMEOUT_MS)
    page.locator(".st-key-train_start button").first.click()
    page.wait_for_selector(PLAYER, timeout=TIMEOUT_MS)


def row_bytes(folder: Path) -> tuple[int, int]:
    """Return the records of a run and the bytes of all that has a row for each record, event, move, ..."""
    run = load_run(folder)
    payload = pack_run(run)
    arrays = read_arrays(payload)
    return len(run.steps), sum(arrays[name].nbytes for name, _, _, by in read_header(payload)[0]["arrays"] if by)


def measure(browser: Browser, root: Path, seconds: float) -> dict[str, Any]:
    """Return what one live run cost."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    with tempfile.TemporaryDirectory() as runs:
        environment = {**os.environ, "FLEXLORA_LAB_RUNS": runs, "PYTHONPATH": str(root)}
        server = subprocess.Popen(
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            wait_until_healthy(address)
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            wire = Wire(page)
            start_job(page, address)
            page.wait_for_timeout(1000)
            player, folder = page.locator(PLAYER), next(Path(runs).iterdir())
            http, socket, began = wire.http, wire.socket, time.monotonic()
            records, held = row_bytes(folder)
            updates = int(player.get_attribute("data-updates") or 0)
            while time.monotonic() - began < seconds and load_run(folder).state == "running":
                page.wait_for_timeout(500)
            taken = time.monotonic() - began
            new_records, holds = row_bytes(folder)
            page.wait_for_timeout(600)
            received = wire.http - http + wire.socket - socket
            seen = int(player.get_attribute("data-updates") or 0) - updates
        finally:
            server.terminate()
            server.wait(10)
    return {
        "root": root.name,
        "seconds": round(taken, 1),
        "records": new_records - records,
        "updates": seen,
        "http_kb": round((wire.http - http) / 1000, 1),
        "socket_kb": round((wire.socket - socket) / 1000, 1),
        "kb_an_update": round(received / 1000 / max(seen, 1), 1),
        "kb_a_second": round(received / 1000 / taken, 1),
        "kb_of_new_rows": round((holds - held) / 1000, 1),
        "http_for_each_byte_of_them": round((wire.http - http) / max(holds - held, 1), 2),
        "all_for_each_byte_of_them": round(received / max(holds - held, 1), 2),
    }


def main() -> None:
    """Measure each checkout, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, action="append", help="a checkout to serve; repeats; default: this one")
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
        for root in options.root or [ROOT]:
            print(json.dumps(measure(browser, root.resolve(), options.seconds)), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
