"""Lightning's Trainer: the same λ and events as a plain loop, and the same again when resumed."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from analysis.runs import load_run
from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations import Recorder

lightning = pytest.importorskip("lightning.pytorch", reason="pip install lightning")
FlexLoRALightning = pytest.importorskip("flexlora.integrations.lightning_callback").FlexLoRALightning

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*batch_size.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:The dataloader.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*tensorboardX.*:UserWarning"),
]

STEPS, EPOCHS = 24, 3
SETTINGS = {
    "initial_rank": 4, "warmup_steps": 2, "final_steps": 4, "interval": 3, "initial_budget": 3, "schedule": "constant",
    "regularization_weight": 1.0,
}  # fmt: skip


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(12, 12) for _ in range(3))
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        for layer in self.layers:
            x = x + self.drop(torch.tanh(layer(x)))
        return self.head(x)


class Module(lightning.LightningModule):
    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(4)
        self.model = Net(dropout)

    def training_step(self, batch, index):
        x, y = batch
        loss = nn.functional.cross_entropy(self.model(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, index):
        x, y = batch
        self.log("val_accuracy", (self.model(x).argmax(-1) == y).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rows():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(32, 12, generator=generator)
    return TensorDataset(x, (x[:, 0] * x[:, 1] > 0).long())


def fit(folder, *, module=None, resume=None, loader=None, config=None, part=None, **options):
    callback = FlexLoRALightning(config or FlexLoRAConfig(**SETTINGS), folder / "run", part=part)
    settings = {
        "max_epochs": EPOCHS, "gradient_clip_val": 0.05, "accelerator": "cpu", "logger": False,
        "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False,
        "callbacks": [callback], "default_root_dir": folder,
    }  # fmt: skip
    settings |= {**options, "callbacks": [callback, *options.get("callbacks", [])]}
    trainer = lightning.Trainer(**settings)
    module = module or Module()
    trainer.fit(module, loader or DataLoader(rows(), batch_size=4), DataLoader(rows(), batch_size=16), ckpt_path=resume)
    return callback, trainer


def plain(folder, accumulate=1):
    model = Module().model
    config = FlexLoRAConfig(**SETTINGS, total_steps=STEPS)
    adapter = attach(model, config)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=5e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
    batches = [batch for _ in range(EPOCHS * accumulate) for batch in DataLoader(rows(), batch_size=4)]
    with Recorder(adapter, optimizer, config, folder) as recorder:
        for t in range(1, STEPS + 1):
            total = torch.zeros(())
            for x, y in batches[(t - 1) * accumulate : t * accumulate]:
                loss = nn.functional.cross_entropy(model(x), y) / accumulate
                loss.backward()
                total = total + loss.detach()
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            regularizer = adapter.add_regularization_gradient()
            optimizer.step()
            recorder.step(t, total, regularizer)
            optimizer.zero_grad()
            schedule.step()
    return adapter


def assert_same_runs(left, right):
    left, right = load_run(left), load_run(right)
    assert left.state == right.state == "finished" and not left.notices and not right.notices
    assert list(left.steps) == list(right.steps) == list(range(STEPS + 1))
    for t in range(STEPS + 1):
        mine, other = left.singular_values(t), right.singular_values(t)
        assert all(np.array_equal(mine[name], other[name]) for name in mine), t
    for name in ("task_loss", "regularizer", "loss", "budget"):
        assert np.array_equal(left.metrics[name][1], right.metrics[name][1]), name
    assert left.events == right.events and len(left.events) == 5
    assert sum(len(event["prune"]) for event in left.events) > 0
    assert max(np.abs(values).max() for values in left.singular_values(STEPS).values()) > 1e-3


@pytest.mark.parametrize(("accumulate", "part"), [(1, None), (2, "model")])
def test_same_seed_and_data_give_what_a_plain_loop_gives_bit_for_bit(accumulate, part, tmp_path):
    callback, trainer = fit(
        tmp_path / "its", accumulate_grad_batches=accumulate, max_epochs=EPOCHS * accumulate, part=part
    )
    adapter = plain(tmp_path / "mine", accumulate)
    assert_same_runs(tmp_path / "its" / "run", tmp_path / "mine")
    assert callback.adapter.model is trainer.lightning_module.model and callback.adapter.head
    assert trainer.global_step == STEPS and callback.config.total_steps == STEPS
    pairs = zip(adapter.trainable_parameters(), callback.adapter.trainable_parameters(), strict=True)
    assert all(torch.equal(mine, its) for mine, its in pairs)
    rates = [load_run(folder).metrics["learning_rate"][1] for folder in (tmp_path / "its" / "run", tmp_path / "mine")]
    assert np.array_equal(*rates) and len(set(rates[0])) == STEPS


class Resumable:
    """A loader that can be gone on with, as torchdata's are."""

    def __init__(self):
        self.batches, self.done, self.first = list(DataLoader(rows(), batch_size=4)), 0, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        begin, self.first = self.first, 0
        for index in range(begin, len(self)):
            self.done = index + 1
            yield self.batches[index]

    def state_dict(self):
        return {"done": self.done}

    def load_state_dict(self, state):
        self.first = state["done"] % len(self)


