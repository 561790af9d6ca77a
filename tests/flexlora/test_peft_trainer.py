"""FlexLoRA in PEFT's own words under the Trainer: as after attach, bit for bit, with logs, checkpoints and resuming."""

from __future__ import annotations

import shutil
import warnings
from types import SimpleNamespace

import numpy as np
import peft
import pytest
import torch
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from transformers import Trainer, TrainerCallback, TrainingArguments

from analysis.metrics import describe_run
from analysis.runs import load_run
from flexlora import FlexLoRAConfig as OwnConfig
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations import FlexLoRACallback as OwnCallback
from flexlora.methods import METHODS
from flexlora.model_card import write_model_card
from flexlora.peft import FlexLoRACallback, FlexLoRAConfig
from flexlora.peft.config import REFUSED
from flexlora.peft.exact_state import FILE

STEPS = 24
WINDOW = {"warmup_steps": 2, "final_steps": 4, "interval": 3}
SETTINGS = {**WINDOW, "initial_budget": 3, "schedule": "constant"}


class Rows(torch.utils.data.Dataset):
    def __init__(self, kind, count=64):
        generator = torch.Generator().manual_seed(3)
        self.rows = []
        for index in range(count):
            label = index % 2
            ids = torch.randint(3, 30, (8,), generator=generator) + 25 * label
            self.rows.append({"input_ids": ids, "labels": ids.clone() if kind == "llama" else label})

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


@pytest.fixture
def make(make_bert, make_gpt2, make_llama):
    return {"bert": lambda: make_bert(dropout=0.1), "gpt2": make_gpt2, "llama": make_llama}


def tuned(make, kind, **options):
    task = "CAUSAL_LM" if kind == "llama" else "SEQ_CLS"
    return peft.get_peft_model(make[kind](), FlexLoRAConfig(task_type=task, **{"r": 4, **SETTINGS, **options}))


def trainer_of(model, kind, folder, callback, **more):
    settings = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 5e-3,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 5,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "seed": 1,
        "weight_decay": 0.01,
    }
    return Trainer(
        model=model,
        args=TrainingArguments(str(folder / "out"), **{**settings, **more}),
        train_dataset=Rows(kind),
        eval_dataset=Rows(kind, 16),
        callbacks=[callback],
    )


def trained(model, kind, folder, callback=None, resume=None, **more):
    callback = callback or FlexLoRACallback(folder / "run")
    trainer = trainer_of(model, kind, folder, callback, **more)
    trainer.train(resume_from_checkpoint=resume)
    return callback, trainer


def told(folder):
    run = load_run(folder / "run")
    return [(event["step"], event["prune"], event["extend"]) for event in run.events], run


def same(adapter, other):
    for name, matrix in adapter.matrices.items():
        twin = other.matrices[name]
        assert matrix.slots == twin.slots, name
        for key in ("Pt", "lam", "Q"):
            assert torch.equal(matrix.get_parameter(key), twin.get_parameter(key)), (name, key)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_values_and_events_are_those_of_attach_bit_for_bit(kind, make, tmp_path, capsys):
    """Dropout, clipping, weight decay and the regulariser included."""
    model = make[kind]()
    own = OwnCallback(model, OwnConfig(initial_rank=4, **SETTINGS), tmp_path / "own" / "run")
    trainer_of(model, kind, tmp_path / "own", own).train()
    capsys.readouterr()
    callback, _ = trained(tuned(make, kind), kind, tmp_path / "peft")
    same(callback.adapter, own.adapter)
    events, run = told(tmp_path / "peft")
    before, own_run = told(tmp_path / "own")
    assert events == before and any(prune for _, prune, _ in events)
    assert run.header["matrices"] == own_run.header["matrices"]
    losses = run.log.steps["task_loss"]
    assert np.array_equal(losses, own_run.log.steps["task_loss"]) and not np.isnan(losses).any()
    assert "total_rank': " in capsys.readouterr().out


CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")
SETUPS = {
    "bf16": {"bf16": True},
    "accumulated": {"gradient_accumulation_steps": 2},
    # The option's name changed within transformers 5.
    "checkpointing": {next(key for key in CHECKPOINTING if key in TrainingArguments.__dataclass_fields__): True},
    "adafactor": {"optim": "adafactor"},
    "sgd": {"optim": "sgd", "learning_rate": 0.1},
}


