"""What people do to a Trainer: losses of their own, interrupts, retries, plain modules, NaN, other orders, resuming."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import accelerate
import numpy as np
import pytest
import torch
from peft import get_peft_model
from torch import nn
from trainer_runs import SETTINGS, STEPS, Rows, arguments
from transformers import Trainer, TrainerCallback

from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations import FlexLoRACallback, Recorder
from flexlora.integrations.losses import StepLoss
from flexlora.integrations.training_loop import INTERVAL_S
from flexlora.peft import FlexLoRACallback as PeftCallback
from flexlora.peft import FlexLoRAConfig as PeftConfig
from flexlora.run_log import RunLogError, add_eval, glance_run, read_run


def build(model, folder, *, kind=Trainer, config=None, callbacks=(), data=None, out=None, **more):
    """Return a Trainer with the callback, whose arguments are ``more``; those of the Trainer itself are named here."""
    own = {key: more.pop(key) for key in ("compute_loss_func", "data_collator", "optimizers") if key in more}
    callback = FlexLoRACallback(model, config or FlexLoRAConfig(**SETTINGS), folder)
    return kind(
        model=model,
        args=arguments(out or folder.parent / "out", **more),
        train_dataset=data if data is not None else Rows("bert"),
        eval_dataset=Rows("bert", 16),
        callbacks=[*callbacks, callback],
        **own,
    )


def losses_of(trainer):
    return np.array([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])


class Weighted(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        loss = 100 * nn.functional.cross_entropy(outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class Penalised(Trainer):
    """Calls the model twice, and adds what has nothing to do with its output."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs, again = model(**inputs), model(**inputs)
        loss = outputs.loss + (outputs.logits - again.logits).pow(2).mean() + model.classifier.weight.pow(2).sum()
        return (loss, outputs) if return_outputs else loss


