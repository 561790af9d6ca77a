"""What README and docs/recipes.md show works as written; on two processes in flexlora/test_distributed.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from analysis.runs import load_run

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README + RECIPES, re.DOTALL)


def test_the_training_recipe_runs_and_its_export_is_a_peft_adapter(make_bert, token_batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {"model": make_bert(), "batches": [token_batch] * 40}
    exec(BLOCKS[0], names)
    assert set(names["adapter"].ranks().values()) != {8}
    assert (tmp_path / "my_adapter" / "adapter_model.safetensors").exists()


def test_the_analysis_recipe_runs_on_the_bundled_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(BLOCKS[1], names)
    assert names["run"].ranks.shape[1] == 36


def test_the_adapter_recipe_runs_on_what_the_training_recipe_exports(make_bert, token_batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(BLOCKS[0], {"model": make_bert(), "batches": [token_batch] * 40})
    names: dict = {}
    exec(BLOCKS[2], names)
    assert names["smaller"].energy_kept >= 0.99
    assert (tmp_path / "my_smaller_adapter" / "adapter_model.safetensors").exists()


def test_the_replay_recipe_runs_on_the_bundled_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(BLOCKS[3], names)
    assert 0 < names["difference"].agreement < 1


@pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")
def test_the_trainer_recipe_trains_logs_and_exports(make_bert, token_batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{key: value[row] for key, value in token_batch.items()} for row in range(4)] * 40
    names: dict = {"model": make_bert(), "train_dataset": rows}
    exec(BLOCKS[4], names)
    run = load_run(tmp_path / "runs" / "mine")
    assert run.state == "finished" and run.events
    assert (tmp_path / "my_adapter" / "adapter_model.safetensors").exists()


def test_the_recorder_recipe_runs(make_bert, token_batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"model": make_bert(), "batches": [token_batch] * 40}
    exec(BLOCKS[5], names)
    run = load_run(tmp_path / "runs" / "loop")
    assert run.state == "finished" and len(run.steps) == 41 and run.events
    assert run.metrics["task_loss"][1][-1] < run.metrics["task_loss"][1][0]


def test_the_readme_is_read_in_a_minute():
    assert README.count("\n") <= 120


def test_the_training_commands_are_understood():
    from flexlora.train import _parser

    for line in re.findall(r"^python -m flexlora\.train (.*?)(?:  +#.*)?$", RECIPES, re.MULTILINE):
        if "--help" not in line:
            assert _parser().parse_args(line.split()).out == Path("runs/demo")


def test_the_adapter_commands_are_understood():
    from analysis.adapters.__main__ import _parser

    lines = re.findall(r"^python -m analysis\.adapters (.*?)(?:  +#.*)?$", RECIPES, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        assert _parser().parse_args(line.split()).adapter == Path("my_adapter")


def test_the_export_command_is_understood():
    from flexlora.export import _parser

    (line,) = re.findall(r"^python -m flexlora\.export (.*?)$", RECIPES, re.MULTILINE)
    assert _parser().parse_args(line.split()).out == Path("my_adapter")


def test_the_console_commands_in_the_readme_are_understood():
    from analysis.adapters.__main__ import _parser as adapters
    from analysis.report.__main__ import _parser as report
    from app.command import COMMANDS
    from flexlora.train import _parser as train

    parsers = {"adapters": adapters, "report": report, "train": train}
    shown = re.findall(r"`flexlora (\w+)([^`]*)`", README)
    assert {word for word, _ in shown} <= set(COMMANDS) and {*parsers} <= {word for word, _ in shown}
    for word, rest in shown:
        if rest and word in parsers:
            parsers[word]().parse_args(rest.split())
