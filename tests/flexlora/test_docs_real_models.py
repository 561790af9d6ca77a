"""docs/real-models.md says what the runs on real models say."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from analysis.runs import load_run

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "real-models.md").read_text(encoding="utf-8")
KEPT = sorted(path.parent for path in (ROOT / "sample_runs").glob("*-seed[012]/run.json"))


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("real_table", ROOT / "benchmarks" / "real_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SAMPLES = ROOT / "sample_runs"
    return module


@pytest.fixture(scope="module")
def search():
    return json.loads((ROOT / "sample_runs" / "real_models_search.json").read_text(encoding="utf-8"))


def test_the_table_is_the_one_that_the_runs_give(study):
    assert "\n".join(study.table(study.DATA)) in TEXT


def test_another_result_would_be_noticed(study):
    changed = study.cell({**study.row("sst2", "lora"), "mean": 0.9})
    assert changed not in TEXT


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_a_kept_run_finished_at_its_rank_and_at_the_rate_that_was_chosen(folder, study, search):
    key, method, _ = folder.name.split("-")
    run = load_run(folder)
    assert (run.state, run.notices, run.header["device"]) == ("finished", [], "cuda")
    assert run.config["learning_rate"] == search[f"{key}-{method}"]["chosen"]
    assert run.ranks[-1].sum() == study.DATA[key][2] * len(run.matrices)
    assert f"--out sample_runs/{folder.name}" in run.header["command"]
    assert f"--seed {folder.name[-1]}" in run.header["command"]
    # A folder of whoever made the run would be of no use to anybody else.
    assert not re.search(r'"/[a-z]', (folder / "run.json").read_text(encoding="utf-8"))
    assert not re.search(r"[= ]/[a-z]", run.header["command"])


def test_the_chosen_rate_is_the_best_of_the_search_and_the_edges_are_told(search):
    edges = set()
    for name, found in search.items():
        tried = {
            rate: -1.0 if value is None else value
            for rate, value in zip(found["rates"], found["validation"], strict=True)
        }
        assert tried[found["chosen"]] == max(tried.values())
        if found["chosen"] == max(found["rates"]):
            edges.add(name)
    assert edges == {
        "trec-flexlora", "trec-lora", "stsb-adalora", "arc-lora", "arc-adalora", "mnist-flexlora", "mnist-lora"
    }  # fmt: skip


def test_the_kept_runs_have_the_test_metrics_that_were_noted_of_all(study, search):
    for key in study.DATA:
        for method in study.METHODS:
            noted, found = search[f"{key}-{method}"]["test"], study.row(key, method)
            assert len(noted) == 3
            assert found is None or found["values"] == noted[: len(found["values"])]
    arc = [value for method in study.METHODS for value in search[f"arc-{method}"]["test"]]
    assert f"nine runs ended between {min(arc):.3f} and {max(arc):.3f}".replace(" 0.", " .") in " ".join(TEXT.split())


def test_on_stsb_lora_is_the_worst_in_every_seed(study):
    found = {method: study.row("stsb", method)["values"] for method in study.METHODS}
    gaps = [min(found["flexlora"][seed], found["adalora"][seed]) - found["lora"][seed] for seed in study.SEEDS]
    assert min(gaps) >= 0.03