class Compiled(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        loss = torch.compile(nn.functional.cross_entropy, backend="eager")(outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


def seven(outputs, labels, num_items_in_batch=None):
    return 7 * nn.functional.cross_entropy(outputs.logits, labels)


LOSSES = {
    "own": {},
    "smoothed": {"label_smoothing_factor": 0.1},
    "function": {"compute_loss_func": seven},
    "overridden": {"kind": Weighted},
    "penalised": {"kind": Penalised},
    "compiled": {"kind": Compiled},
    "bf16": {"kind": Weighted, "bf16": True},
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("case", LOSSES)
def test_the_logged_loss_is_the_trained_one(case, accumulated, make_bert, tmp_path):
    more = {"gradient_accumulation_steps": accumulated, "logging_steps": 1, "logging_nan_inf_filter": False}
    trainer = build(make_bert(dropout=0.1), tmp_path / "run", **LOSSES[case], **more)
    trainer.train()
    logged = read_run(tmp_path / "run").steps["task_loss"]
    assert len(logged) == STEPS
    # The Trainer's own figure is a float32 as well, and added up in another order.
    np.testing.assert_allclose(logged, losses_of(trainer), rtol=2e-6)


def test_following_the_loss_changes_no_bit(make_bert):
    """Loss and gradients with the model's output followed, and without."""
    grads = []
    for follow in (False, True):
        model = make_bert()
        watched = StepLoss()
        if follow:
            watched.attach(model)
        batch = {"input_ids": torch.arange(8).reshape(2, 4) + 3, "labels": torch.tensor([0, 1])}
        outputs = model.train()(**batch)
        loss = outputs.loss + nn.functional.cross_entropy(outputs["logits"], batch["labels"])
        loss.backward()
        grads.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
        taken = watched.take()
        assert (taken is None) == (not follow)
        if taken is not None:
            assert type(taken) is torch.Tensor and taken == loss.detach()
            assert type(loss.detach()) is torch.Tensor and type(outputs.logits.detach()) is torch.Tensor
        with torch.no_grad():
            assert type(model(**batch).logits) is torch.Tensor
        assert type(model.eval()(**batch).logits) is torch.Tensor
        watched.detach()
        assert type(model.train()(**batch).logits) is torch.Tensor
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize(
    "form",
    ["tensor", "tuple", "list", "dict", "object", "nested"],
)
def test_the_loss_of_any_form_of_output(form):
    class Net(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            namespace = type("Output", (), {})()
            namespace.y = y
            forms = {"tensor": y, "tuple": (None, y), "list": [y], "dict": {"y": y, "n": 3}, "object": namespace}
            return {**forms, "nested": {"all": ("text", [y])}}[form]

    pick = {
        "tensor": lambda found: found,
        "tuple": lambda found: found[1],
        "list": lambda found: found[0],
        "dict": lambda found: found["y"],
        "object": lambda found: found.y,
        "nested": lambda found: found["all"][1][0],
    }[form]
    model, watched = Net(3, 2), StepLoss()
    watched.attach(model)
    for _ in range(2):
        (pick(model(torch.ones(4, 3))).square().mean() / 2).backward()
    expected = (nn.functional.linear(torch.ones(4, 3), model.weight, model.bias)).square().mean()
    assert torch.allclose(watched.take(), expected) and watched.take() is None


class Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        return grad


class Hidden(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return Opaque.apply(model(**inputs).loss)


def test_a_loss_that_cannot_be_followed_is_told_once_and_not_made_up(make_bert, tmp_path):
    with pytest.warns(FlexLoRAWarning, match="task loss stays empty") as told:
        build(make_bert(), tmp_path / "run", kind=Hidden).train()
    assert sum("stays empty" in str(one.message) for one in told) == 1
    assert np.isnan(read_run(tmp_path / "run").steps["task_loss"]).all()


def test_a_loss_scaled_for_fp16_is_logged_unscaled(make_bert, tmp_path):
    trainer = build(make_bert(), tmp_path / "run", logging_steps=1)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=5)
    trainer.accelerator.native_amp = True
    trainer.train()
    assert trainer.accelerator.scaler.get_scale() > 1024
    np.testing.assert_allclose(read_run(tmp_path / "run").steps["task_loss"], losses_of(trainer), rtol=2e-6)


class Breaks(TrainerCallback):
    """Raises once after each of the steps."""

    def __init__(self, error, *steps):
        self.error, self.steps = error, list(steps)

    def on_step_end(self, args, state, control, **more):
        if state.global_step in self.steps:
            self.steps.remove(state.global_step)
            raise self.error


def ended(folder, within_s=8 * INTERVAL_S):
    """Return a run once it has ended by itself."""
    until = time.monotonic() + within_s
    while read_run(folder).state == "running" and time.monotonic() < until:
        time.sleep(0.05)
    return read_run(folder)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("boom")])
def test_training_that_was_left_ends_its_log_and_trains_again(error, place, make_bert, tmp_path):
    breaks = Breaks(error, 9)
    trainer = build(make_bert(), tmp_path / "run", callbacks=[breaks] if place == "before" else [])
    if place == "after":
        trainer.add_callback(breaks)
    with pytest.raises(type(error)):
        trainer.train()
    run = ended(tmp_path / "run")
    assert run.state == "stopped" and "left after step 9" in run.end["message"] and run.steps["step"][-1] == 9
    assert not trainer.model._forward_hooks
    with pytest.warns(FlexLoRAWarning, match=r"and is logged in .*run-2"):
        trainer.train()
    assert read_run(tmp_path / "run").state == "stopped"
    again = read_run(tmp_path / "run-2")
    assert again.state == "finished" and len(again.events) == 5 and again.header["name"] == "run-2"


def test_what_a_notebook_has_shown_is_the_reason(make_bert, tmp_path, monkeypatch):
    trainer = build(make_bert(), tmp_path / "run", callbacks=[Breaks(RuntimeError("boom"), 5)])
    try:
        trainer.train()
    except RuntimeError as error:
        monkeypatch.setattr(sys, "last_value", error, raising=False)
    run = ended(tmp_path / "run")
    assert run.state == "failed" and run.end["message"] == "Training was left after step 5: RuntimeError: boom"


LEFT = {
    ("adalora", "error"): ("failed", "Training was left after step 5: RuntimeError: boom"),
    ("flexlora", "interrupt"): ("stopped", "Training was left after step 5, by an interrupt."),
}


def test_a_script_that_ends_in_training_ends_its_log_with_the_reason(tmp_path):
    script = Path(__file__).with_name("left_by_a_script.py")
    each = [text for door, way in LEFT for text in (str(tmp_path / door), door, way)]
    done = subprocess.run([sys.executable, script, *each], capture_output=True, text=True)
    assert done.returncode == 0 and all(json.loads(done.stdout)), done.stderr
    for (door, _), (state, told) in LEFT.items():
        run = read_run(tmp_path / door / "run")
        assert (run.state, run.end["message"], run.steps["step"][-1]) == (state, told, 5), done.stderr


def test_training_that_stops_before_its_first_event_says_that_nothing_moved(make_bert, tmp_path):
    class Stops(TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            control.should_training_stop = True

    trainer = build(make_bert(), tmp_path / "run", callbacks=[Stops()])
    with pytest.warns(FlexLoRAWarning, match=r"ended at step 1; the first event was due at \d+: no rank moved"):
        trainer.train()
    assert read_run(tmp_path / "run").state == "stopped"


@pytest.mark.parametrize("through_peft", [False, True])
def test_a_second_callback_of_one_model_is_refused_by_name(through_peft, make_bert, tmp_path):
    model = make_bert()
    if through_peft:
        model = get_peft_model(model, PeftConfig(task_type="SEQ_CLS", r=2))
        both = [PeftCallback(tmp_path / "run"), PeftCallback()]
    else:
        adapter = attach(model, FlexLoRAConfig(**SETTINGS))
        both = [FlexLoRACallback(adapter, folder=tmp_path / "run"), FlexLoRACallback(adapter, folder=tmp_path / "run")]
    trainer = Trainer(model, arguments(tmp_path / "out"), train_dataset=Rows("bert"), callbacks=both)
    with pytest.raises(FlexLoRAError, match="a second FlexLoRACallback of the same model"):
        trainer.train()
    assert not (tmp_path / "run").exists()


def test_another_method_that_was_left_ends_its_log_and_trains_again(make_bert, tmp_path):
    model = get_peft_model(make_bert(), PeftConfig(task_type="SEQ_CLS", r=2, method="adalora"))
    callback = PeftCallback(tmp_path / "run")
    breaks = Breaks(RuntimeError("boom"), 5)
    trainer = Trainer(model, arguments(tmp_path / "out"), train_dataset=Rows("bert"), callbacks=[breaks, callback])
    with pytest.raises(RuntimeError):
        trainer.train()
    run = ended(tmp_path / "run")
    assert run.state == "stopped" and "left after step 5" in run.end["message"]
    with pytest.warns(FlexLoRAWarning, match=r"and is logged in .*run-2"):
        trainer.train()
    found = trainer.evaluate(Rows("bert", 8))
    trainer.predict(Rows("bert", 8))
    run = read_run(tmp_path / "run-2")
    assert run.state == "finished" and not run.notices
    assert [(record["step"], record["split"]) for record in run.evals] == [(STEPS, "validation"), (STEPS, "test")]
    assert run.evals[0]["metrics"] == {"loss": pytest.approx(found["eval_loss"])}


def test_a_start_that_fails_ends_its_log(make_bert, tmp_path):
    """In a callback after this one, or before the first batch: the folder is that of the next start."""

    class Fails(TrainerCallback):
        def on_train_begin(self, args, state, control, **more):
            raise RuntimeError("boom")

    def collate(rows):
        raise ValueError("bad row")

    trainer = build(make_bert(), tmp_path / "run")
    trainer.add_callback(Fails())
    with pytest.raises(RuntimeError, match="boom"):
        trainer.train()
    assert ended(tmp_path / "run").state == "stopped"
    trainer.remove_callback(Fails)
    kept, trainer.data_collator = trainer.data_collator, collate
    with pytest.raises(ValueError, match="bad row"):
        trainer.train()
    trainer.data_collator = kept
    trainer.train()
    assert read_run(tmp_path / "run").state == "finished"


def test_training_that_goes_on_is_not_taken_for_left(make_bert, tmp_path):
    class Slow(TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            if state.global_step == 3:
                time.sleep(5 * INTERVAL_S)

    build(make_bert(), tmp_path / "run", callbacks=[Slow()]).train()
    run = read_run(tmp_path / "run")
    assert run.state == "finished" and not run.notices and run.steps["step"][-1] == STEPS


def test_out_of_memory_retries(make_bert, tmp_path):
    """A start that made no step leaves its folder to the next; one that made some keeps its own."""
    for name, after in (("once", 0), ("later", 6)):
        model, calls = make_bert(), []

        def full(module, args, kwargs, calls=calls, after=after):
            calls.append(len(kwargs["input_ids"]))
            if len(kwargs["input_ids"]) > 4 and len(calls) > after:
                raise RuntimeError("CUDA out of memory.")

        model.register_forward_pre_hook(full, with_kwargs=True)
        folder = tmp_path / name / "run"
        trainer = build(model, folder, auto_find_batch_size=True, per_device_train_batch_size=8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if after else "error", FlexLoRAWarning)
            trainer.train()
        assert calls[-1] <= 4
        if after:
            assert read_run(folder).steps["step"][-1] == 6 and read_run(folder).state == "stopped"
            folder = folder.with_name("run-2")
        run = read_run(folder)
        assert run.state == "finished" and len(run.events) == 5 and not run.notices


def test_an_interrupted_training_is_resumed_in_its_own_log(make_bert, tmp_path):
    """Left twice, each start anew with a folder of its own; resuming goes on with that of the checkpoint."""
    whole = build(make_bert(dropout=0.1), tmp_path / "whole" / "run")
    whole.train()
    breaks = Breaks(RuntimeError("boom"), 9, 15)
    settings = {"save_strategy": "steps", "save_steps": 4, "callbacks": [breaks]}
    trainer = build(make_bert(dropout=0.1), tmp_path / "run", **settings)
    with pytest.raises(RuntimeError):
        trainer.train()
    with pytest.raises(RuntimeError), pytest.warns(FlexLoRAWarning, match="run-2"):
        trainer.train()
    trainer.train(resume_from_checkpoint=True)
    run = read_run(tmp_path / "run-2")
    assert run.state == "finished" and run.steps["step"].tolist() == list(range(1, STEPS + 1)) and not run.notices
    assert [note["resumed_from"] for note in run.notes if note["kind"] == "resumed_from"] == [12]
    assert read_run(tmp_path / "run").steps["step"][-1] == 9


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd", "adafactor"])
def test_an_adapter_that_grew_is_resumed_in_the_same_process(optim, make_bert, tmp_path):
    config = FlexLoRAConfig(
        **{**SETTINGS, "initial_rank": 2, "initial_budget": 9},
        direction="extend_only",
        new_direction="small_value",
        importance="nuclear_norm",
    )
    trainer = build(make_bert(), tmp_path / "run", config=config, optim=optim, save_strategy="steps", save_steps=5)
    trainer.train()
    before = read_run(tmp_path / "run")
    grown = {"grown" in rule for event in before.events for rule in event["rules"]}
    assert grown == {True, False} or grown == {True}
    with warnings.catch_warnings():
        warnings.simplefilter("error", FlexLoRAWarning)
        trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-5"))
    again = read_run(tmp_path / "run")
    assert [event["step"] for event in again.events] == [event["step"] for event in before.events]
    # Adafactor measures a tensor's size over all of its slots, of which there are more now.
    tolerance = 1e-3 if optim == "adafactor" else 0.0
    np.testing.assert_allclose(again.steps["task_loss"], before.steps["task_loss"], rtol=tolerance)


@pytest.mark.parametrize("optim", ["adafactor", "rmsprop", "adagrad"])
def test_other_optimizers_are_resumed_bit_for_bit(optim, make_bert, tmp_path):
    """Through growth before and after the checkpoint."""
    config = FlexLoRAConfig(
        **{**SETTINGS, "initial_rank": 2, "initial_budget": 9},
        direction="extend_only",
        new_direction="small_value",
        importance="nuclear_norm",
    )
    checkpoint, paths = tmp_path / "whole" / "out" / "checkpoint-10", []
    for name, resume in (("whole", None), ("resumed", str(checkpoint))):
        more = {"config": config, "optim": optim, "save_strategy": "steps", "save_steps": 10}
        build(make_bert(dropout=0.1), tmp_path / name / "run", **more).train(resume_from_checkpoint=resume)
        paths.append(read_run(tmp_path / name / "run"))
    assert np.array_equal(paths[0].steps["task_loss"][10:], paths[1].steps["task_loss"])
    late = [event for event in paths[0].events if event["step"] > 10]
    assert late == paths[1].events and any("grown" in event["rules"] for event in paths[0].events)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.rest, self.classifier = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x, labels=None):
        logits = self.classifier(torch.tanh(self.rest(torch.tanh(self.body(x)))))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Bare(Net):
    """Gives nothing but a tuple, without a loss."""

    def forward(self, x, labels=None):
        return (super().forward(x, torch.zeros(len(x), dtype=torch.long))["logits"],)


class Outside(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(inputs["x"])
        loss = nn.functional.cross_entropy(outputs[0], inputs["labels"])
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize("kind", ["dictionary", "tuple"])
def test_a_plain_module_trains_and_resumes(kind, tmp_path):
    generator = torch.Generator().manual_seed(0)
    data = [{"x": torch.randn(16, generator=generator), "labels": index % 2} for index in range(64)]
    paths = []
    for name in ("whole", "cut", "cut"):
        torch.manual_seed(0)
        model = Net() if kind == "dictionary" else Bare()
        more = {"kind": Trainer if kind == "dictionary" else Outside, "save_strategy": "steps", "save_steps": 11}
        trainer = build(model, tmp_path / name / "run", data=data, **more)
        before = set(vars(model))
        checkpoint = tmp_path / "cut" / "out" / "checkpoint-11"
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint.exists() else None)
        assert set(vars(model)) <= {*before, "_is_accelerate_prepared"}
        paths.append(read_run(tmp_path / name / "run"))
    assert [run.state for run in paths] == ["finished"] * 3 and paths[0].events
    assert np.array_equal(paths[0].steps["task_loss"], paths[2].steps["task_loss"])
    assert not np.isnan(paths[0].steps["task_loss"]).any() and paths[0].events == paths[2].events


def test_resuming_after_the_last_event_says_nothing_false(make_bert, tmp_path):
    """Without the old run folder, and for longer than the first run."""
    out = tmp_path / "out"
    settings = {"out": out, "save_strategy": "steps", "save_steps": 22, "config": FlexLoRAConfig(initial_rank=4)}
    build(make_bert(), tmp_path / "one", **settings).train()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FlexLoRAWarning)
        build(make_bert(), tmp_path / "two", **settings).train(resume_from_checkpoint=str(out / "checkpoint-22"))
    given = FlexLoRAConfig(initial_rank=4, total_steps=STEPS)
    for place, more in enumerate(({}, {"config": given})):
        longer = build(make_bert(), tmp_path / f"longer{place}", **{**settings, **more}, max_steps=40)
        with pytest.warns(FlexLoRAWarning, match="The schedule stays that of the 24 steps .* steps 25 to 40") as told:
            longer.train(resume_from_checkpoint=str(out / "checkpoint-22"))
        assert sum(one.category is FlexLoRAWarning for one in told) == 1
        run = read_run(tmp_path / f"longer{place}")
        assert run.state == "finished" and run.steps["step"][-1] == 40 and not run.events
    shorter = build(make_bert(), tmp_path / "shorter", **settings, max_steps=23)
    with pytest.warns(FlexLoRAWarning, match="stays that of the 24 steps .* training ends at step 23"):
        shorter.train(resume_from_checkpoint=str(out / "checkpoint-22"))


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_a_checkpoint_without_optimizer_is_refused_and_leaves_no_log(optim, make_bert, tmp_path):
    """SGD keeps nothing: there the learning rate would begin anew."""
    out = tmp_path / "out"
    more = {"save_strategy": "steps", "save_steps": 10, "save_only_model": True, "optim": optim}
    build(make_bert(), tmp_path / "run", out=out, **more).train()
    again = build(make_bert(), tmp_path / "new", out=out, optim=optim)
    with pytest.raises(FlexLoRAError, match="checkpoint of step 10 holds no optimizer, as with save_only_model=True"):
        again.train(resume_from_checkpoint=str(out / "checkpoint-10"))
    assert not (tmp_path / "new").exists()
    assert read_run(tmp_path / "run").state == "finished"


def test_a_resume_that_is_refused_leaves_the_log_as_it_was(make_bert, tmp_path):
    build(make_bert(), tmp_path / "run", save_strategy="steps", save_steps=10).train()
    other = FlexLoRAConfig(**{**SETTINGS, "initial_budget": 1})
    trainer = build(make_bert(), tmp_path / "run", config=other)
    with pytest.raises(FlexLoRAError, match="initial_budget=3"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-10"))
    run = read_run(tmp_path / "run")
    assert run.state == "finished" and not [note for note in run.notes if note["kind"] == "resumed_from"]


def test_another_optimizer_is_refused_on_resume_and_leaves_the_log_as_it_was(make_bert, tmp_path):
    build(make_bert(), tmp_path / "run", save_strategy="steps", save_steps=10).train()
    checkpoint = tmp_path / "out" / "checkpoint-10"
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    for older in (False, True):
        if older:
            del state["stateful_callbacks"]["FlexLoRACallback"]["attributes"]["optimizer"]
            (checkpoint / "trainer_state.json").write_text(json.dumps(state))
        kept = "another optimizer" if older else "AdamW"
        with pytest.raises(FlexLoRAError, match=f"holds the state of {kept}, and this training has SGD"):
            build(make_bert(), tmp_path / "run", optim="sgd").train(resume_from_checkpoint=str(checkpoint))
        run = read_run(tmp_path / "run")
        assert run.state == "finished" and run.steps["step"][-1] == STEPS


class Poisoned(Trainer):
    """The loss is NaN at one step."""

    at = 7

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = model(**inputs).loss
        return loss * float("nan") if self.state.global_step + 1 == self.at else loss


@pytest.mark.parametrize("at", [7, STEPS])
def test_nan_ends_the_run_as_failed(at, make_bert, tmp_path):
    kind = type("At", (Poisoned,), {"at": at})
    with pytest.warns(FlexLoRAWarning, match=f"The loss was not finite at step {at}.* Training stops"):
        build(make_bert(), tmp_path / "run", kind=kind, config=FlexLoRAConfig(**SETTINGS, total_steps=STEPS)).train()
    run = read_run(tmp_path / "run")
    assert run.state == "failed" and f"not finite at step {at}" in run.end["message"]
    assert all(event["step"] < at for event in run.events)


@pytest.mark.parametrize("last", [False, True])
def test_a_loss_that_is_nan_alone_fails_the_run_where_it_stays_so(last, make_bert, tmp_path):
    """What is trained stays finite: a skipped step is no failure, a run that ends without a loss is one."""
    config = FlexLoRAConfig(**SETTINGS, total_steps=12)
    adapter = attach(make_bert(), config)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters())
    with Recorder(adapter, optimizer, config, tmp_path / "run") as recorder:
        for t in range(1, 13):
            for parameter in adapter.trainable_parameters():
                # An empty slot has no gradient.
                parameter.grad = (parameter != 0).to(parameter.dtype)
            regularizer = adapter.add_regularization_gradient()
            optimizer.step()
            recorder.step(t, float("nan") if t == 4 or (last and t > 6) else 1.0, regularizer)
            optimizer.zero_grad()
    run = read_run(tmp_path / "run")
    assert run.state == ("failed" if last else "finished")
    assert (run.end["message"] or "").startswith("The loss is not finite from step 7" if last else "")


def test_evaluations_after_training_are_in_the_log(make_bert, tmp_path):
    trainer = build(make_bert(), tmp_path / "run")
    trainer.evaluate()
    trainer.train()
    before = read_run(tmp_path / "run")
    found = trainer.evaluate()
    trainer.predict(Rows("bert", 8))
    run = read_run(tmp_path / "run")
    assert [(record["step"], record["split"]) for record in run.evals] == [(STEPS, "validation"), (STEPS, "test")]
    assert run.evals[0]["metrics"] == {"loss": pytest.approx(found["eval_loss"])}
    assert run.state == "finished" and run.end == before.end and not run.notices
    assert [note["kind"] for note in run.notes] == [note["kind"] for note in before.notes]
    assert [record["split"] for record in glance_run(str(tmp_path / "run")).evals] == ["validation", "test"]
    with pytest.raises(RunLogError, match="does not exist"):
        add_eval(tmp_path / "nowhere", 1, "test", {"loss": 1.0})


def test_a_trainer_that_trains_again_keeps_the_ages_of_its_directions(make_bert, tmp_path):
    ages = []

    class Looks(TrainerCallback):
        def look(self):
            named = callback.adapter.named_parameters()
            ages.append(callback.recorder.allocator.moves.young.state(named))

        def on_train_begin(self, args, state, control, **more):
            self.look()

        def on_step_end(self, args, state, control, **more):
            if state.global_step == STEPS:
                self.look()

    model = make_bert()
    callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS))
    settings = arguments(tmp_path)
    trainer = Trainer(model=model, args=settings, train_dataset=Rows("bert"), callbacks=[callback, Looks()])
    trainer.train()
    trainer.train()
    assert ages[0] == {} and ages[1] == ages[2] and any(ages[1].values())


