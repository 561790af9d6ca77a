"""The stock Trainer: trains, allocates, logs, saves, resumes and exports, on four kinds of model."""

from __future__ import annotations

import shutil
import warnings
import zipfile

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from trainer_runs import SETTINGS, STEPS, Rows, arguments
from transformers import Trainer, TrainerCallback, TrainingArguments

from analysis.runs import load_run
from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations import FlexLoRACallback, last_checkpoint
from flexlora.integrations.agreement import digest_base
from flexlora.run_log import RunLogError, RunWriter
from flexlora.train import main

FIELDS = TrainingArguments.__dataclass_fields__


@pytest.fixture
def make(make_bert, make_gpt2, make_llama, make_vit):
    return {"bert": lambda: make_bert(dropout=0.1), "gpt2": make_gpt2, "llama": make_llama, "vit": make_vit}


def trained(model, kind, folder, *, config=None, resume=None, callbacks=(), **more):
    callback = FlexLoRACallback(model, config or FlexLoRAConfig(**SETTINGS), folder / "run")
    trainer = Trainer(
        model=model,
        args=arguments(folder / "out", **more),
        train_dataset=Rows(kind),
        eval_dataset=Rows(kind, 16),
        callbacks=[callback, *callbacks],
    )
    trainer.train(resume_from_checkpoint=resume)
    return callback, trainer


