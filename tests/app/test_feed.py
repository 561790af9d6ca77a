"""The browser's side of a live run, run by node: what could not be shown is asked for again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

FEED = Path(__file__).resolve().parents[2] / "app" / "player" / "source" / "feed.js"
NODE = shutil.which("node")
SCRIPT = """
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { Feed } = await import(FEED);
const held = [], told = [];
let shown = 0;
const content = { header: { run: { state: "finished" } }, arrays: {} };
const run = async (before) => { held.push(before !== null); return before ? null : content; };
const source = { name: "a", cost: 0, run };
const player = { wanted: null, trouble: (error) => told.push(error?.message ?? null), resize() {} };
player.accept = () => { if (++shown === 1) throw new Error("not yet"); };
const feed = new Feed(player, () => source);
feed.follow({ run: "a" });
while (shown < 2) await new Promise((wake) => setTimeout(wake, 20));
await new Promise((wake) => setTimeout(wake, 20));
console.log(JSON.stringify({ held, told }));
feed.stop();
"""


@pytest.mark.skipif(NODE is None, reason="node runs the player's modules here; it is not installed")
def test_what_could_not_be_shown_is_asked_for_again():
    script = SCRIPT.replace("FEED", json.dumps(FEED.as_uri()))
    done = subprocess.run(
        [str(NODE), "--input-type=module", "-e", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"held": [False, False], "told": ["not yet", None]}
