"""Runs killed at random moments and resumed, also twice, are the runs that were never killed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil

import numpy as np
import pytest
import torch
from mortal import DEATHS, FAILURES, Died, Fate, bury, differences
from transformers import Trainer, TrainerCallback, TrainingArguments

from flexlora import FlexLoRAConfig, attach
from flexlora.checkpoint import find_checkpoint
from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.integrations import FlexLoRACallback, Recorder, last_checkpoint
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.methods import METHODS
from flexlora.run_log import RunLogError, disk, read_run
from flexlora.session import Session
from flexlora.trained_model import TrainedModel

SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(1 << 32)))
"""Draws every moment below; a test that fails says it."""
STEPS = 14
MOMENTS = 3
"""Deaths and failures a case at least; a Trainer has twice as many."""
SMALL = {"batch_size": 4, "eval_samples": 8, "target_modules": "q_proj", "eval_interval": 7}
MOVING = {"interval": 2, "warmup_steps": 2, "final_steps": 3}
CASES = {
    **{method: (method, {}) for method in METHODS if method not in ("flexlora", "elalora")},
    "flexlora": ("flexlora", {**MOVING, "initial_rank": 3, "schedule": "constant", "initial_budget": 4}),
    "reference": ("flexlora", {**MOVING, "preset": "reference", "initial_rank": 3, "initial_budget": 4}),
    "adaptive": ("flexlora", {**MOVING, "schedule": "adaptive", "initial_rank": 3, "initial_budget": 6}),
    "elalora": ("elalora", {**MOVING, "initial_rank": 3}),
    "adalora": ("adalora", MOVING),
    "dora_dynamic": ("dora_dynamic", MOVING),
    "l1ra": ("l1ra", {"interval": 3, "pull": 0.1}),
    "salora": ("salora", {"interval": 3, "gate_learning_rate": 2.0, "initial_log_alpha": -1.0, "target_rank": 1}),
    "sora": ("sora", {"interval": 3}),
    "autolora": ("autolora", {"selection_learning_rate": 0.1}),
    "edited": ("flexlora", {**MOVING, "initial_rank": 3, "schedule": "constant", "initial_budget": 4}),
    "paused": ("flexlora", {**MOVING, "initial_rank": 3, "schedule": "constant", "initial_budget": 4}),
}
EDIT_AT, PAUSE_AT = 8, 6


class Resumed(Controls):
    """Goes on as soon as it has paused."""

    def wait(self, on_wait=None) -> None:
        if self.paused and on_wait is not None:
            on_wait()
            self.send({"command": "resume"})


@pytest.fixture(autouse=True)
def told_seed(few_examples) -> None:
    print(f"KILL_SEED={SEED}")


def start(case: str, folder, draw: random.Random | None = None) -> dict:
    """Begin or go on with the run of a case; return its summary."""
    method, settings = CASES[case]
    settings = dict(settings)
    preset = settings.pop("preset", None)
    often = draw.choice([0, 0, 0.05, 1e9]) if draw else 1e9
    job = build_job("digits", method, preset, STEPS, 1, {**SMALL, **settings, "checkpoint_interval_s": often})
    controls = Resumed()
    edit = {"command": "set", "values": {"initial_budget": 1, "schedule": "constant"}}
    resume = (folder / "run.json").exists()
    found, _ = find_checkpoint(folder / "checkpoint")
    if case == "edited" and found is not None and found.state["step"] == EDIT_AT:
        # Whoever clicked and got no answer clicks again; an edit that was noted is made again by itself.
        controls.send(edit)

    def progress(step, _result) -> None:
        if case == "edited" and step == EDIT_AT:
            controls.send(edit)
        if case == "paused" and step == PAUSE_AT:
            controls.send({"command": "pause"})

    return run_job(job, folder, controls=controls, resume=resume, progress=progress)


def lived(case, folder, fate, draw) -> bool:
    """Run under a fate; True when the run came to its end."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(disk, "perform", fate.perform)
        for name in ("train_step", "event", "finish_step"):
            patched.setattr(Session, name, fate.tick(getattr(Session, name)))
        patched.setattr(TrainedModel, "evaluate", fate.tick(TrainedModel.evaluate))
        try:
            start(case, folder, draw)
            return True
        except Died:
            bury(folder)
        except (RunLogError, FlexLoRAError) as error:
            assert "\n" not in str(error)
            assert fate.struck, error
            bury(folder)
    return False


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_comes_back_the_same(case, tmp_path):
    fate = Fate()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(disk, "perform", fate.perform)
        for name in ("train_step", "event", "finish_step"):
            patched.setattr(Session, name, fate.tick(getattr(Session, name)))
        patched.setattr(TrainedModel, "evaluate", fate.tick(TrainedModel.evaluate))
        summary = start(case, tmp_path / "whole")
    whole = read_run(tmp_path / "whole")
    moved = max(sum(len(event[key]) for event in whole.events) for key in ("prune", "extend"))
    assert bool(moved) == (METHODS[CASES[case][0]].direction != "neither"), case
    assert summary["moved"] == moved
    assert case != "edited" or [note["step"] for note in whole.notes if note["kind"] == "edited"] == [EDIT_AT]
    draw = random.Random(f"{SEED} {case}")
    struck, number = [], 0
    while len(struck) < MOMENTS:
        number += 1
        folder = tmp_path / str(number)
        for _ in range(draw.randint(1, 2)):
            end = Fate(draw.randint(1, fate.count), draw.choice([*DEATHS, *DEATHS, *FAILURES]))
            if lived(case, folder, end, draw):
                break
            struck.append((end.fault, end.struck))
        told = f"KILL_SEED={SEED}, {case}, run {number}: {struck}"
        if not (folder / "run.json").exists() or read_run(folder).state != "finished":
            again = start(case, folder)
            same = set(summary) - {"run", "wall_s", "peak_memory_bytes"}
            assert {key: again[key] for key in same} == {key: summary[key] for key in same}, told
        assert differences(whole, read_run(folder)) == [], told
        shutil.rmtree(folder)


class Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index):
        ids = torch.randint(3, 60, (8,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "labels": index % 2}


class Mortal(TrainerCallback):
    """Ticks at what a Trainer tells its callbacks."""

    def __init__(self, fate) -> None:
        tick = fate.tick(lambda *given, **more: None)
        for name in ("on_step_begin", "on_pre_optimizer_step", "on_optimizer_step", "on_step_end", "on_evaluate"):
            setattr(self, name, tick)


def train_with_trainer(make_bert, folder, fate):
    """Train by the stock Trainer, from its last whole checkpoint where there is one; return the folder of the log."""
    torch.manual_seed(0)
    model = make_bert(dropout=0.1)
    config = FlexLoRAConfig(initial_rank=3, **MOVING, initial_budget=3, schedule="constant")
    callback = FlexLoRACallback(model, config, folder / "run")
    more = {"save_strategy": "steps", "save_steps": 3, "eval_strategy": "steps", "eval_steps": 5, "use_cpu": True}
    arguments = TrainingArguments(
        str(folder / "out"), max_steps=STEPS, per_device_train_batch_size=4, learning_rate=5e-3, report_to=[],
        disable_tqdm=True, logging_strategy="no", dataloader_pin_memory=False, seed=1, **more,
    )  # fmt: skip
    rows = Rows()
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows, callbacks=[callback, Mortal(fate)]
    )
    last = last_checkpoint(folder / "out")
    try:
        trainer.train(resume_from_checkpoint=last)
    except (Died, RunLogError):
        # It may be closed already; whatever a dead process still tries is refused by its fate.
        with contextlib.suppress(Died, RunLogError):
            callback.close()
        bury(folder / "run")
        raise
    return callback.folder


@pytest.mark.filterwarnings("ignore:No event is due:flexlora.errors.FlexLoRAWarning")
@pytest.mark.filterwarnings("ignore:.* holds a run, which is left as it is:flexlora.errors.FlexLoRAWarning")
@pytest.mark.filterwarnings("ignore:.*checkpoint-[0-9]+ is (cut|of the last step):flexlora.errors.FlexLoRAWarning")
def test_a_killed_trainer_comes_back_the_same(make_bert, tmp_path, monkeypatch):
    fate = Fate()
    monkeypatch.setattr(disk, "perform", fate.perform)
    train_with_trainer(make_bert, tmp_path / "whole", fate)
    whole = read_run(tmp_path / "whole" / "run")
    assert whole.events and whole.state == "finished"
    draw = random.Random(f"{SEED} trainer")
    struck, number = [], 0
    while len(struck) < 2 * MOMENTS:
        number += 1
        folder = tmp_path / str(number)
        # The first is near the end, where the Trainer has saved its last step.
        first = fate.count - 6 if number == 1 else 1
        end = Fate(draw.randint(first, fate.count), draw.choice(DEATHS))
        monkeypatch.setattr(disk, "perform", end.perform)
        try:
            logged = train_with_trainer(make_bert, folder, end)
        except (Died, RunLogError):
            struck.append((end.fault, end.struck))
            monkeypatch.setattr(disk, "perform", Fate().perform)
            logged = train_with_trainer(make_bert, folder, Fate())
        log = read_run(logged)
        assert differences(whole, log) == [], f"KILL_SEED={SEED}, trainer: {struck}"
        assert np.array_equal(log.steps["step"], np.arange(1, STEPS + 1))


def test_a_recorder_lets_go_of_a_log_that_cannot_be_written(make_bert, tmp_path, monkeypatch):
    config = FlexLoRAConfig(initial_rank=3, total_steps=20)
    adapter = attach(make_bert(), config)
    recorder = Recorder(adapter, torch.optim.AdamW(adapter.trainable_parameters()), config, tmp_path / "run")
    writer = recorder._writer
    with monkeypatch.context() as patched:
        patched.setattr(disk, "perform", Fate(1, "ENOSPC").perform)
        with pytest.raises(RunLogError, match="the disk fails"):
            writer.flush()
    with pytest.raises(RunLogError, match="the disk fails"):
        recorder.close()
    assert all(handle.closed for handle in writer._files._handles.values())
