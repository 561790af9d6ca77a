"""Files of benchmarks/cost.py as records, words and tables: the file's own numbers, or one line that says why not."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cost_files import contestant, document

from analysis.costs import (
    Ratio,
    against,
    caption,
    find_measurements,
    find_series,
    growth_table,
    headline,
    losses,
    measured,
    named,
    read_measurement,
    resource_table,
    shape_line,
    time_table,
    title,
    written,
)
from analysis.costs.page import markdown
from analysis.costs.read import CostFileError
from flexlora.errors import FlexLoRAError

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs" / "costs"


@pytest.fixture
def read(tmp_path):
    def opened(found):
        (tmp_path / "one.json").write_text(found if isinstance(found, str) else json.dumps(found))
        return read_measurement(tmp_path / "one.json")

    return opened


def test_records_hold_what_the_file_says(read):
    found = read(document())
    own = found.of("flexlora")
    assert (own.ratio.median, own.ratio.low, own.ratio.high) == (1.25, 1.0, 2.0)
    assert (own.busy_ms, own.event_ms_median, own.launches) == (3.0, 7.0, None)
    assert found.of("flexlora", "graph").graphs_later == 1
    assert found.of("peft_adalora", "graph") is None and found.contestants[-1].failed.startswith("RuntimeError")
    assert found.runs() == ["", "graph"]
    assert found.versions == {"torch": "2.11.0"}
    assert found.command == "python benchmarks/cost.py --shape base --json base.json"


def test_busy_time_above_the_floor_is_shared_with_peft_lora_run_alike(read):
    found = read(document())
    assert found.above_floor(found.of("flexlora")) == 1.0
    assert found.above_floor_share(found.of("flexlora")) == 0.5
    assert found.above_floor_share(found.of("floor")) == 0.0
    assert found.above_floor_share(found.of("flexlora", "graph")) is None


def test_ratios_are_taken_within_a_round(read):
    found = read(document())
    assert against(found.of("flexlora"), found.of("hand_lora")) == Ratio((2.0, 2.5, 1.0))
    assert against(found.of("flexlora", "graph"), found.of("peft_lora", "graph")).median == 0.5
    assert against(None, found.of("peft_lora")) is None


def test_words_are_computed(read):
    found = read(document())
    assert headline(found) == (
        "Of PEFT LoRA's step run the same way, FlexLoRA's takes, events included: 1.25 (1.00 to 2.00) run eagerly; "
        "0.50 (0.50 to 0.60) replayed as a CUDA graph. Replayed as a CUDA graph, it takes 0.25 of PEFT LoRA's run "
        "eagerly, and PEFT LoRA's 0.50."
    )
    assert losses(found) == [
        "Run eagerly: a step 1.25 (1.00 to 2.00) × PEFT LoRA's, a step 2.00 (1.00 to 2.50) × LoRA by hand's, peak "
        "memory 1.50 × PEFT LoRA's."
    ]
    assert measured(found).startswith("time, ") and "peak memory" in measured(found)
    assert "LoRA by hand: " in named(found)
    assert shape_line(found) == (
        "DeBERTa of 12 layers, width 768; 32 × 128 tokens; 72 matrices of rank 8; fp32 weights, bf16 autocast; an "
        "event every 10 steps"
    )
    assert title(found).endswith("rank 8 (H200)")
    for told in ("NVIDIA H200", "torch 2.11.0", "3 interleaved rounds of 20 steps", "Two were left out."):
        assert told in caption(found)


def test_a_cpu_has_no_autocast_and_a_plain_measurement_a_short_sentence(read):
    only = [row for row in document()["contestants"] if row["name"] in ("peft_lora", "flexlora")]
    found = read(document(device="CPU (x86_64), one thread", contestants=only))
    assert "autocast" not in shape_line(found)
    assert headline(found).endswith("events included: 1.25 (1.00 to 2.00).")
    assert "× PEFT LoRA run alike" not in time_table(found)
    alone = read(document(contestants=only[:1]))
    assert headline(alone) == "FlexLoRA beside PEFT LoRA was not measured here."
    assert losses(alone) == []


def test_a_draw_is_no_loss(read):
    rows = [contestant("peft_lora", (1.0,), peak_bytes=1000), contestant("flexlora", (1.004,), peak_bytes=1004)]
    assert losses(read(document(contestants=rows))) == []
    assert losses(read(document(contestants=[rows[0], contestant("flexlora", (1.0,), peak_bytes=1010)])))


def test_tables_have_a_row_each_and_no_empty_column(read):
    found = read(document())
    times, needs = time_table(found), resource_table(found)
    for table in (times, needs):
        assert {len(cells) for cells in table.values()} == {len(found.contestants)}
        assert all(any(cell != "–" for cell in cells) for cells in table.values())
    assert "launches" not in times and "saved MiB" not in needs
    row = times["contestant"].index("FlexLoRA, replayed as a CUDA graph")
    assert times["× PEFT LoRA"][row] == "0.25 (0.25 to 0.30)"
    assert times["× PEFT LoRA run alike"][row] == "0.50 (0.50 to 0.60)"
    assert needs["graphs made"][row] == "2 + 1"
    assert {cells[-1] for name, cells in times.items() if name != "contestant"} == {"–"}
    assert markdown({"a": ["x|y"], "b": ["1"]}) == "| a | b |\n|---|---:|\n| x\\|y | 1 |\n"


def test_a_series_is_what_differs_in_one_number(tmp_path):
    changes = (
        {"matrices": 144},
        {"matrices": 72},
        {"rank": 64},
        {"layers": 3, "matrices": 36},
        {"length": 8, "rank": 2},
    )
    for number, change in enumerate(changes):
        found = document()
        found["shape"] |= change
        (tmp_path / f"{number}.json").write_text(json.dumps(found))
    series = find_series(find_measurements(tmp_path)[0])
    assert [(own.key, list(own.points)) for own in series] == [("matrices", [36, 72, 144]), ("rank", [8, 64])]
    table = growth_table(series[1])
    assert table["rank of each matrix"] == ["8", "8", "64", "64"]
    assert table["× PEFT LoRA run alike"] == 2 * ["1.25 (1.00 to 2.00)", "0.50 (0.50 to 0.60)"]
    assert "### Growth with the rank of each matrix" in written([], series)


def without(key):
    found = document()
    del found[key]
    return found


def changed(place, **values):
    found = copy.deepcopy(document())
    (found["shape"] if place == "shape" else found["contestants"][place]).update(values)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{", '{"rows": []}', "[" * 100_000, without("shape"), without("contestants"),
        document(contestants=[]), document(contestants=3), document(contestants=[[]]), document(versions=[]),
        document(rounds=0), document(rounds=True), document(notes=[3]), document(device=None),
        document(contestants=2 * document()["contestants"]), changed("shape", rank="8"), changed("shape", hidden=-1),
        changed(0, busy_ms=float("nan")), changed(0, busy_ms="fast"), changed(0, busy_ms=-1.0), changed(0, name="a+b"),
        changed(0, ratio_mean={}), changed(0, ratio_mean={"rounds": []}), changed(0, ratio_mean={"rounds": [0.0]}),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_file_is_one_line(read, text):
    with pytest.raises(FlexLoRAError) as told:
        read(text)
    assert str(told.value).startswith("one.json") and str(told.value).endswith(".") and "\n" not in str(told.value)


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text(json.dumps(document()))
    found, notices = find_measurements(tmp_path)
    assert [one.file for one in found] == ["b.json"]
    assert notices == ["a.json is no file of benchmarks/cost.py: it has no 'shape'."]
    assert find_measurements(tmp_path / "nowhere") == ([], [])
    with pytest.raises(CostFileError):
        read_measurement(tmp_path / "a.json")


def test_shapes_are_told_in_one_order(tmp_path):
    for file, name in (("a", "words"), ("b", "8b"), ("c", "other"), ("d", "base")):
        found = document()
        found["shape"]["name"] = name
        (tmp_path / f"{file}.json").write_text(json.dumps(found))
    assert [one.shape["name"] for one in find_measurements(tmp_path)[0]] == ["base", "8b", "words", "other"]


def test_the_bundled_files_can_be_read_and_are_those_of_their_commands():
    for folder in (SAMPLES, SAMPLES / "growth"):
        found, notices = find_measurements(folder)
        assert notices == []
        for one in found:
            assert f"--shape {one.shape['name']} " in f"{one.command} "
            assert any(one.of("flexlora", run) and one.of("peft_lora", run) for run in one.runs())
    assert find_measurements(SAMPLES)[0]


def test_one_round_is_called_a_first_look():
    found = read_measurement(SAMPLES / "base.json")
    assert "first look" not in headline(found)
    assert headline(replace(found, rounds=1)).endswith("Of one round only: a first look.")


def test_a_measurement_of_compiled_steps_alone_has_a_headline_and_a_title_of_its_own():
    found = read_measurement(SAMPLES / "base_compiled.json")
    assert found.of("flexlora") is None
    assert "undecided" in headline(found) and "compiled" in headline(found)
    assert title(found) == title(read_measurement(SAMPLES / "base.json")).replace("rank 8", "rank 8, compiled")
    alone = replace(found, contestants=tuple(one for one in found.contestants if one.method == "peft_lora"))
    assert headline(alone) == "FlexLoRA beside PEFT LoRA was not measured here."


def test_a_point_of_a_series_that_was_slower_in_every_round_is_a_loss_of_its_model():
    series = find_series(find_measurements(SAMPLES / "growth")[0])
    told = losses(read_measurement(SAMPLES / "minilm.json"), series)
    assert [line for line in told if "rank of each matrix" in line and " at 32" in line and " at 4" not in line]
    assert not [line for line in losses(read_measurement(SAMPLES / "8b.json"), series) if line.startswith("Growth")]


def test_a_series_says_what_was_seen_once_and_each_command_once():
    points, _ = find_measurements(SAMPLES / "growth")
    told = written([], find_series(points))
    assert "Of one round only, a first look: 144." in told
    (matrices,) = (part for part in told.split("### ") if part.startswith("Growth with the number of adapted matrices"))
    assert matrices.count("--series matrices=36,72,144") == 1
