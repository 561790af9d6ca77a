"""Two runs' curves in one panel: neither flattens the other, and the axis says how."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.payload import pack_run
from analysis.runs import load_run

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the player's modules here; it is not installed")


def panels(folder: Path, *pairs: tuple[str, str]) -> list[dict]:
    for name in {name for pair in pairs for name in pair}:
        (folder / name).write_bytes(pack_run(load_run(ROOT / "sample_runs" / name)))
    asked = {"player": str(ROOT / "app" / "player"), "pairs": [[str(folder / name) for name in pair] for pair in pairs]}
    script = str(Path(__file__).with_name("curve_scales.mjs"))
    told = subprocess.run([str(NODE), script], input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def test_the_regulariser_of_lora_does_not_flatten_that_of_flexlora(tmp_path):
    apart, reversed_, alike = panels(
        tmp_path,
        ("words-flexlora-paper", "words-lora"),
        ("words-lora", "words-flexlora-paper"),
        ("words-flexlora-paper", "words-flexlora-paper"),
    )
    for panel in (apart, reversed_):
        assert panel["note"] == "log scale" and "log" in panel["terse"]
        top, bottom = (float(text) for text in (panel["texts"][1], panel["texts"][0]))
        assert top > 100 * bottom > 0
        # Both stay in the panel, and FlexLoRA's takes a good part of it.
        assert all(-1e-9 <= high <= low <= 1 + 1e-9 for high, low in panel["heights"])
    # The pinned run is drawn first.
    for high, low in (apart["heights"][1], reversed_["heights"][0]):
        assert low - high > 0.3
    assert alike["note"] is None and alike["terse"] is None
