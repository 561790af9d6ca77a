"""``show`` in a real Jupyter kernel: what it displays, updates and leaves behind."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flexlora.run_log import RunWriter

pytest.importorskip("ipykernel")
manager = pytest.importorskip("jupyter_client.manager")

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60


class Kernel:
    """A kernel and the outputs that a front end would show: display id → HTML, as of the latest update."""

    def __init__(self, client) -> None:
        self.client, self.shown, self.texts = client, {}, []

    def run(self, code: str) -> None:
        """Run code to its end."""
        asked = self.client.execute(code)
        self.until(
            lambda message: (
                message["parent_header"].get("msg_id") == asked and message["content"].get("execution_state") == "idle"
            )
        )

    def until(self, done) -> None:
        """Take messages until one is what is waited for, or until something shown is."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            assert time.monotonic() < deadline
            message = self.client.get_iopub_msg(timeout=TIMEOUT_S)
            content = message["content"]
            assert message["msg_type"] != "error", content["traceback"]
            if message["msg_type"] in ("display_data", "update_display_data", "execute_result"):
                key = content.get("transient", {}).get("display_id", len(self.shown))
                assert (message["msg_type"] == "update_display_data") == (key in self.shown)
                self.shown[key] = content["data"].get("text/html")
                self.texts.append(content["data"]["text/plain"])
            if done(message):
                return

    def until_shown(self, words: str) -> None:
        self.until(lambda _: any(words in (html or "") for html in self.shown.values()))


@pytest.fixture(scope="module")
def started():
    own = manager.KernelManager()
    own.start_kernel(
        cwd=str(ROOT), env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    )
    client = own.client()
    client.start_channels()
    client.wait_for_ready(timeout=TIMEOUT_S)
    yield client
    client.stop_channels()
    own.shutdown_kernel(now=True)


@pytest.fixture
def kernel(started):
    return Kernel(started)


def write(writer: RunWriter, *steps: int) -> None:
    for step in steps:
        writer.step(step, 1 / step, 0.0, 1 / step, 1e-3, 0)
        writer.spectrum(step, [np.array([3.0, 2.0, 1.0]) * step])
    writer.flush()


def test_a_run_and_its_log_are_shown_as_the_player(kernel):
    kernel.run("from analysis.runs import load_run; load_run('sample_runs/digits-lora')")
    (html,) = kernel.shown.values()
    assert html.startswith("<iframe") and kernel.texts == [
        "Run sample_runs/digits-lora: finished, 36 matrices, 151 records"
    ]
    kernel.run(
        "%load_ext analysis.notebook\nfrom flexlora.run_log import read_run; read_run('sample_runs/digits-lora')"
    )
    assert list(kernel.shown.values())[1].startswith("<iframe")
    kernel.run("import analysis.notebook; analysis.notebook.show('sample_runs/digits-lora')")
    assert len(kernel.shown) == 3 and list(kernel.shown.values())[2].startswith("<iframe")


def test_a_run_is_waited_for_and_followed_to_its_end(kernel, tmp_path):
    folder = tmp_path / "live"
    kernel.run(f"from analysis.notebook import show; live = show({str(folder)!r}, every_s=0.05)")
    player, news = kernel.shown
    assert "waits for a run" in kernel.shown[player]
    rows = [{"name": "a", "layer": 0, "module_type": "a", "in_features": 8, "out_features": 8}]
    header = {"name": "live", "matrices": rows, "config": {"total_steps": 9, "initial_rank": 3}}
    with RunWriter(folder, header) as writer:
        write(writer, 1, 2)
        kernel.until_shown("<iframe")
        page = kernel.shown[player]
        write(writer, 3, 4)
        kernel.until_shown('"live": true')
        assert kernel.shown[player] == page and kernel.shown[news].startswith("<script>")
        write(writer, 5)
        writer.end("completed", wall_s=1.0)
    kernel.until_shown("live: rank over time: finished.")
    assert kernel.shown[player] != page and "<script>" not in kernel.shown[news]
    kernel.run("live")
    assert kernel.texts[-1].endswith("ended>") and list(kernel.shown) == [player, news, 2]


def test_stop_leaves_what_is_shown(kernel, tmp_path):
    kernel.run(f"live = show({str(tmp_path / 'none')!r}, every_s=0.05); live.stop()\nassert live.wait(30)")
    before = json.dumps(list(kernel.shown.values()))
    assert "waits for a run" in before


def test_a_log_that_cannot_be_read_is_told_in_one_line(kernel, tmp_path):
    kernel.run(f"live = show({str(tmp_path)!r}, every_s=0.05)")
    (tmp_path / "run.json").write_text("{")
    kernel.until_shown("No longer followed: ")
    kernel.run("assert live.wait(30)")
