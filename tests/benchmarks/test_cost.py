"""The instrument of benchmarks/cost.py: its FLOPs by hand against torch's counter, its rounds, its table."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")
FOLDER = Path(__file__).parents[2] / "benchmarks"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def command() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        spec = importlib.util.spec_from_file_location("benchmark_cost", FOLDER / "cost.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def small(shapes: Any, family: str, *, checkpointing: bool = False) -> Any:
    """Return a small shape of a family whose attention torch's counter can see on a CPU."""
    tiny = replace(shapes.SHAPES["tiny"], attention="eager")
    if family == "deberta":
        return replace(tiny, family=family, targets=shapes.SHAPES["base"].targets)
    if family == "llama":
        targets = shapes.SHAPES["8b"].targets
        return replace(tiny, family=family, key_value_heads=2, targets=targets, checkpointing=checkpointing)
    return tiny


@pytest.mark.parametrize(
    ("family", "checkpointing"), [("bert", False), ("deberta", False), ("llama", False), ("llama", True)]
)
def test_flops_by_hand_are_those_that_torch_counts(command, family, checkpointing):
    from cost import meter, peers, shapes, theory

    shape = small(shapes, family, checkpointing=checkpointing)
    counted = {name: meter.counted_flops(peers.build(name, shape, CPU)) for name in ("floor", "hand_lora")}
    by_hand = {name: theory.step_flops(shape, name) for name in counted}
    if shape.checkpointing:
        # HandLoRA's last product is h Bᵀ: to have h again, W x is computed again for nothing.
        down = [item for item in theory.products(shape) if item.last]
        by_hand["hand_lora"] += sum(item.count * theory.linear_flops(item.rows, item.n_in, item.n_out) for item in down)
    # Until some version of transformers Llama's angles were a matrix product, outside the layers.
    angles = shape.length * shape.hidden // shape.heads if family == "llama" else 0
    assert counted in (by_hand, {name: flops + angles for name, flops in by_hand.items()})


def test_adapted_matrices_and_their_values_are_those_of_the_model(command):
    from cost import peers, shapes, theory

    for family in ("bert", "deberta", "llama"):
        shape = small(shapes, family)
        adapter = peers.flexlora(shape, peers.build_model(shape, CPU)).adapter
        assert len(adapter.matrices) == shape.matrices
        lora = peers.hand_lora(shape, peers.build_model(shape, CPU)).model
        values = sum(parameter.numel() for name, parameter in lora.named_parameters() if name.endswith((".A", ".B")))
        assert values == theory.adapter_parameters(shape, shape.rank)


def test_every_contestant_has_a_row_with_finite_ratios(command, capsys, tmp_path):
    arguments = ["--shape", "tiny", "--rounds", "2", "--steps", "11", "--json", str(tmp_path / "cost.json")]
    arguments += ["--only", ",".join(command.PEERS)]
    threads = torch.get_num_threads()
    assert command.main(arguments) == 0
    assert torch.get_num_threads() == threads
    lines = capsys.readouterr().out.splitlines()
    assert "torch" in lines[0] and "--shape tiny" in lines[0]
    found = json.loads((tmp_path / "cost.json").read_text(encoding="utf-8"))
    assert found["rounds"] == 2 and found["shape"]["matrices"] == 12
    rows = {row["name"]: row for row in found["contestants"]}
    assert list(rows) == list(command.PEERS) and set(command.USUAL) < set(rows)
    for name, row in rows.items():
        assert sum(line.startswith(f"| {name} |") for line in lines) == 1
        assert not row["failed"]
        assert len(row["ratio_mean"]["rounds"]) == 2
        assert all(0 < ratio < math.inf for ratio in row["ratio_mean"]["rounds"])
        # 12 steps of warm-up and one before every round: events at steps 20, 30.
        assert row["events"] == (2 if name in ("flexlora", "flexlora_tight", "peft_adalora") else 0)
        assert math.isfinite(row["loss"])
    assert rows["peft_lora"]["ratio_mean"]["rounds"] == [1.0, 1.0]


def test_contestants_share_frozen_matrices_and_nothing_that_is_trained(command):
    from cost import peers, shapes

    shape, frozen = small(shapes, "bert"), {}
    one, other = (peers.build(name, shape, CPU, frozen) for name in ("flexlora", "floor"))
    places = [{own.data_ptr() for own in one.model.parameters()} for one in (one, other)]
    trained = {own.data_ptr() for both in (one, other) for own in both.parameters()}
    shared = places[0] & places[1]
    assert shared == {own.data_ptr() for own in frozen.values()}
    assert frozen and not shared & trained


def test_rank_that_has_left_the_lower_half_stays_away(command):
    from cost import peers, shapes

    contestant = peers.build("flexlora_top", small(shapes, "bert"), CPU)
    matrices = list(adapted_matrices(contestant).values())
    half = len(matrices) // 2
    assert [matrix.rank > 0 for matrix in matrices] == [False] * half + [True] * (len(matrices) - half)
    contestant.optimize()
    assert all(not matrix.lam.any() for matrix in matrices[:half])


def adapted_matrices(contestant):
    from flexlora.linear import FlexLoRALinear

    found = dict(contestant.model.named_modules())
    return {name: module for name, module in found.items() if isinstance(module, FlexLoRALinear)}