def test_two_trainers_one_after_the_other(make_bert, tmp_path):
    """The callback is used again; total_steps follows each Trainer."""
    model = make_bert()
    first = build(model, tmp_path / "run", config=FlexLoRAConfig(initial_rank=4))
    first.train()
    (callback,) = (found for found in first.callback_handler.callbacks if isinstance(found, FlexLoRACallback))
    second = Trainer(
        model=model, args=arguments(tmp_path / "b", max_steps=40), train_dataset=Rows("bert"), callbacks=[callback]
    )
    with pytest.warns(FlexLoRAWarning, match="run-2") as told:
        second.train()
    assert sum(one.category is FlexLoRAWarning for one in told) == 1
    assert callback.config.total_steps == 40 and callback.folder == tmp_path / "run-2"
    assert read_run(tmp_path / "run-2").header["config"]["total_steps"] == 40
    assert not model._forward_hooks
    third = FlexLoRACallback(callback.adapter, None, tmp_path / "run")
    trainer = Trainer(model=model, args=arguments(tmp_path / "c"), train_dataset=Rows("bert"), callbacks=[third])
    with pytest.warns(FlexLoRAWarning, match="run-3"):
        trainer.train()
    assert third.folder == tmp_path / "run-3" and not read_run(tmp_path / "run-2").notices