@pytest.mark.parametrize("within", [False, True])
def test_a_resumed_run_is_the_whole_one_bit_for_bit(within, tmp_path):
    def loader():
        return Resumable() if within else DataLoader(rows(), batch_size=4, shuffle=True)

    step = 11 if within else 8
    save = lightning.callbacks.ModelCheckpoint(tmp_path / "saved", every_n_train_steps=step, save_top_k=-1)
    torch.manual_seed(7)
    fit(tmp_path / "whole", module=Module(0.2), loader=loader())
    torch.manual_seed(7)
    whole = Module(0.2)
    fit(tmp_path / "cut", module=whole, loader=loader(), callbacks=[save], enable_checkpointing=True)
    assert_same_runs(tmp_path / "whole" / "run", tmp_path / "cut" / "run")
    (checkpoint,) = (path for path in (tmp_path / "saved").iterdir() if f"step={step}." in path.name)
    torch.manual_seed(1000)
    resumed = Module(0.2)
    _, trainer = fit(tmp_path / "cut", module=resumed, loader=loader(), resume=checkpoint)
    assert trainer.global_step == STEPS
    assert_same_runs(tmp_path / "whole" / "run", tmp_path / "cut" / "run")
    notes = load_run(tmp_path / "cut" / "run").notes
    assert [note["resumed_from"] for note in notes if note["kind"] == "resumed_from"] == [step]
    mine, its = whole.state_dict(), resumed.state_dict()
    assert mine.keys() == its.keys() and all(torch.equal(mine[key], its[key]) for key in mine)


def test_a_script_that_runs_again_begins_anew_beside_its_first_run(tmp_path):
    fit(tmp_path)
    with pytest.warns(FlexLoRAWarning, match=r"run holds a run, which is left as it is: .* logged in .*run-2\."):
        again, _ = fit(tmp_path)
    assert again.folder == tmp_path / "run-2"
    assert_same_runs(tmp_path / "run", tmp_path / "run-2")


def test_storage_that_grew_is_resumed(tmp_path):
    config = FlexLoRAConfig(**{**SETTINGS, "interval": 1, "direction": "extend_only"})
    save = lightning.callbacks.ModelCheckpoint(tmp_path / "saved", every_n_train_steps=16)
    more = {"config": config, "callbacks": [save], "enable_checkpointing": True}
    whole, _ = fit(tmp_path, **more)
    assert max(matrix.capacity for matrix in whole.adapter.matrices.values()) > 8
    (checkpoint,) = (tmp_path / "saved").iterdir()
    resumed, _ = fit(tmp_path, config=config, resume=checkpoint)
    assert resumed.adapter.ranks() == whole.adapter.ranks()
    pairs = zip(resumed.adapter.parameters(), whole.adapter.parameters(), strict=True)
    assert all(torch.equal(its, mine) for its, mine in pairs)