@pytest.fixture(scope="module")
def plain_llama(make_llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    trained(make_llama(), "llama", folder)
    return spectra_of(folder)


@pytest.fixture(scope="module")
def saved_once(make_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    trained(make_bert(), "bert", folder, save_strategy="steps", save_steps=12)
    return folder


@pytest.fixture
def saved(saved_once, tmp_path):
    """A folder of the test's own with a finished run and its checkpoint of step 12."""
    return shutil.copytree(saved_once, tmp_path / "saved")


@pytest.mark.parametrize("harm", ["missing", "cut", "empty", "flipped"])
def test_the_last_checkpoint_is_the_newest_whole_one(harm, saved):
    first, out = saved / "out" / "checkpoint-12", saved / "out"
    assert last_checkpoint(out / "nowhere") is None
    for path in out.iterdir():
        if path != first:
            shutil.rmtree(path)
    assert last_checkpoint(out) == str(first)
    (out / "checkpoint-later").mkdir()
    newest = shutil.copytree(first, out / "checkpoint-100")
    assert last_checkpoint(out) == str(newest)
    names = {path.name for path in newest.iterdir()}
    assert {"trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors"} <= names
    for name in {"missing": ["trainer_state.json"], "flipped": ["optimizer.pt", "rng_state.pth"]}.get(harm, names):
        whole = (newest / name).read_bytes()
        changed = whole[: len(whole) // 2] if harm == "cut" else b""
        if harm == "flipped":
            with zipfile.ZipFile(newest / name) as archive:
                part = max(map(archive.read, archive.namelist()), key=len)
            # Not in what only fills up.
            place = whole.index(part) + len(part) // 2
            changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        (newest / name).write_bytes(changed)
        if harm == "missing":
            (newest / name).unlink()
        with pytest.warns(FlexLoRAWarning, match="checkpoint-100 is cut or damaged and passed over: ") as told:
            assert last_checkpoint(out) == str(first), name
        assert len(told) == 1 and "\n" not in str(told[0].message)
        (newest / name).write_bytes(whole)


@pytest.mark.filterwarnings("ignore:No event is due:flexlora.errors.FlexLoRAWarning")
def test_the_checkpoint_of_the_last_step_is_not_gone_on_from_within_an_epoch(make_bert, tmp_path):
    """The stock Trainer would make one step more."""
    callback, trainer = trained(make_bert(), "bert", tmp_path, save_strategy="steps", save_steps=5, max_steps=11)
    out = tmp_path / "out"
    assert trainer.state.epoch % 1, "this test must end within an epoch"
    with pytest.warns(FlexLoRAWarning, match="checkpoint-11 is of the last step: .* So checkpoint-10 is taken instead"):
        before = last_checkpoint(out)
    assert before == str(out / "checkpoint-10")
    _, again = trained(make_bert(), "bert", tmp_path, resume=before, max_steps=11)
    assert again.state.global_step == 11
    for step in (5, 10):
        shutil.rmtree(out / f"checkpoint-{step}")
    with pytest.warns(FlexLoRAWarning, match="it is the only one, and nothing is left to train"):
        assert last_checkpoint(out) == str(out / "checkpoint-11")


KINDS = ("bert", "gpt2", "llama", "vit")


@pytest.mark.parametrize("kind", KINDS)
def test_trains_allocates_resumes_and_exports(kind, make, tmp_path):
    whole, _ = trained(make[kind](), kind, tmp_path / "whole")
    stop, _ = trained(make[kind](), kind, tmp_path / "cut", save_strategy="steps", save_steps=11)
    checkpoint = tmp_path / "cut" / "out" / "checkpoint-11"
    model = make[kind]()
    resumed, _ = trained(model, kind, tmp_path / "cut", resume=str(checkpoint))

    run, other = load_run(tmp_path / "whole" / "run"), load_run(tmp_path / "cut" / "run")
    assert run.state == other.state == "finished" and not run.notices and not other.notices
    assert len(run.events) == len(whole.config.event_steps()) == 5
    assert sum(len(event["prune"]) for event in run.events) > 0
    assert [note["resumed_from"] for note in other.notes if note["kind"] == "resumed_from"] == [11]
    for t in range(STEPS + 1):
        mine, its = run.singular_values(t), other.singular_values(t)
        assert all(np.array_equal(mine[name], its[name]) for name in mine), t
    for name in ("task_loss", "regularizer", "loss", "learning_rate", "budget"):
        assert np.array_equal(run.metrics[name][1], other.metrics[name][1]), name
    assert run.events == other.events
    assert whole.adapter.ranks() == resumed.adapter.ranks() == stop.adapter.ranks()
    assert sum(resumed.adapter.ranks().values()) == 4 * len(resumed.adapter.matrices)

    batch = next(iter(torch.utils.data.DataLoader(Rows(kind), batch_size=4)))
    batch.pop("labels")
    model.eval()
    with torch.no_grad():
        logits = model(**batch).logits
        resumed.adapter.export_peft(tmp_path / "peft")
        peer = PeftModel.from_pretrained(make[kind](), str(tmp_path / "peft")).eval()
        assert torch.allclose(peer(**batch).logits, logits, atol=1e-5)


def spectra_of(folder):
    run = load_run(folder / "run")
    return [run.singular_values(int(t)) for t in run.steps]


def same(left, right, tolerance=0.0):
    return len(left) == len(right) and all(
        np.allclose(a[name], b[name], atol=tolerance, rtol=0) for a, b in zip(left, right, strict=True) for name in a
    )


def test_accumulated_batches_count_as_one_step(make_llama, tmp_path):
    """Four batches of 4 are one of 16: the regulariser's gradient is added once, and λ follows the same path."""
    config = FlexLoRAConfig(**SETTINGS, regularization_weight=1.0)
    # Without Adam's division by √v, rounding stays as small as it is.
    plain = {"config": config, "optim": "sgd", "learning_rate": 0.05}
    trained(make_llama(), "llama", tmp_path / "one", per_device_train_batch_size=16, **plain)
    trained(make_llama(), "llama", tmp_path / "four", gradient_accumulation_steps=4, **plain)
    one, four = load_run(tmp_path / "one" / "run"), load_run(tmp_path / "four" / "run")
    assert same(spectra_of(tmp_path / "one"), spectra_of(tmp_path / "four"), 1e-6)
    assert max(np.abs(values).max() for values in one.singular_values(STEPS).values()) > 1e-4
    for name in ("task_loss", "regularizer", "samples_per_s"):
        left, right = one.metrics[name][1], four.metrics[name][1]
        assert name == "samples_per_s" or np.allclose(left, right, rtol=1e-4), name


def test_the_regularizer_is_added_after_clipping(make_bert, tmp_path):
    """Clipped to nothing, the task has no gradient left; the regulariser still pulls P and Q to orthonormality."""
    config = FlexLoRAConfig(**SETTINGS, regularization_weight=1.0, initial_std=0.3)
    trained(make_bert(), "bert", tmp_path, config=config, max_grad_norm=1e-9, optim="sgd", learning_rate=0.05)
    run = load_run(tmp_path / "run")
    regularizer = run.metrics["regularizer"][1]
    assert regularizer[-1] < 0.2 * regularizer[0]
    assert all(np.abs(values).max(initial=0) < 1e-6 for values in run.singular_values(2).values())


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_nothing(reentrant, make_llama, plain_llama, tmp_path):
    # The option's name changed within transformers 5.
    name = next(key for key in ("activation_checkpointing", "gradient_checkpointing") if key in FIELDS)
    settings = {name: True, f"{name}_kwargs": {"use_reentrant": reentrant}}
    trained(make_llama(), "llama", tmp_path / "saved", **settings)
    assert same(plain_llama, spectra_of(tmp_path / "saved"), 1e-6)


def test_bf16_trains_and_keeps_the_adapter_in_fp32(make_bert, tmp_path):
    callback, _ = trained(make_bert(), "bert", tmp_path, bf16=True)
    assert {parameter.dtype for parameter in callback.adapter.parameters()} == {torch.float32}
    run = load_run(tmp_path / "run")
    assert run.events and run.config["precision"] == "bf16"
    assert max(np.abs(values).max() for values in run.singular_values(STEPS).values()) > 1e-3


def test_a_bf16_model_trains(make_llama, tmp_path):
    callback, _ = trained(make_llama().to(torch.bfloat16), "llama", tmp_path)
    assert {parameter.dtype for parameter in callback.adapter.parameters()} == {torch.float32}
    assert load_run(tmp_path / "run").events


class Scripted(TrainerCallback):
    """Makes an early checkpoint the best one, whatever was learned."""

    def on_evaluate(self, args, state, control, metrics=None, **more):
        metrics["eval_scripted"] = -abs(state.global_step - 8)


def test_the_best_model_comes_back_with_its_ranks(make_bert, tmp_path):
    model = make_bert()
    settings = {"eval_strategy": "steps", "eval_steps": 8, "save_strategy": "steps", "save_steps": 8}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "scripted", "greater_is_better": True}
    callback, trainer = trained(model, "bert", tmp_path, callbacks=[Scripted()], **settings, **best)
    assert trainer.state.best_global_step == 8
    run = load_run(tmp_path / "run")
    at_best = run.singular_values(9)
    assert callback.adapter.ranks() == {name: len(values) for name, values in at_best.items()}
    assert callback.adapter.ranks() != {name: len(values) for name, values in run.singular_values(STEPS).items()}
    saved = callback.adapter.singular_values()
    before = run.singular_values(8)
    # Step 8 was an event: what it saw was logged, then the directions moved.
    assert all(set(saved[name].tolist()) <= {*before[name].tolist(), 0.0} for name in saved)
    note = next(note for note in run.notes if note["kind"] == "best_model_loaded")
    assert note["best_step"] == 8 and note["ranks"] == list(callback.adapter.ranks().values())
    assert "validation/loss" in run.metrics


def test_checkpoints_hold_what_is_trained_and_merging_saves_all(make_bert, tmp_path):
    model = make_bert()
    callback, _ = trained(model, "bert", tmp_path, save_strategy="steps", save_steps=STEPS)
    saved = load_file(tmp_path / "out" / f"checkpoint-{STEPS}" / "model.safetensors")
    assert {name.rpartition(".")[2] for name in saved if not name.startswith("classifier")} == {
        "Pt",
        "lam",
        "Q",
        "mask",
    }
    batch = {"input_ids": torch.arange(8).reshape(1, 8)}
    with torch.no_grad():
        logits = model.eval()(**batch).logits
        callback.adapter.merge().save_pretrained(tmp_path / "merged")
        again = type(model).from_pretrained(tmp_path / "merged").eval()
        assert torch.allclose(again(**batch).logits, logits, atol=1e-5)


def test_weight_decay_spares_the_adapter(make_bert, tmp_path):
    """Decay of the head alone: P, λ and Q of a run with decay are those of one without, bit for bit, at frozen head."""
    paths = {}
    for decay in (0.0, 0.5):
        model = make_bert()
        callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS), tmp_path / str(decay) / "run")
        for parameter in model.classifier.parameters():
            parameter.requires_grad_(False)
        settings = arguments(tmp_path / str(decay) / "out", weight_decay=decay, lr_scheduler_type="constant")
        trainer = Trainer(model=model, args=settings, train_dataset=Rows("bert"), callbacks=[callback])
        trainer.train()
        paths[decay] = spectra_of(tmp_path / str(decay))
        assert len(trainer.optimizer.param_groups) == 2
        matrices = len(callback.adapter.matrices)
        assert sum(len(group["params"]) for group in trainer.optimizer.param_groups) == 3 * matrices
        assert any(group["weight_decay"] == decay for group in trainer.optimizer.param_groups)
    assert same(paths[0.0], paths[0.5])


