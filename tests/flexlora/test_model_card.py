"""The model card says what the adapter's files and the run log say, and nothing else; the hub is stood in for."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import yaml
from safetensors.torch import load_file

from app.command import main as flexlora
from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError
from flexlora.hub import push_to_hub
from flexlora.matrix_names import describe_matrix
from flexlora.model_card import RankMap, write_model_card
from flexlora.run_log import read_run
from flexlora.stored_adapter import read_stored
from flexlora.train import main as train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    options = ["--task", "digits", "--steps", "30", "--set", "initial_budget=6", "--set", "initial_rank=2"]
    for name, more in (("mine", []), ("random", ["--set", "importance=random"])):
        assert train([*options, *more, "--out", str(folder / name)]) == 0
    assert train(["--task", "digits", "--method", "lora", "--steps", "30", "--out", str(folder / "lora")]) == 0
    return folder


@pytest.fixture
def exported(runs, tmp_path):
    return read_stored(runs / "mine").export_peft(tmp_path / "my-adapter")


def front_matter(text):
    start, matter, body = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(matter), body


def tables(text):
    """Rows of cells of each table, without the line below the head."""
    found = re.findall(r"((?:^\|.*\|\n)+)", text, re.MULTILINE)
    rows = [[line.strip("|").split("|") for line in table.splitlines()] for table in found]
    return [[[cell.strip() for cell in row] for row in (table[0], *table[2:])] for table in rows]


def test_the_rank_table_is_the_adapters(runs, exported):
    text = write_model_card(exported, runs / "mine").read_text(encoding="utf-8")
    tensors, ranks = load_file(exported / "adapter_model.safetensors"), {}
    for name, tensor in tensors.items():
        if name.endswith(".lora_A.weight"):
            ranks[name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")] = len(tensor)
    assert len(set(ranks.values())) > 1
    head, *rows = tables(text)[0]
    shown = {(row[0], kind): cell for row in rows for kind, cell in zip(head[1:], row[1:], strict=True) if cell}
    expected: dict = {}
    for row in read_run(runs / "mine").header["matrices"]:
        layer, kind = describe_matrix(row["name"])
        expected.setdefault(("–" if layer is None else str(layer), kind), []).append(str(ranks.get(row["name"], 0)))
    assert shown == {place: " / ".join(own) for place, own in expected.items()}
    assert f"Total rank {sum(ranks.values())} in" in text and "of another step" not in text


def test_the_picture_shows_the_same_cells(runs, exported):
    text = write_model_card(exported, runs / "mine").read_text(encoding="utf-8")
    assert "](rank_map.svg)" in text
    root = ElementTree.parse(exported / "rank_map.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    inside = [part.text for part in root.iter(f"{space}text")]
    head, *rows = tables(text)[0]
    cells = [cell for row in rows for cell in row[1:] if cell]
    assert sorted(inside) == sorted([*head[1:], *(row[0] for row in rows), *cells])
    assert len(list(root.iter(f"{space}rect"))) == len(cells)
    colours = {}
    for rect, cell in zip(root.iter(f"{space}rect"), cells, strict=True):
        colours.setdefault(cell, set()).add(rect.get("fill"))
    assert all(len(own) == 1 for own in colours.values()) and len(set(map(str, colours.values()))) == len(colours)


def test_the_front_matter_parses_and_holds_only_what_is_known(runs, exported):
    matter, _ = front_matter(write_model_card(exported, runs / "mine").read_text(encoding="utf-8"))
    assert matter == {"library_name": "peft", "tags": ["flexlora", "lora", "peft"]}
    config = json.loads((exported / "adapter_config.json").read_text())
    for base, shown in (("org/base-7b", "org/base-7b"), ("bert-base", "bert-base"), (str(runs), None), ("a: b", None)):
        (exported / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
        (exported / "README.md").unlink()
        matter, _ = front_matter(write_model_card(exported, license="apache-2.0").read_text(encoding="utf-8"))
        assert matter.get("base_model") == shown and matter["license"] == "apache-2.0"


def test_results_and_controls_are_those_of_the_logs(runs, exported):
    controls = [runs / "random", runs / "lora"]
    text = write_model_card(exported, runs / "mine", controls=controls).read_text(encoding="utf-8")
    head, *rows = tables(text)[1]
    for name in ("mine", "random", "lora"):
        log = read_run(runs / name)
        own = {row[head.index("split")]: row for row in rows if row[0] == name}
        last = {record["split"]: record for record in log.evals}
        assert own.keys() == last.keys() and "test" in own
        for split, row in own.items():
            assert row[head.index("step")] == str(last[split]["step"])
            assert row[head.index("total rank")] == str(int(log.ranks[-1].sum()))
            for key, value in last[split]["metrics"].items():
                assert row[head.index(key)] == f"{value:.4g}"
    facts = dict(tables(text)[2][1:])
    log = read_run(runs / "mine")
    moved = sum(len(event["prune"]) for event in log.events)
    assert facts["events"] == f"{len(log.events)}, {moved} directions moved" and moved
    assert (
        facts["steps"] == "30 of 30" and facts["task"] == "digits" and facts["torch"] == log.header["versions"]["torch"]
    )
    assert f"```\n{log.header['command']}\n```" in text


def test_without_a_run_nothing_is_said_of_training(exported):
    text = write_model_card(exported, name="Mine").read_text(encoding="utf-8")
    assert "\n# Mine\n" in text and "## Ranks" in text and "PeftModel.from_pretrained" in text
    assert "## Results" not in text and "## Training" not in text and "None" not in text and "began with" not in text


def test_another_run_is_refused_and_another_step_is_told(runs, exported, make_bert, tmp_path):
    other = attach(make_bert(), FlexLoRAConfig(initial_rank=2)).export_peft(tmp_path / "other")
    with pytest.raises(FlexLoRAError, match="its matrices have other names"):
        write_model_card(other, runs / "mine")
    with pytest.raises(FlexLoRAError, match="holds no PEFT adapter"):
        write_model_card(tmp_path)
    text = write_model_card(exported, runs / "random").read_text(encoding="utf-8")
    assert "resized since, or is of another step" in text and "nobody evaluated it" in text


def test_matrices_of_one_kind_in_one_layer_are_told_one_by_one():
    ranks = {"layers.0.experts.0.up_proj": 3, "layers.0.experts.1.up_proj": 5, "head|x": 1}
    text = RankMap.of(ranks).table()
    assert "| 0 | 3 / 5 |  |" in text and r"head\|x" in text and "| – |  | 1 |" in text


class Hub(SimpleNamespace):
    """As much of huggingface_hub as is used; keeps what is uploaded."""

    def create_repo(self, repository, **options):
        self.made = repository, options

        class Address(str):
            repo_id = f"me/{repository}"

        return Address(f"https://hub/me/{repository}")

    card: bytes | None = None

    def file_exists(self, repo_id, filename, token):
        return self.card is not None

    def hf_hub_download(self, repo_id, filename, token):
        Path("downloaded.md").write_bytes(self.card)
        return "downloaded.md"

    def upload_folder(self, *, repo_id, folder_path, **options):
        self.sent = repo_id, {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return hub


FILES = {"README.md", "rank_map.svg", "adapter_config.json", "adapter_model.safetensors"}


def test_a_run_folder_and_a_peft_folder_are_pushed_with_their_card(runs, exported, hub):
    address = push_to_hub(runs / "mine", "words-flexlora", run=runs / "mine", license="mit", private=True)
    assert address == "https://hub/me/words-flexlora"
    assert hub.made == ("words-flexlora", {"private": True, "token": None, "exist_ok": True})
    repository, files = hub.sent
    assert repository == "me/words-flexlora" and files.keys() == FILES
    matter, body = front_matter(files["README.md"].decode())
    assert matter["license"] == "mit" and "# words-flexlora\n" in body
    (exported / "secret.txt").write_text("not to be uploaded")
    push_to_hub(exported, "org/plain")
    assert hub.sent[1].keys() == FILES
    assert hub.sent[1]["adapter_model.safetensors"] == files["adapter_model.safetensors"]


def test_a_card_that_the_repository_has_stays_around_our_section(runs, exported, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub.card = b"---\npipeline_tag: text-generation\n---\n# Theirs\n\nLong words.\n"
    push_to_hub(exported, "org/theirs", run=runs / "mine")
    matter, body = front_matter(hub.sent[1]["README.md"].decode())
    assert matter["pipeline_tag"] == "text-generation" and "Long words." in body and "## Ranks" in body
    assert "# theirs\n" not in body


def test_the_log_of_a_trainer_says_where_weights_lie(runs, tmp_path, hub):
    (tmp_path / "log").mkdir()
    shutil.copy(runs / "mine" / "run.json", tmp_path / "log")
    for folder in ("log", "log/adapter"):
        with pytest.raises(
            FlexLoRAError, match=r"log is a run's log and holds no weights.*save_pretrained.*checkpoint-N"
        ):
            push_to_hub(tmp_path / folder, "org/nothing")


def test_a_live_adapter_is_pushed(make_bert, hub):
    adapter = attach(make_bert(), FlexLoRAConfig(initial_rank=2))
    adapter.push_to_hub("org/live")
    assert hub.sent[0] == "me/org/live" and hub.sent[1].keys() == FILES


def test_a_missing_package_is_told_in_one_line(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FlexLoRAError, match="pip install huggingface_hub"):
        push_to_hub(exported, "org/plain")


def test_the_command_writes_the_card_of_the_run_that_the_adapter_lies_in(runs, tmp_path, capsys):
    out = tmp_path / "peft"
    assert flexlora(["export", str(runs / "mine"), "--out", str(out), "--license", "mit"]) == 2
    assert "add --card" in capsys.readouterr().err
    controls = ["--control", str(runs / "random")]
    assert flexlora(["export", str(runs / "mine"), "--out", str(out), "--card", *controls, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"] == str(out / "README.md")
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "| mine | FlexLoRA |" in text and "| random | FlexLoRA |" in text


def test_the_recipe_of_the_docs_runs(runs, hub, make_bert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "random"):
        shutil.copytree(runs / name, tmp_path / "runs" / name)
    text = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text(encoding="utf-8")
    _, block = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    first, second = block.split("\nadapter.push_to_hub")[0], block.splitlines()[-1]
    exec(f"{first}\n{second}", {})
    assert hub.sent[1].keys() == FILES and b"| random | FlexLoRA |" in hub.sent[1]["README.md"]
    (line,) = re.findall(r"^python -m flexlora\.export (.*)$", text, re.MULTILINE)
    shutil.copytree(runs / "mine", tmp_path / "runs" / "demo")
    assert flexlora(["export", *line.split()]) == 0
    assert front_matter((tmp_path / "my_adapter" / "README.md").read_text())[0]["license"] == "apache-2.0"