def test_a_peer_that_fails_is_a_row_and_not_an_end(command, capsys, monkeypatch):
    from cost import peers

    def broken(shape, model):
        raise RuntimeError("no such layer\nand more")

    monkeypatch.setitem(peers.PEERS, "hand_lora", broken)
    chosen = ["--only", "floor,hand_lora,flexlora+graph", "--rounds", "1", "--steps", "1"]
    assert command.main(["--shape", "tiny", *chosen]) == 0
    out = capsys.readouterr().out
    assert "- hand_lora: RuntimeError: no such layer\n" in out
    assert "- flexlora+graph: not available: graphs need a CUDA device" in out
    assert "and more" not in out


def test_memory_and_the_growth_options(command, capsys, tmp_path):
    chosen = ["--only", "hand_lora,floor", "--memory", "--rounds", "1", "--steps", "1"]
    growth = ["--matrices", "6", "--rank", "2", "--interval", "3", "--length", "4"]
    path = tmp_path / "cost.json"
    assert command.main(["--shape", "tiny", *chosen, *growth, "--json", str(path)]) == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    shape = found["shape"]
    assert (shape["layers"], shape["rank"], shape["interval"], shape["length"]) == (1, 2, 3, 4)
    lora, floor = found["contestants"]
    assert floor["saved_bytes"] < lora["saved_bytes"]
    assert floor["counted_flops"] < lora["counted_flops"]
    # The head is a matrix of 2 × 32 and its bias; LoRA adds 2 (n_in + n_out) to 4 squares and 2 of 32 × 64.
    assert (floor["parameters"], lora["parameters"]) == (66, 66 + 2 * (4 * 64 + 2 * 96))
    assert lora["ratio_mean"] is None


def test_the_budget_ends_after_a_whole_round(command, capsys):
    chosen = ["--only", "floor,hand_lora", "--rounds", "3", "--steps", "1", "--budget", "0"]
    assert command.main(["--shape", "tiny", *chosen]) == 0
    out = capsys.readouterr().out
    assert "Note: stopped after 1 of 3 rounds (--budget)." in out
    assert "- hand_lora: not begun in time (--budget)" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shape", "huge"], "there is no shape 'huge'"),
        (["--shape", "tiny", "--only", "lora"], "there is no contestant 'lora'"),
        (["--shape", "tiny", "--only", "floor+fast"], "there is no variant 'fast'"),
        (["--shape", "tiny", "--matrices", "13"], "--matrices 12 is the nearest"),
        (["--shape", "tiny", "--rank", "0"], "--rank must be at least 1"),
        (["--shape", "tiny", "--length", "1000"], "too long"),
        (["--shape", "tiny", "--rounds", "0"], "--rounds must be at least 1"),
        (["--shape", "tiny", "--busy"], "leave it out on a CPU"),
        (["--shape", "tiny", "--json", "/no/such/folder/x.json"], "there is no folder"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(command, capsys, arguments, told):
    assert command.main([*arguments]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_without_peft_its_contestants_are_named(command, capsys, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert command.main(["--shape", "tiny"]) == 2
    assert "peft is not installed" in capsys.readouterr().err


@pytest.fixture
def turns(command, monkeypatch):
    """Contestants that only note when they are built (+a) and run (a)."""
    from cost import rounds, shapes

    noted = []

    def build(name, shape, device, frozen=None):
        noted.append(f"+{name}")
        return SimpleNamespace(name=name, replay=None)

    def run_steps(contestant, steps, device):
        noted.append(contestant.name)
        return rounds.Segment([1.0])

    monkeypatch.setattr(rounds, "build", build)
    monkeypatch.setattr(rounds, "run_steps", run_steps)
    return noted, rounds.Field(rounds.Plan(shapes.SHAPES["tiny"], CPU, ["a", "b", "c"], 3, 1))


def test_a_round_starts_with_another_contestant(turns):
    noted, field = turns
    field.prepare()
    noted.clear()
    assert field.run() == 3
    # A step that brings the weights back, then the measured ones.
    assert noted[::2] == noted[1::2] == [*"abc", *"bca", *"cab"]


def test_contestants_that_do_not_fit_are_built_anew_and_let_go(turns, monkeypatch):
    noted, field = turns
    monkeypatch.setattr(field, "_fits", lambda: len(field.alive) < 2)
    field.prepare()
    noted.clear()
    assert field.run() == 3
    assert field.anew and not field.alive
    assert [name for name in noted if name.startswith("+")] == [f"+{name}" for name in "abcbcacab"]
    assert all(len(found.segments) == 3 for found in field.found.values())


def test_a_series_is_a_file_a_point_and_a_wrong_one_is_told(command, tmp_path, capsys):
    common = [
        "--shape",
        "tiny",
        "--rounds",
        "1",
        "--steps",
        "2",
        "--only",
        "peft_lora,flexlora",
        "--json",
        str(tmp_path),
    ]
    assert command.main([*common, "--series", "rank=2,3"]) == 0
    found = [json.loads((tmp_path / f"tiny_rank_{rank}.json").read_text()) for rank in (2, 3)]
    assert [own["shape"]["rank"] for own in found] == [2, 3]
    for wrong in ("colour=1", "rank=a", "rank="):
        assert command.main([*common, "--series", wrong]) == 2
        assert "such as rank=4,8,16" in capsys.readouterr().err
