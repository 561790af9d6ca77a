"""Runs functions of the playground's modules in node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "app"
NODE = shutil.which("node")


def answers(*cases: list) -> list:
    """What the scripts give for each [module, function, ...arguments]."""
    script = str(Path(__file__).with_name("playground_script.mjs"))
    asked = json.dumps({"app": str(APP), "cases": cases})
    told = subprocess.run([str(NODE), script], input=asked, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)