TWO_PROCESSES = """
import importlib.util, json, os, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
spec = importlib.util.spec_from_file_location("runs", sys.argv[1])
runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runs)
folder, resume, seed = Path(sys.argv[2]), sys.argv[3] or None, int(sys.argv[4])
save = runs.lightning.callbacks.ModelCheckpoint(folder / "saved", every_n_train_steps=8, save_top_k=-1)
module = runs.Module(0.2)
# Each process draws dropout of its own.
runs.torch.manual_seed(seed + int(os.environ.get("LOCAL_RANK", 0)))
config = runs.FlexLoRAConfig(**runs.SETTINGS, max_rank=8)
callback, trainer = runs.fit(
    folder, module=module, config=config, resume=resume, callbacks=[save], enable_checkpointing=True,
    strategy="ddp", devices=2, max_epochs=6,
)
total = [float(part.double().sum()) for part in callback.adapter.parameters()]
(folder / f"{seed}-{trainer.global_rank}.json").write_text(json.dumps([trainer.global_step, total]))
"""


def test_two_processes_agree_and_resume_bit_for_bit(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    found = []
    for seed in (1, 50):
        resume = next((path for path in (tmp_path / "saved").glob("*") if "step=8." in path.name), "")
        command = [sys.executable, str(script), __file__, str(tmp_path), str(resume), str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found += [json.loads((tmp_path / f"{seed}-{rank}.json").read_text()) for rank in (0, 1)]
        run = load_run(tmp_path / "run")
        assert run.state == "finished" and len(run.events) == 5 and run.config["processes"] == 2
    assert found[0][0] == STEPS and all(one == found[0] for one in found)
    assert [note["kind"] for note in run.notes] == ["resumed_from"]


def test_evaluations_are_logged_and_clipping_is_given_back(tmp_path):
    module = Module()
    callback, _ = fit(tmp_path, module=module)
    run = load_run(tmp_path / "run")
    assert [(record["step"], list(record["metrics"])) for record in run.evals] == [
        (step, ["accuracy"]) for step in (8, 16, 24)
    ]
    assert "configure_gradient_clipping" not in vars(module)
    callback.adapter.export_peft(tmp_path / "peft")
    assert (tmp_path / "peft" / "adapter_model.safetensors").exists()


def test_its_loggers_show_rank_beside_the_loss(tmp_path):
    logger = lightning.loggers.CSVLogger(tmp_path, name="csv", version="")
    callback, _ = fit(tmp_path, logger=logger, log_every_n_steps=4)
    rows = list(csv.DictReader((tmp_path / "csv" / "metrics.csv").read_text().splitlines()))
    shown = {int(row["step"]): float(row["flexlora/total_rank"]) for row in rows if row["flexlora/total_rank"]}
    assert sorted(shown) == list(range(4, STEPS + 1, 4)) and shown[STEPS] == sum(callback.adapter.ranks().values())
    assert any(row["train_loss"] for row in rows)


def test_what_fails_ends_the_log_as_failed(tmp_path):
    class Breaks(lightning.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 5:
                raise RuntimeError("the power is out")

    with pytest.raises(RuntimeError, match="the power is out"):
        fit(tmp_path, callbacks=[Breaks()])
    run = load_run(tmp_path / "run")
    assert run.state == "failed" and run.steps[-1] == 5


def test_what_cannot_work_is_told_before_anything_is_trained(tmp_path):
    hand = Module()
    hand.automatic_optimization = False
    with pytest.raises(FlexLoRAError, match="optimizes by hand"):
        fit(tmp_path, module=hand, gradient_clip_val=None)
    with pytest.raises(FlexLoRAError, match="has no part 'net'; it has: model"):
        lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            callbacks=[FlexLoRALightning(part="net")],
        ).fit(Module(), DataLoader(rows()))
    with pytest.raises(FlexLoRAError, match="Nothing is adapted yet"):
        _ = FlexLoRALightning().adapter
    assert not (tmp_path / "run").exists()


def test_the_recipe_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "lightning" in block)
    module = Module()
    module.validation_step = None
    loader = DataLoader(TensorDataset(*(part.repeat(2, *[1] * (part.dim() - 1)) for part in rows().tensors)), 4)
    names: dict = {"module": module, "train_loader": loader}
    exec(block.replace("max_epochs=3", 'max_epochs=3, accelerator="cpu", logger=False'), names)
    run = load_run(tmp_path / "runs" / "lightning")
    assert run.state == "finished" and run.events and len(run.steps) == 49
    assert (tmp_path / "my_adapter" / "adapter_model.safetensors").exists()