@pytest.mark.parametrize("setup", SETUPS)
def test_other_setups_agree_with_attach_too(setup, make, tmp_path):
    model, more = make["bert"](), SETUPS[setup]
    own = OwnCallback(model, OwnConfig(initial_rank=4, **SETTINGS))
    trainer_of(model, "bert", tmp_path / "own", own, **more).train()
    through_peft = FlexLoRACallback()
    trainer_of(tuned(make, "bert"), "bert", tmp_path / "peft", through_peft, **more).train()
    same(through_peft.adapter, own.adapter)
    assert len(set(own.adapter.ranks().values())) > 1


def test_zero_3_is_refused_through_peft_as_without(make, tmp_path):
    callback, trainer = FlexLoRACallback(), trainer_of(tuned(make, "bert"), "bert", tmp_path, TrainerCallback())
    settings = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}})
    trainer.args.deepspeed_plugin = SimpleNamespace(hf_ds_config=settings)
    with pytest.raises(FlexLoRAError, match="follows ZeRO 1 and 2, and this configuration has stage 3"):
        callback.on_init_end(trainer.args, trainer.state, trainer.control, model=trainer.model)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_checkpoint_goes_on_bit_for_bit(kind, make, tmp_path):
    whole, _ = trained(tuned(make, kind), kind, tmp_path / "whole", save_strategy="steps", save_steps=12)
    checkpoint = tmp_path / "whole" / "out" / "checkpoint-12"
    assert {FILE, "adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in checkpoint.iterdir()}
    plain = peft.PeftModel.from_pretrained(make[kind](), checkpoint)
    assert type(plain.base_model).__name__ == "LoraModel"
    shutil.copytree(tmp_path / "whole" / "run", tmp_path / "again" / "run")
    callback, _ = trained(
        tuned(make, kind), kind, tmp_path / "again",
        FlexLoRACallback(tmp_path / "again" / "run", checkpoint=checkpoint), str(checkpoint),
    )  # fmt: skip
    same(callback.adapter, whole.adapter)
    assert told(tmp_path / "again")[0] == told(tmp_path / "whole")[0]


def test_a_checkpoint_is_found_in_the_output_folder_and_missed_where_it_is_not(make, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 12}
    whole, _ = trained(tuned(make, "bert"), "bert", tmp_path / "run", FlexLoRACallback(), **saving)
    first = tmp_path / "run" / "out" / "checkpoint-12"
    callback, _ = trained(tuned(make, "bert"), "bert", tmp_path / "run", FlexLoRACallback(), str(first))
    same(callback.adapter, whole.adapter)
    moved = shutil.copytree(first, tmp_path / "moved")
    shutil.rmtree(tmp_path / "run" / "out")
    with pytest.raises(FlexLoRAError, match=r"No flexlora\.safetensors of the checkpoint of step 12"):
        trained(tuned(make, "bert"), "bert", tmp_path / "run", FlexLoRACallback(), str(moved))
    (moved / "trainer_state.json").write_text(
        (moved / "trainer_state.json").read_text().replace("FlexLoRACallback", "SomethingElse")
    )
    with pytest.raises(FlexLoRAError, match="not written with a FlexLoRACallback"):
        trained(tuned(make, "bert"), "bert", tmp_path / "run", FlexLoRACallback(), str(moved))


def test_storage_that_had_grown_is_there_again(make, tmp_path):
    options = {"r": 2, "initial_budget": 12, "interval": 1, "target_modules": ["query", "dense"]}
    whole, _ = trained(tuned(make, "bert", **options), "bert", tmp_path / "run", save_strategy="steps", save_steps=12)
    assert any(matrix.capacity > 4 for matrix in whole.adapter.matrices.values())
    checkpoint = tmp_path / "run" / "out" / "checkpoint-12"
    callback, _ = trained(tuned(make, "bert", **options), "bert", tmp_path / "run", None, str(checkpoint))
    same(callback.adapter, whole.adapter)


def test_the_best_model_is_loaded_exactly(make, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FlexLoRAWarning)
        callback, trainer = trained(
            tuned(make, "bert"), "bert", tmp_path, learning_rate=5e-2, load_best_model_at_end=True,
            save_strategy="steps", eval_strategy="steps", save_steps=6, eval_steps=6,
            metric_for_best_model="eval_loss", max_steps=STEPS,
        )  # fmt: skip
    best = peft.PeftModel.from_pretrained(make["bert"](), trainer.state.best_model_checkpoint).eval()
    ids = Rows("bert")[0]["input_ids"][None]
    torch.testing.assert_close(trainer.model.eval()(ids).logits, best(ids).logits, atol=1e-5, rtol=0)


def test_the_card_tells_the_evaluation_of_the_step_that_was_loaded(make, tmp_path):
    """Also where ranks are those of the last step, and where it is resized later."""

    class Worsening(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics=None, **more):
            metrics["eval_loss"] = abs(state.global_step - 12) + 0.5

    model = tuned(make, "bert")
    callback = FlexLoRACallback(tmp_path / "run")
    trainer = trainer_of(
        model, "bert", tmp_path, callback, save_strategy="steps", save_steps=6, eval_strategy="steps", eval_steps=6,
        load_best_model_at_end=True, metric_for_best_model="loss",
    )  # fmt: skip
    trainer.remove_callback(callback)
    for each in (Worsening(), callback):
        trainer.add_callback(each)
    trainer.train()
    assert trainer.state.best_global_step == 12
    model.save_pretrained(tmp_path / "adapter")
    text = write_model_card(tmp_path / "adapter", tmp_path / "run").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| run |") and "validation" in line]
    ranks = sum(callback.adapter.ranks().values())
    assert f"| {ranks} | validation | 12 |" in row and "| 0.5 |" in row
    assert "loaded at the end, 12; training went on to step 24" in text and "another step" not in text
    assert "of the step that was loaded as the best" in text
    assert f"the adapter of step 12 was kept, of rank {ranks} in all" in describe_run(load_run(tmp_path / "run"))
    trainer.evaluate()
    assert [record["step"] for record in load_run(tmp_path / "run").log.evals] == [6, 12, 18, 24, 12]
    name, matrix = next((n, m) for n, m in callback.adapter.matrices.items() if m.rank > 1)
    matrix.empty(matrix.slots[0])
    model.save_pretrained(tmp_path / "smaller")
    text = write_model_card(tmp_path / "smaller", tmp_path / "run").read_text()
    assert "resized since" in text and "nobody evaluated it" in text


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("flexlora", *REFUSED)])
def test_every_method_resumes_bit_for_bit(method, make, tmp_path):
    options = dict.fromkeys(SETTINGS) | {"method": method, "r": 4, "target_modules": ["query", "value"]}
    options |= {"interval": 4} if method in ("l1ra", "sora", "salora") else {}
    options |= WINDOW if method in ("adalora", "elalora", "dora_dynamic") else {}

    def model():
        given = {key: value for key, value in options.items() if value is not None}
        return peft.get_peft_model(make["bert"](), FlexLoRAConfig(task_type="SEQ_CLS", **given))

    whole, trainer = trained(model(), "bert", tmp_path, save_strategy="steps", save_steps=12, eval_strategy="epoch")
    before, run = told(tmp_path)
    assert (run.header["method"], run.state, run.notices) == (method, "finished", [])
    assert list(run.steps) == list(range(STEPS + 1)) and run.evals
    assert bool(before) == (method not in ("lora", "dylora", "mlae"))
    losses = run.log.steps["task_loss"]
    assert not np.isnan(losses).any()
    checkpoint = tmp_path / "out" / "checkpoint-12"
    callback, again = trained(model(), "bert", tmp_path, None, str(checkpoint), eval_strategy="epoch")
    same(callback.adapter, whole.adapter)
    after, run = told(tmp_path)
    assert after == before and np.array_equal(run.log.steps["task_loss"], losses)
    ids = Rows("bert")[0]["input_ids"][None]
    assert torch.equal(trainer.model.eval()(ids).logits, again.model.eval()(ids).logits)


