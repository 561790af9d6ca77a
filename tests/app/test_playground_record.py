"""A run of the playground, saved and imported, is the run that Python makes of the same settings."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.importers import LogImportError, detect_kind, import_log, propose_mapping
from analysis.importers.playground import job_of
from analysis.payload import pack_run
from analysis.payload.container import read_arrays, read_header
from analysis.runs import Run, load_run
from analysis.why import why_cards
from flexlora.loop import run_job

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the playground's modules here; it is not installed")

BASE: dict[str, Any] = {
    "width": 6,
    "layers": 2,
    "true_rank": 2,
    "initial_rank": 2,
    "batch_size": 8,
    "steps": 60,
    "seed": 3,
}
EDITS: dict[int, dict[str, Any]] = {20: {"initial_budget": 4, "interval": 4}}
RUNS: dict[str, dict[str, Any]] = {
    "entropy": {"settings": BASE},
    "oracle": {"settings": {**BASE, "policy": "oracle"}},
    "edited": {
        "settings": {**BASE, "schedule": "constant", "initial_budget": 1, "rank_one": "first"},
        "changes": EDITS,
    },
    "true_ranks": {"settings": {**BASE, "policy": "true_ranks", "scenario": "spike"}},
    "adaptive": {"settings": {**BASE, "schedule": "adaptive", "epsilon": 1e-8}},
    "stopped": {"settings": BASE, "steps": 31},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, Path]:
    script = str(Path(__file__).with_name("playground_record.mjs"))
    asked = json.dumps({"playground": str(ROOT / "app" / "playground"), "runs": list(RUNS.values())})
    told = subprocess.run([str(NODE), script], input=asked, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    folder, found = tmp_path_factory.mktemp("saved"), {}
    for key, own in zip(RUNS, json.loads(told.stdout), strict=True):
        found[key] = folder / key / own["name"]
        found[key].parent.mkdir()
        found[key].write_text(own["text"], encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def pairs(saved, tmp_path_factory) -> dict[str, tuple[Run, Run]]:
    """Name → the imported run, and the one that Python trained."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for key in ("entropy", "oracle", "edited", "true_ranks", "adaptive"):
        done = import_log(saved[key], folder / key / "run")
        assert done.kind == "playground" and done.records == 61 and not done.notices
        job = job_of(RUNS[key]["settings"])
        run_job(job, folder / f"{key}-python" / "run", edits=RUNS[key].get("changes"))
        found[key] = load_run(folder / key / "run"), load_run(folder / f"{key}-python" / "run")
    return found


@pytest.mark.parametrize("key", ["entropy", "oracle", "edited", "true_ranks", "adaptive"])
def test_the_imported_log_is_that_of_python(pairs, key):
    ours, python = pairs[key]
    own = set(python.header) - {"versions", "parent", "created_unix_s", "command", "device"}
    assert {name: ours.header[name] for name in own} == {name: python.header[name] for name in own}
    assert ours.state == python.state
    assert np.array_equal(ours.steps, python.steps) and np.array_equal(ours.ranks, python.ranks)
    assert np.allclose(ours.log.values, python.log.values, rtol=1e-5, atol=1e-8)
    for name in ("step", "task_loss", "regularizer", "loss", "learning_rate", "budget"):
        assert np.allclose(ours.log.steps[name], python.log.steps[name], rtol=1e-6, equal_nan=True), name
    assert {name: [step for step, _ in own] for name, own in series(ours)} == {
        name: [step for step, _ in own] for name, own in series(python)
    }
    assert len(ours.events) == len(python.events)
    for a, b in zip(ours.events, python.events, strict=True):
        assert (set(a), list(a["importance"])) == (set(b), list(b["importance"]))
        for name in ("step", "budget", "measure", "refused"):
            assert a[name] == b[name], name
        assert set(a["rules"]) == set(b["rules"])
        assert list(a["decided"]) == list(b["decided"])
        for measure, scores in b["importance"].items():
            assert [value is None for value in a["importance"][measure].values()] == [
                value is None for value in scores.values()
            ]
            known = [name for name, value in scores.items() if value is not None]
            assert [a["importance"][measure][name] for name in known] == pytest.approx(
                [scores[name] for name in known], rel=1e-4, abs=1e-7
            ), measure
        for half in ("prune", "extend"):
            for x, y in zip(a[half], b[half], strict=True):
                assert {**x, "singular_value": 0} == {**y, "singular_value": 0}
                if half == "prune":
                    assert x["singular_value"] == pytest.approx(y["singular_value"], rel=1e-5, abs=1e-8)
    kinds = ("edited", "initial_ranks")
    assert [n for n in ours.notes if n["kind"] in kinds] == [n for n in python.notes if n["kind"] in kinds]


def series(run: Run) -> list[tuple[str, Any]]:
    return [(name, list(zip(*own, strict=True))) for name, own in sorted(run.metrics.items())]