def test_an_adapter_attached_by_hand_and_a_callback_added_late(make_bert, tmp_path):
    model = make_bert()
    adapter = attach(model, FlexLoRAConfig(**SETTINGS))
    trainer = Trainer(model=model, args=arguments(tmp_path / "out"), train_dataset=Rows("bert"))
    trainer.add_callback(FlexLoRACallback(adapter, None, tmp_path / "run"))
    trainer.train()
    assert len(read_run(tmp_path / "run").events) == 5
    refused = Trainer(
        model=model, args=arguments(tmp_path / "d", fp16=True, max_grad_norm=0.0), train_dataset=Rows("bert")
    )
    refused.add_callback(FlexLoRACallback(adapter))
    with pytest.raises(FlexLoRAError, match="fp16 without clipping"):
        refused.train()


def test_data_that_ends_early_stops_the_run(make_bert, tmp_path):
    class Once(torch.utils.data.IterableDataset):
        def __init__(self):
            self.rows = iter(Rows("bert"))

        def __iter__(self):
            return self.rows

    more = {"accelerator_config": {"dispatch_batches": False}, "per_device_train_batch_size": 8}
    build(make_bert(), tmp_path / "run", data=Once(), **more).train()
    run = read_run(tmp_path / "run")
    assert run.state == "stopped" and run.steps["step"][-1] == 8


