"""The leaderboard's part of Compare headless: results that are read, bad ones that are told, runs written as theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compare_studies import charts, script, words, write_plain_runs
from streamlit.testing.v1 import AppTest


@pytest.fixture
def page(roots):
    return AppTest.from_function(script, default_timeout=60)


@pytest.fixture
def plain_runs(roots, forge_run):
    """``write_plain_runs`` among the runs."""
    return write_plain_runs(forge_run, roots[1])


def test_results_of_peft_are_read_from_a_path_and_bad_ones_are_told(page, roots, tmp_path):
    page.query_params["part"] = "PEFT's leaderboard"
    page.run()
    page.text_input(key="compare_board_path").set_value(str(tmp_path / "none")).run()
    assert not page.exception and "cannot be read" in words(page)
    (tmp_path / "bad.json").write_text("[" * 10_000)
    page.text_input(key="compare_board_path").set_value(str(tmp_path / "bad.json")).run()
    assert not page.exception and "cannot be read" in words(page)


def test_runs_of_ours_are_written_in_the_layout_of_peft(page, plain_runs):
    page.query_params["part"] = "PEFT's leaderboard"
    page.run()
    chosen = [f"runs/{folder.name}" for folder in plain_runs[:2]]
    page.multiselect(key="compare_board_runs").set_value(chosen).run()
    assert not page.exception
    assert not page.warning or "already" not in words(page)


def write_results(folder: Path) -> None:
    """Result files of PEFT: two configurations, each run twice, one of them AdaLoRA with a mask a matrix."""
    masks = {
        f"model.layers.{layer}.self_attn.{kind}.lora_E": [place < 3 + layer for place in range(8)]
        for layer in range(2)
        for kind in ("q_proj", "v_proj")
    }
    for number, (name, accuracy) in enumerate((("lora/a", 0.40), ("lora/a", 0.41), ("ada/b", 0.50), ("ada/b", 0.51))):
        config = {"peft_type": "ADALORA", "rank_pattern": masks} if name == "ada/b" else {"peft_type": "LORA"}
        content = {
            "run_info": {
                "created_at": f"2025-06-0{number + 1}",
                "experiment_name": name,
                "train_config": {"max_steps": 100, "seed": 0},
                "peft_config": config,
            },
            "train_info": {
                "accelerator_memory_max": 1e9 * (number + 1),
                "status": "success",
                "metrics": [{"step": 100, "test accuracy": accuracy}],
            },
        }
        (folder / f"{number}.json").write_text(json.dumps(content))


def test_the_leaderboard_has_error_bars_and_the_rank_map_of_adalora(page, roots, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    write_results(folder)
    (folder / "cut.json").write_text("{")
    page.query_params["part"] = "PEFT's leaderboard"
    page.run()
    page.text_input(key="compare_board_path").set_value(str(folder)).run()
    assert not page.exception and not page.error
    assert "4 runs of 2 configurations" in words(page) and "Every other one is told apart from the best" in words(page)
    assert len(charts(page)) == 2
    assert "cut.json cannot be read" in words(page)