@pytest.mark.parametrize("key", ["entropy", "oracle", "edited"])
def test_the_player_is_sent_what_it_is_sent_of_pythons_run(pairs, key):
    ours, python = (pack_run(run) for run in pairs[key])
    ours_header, python_header = (read_header(payload)[0] for payload in (ours, python))
    ours, python = read_arrays(ours), read_arrays(python)
    # Python also logs true singular values now and then, by the clock.
    clocked = {"trueRecords", "trueEntropy", "sigma", "truePeak", "trueScored"}
    assert set(ours) == set(python)
    for name in set(python) - clocked:
        if python[name].dtype == np.float32:
            assert np.allclose(ours[name], python[name], rtol=1e-4, atol=1e-7, equal_nan=True), name
        elif name == "entropy":
            assert np.abs(ours[name].astype(int) - python[name].astype(int)).max() <= 2
        else:
            assert np.array_equal(ours[name], python[name]), name
    assert set(python["trueRecords"]) >= set(ours["trueRecords"])
    for name in ("matrices", "layers", "types", "groups", "highlighted", "grid", "park", "sentences", "moveRules"):
        assert ours_header[name] == python_header[name], name
    for a, b in zip(*(why_cards(run, 1) for run in pairs[key]), strict=True):
        assert a["matrix"] == b["matrix"] and set(a) == set(b)


def test_a_run_that_was_saved_before_its_end_is_stopped_there(saved, tmp_path):
    done = import_log(saved["stopped"], tmp_path / "run")
    run = load_run(done.folder)
    assert run.steps[-1] == 31 and run.state == "stopped" and run.end["message"] == "Saved before its last step."
    assert detect_kind(saved["stopped"]) == "playground"
    assert [row["name"] for row in propose_mapping(saved["stopped"])][:2] == ["layers.0.mix", "layers.0.up"]


def damaged(key: str, value: Any):
    return lambda content: content.update({key: value})


def more_rank(content: dict[str, Any]) -> None:
    ranks = bytearray(base64.b64decode(content["ranks"]))
    ranks[-1] += 1
    content["ranks"] = base64.b64encode(ranks).decode()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damaged("flexlora_playground", 9), "has version 9; this Lab reads version 1"),
        (damaged("settings", {**BASE, "scenario": "agre"}), "has settings that cannot be: Unknown scenario 'agre'"),
        (damaged("settings", {**BASE, "mood": 1}), "has settings that cannot be: Unknown setting 'mood'"),
        (damaged("settings", {}), "has settings that cannot be"),
        (damaged("settings", 3), "is no whole run of the playground"),
        (damaged("done", 99), "tells of 99 steps of 60"),
        (damaged("losses", "AAAA"), "is damaged"),
        (damaged("losses", "no base64"), "losses is no base64 of numbers"),
        (damaged("values", ""), "values has 0 numbers, not"),
        (damaged("events", 3), "events is no list"),
        (damaged("events", [{"step": 7}]), "is damaged: \"'prune'\""),
        (damaged("events", []), "are not those that the moves before it leave"),
        (damaged("true_values", [[0, "AAAA"]]), "is damaged"),
        (damaged("evaluations", [{"step": 0, "split": "train", "loss": 1, "distance": 0}]), "is damaged"),
        (damaged("edits", [{"step": 1, "changes": {"width": 3}}]), "width"),
        (more_rank, "ranks at step 31 are not those that the moves before it leave"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(saved, tmp_path, damage, says):
    content = json.loads(saved["stopped"].read_text(encoding="utf-8"))
    damage(content)
    path = tmp_path / "x.flexlora.json"
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
    with pytest.raises(LogImportError) as told:
        import_log(path, tmp_path / "run")
    assert says in str(told.value) and "\n" not in str(told.value)
    assert not (tmp_path / "run").exists()


def test_a_file_that_was_cut_and_a_mapping_are_refused(saved, tmp_path):
    whole = saved["stopped"].read_bytes()
    (tmp_path / "cut.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogImportError, match="is no whole run of the playground"):
        import_log(tmp_path / "cut.json", tmp_path / "run")
    rows = propose_mapping(saved["stopped"])
    with pytest.raises(LogImportError, match="leave the mapping out"):
        import_log(saved["stopped"], tmp_path / "run", [{**rows[0], "layer": 7}, *rows[1:]])
    import_log(saved["stopped"], tmp_path / "run", rows)


@pytest.mark.parametrize(
    ("key", "value"), [("steps", 10**9), ("steps", float("inf")), ("width", 4096), ("seed", float("inf"))]
)
def test_a_file_that_claims_more_than_a_browser_trains_is_told(saved, tmp_path, key, value):
    content = json.loads(saved["stopped"].read_text())
    content["settings"][key] = value
    (tmp_path / "big.flexlora.json").write_text(json.dumps(content))
    with pytest.raises(LogImportError):
        import_log(tmp_path / "big.flexlora.json", tmp_path / "out")