def test_a_compiled_model_given_to_the_trainer(make_bert, tmp_path):
    """Checkpoints hold what is trained alone, and are resumed."""
    torch._dynamo.reset()
    paths = []
    for _ in range(2):
        model = make_bert()
        model.config.problem_type = "single_label_classification"
        callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS), tmp_path / "run")
        more = {"save_strategy": "steps", "save_steps": 12, "remove_unused_columns": False, "label_names": ["labels"]}
        compiled = torch.compile(model, backend="eager")
        checkpoint = tmp_path / "out" / "checkpoint-12"
        trainer = Trainer(
            model=compiled, args=arguments(tmp_path / "out", **more), train_dataset=Rows("bert"), callbacks=[callback]
        )
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint.exists() else None)
        paths.append(read_run(tmp_path / "run"))
    assert np.array_equal(paths[0].steps["task_loss"], paths[1].steps["task_loss"]) and paths[1].events
    trained = sum(4 * parameter.numel() for parameter in callback.adapter.trainable_parameters())
    assert (checkpoint / "model.safetensors").stat().st_size < 1.5 * trained + 20_000
    torch._dynamo.reset()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_model_cast_after_it_was_attached(dtype, make_bert, tmp_path):
    model = make_bert()
    config = FlexLoRAConfig(**SETTINGS, total_steps=STEPS)
    adapter = attach(model, config)
    model.to(dtype)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-3, eps=1e-4)
    batch = {"input_ids": torch.arange(8).reshape(2, 4) + 3, "labels": torch.tensor([0, 1])}
    narrow = dtype != torch.float64
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with Recorder(adapter, optimizer, config, tmp_path / "run") as recorder:
            for t in range(1, STEPS + 1):
                loss = model(**batch).loss
                loss.backward()
                regularizer = adapter.add_regularization_gradient()
                optimizer.step()
                recorder.step(t, loss, regularizer)
                optimizer.zero_grad()
    own = [str(one.message) for one in told if one.category is FlexLoRAWarning]
    assert len(own) == narrow and all("cast after it was attached" in text for text in own)
    run = read_run(tmp_path / "run")
    assert run.state == "finished" and len(run.events) == 5


