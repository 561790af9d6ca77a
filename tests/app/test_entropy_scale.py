"""The entropy heatmap tells the matrices of every bundled run apart, and paints nothing where entropy says nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from analysis.entropy_scale import range_of, shown_colour
from analysis.payload import pack_run
from analysis.quantities import quantity
from analysis.runs import load_run

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted(path.parent for path in (ROOT / "sample_runs").glob("*/run.json"))
NODE = shutil.which("node")
HALF = 0.5


def used(places: np.ndarray) -> float:
    """Share of the scale between the 5th and 95th percentile of defined places in [0, 1]."""
    low, high = np.percentile(places[np.isfinite(places)], [5, 95])
    return float(high - low)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder, files = tmp_path_factory.mktemp("payloads"), []
    for path in RUNS:
        files.append(str(folder / path.name))
        Path(files[-1]).write_bytes(pack_run(load_run(path)))
    return files


def painted(payloads: list[str], scale: str) -> list[dict]:
    request = {"player": str(ROOT / "app" / "player"), "payloads": payloads, "scale": scale}
    script = Path(__file__).with_name("heat_places.mjs")
    done = subprocess.run([NODE, script], input=json.dumps(request), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(NODE is None, reason="node runs the player's modules here; it is not installed")
@pytest.mark.parametrize("scale", ["range", "absolute", "decision"])
def test_the_strip_of_every_bundled_run_uses_half_of_its_scale_and_hatches_rank_1(packed, scale):
    shares = {}
    for path, own in zip(RUNS, painted(packed, scale), strict=True):
        places = np.array(own["places"], float)
        ranks = np.array(own["ranks"]).reshape(places.shape)
        assert (places[ranks <= 1] == -1).all(), path.name
        shares[path.name] = used(np.where(places < 0, np.nan, places / 255))
    narrow = {name for name, share in shares.items() if share < HALF}
    if scale == "range":
        assert not narrow
    elif scale == "absolute":
        # The scale that stood here before: the check can fail.
        assert "arc-flexlora-seed0" in narrow


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_what_is_shown_of_a_run_fills_its_range(path):
    run = load_run(path)
    values = quantity(shown_colour(run, "entropy")).values(run, None)
    assert np.isnan(values[:, (run.ranks == 1).all(axis=0)]).all()
    low, high = range_of(values)
    assert 0 <= low < high <= 1
    assert used(np.clip((values - low) / (high - low), 0, 1)) >= HALF


@pytest.mark.parametrize("values", [[], [np.nan], [1.0], [0.0], [0.5] * 9, [0.9990, 0.9991], [0.0, 1.0]])
def test_a_range_has_an_extent_whatever_is_known(values):
    low, high = range_of(np.array(values, float))
    assert 0 <= low < high <= 1