def test_adalora_leaves_fewer_directions(make, tmp_path):
    options = {"method": "adalora", "r": 6, **WINDOW}
    model = peft.get_peft_model(make["bert"](), FlexLoRAConfig(task_type="SEQ_CLS", **options))
    callback, _ = trained(model, "bert", tmp_path, FlexLoRACallback())
    ranks = callback.adapter.ranks()
    assert sum(ranks.values()) == 4 * len(ranks) and len(set(ranks.values())) > 1


def test_what_cannot_work_is_refused_before_training(make, tmp_path):
    with pytest.raises(FlexLoRAError, match=r"found no FlexLoRA adapter in the Trainer's model: pass get_peft_model"):
        trainer_of(make["bert"](), "bert", tmp_path, FlexLoRACallback())
    with pytest.raises(FlexLoRAError, match="has met no Trainer yet"):
        _ = FlexLoRACallback().adapter


@pytest.mark.parametrize("method", ["flexlora", "adalora"])
def test_a_script_that_runs_again_begins_anew_beside_its_first_run(method, make, tmp_path):
    """As after a kill that left no checkpoint; what is resumed goes on with the log of its checkpoint."""

    def script(resume=None, **more):
        model = peft.get_peft_model(make["bert"](), FlexLoRAConfig(method=method, r=6, task_type="SEQ_CLS", **WINDOW))
        return trained(model, "bert", tmp_path, FlexLoRACallback(tmp_path / "run"), resume, **more)[0]

    script()
    first = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.warns(FlexLoRAWarning, match=r"run holds a run, which is left as it is: .* logged in .*run-2\."):
        again = script(save_strategy="steps", save_steps=9)
    assert again.folder == tmp_path / "run-2" and load_run(again.folder).state == "finished"
    resumed = script(str(tmp_path / "out" / "checkpoint-18"))
    assert resumed.folder == tmp_path / "run-2" and load_run(resumed.folder).notes[-1]["resumed_from"] == 18
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize("method", ["flexlora", "adalora"])
def test_a_trainer_trains_twice(method, make, tmp_path):
    model = peft.get_peft_model(make["bert"](), FlexLoRAConfig(method=method, r=6, task_type="SEQ_CLS", **WINDOW))
    callback = FlexLoRACallback()
    trainer = trainer_of(model, "bert", tmp_path, callback)
    trainer.train()
    first, total = callback.adapter.flat_weights(), sum(callback.adapter.ranks().values())
    trainer.train()
    assert not torch.equal(callback.adapter.flat_weights(), first)
    assert sum(callback.adapter.ranks().values()) == total
    assert not any(model.base_model._loops.values())