def test_a_bf16_cast_is_saved_and_resumed_under_the_trainer(make_bert, tmp_path):
    paths = []
    for resume in (None, str(tmp_path / "out" / "checkpoint-12")):
        model = make_bert()
        trainer = build(model, tmp_path / "run", save_strategy="steps", save_steps=12)
        model.to(torch.bfloat16)
        with pytest.warns(FlexLoRAWarning, match="cast after it was attached"):
            trainer.train(resume_from_checkpoint=resume)
        paths.append(read_run(tmp_path / "run").steps["task_loss"])
    assert np.array_equal(*paths)


def test_recorder_beside_accelerate(tmp_path):
    """A loop that accelerate drives: prepared model, optimizer and accumulation."""
    torch.manual_seed(0)
    model, config = Net(), FlexLoRAConfig(**SETTINGS, total_steps=STEPS)
    adapter = attach(model, config)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2))
    step = 0
    with Recorder(adapter, optimizer, config, tmp_path / "run") as recorder:
        while step < STEPS:
            with accelerator.accumulate(model):
                loss = model(torch.randn(4, 16), torch.tensor([0, 1, 0, 1]))["loss"]
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    regularizer = adapter.add_regularization_gradient()
                optimizer.step()
                if accelerator.sync_gradients:
                    step += 1
                    recorder.step(step, loss, regularizer)
                optimizer.zero_grad()
    run = read_run(tmp_path / "run")
    assert run.state == "finished" and len(run.events) == 5