def test_compiled_once(make_bert, tmp_path):
    """Events change values, never shapes: one graph for the run, and the same training as without compiling."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain, _ = trained(make_bert(), "bert", tmp_path / "plain")
    model = make_bert()
    # BERT sets this in its first forward pass, which alone makes a second graph.
    model.config.problem_type = "single_label_classification"
    settings = {"torch_compile": True, "torch_compile_backend": "aot_eager"}
    compiled, _ = trained(model, "bert", tmp_path / "compiled", **settings)
    counters = torch._dynamo.utils.counters
    assert load_run(tmp_path / "compiled" / "run").events
    assert counters["stats"]["unique_graphs"] == 1, dict(counters["stats"])
    assert same(spectra_of(tmp_path / "plain"), spectra_of(tmp_path / "compiled"), 1e-5)
    torch._dynamo.reset()


def test_loud_when_no_event_can_fire(make_bert, tmp_path):
    late = FlexLoRAConfig(initial_rank=4, total_steps=1000)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trained(make_bert(), "bert", tmp_path / "late", config=late)
    messages = [str(warning.message) for warning in told if warning.category is FlexLoRAWarning]
    assert len(messages) == 2
    assert "total_steps=1000, the Trainer makes 24" in messages[0]
    assert "No event is due in steps 1 to 24" in messages[1]
    with pytest.warns(FlexLoRAWarning, match="No event is due in steps 1 to 1"):
        trained(make_bert(), "bert", tmp_path / "short", max_steps=1, config=FlexLoRAConfig(initial_rank=4))
    tight = FlexLoRAConfig(initial_rank=4, warmup_steps=20)
    with pytest.raises(FlexLoRAError, match="No room for an event in 24 steps"):
        trained(make_bert(), "bert", tmp_path / "tight", config=tight)


def test_loud_when_the_trainer_never_calls(make_bert, tmp_path):
    class Deaf(FlexLoRACallback):
        def on_optimizer_step(self, *args, **more):
            pass

    model = make_bert()
    callback = Deaf(model, FlexLoRAConfig(**SETTINGS), tmp_path / "run")
    trainer = Trainer(model=model, args=arguments(tmp_path), train_dataset=Rows("bert"), callbacks=[callback])
    with pytest.warns(FlexLoRAWarning, match="5 events were due and none fired"):
        trainer.train()


def test_an_interrupted_log_is_closed_by_hand(make_bert, tmp_path):
    class Breaks(TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            if state.global_step == 9:
                raise KeyboardInterrupt

    model = make_bert()
    callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS), tmp_path / "run")
    settings = arguments(tmp_path / "out", save_strategy="steps", save_steps=4)
    both = [callback, Breaks()]
    with pytest.raises(KeyboardInterrupt):
        Trainer(model=model, args=settings, train_dataset=Rows("bert"), callbacks=both).train()
    callback.close()
    stopped = load_run(tmp_path / "run")
    assert stopped.end["reason"] == "stopped" and stopped.steps[-1] == 9
    other = FlexLoRACallback(callback.adapter, None, tmp_path / "run")
    with pytest.warns(FlexLoRAWarning, match="run holds a run, which is left as it is: .* logged in .*run-2"):
        Trainer(model=model, args=settings, train_dataset=Rows("bert"), callbacks=[other]).train()
    assert load_run(tmp_path / "run").end == stopped.end and load_run(other.folder).steps[-1] == STEPS


def test_a_file_in_place_of_the_run_folder_is_told(make_bert, tmp_path):
    model = make_bert()
    (tmp_path / "run").write_text("a file")
    callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS), tmp_path / "run")
    trainer = Trainer(model=model, args=arguments(tmp_path / "out"), train_dataset=Rows("bert"), callbacks=[callback])
    with pytest.raises(RunLogError, match=r"run is a file\. Choose another folder"):
        trainer.train()


def test_a_run_that_somebody_writes_is_refused(make_bert, tmp_path):
    model = make_bert()
    callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS), tmp_path / "run")
    trainer = Trainer(model=model, args=arguments(tmp_path / "out"), train_dataset=Rows("bert"), callbacks=[callback])
    with RunWriter(tmp_path / "run", {"matrices": [{"name": "a"}]}), pytest.raises(RunLogError) as refused:
        trainer.train()
    assert "is being written by this very process" in str(refused.value) and "--" not in str(refused.value)
    assert not (tmp_path / "run-2").exists()


BAD_ARGUMENTS = {
    "model_init": ({}, "another model than the one"),
    "fp16": ({"fp16": True, "max_grad_norm": 0.0}, "fp16 without clipping"),
    "restore": ({"restore_callback_states_from_checkpoint": True}, "restores itself"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_what_cannot_work_is_refused_before_training(case, make_bert, tmp_path):
    more, message = BAD_ARGUMENTS[case]
    model = make_bert()
    callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS))
    other = make_bert() if case == "model_init" else model
    with pytest.raises(FlexLoRAError, match=message):
        Trainer(model=other, args=arguments(tmp_path, **more), train_dataset=Rows("bert"), callbacks=[callback])


def test_resuming_from_a_foreign_checkpoint_is_refused(make_bert, tmp_path):
    plain = Trainer(
        model=make_bert(),
        args=arguments(tmp_path / "plain", save_strategy="steps", save_steps=2, max_steps=2),
        train_dataset=Rows("bert"),
    )
    plain.train()
    for name in ("optimizer.pt", "scheduler.pt"):
        (tmp_path / "plain" / "checkpoint-2" / name).unlink()
    with pytest.raises(FlexLoRAError, match="was not written with a FlexLoRACallback"):
        trained(make_bert(), "bert", tmp_path, resume=str(tmp_path / "plain" / "checkpoint-2"))


def test_a_checkpoint_whose_adapter_was_not_loaded_is_refused(make_bert, saved):
    checkpoint = saved / "out" / "checkpoint-12"
    weights = checkpoint / "model.safetensors"
    held = load_file(weights)
    for old, told in (
        ("encoder.layer", r"adapter of other matrices: bert\.blocks\.0.*target_modules"),
        ("bert.", "did not load the adapter of the checkpoint of step 12"),
    ):
        renamed = {name.replace(old, "blocks" if old[-1] != "." else "body."): part for name, part in held.items()}
        save_file(renamed, weights, metadata={"format": "pt"})
        with pytest.raises(FlexLoRAError, match=told):
            trained(make_bert(), "bert", saved, resume=str(checkpoint))
    save_file(held, weights, metadata={"format": "pt"})
    fewer = FlexLoRAConfig(**SETTINGS, target_modules=("query",))
    with pytest.raises(FlexLoRAError, match="key, for one, it adapts, and this model does not"):
        trained(make_bert(), "bert", saved, config=fewer, resume=str(checkpoint))


def test_a_checkpoint_resumed_on_another_base_is_told(make_bert, saved):
    checkpoint = str(saved / "out" / "checkpoint-12")
    other = make_bert()
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight += 0.01
    with pytest.warns(FlexLoRAWarning, match="frozen weights are not those that the checkpoint of step 12"):
        trained(other, "bert", saved, resume=checkpoint)


def test_a_base_is_known_by_its_values_alone_and_not_where_it_has_none(make_bert):
    model = make_bert()
    adapter = attach(model, FlexLoRAConfig(initial_rank=2))
    known = digest_base(adapter)
    trained_on = next(iter(adapter.matrices.values()))
    with torch.no_grad():
        trained_on.lam += 1.0
    assert known is not None and digest_base(adapter) == known
    model.bert.embeddings.word_embeddings.to("meta")
    assert digest_base(adapter) is None


def test_other_settings_are_refused_on_resume(make_bert, saved):
    other = FlexLoRAConfig(**{**SETTINGS, "initial_budget": 1})
    with pytest.raises(FlexLoRAError, match=r"initial_budget=3 \(now 1\)"):
        trained(make_bert(), "bert", saved, config=other, resume=str(saved / "out" / "checkpoint-12"))


def test_models_that_cannot_be_adapted(make_bert):
    model = make_bert()
    attach(model, FlexLoRAConfig(initial_rank=4))
    with pytest.raises(FlexLoRAError, match="adapted already"):
        FlexLoRACallback(model, FlexLoRAConfig(initial_rank=4))
    with torch.device("meta"):
        hollow = make_bert()
    with pytest.raises(FlexLoRAError, match=r"meta device\. Load the weights first"):
        attach(hollow, FlexLoRAConfig(initial_rank=4))
    with pytest.raises(FlexLoRAError, match="no Linear or Conv1D layer outside its head"):
        attach(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3)), FlexLoRAConfig(initial_rank=4))
    with pytest.raises(FlexLoRAError, match="needs the model that it attaches to"):
        FlexLoRACallback("bert-base-uncased", FlexLoRAConfig(initial_rank=4))


def test_storage_that_grew_is_resumed(make_bert, tmp_path):
    """Extension alone at rank 1 fills the two slots a matrix starts with; the checkpoint then holds four."""
    config = FlexLoRAConfig(
        **{**SETTINGS, "initial_rank": 1},
        direction="extend_only",
        importance="nuclear_norm",
        new_direction="small_value",
    )
    settings = {"config": config, "save_strategy": "steps", "save_steps": 15}
    whole, _ = trained(make_bert(), "bert", tmp_path, **settings)
    assert max(matrix.capacity for matrix in whole.adapter.matrices.values()) > 2
    before = spectra_of(tmp_path)
    again, _ = trained(make_bert(), "bert", tmp_path, resume=str(tmp_path / "out" / "checkpoint-15"), **settings)
    assert same(before, spectra_of(tmp_path))
    assert again.adapter.ranks() == whole.adapter.ranks()


def test_the_command_does_not_resume_a_log_of_the_trainer(saved, capsys):
    assert main(["--out", str(saved / "run"), "--resume"]) == 2
    assert "written by another loop (transformers.Trainer). Resume it there" in capsys.readouterr().err