def test_what_a_trainer_narrowed_is_widened_before_its_optimizer(make, tmp_path):
    """TRL casts what is trained beside a quantised base to bf16, in which small moves of λ are lost."""
    model = tuned(make, "bert", target_modules=["query"])
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    callback = FlexLoRACallback()
    trainer_of(model, "bert", tmp_path, callback)
    assert {parameter.dtype for parameter in callback.adapter.parameters()} == {torch.float32}


def test_a_callback_that_joins_later_finds_the_model_too(make, tmp_path):
    trainer = trainer_of(tuned(make, "bert"), "bert", tmp_path, TrainerCallback())
    callback = FlexLoRACallback()
    trainer.add_callback(callback)
    trainer.train()
    assert len(set(callback.adapter.ranks().values())) > 1


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning:trl")
def test_sft_trainer_takes_the_configuration_and_resumes(make, make_tokenizer, tmp_path):
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    def train(folder, resume=None, **more):
        rows = [{"input_ids": row["input_ids"].tolist()} for row in Rows("llama").rows]
        settings = {"max_length": 16, "eos_token": None, "max_steps": STEPS, "learning_rate": 5e-3, "logging_steps": 5}
        args = trl.SFTConfig(
            str(folder / "out"), use_cpu=True, report_to=[], disable_tqdm=True, per_device_train_batch_size=4,
            dataloader_pin_memory=False, bf16=False, seed=1, **{**settings, **more},
        )  # fmt: skip
        callback = FlexLoRACallback(folder / "run")
        trainer = trl.SFTTrainer(
            make["llama"](), args, train_dataset=Dataset.from_list(rows), processing_class=make_tokenizer(),
            peft_config=FlexLoRAConfig(r=4, task_type="CAUSAL_LM", **SETTINGS), callbacks=[callback],
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        return callback, trainer

    whole, trainer = train(tmp_path, save_strategy="steps", save_steps=12)
    before, run = told(tmp_path)
    assert any(prune for _, prune, _ in before)
    assert not np.isnan(run.log.steps["task_loss"]).any()
    plain = peft.PeftModel.from_pretrained(make["llama"](), tmp_path / "out" / "checkpoint-24").eval()
    ids = Rows("llama")[0]["input_ids"][None]
    torch.testing.assert_close(plain(ids).logits, trainer.model.eval()(ids).logits, atol=1e-5, rtol=0)
    callback, _ = train(tmp_path, str(tmp_path / "out" / "checkpoint-12"))
    same(callback.adapter, whole.adapter)
    assert told(tmp_path)[0] == before
