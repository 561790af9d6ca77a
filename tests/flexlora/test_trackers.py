"""Trackers show what the run log holds: TensorBoard's files are read back, the others are stood in for."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import peft
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from analysis.runs import load_run
from flexlora import FlexLoRAConfig, attach, integrations
from flexlora import peft as own_peft
from flexlora.errors import FlexLoRAError
from flexlora.importance import effective_rank, spectral_entropy
from flexlora.integrations import FlexLoRACallback, Recorder

STEPS = 24
SETTINGS = {
    "initial_rank": 4, "warmup_steps": 2, "final_steps": 4, "interval": 3, "initial_budget": 3, "schedule": "constant",
}  # fmt: skip


def record(model, batch, folder, **more):
    torch.manual_seed(0)
    config = FlexLoRAConfig(**SETTINGS, total_steps=STEPS)
    adapter = attach(model, config)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=5e-3, weight_decay=0.0)
    with Recorder(adapter, optimizer, config, folder, **more) as recorder:
        for t in range(1, STEPS + 1):
            loss = model(**batch).loss
            loss.backward()
            regularizer = adapter.add_regularization_gradient()
            optimizer.step()
            recorder.step(t, loss, regularizer)
            optimizer.zero_grad()
            if t == 12:
                recorder.eval(t, {"accuracy": 0.75})
    return adapter


def curves(folder):
    found = EventAccumulator(str(folder), {"scalars": 0, "histograms": 0}).Reload()
    return {tag: {one.step: one.value for one in found.Scalars(tag)} for tag in found.Tags()["scalars"]}, found


def test_tensorboard_shows_the_numbers_of_the_log(make_bert, token_batch, tmp_path):
    adapter = record(make_bert(), token_batch, tmp_path / "run", report_to=["tensorboard"], report_every=4)
    run = load_run(tmp_path / "run")
    shown, files = curves(tmp_path / "run" / "tensorboard")
    events = [event["step"] for event in run.events]
    due = sorted({*range(4, STEPS + 1, 4), *events})
    assert sorted(shown["flexlora/total_rank"]) == due
    # The log holds λ as it was before the event of a step.
    for t in (step for step in due if step not in events):
        lam = run.singular_values(t)
        assert shown["flexlora/total_rank"][t] == sum(map(len, lam.values()))
        entropies = [found for values in lam.values() if (found := spectral_entropy(values)) is not None]
        assert shown["flexlora/entropy"][t] == pytest.approx(np.mean(entropies), rel=1e-5)
        ranks = [found for values in lam.values() if (found := effective_rank(values)) is not None]
        assert shown["flexlora/effective_rank"][t] == pytest.approx(np.mean(ranks), rel=1e-5)
        queries = [len(values) for name, values in lam.items() if name.endswith("query")]
        assert shown["flexlora/rank_query"][t] == pytest.approx(np.mean(queries))
    before = 0
    for t in due:
        for name in ("task_loss", "regularizer"):
            steps, values = run.metrics[name]
            own = values[(steps > before) & (steps <= t)]
            assert shown[f"flexlora/{name}"][t] == pytest.approx(own.mean(), rel=1e-5), (name, t)
        before = t
    moved = {event["step"]: len(event["prune"]) for event in run.events}
    assert shown["flexlora/moved"] == moved and any(moved.values())
    budget = dict(zip(*run.metrics["budget"], strict=True))
    assert shown["flexlora/budget"] == {t: budget[t] for t in due}
    assert shown["flexlora/validation_accuracy"] == {12: 0.75}
    last = files.Histograms("flexlora/ranks")[-1]
    assert last.step == STEPS and last.histogram_value.sum == sum(adapter.ranks().values())


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return {"input_ids": torch.arange(8) + 3 + index, "labels": index % 2}


class Watching(TrainerCallback):
    """Notes in which order and how often callbacks are told that training begins."""

    def __init__(self):
        self.began, self.logs = 0, []

    def on_train_begin(self, args, state, control, **more):
        self.began += 1

    def on_log(self, args, state, control, logs=None, **more):
        self.logs.append(dict(logs))


def under_the_trainer(model, folder, method=None, before=(), **more):
    """Train with the callback that attaches, or through PEFT where a method is named."""
    if method is None:
        callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS), folder / "run")
    else:
        own = {key: value for key, value in SETTINGS.items() if key not in ("initial_rank", "initial_budget")}
        own = own if method == "flexlora" else {key: value for key, value in own.items() if key != "schedule"}
        model = peft.get_peft_model(model, own_peft.FlexLoRAConfig(method=method, task_type="SEQ_CLS", r=4, **own))
        callback = own_peft.FlexLoRACallback(folder / "run")
    watching = Watching()
    args = TrainingArguments(
        str(folder / "out"), max_steps=STEPS, per_device_train_batch_size=4, save_strategy="no", disable_tqdm=True,
        use_cpu=True, dataloader_pin_memory=False, logging_steps=4, learning_rate=5e-3, **more,
    )  # fmt: skip
    trainer = Trainer(model=model, args=args, train_dataset=Rows(), callbacks=[*before, callback, watching])
    trainer.train()
    return trainer, watching


def test_what_the_trainer_reports_to_shows_rank_beside_the_loss(make_bert, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer, watching = under_the_trainer(make_bert(), tmp_path, report_to=["tensorboard"])
    shown, _ = curves(tmp_path / "board")
    run = load_run(tmp_path / "run")
    due = list(range(4, STEPS + 1, 4))
    for name in ("loss", *(f"flexlora/{key}" for key in ("total_rank", "task_loss", "regularizer", "budget"))):
        assert sorted(shown[f"train/{name}"]) == due, name
    assert len(shown["train/flexlora/entropy"]) >= len(due) - 1
    assert shown["train/flexlora/total_rank"][STEPS] == sum(map(len, run.singular_values(STEPS).values()))
    moves = [len(event["prune"]) for event in run.events if 4 < event["step"] <= 8]
    assert shown["train/flexlora/moved"][8] == np.mean(moves)
    assert watching.began == 1 and sum("flexlora/total_rank" in logs for logs in watching.logs) == len(due)
    names = [type(callback).__name__ for callback in trainer.callback_handler.callbacks]
    assert names.index("FlexLoRACallback") == names.index("TensorBoardCallback") - 1
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("method", ["flexlora", "adalora"])
def test_through_peft_it_shows_the_same(method, make_bert, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    under_the_trainer(make_bert(), tmp_path, method, report_to=["tensorboard"])
    shown, _ = curves(tmp_path / "board")
    run = load_run(tmp_path / "run")
    assert sorted(shown["train/flexlora/total_rank"]) == sorted(shown["train/loss"]) == list(range(4, STEPS + 1, 4))
    assert shown["train/flexlora/total_rank"][STEPS] == sum(map(len, run.singular_values(STEPS).values()))


def test_a_tracker_among_the_callbacks_is_shown_it_too(make_bert, tmp_path):
    board = SummaryWriter(str(tmp_path / "board"))
    under_the_trainer(make_bert(), tmp_path, before=[TensorBoardCallback(board)], report_to=[])
    assert sorted(curves(tmp_path / "board")[0]["train/flexlora/total_rank"]) == list(range(4, STEPS + 1, 4))


def test_a_trainer_that_reports_to_nothing_is_left_alone(make_bert, tmp_path):
    trainer, watching = under_the_trainer(make_bert(), tmp_path, report_to=[])
    names = [type(callback).__name__ for callback in trainer.callback_handler.callbacks]
    assert names.index("FlexLoRACallback") == names.index("Watching") - 1
    assert watching.logs[0]["flexlora/total_rank"] > 0


@pytest.mark.parametrize("method", [None, "flexlora", "adalora"])
def test_the_end_says_how_to_look_at_the_run(method, make_bert, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    under_the_trainer(make_bert(), Path("runs"), method, report_to=[])
    assert capsys.readouterr().out.count("The log is in runs/run. Look at it: python -m app.command app\n") == 1
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    under_the_trainer(make_bert(), tmp_path / "elsewhere", method, report_to=[])
    told = f"Look at it: FLEXLORA_LAB_RUNS={tmp_path / 'elsewhere'} flexlora app\n"
    assert capsys.readouterr().out.count(told) == 1


class WandB(SimpleNamespace):
    """As much of the package as is used."""

    def __init__(self, run=None):
        super().__init__(run=run, logged=[], began=[], finished=0, Histogram=lambda values: ("histogram", values))

    def init(self, **options):
        self.began.append(options)
        self.run = SimpleNamespace(define_metric=lambda *given, **more: None)

    def log(self, values, step=None):
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


def test_weights_and_biases_gets_a_run_of_the_folders_name(make_bert, token_batch, tmp_path, monkeypatch):
    wandb = WandB()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    adapter = record(make_bert(), token_batch, tmp_path / "mine", report_to=["wandb"])
    (began,) = wandb.began
    assert began["project"] == "flexlora" and began["name"] == "mine" and began["config"]["initial_rank"] == 4
    _, last = wandb.logged[-1]
    assert last["flexlora/step"] == STEPS and last["flexlora/total_rank"] == sum(adapter.ranks().values())
    assert last["flexlora/ranks"] == ("histogram", list(adapter.ranks().values()))
    assert {"flexlora/validation_accuracy": 0.75, "flexlora/step": 12} in [values for _, values in wandb.logged]
    assert wandb.finished == 1


def test_a_run_that_is_active_is_shown_in_and_not_ended(make_bert, token_batch, tmp_path, monkeypatch):
    wandb = WandB(run=SimpleNamespace(define_metric=lambda *given, **more: None))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    record(make_bert(), token_batch, tmp_path / "mine", report_to=["wandb"])
    assert wandb.logged and not wandb.began and not wandb.finished


def test_trackio_gets_steps_and_histograms(make_bert, token_batch, tmp_path, monkeypatch):
    trackio = WandB()
    trackio.context_vars = SimpleNamespace(current_run=SimpleNamespace(get=lambda: None))
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    monkeypatch.setenv("TRACKIO_PROJECT", "ours")
    record(make_bert(), token_batch, tmp_path / "mine", report_to=["trackio"])
    assert trackio.began[0]["project"] == "ours" and trackio.finished == 1
    step, last = trackio.logged[-1]
    assert step == STEPS and last["flexlora/ranks"][0] == "histogram"


@pytest.mark.parametrize(
    ("name", "told"),
    [("wandb", "needs wandb, which is not installed: pip install wandb"), ("tensorbord", "Choose from: tensorboard")],
)
def test_what_is_missing_is_told_before_a_log_is_begun(name, told, make_bert, token_batch, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(FlexLoRAError, match=told) as error:
        record(make_bert(), token_batch, tmp_path / "run", report_to=[name])
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_a_missing_lightning_is_told_in_one_line(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "flexlora.integrations.lightning_callback", raising=False)
    with pytest.raises(FlexLoRAError, match="FlexLoRALightning needs Lightning: pip install lightning"):
        _ = integrations.FlexLoRALightning


def test_processes_without_a_folder_show_nothing(make_bert, token_batch, monkeypatch):
    wandb = WandB()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    record(make_bert(), token_batch, None, report_to=["wandb"])
    assert not wandb.began and not wandb.logged


def test_the_recipe_runs_and_the_docs_name_what_is_shown(make_bert, token_batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text(encoding="utf-8")
    block, _ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(block, {"model": make_bert(), "batches": [token_batch] * 40})
    shown, files = curves(tmp_path / "runs" / "mine" / "tensorboard")
    names = {*shown, *files.Tags()["histograms"]}
    told = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in text.splitlines() if line[:3] == "| `")))
    assert {f"flexlora/{name}" for name in told} == {name for name in names if "rank_" not in name} | {
        "flexlora/rank_query", "flexlora/rank_ffn_in", "flexlora/total_rank", "flexlora/effective_rank",
    }  # fmt: skip
