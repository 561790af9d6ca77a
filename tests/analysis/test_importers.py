"""Logs from elsewhere: written as their producers write them, imported, read back, and refused when they are bad."""

from __future__ import annotations

import csv
import json
import math
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import metrics
from analysis.importers import (
    FIELDS,
    IMPORTERS,
    LogImportError,
    detect_kind,
    event_file,
    history,
    import_log,
    propose_mapping,
    rank_csv,
    run_folder,
)
from analysis.importers.__main__ import main
from analysis.payload import pack_run, planned_budget
from analysis.runs import load_run
from flexlora.run_log import RunLogError, RunWriter

ROOT = Path(__file__).parents[2]
NAMES = [f"deberta.encoder.layer.{n}.attention.self.{k}_proj.lora_E" for n in range(2) for k in ("query", "value")]
EVENTS = {100: [8, 8, 7, 9], 200: [8, 7, 8, 9], 300: [8, 7, 8, 9], 301: [9, 6, 8, 9]}


def write_rank_log(path: Path, names=NAMES, events=EVENTS) -> Path:
    """As loralib/flexlora.py writes it: csv.writer with newline="", opened anew for each row."""
    with path.open("w", newline="") as f:
        csv.writer(f).writerow(["step", *names])
    for step, ranks in events.items():
        with path.open("a", newline="") as f:
            csv.writer(f).writerow([step, *ranks])
    return path


def write_adalora(folder: Path, names=NAMES, events=EVENTS, extra=(), **options) -> Path:
    """As loralib/adalora.py writes it, through torch's SummaryWriter; ``extra`` are (tag, value, step)."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    for step, ranks in events.items():
        for name, rank in zip(names, ranks, strict=True):
            writer.add_scalar(f"Ranknum/{name}", rank, step, **options)
        writer.add_scalar("Budget/total_rank", sum(ranks), step, **options)
        writer.add_scalar("Budget/mask_threshold", 0.25, step, **options)
        writer.add_scalar("Budget/sum_param", 1536 * sum(ranks), step, **options)
        writer.add_scalar(f"Orth_regu_loss/{names[0].replace('lora_E', 'lora_A')}", 0.5, step, **options)
        writer.add_scalar("train/orth_regu_loss", 0.125, step, **options)
    for tag, value, step in extra:
        writer.add_scalar(tag, value, step, **options)
    writer.close()
    return folder


def event_path(folder: Path) -> Path:
    (file,) = folder.glob("*tfevents*")
    return file


@pytest.fixture
def rank_log(tmp_path):
    return write_rank_log(tmp_path / "rank_log.csv")


@pytest.fixture
def own_run(tmp_path):
    rows = [{"name": n, "layer": 0, "module_type": n, "in_features": 8, "out_features": 4} for n in ("a", "b")]
    folder = tmp_path / "own"
    with RunWriter(folder, {"matrices": rows, "method": "lora"}) as writer:
        for step in range(3):
            writer.spectrum(step, [[1.0, -0.5 * step], [0.25]])
        writer.eval(2, "test", {"accuracy": 0.5})
        writer.end("completed")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "state.pkl").write_bytes(b"cposix\nsystem\n")
    return folder


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def files_of(run: Path, prefix: str = "") -> dict[str, bytes]:
    return {prefix + file.name: file.read_bytes() for file in sorted(run.iterdir()) if file.is_file()}


def refused(path, out, says, mapping=None) -> None:
    """The import fails in one line that holds ``says``, and leaves nothing behind."""
    before = sorted(out.parent.iterdir())
    with pytest.raises((LogImportError, RunLogError)) as caught:
        import_log(path, out, mapping)
    assert says in str(caught.value), caught.value
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(out.parent.iterdir()) == before


class TestRankLog:
    def test_each_event_shows_the_ranks_before_it_at_its_step_and_those_after_it_one_step_later(
        self, rank_log, tmp_path
    ):
        done = import_log(rank_log, tmp_path / "run")
        run = load_run(done.folder)
        found = dict(zip(run.steps.tolist(), run.ranks.tolist(), strict=True))
        assert found == {
            101: EVENTS[100], 200: EVENTS[100], 201: EVENTS[200], 300: EVENTS[200], 301: EVENTS[300], 302: EVENTS[301]
        }  # fmt: skip
        assert (done.kind, done.matrices, done.records, done.notices) == ("rank_log_csv", 4, 6, ())
        assert run.notices == []

    def test_what_the_log_does_not_hold_stays_undefined(self, rank_log, tmp_path):
        run = load_run(import_log(rank_log, tmp_path / "run").folder)
        assert np.isnan(run.log.values).all()
        assert np.isnan(run.entropy).all() and np.isnan(run.energy).all()
        assert (run.events, run.evals, run.scale, run.config) == ([], [], None, {})
        assert run.header["singular_values"] == "unknown"
        assert [(m.in_features, m.out_features) for m in run.matrices] == [(0, 0)] * 4
        assert run.header["matrices"][0]["in_features"] is None
        assert (run.state, run.end["message"]) == ("stopped", history.END)
        assert len(metrics.spectrum_gap(run)) == 0
        assert math.isnan(metrics.churn(run))
        assert planned_budget(run) is None
        assert len(pack_run(run)) > 0

    def test_a_note_for_each_event_tells_the_net_change(self, rank_log, tmp_path):
        run = load_run(import_log(rank_log, tmp_path / "run").folder)
        names = [matrix.name for matrix in run.matrices]
        assert [(note["step"], note["gained"], note["lost"]) for note in run.notes] == [
            (100, None, None),
            (200, {names[2]: 1}, {names[1]: 1}),
            (300, {}, {}),
            (301, {names[0]: 1}, {names[1]: 1}),
        ]

    def test_the_header_tells_where_the_run_comes_from_without_a_path(self, rank_log, tmp_path):
        header = load_run(import_log(rank_log, tmp_path / "run").folder).header
        assert header["source"]["files"][0]["name"] == "rank_log.csv"
        assert header["name"] == "run"
        assert str(tmp_path) not in json.dumps(header)

    def test_the_folder_of_a_log_and_any_name_will_do(self, rank_log, tmp_path):
        assert detect_kind(tmp_path) == "rank_log_csv"
        other = rank_log.rename(tmp_path / "theirs.txt")
        assert import_log(other, tmp_path / "run").matrices == 4

    def test_a_table_saved_by_pandas_or_a_spreadsheet_is_the_same(self, tmp_path):
        import pandas as pd

        write_rank_log(tmp_path / "rank_log.csv")
        table = pd.read_csv(tmp_path / "rank_log.csv").astype(float)
        table.to_csv(tmp_path / "again.csv", index=False, encoding="utf-8-sig")
        import_log(tmp_path / "rank_log.csv", tmp_path / "a")
        import_log(tmp_path / "again.csv", tmp_path / "b")
        assert (load_run(tmp_path / "a").ranks == load_run(tmp_path / "b").ranks).all()

    @pytest.mark.parametrize("torn", ["400,8,", "400,8,7,8,1", "4"])
    def test_a_line_that_was_cut_is_left_out_and_told(self, rank_log, tmp_path, torn):
        rank_log.write_text(rank_log.read_text() + torn)
        done = import_log(rank_log, tmp_path / "run")
        assert done.records == 6
        assert "has no end" in done.notices[0]
        assert load_run(done.folder).notes[-1]["message"] == done.notices[0]

    def test_steps_that_go_back_void_what_came_after_them(self, tmp_path):
        path = write_rank_log(tmp_path / "rank_log.csv")
        with path.open("a", newline="") as f:
            csv.writer(f).writerows([["step", *NAMES], [200, 7, 8, 8, 9], [300, 6, 8, 9, 9]])
        done = import_log(path, tmp_path / "run")
        run = load_run(done.folder)
        assert run.steps.tolist() == [101, 200, 201, 300, 301]
        assert run.ranks[-1].tolist() == [6, 8, 9, 9]
        assert "repeats the names" in done.notices[0]
        assert "line 7 goes back to step 200" in done.notices[1] and "3 earlier lines" in done.notices[1]

    def test_a_step_twice_keeps_the_later_line(self, tmp_path):
        path = write_rank_log(tmp_path / "rank_log.csv")
        with path.open("a", newline="") as f:
            csv.writer(f).writerow([301, 1, 1, 1, 1])
        assert load_run(import_log(path, tmp_path / "run").folder).ranks[-1].tolist() == [1, 1, 1, 1]

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty"),
            (b"step,a\r\n", "holds no complete event"),
            (b"step,a", "no complete line"),
            (b"epoch,a\n1,8\n", "has the columns 'epoch', 'a'"),
            (b"step\n1\n", "has the columns 'step'"),
            (b"step,a,a\n1,8,8\n", "column 'a' twice"),
            (b"step,a,\n1,8,8\n", "a column named ''"),
            (b"step,a\x1b[31m\n1,8\n", "printable names"),
            (b"step,a,b\n1,8\n", "line 2 has 2 columns, the first line 3"),
            (b"step,a\n1,8\n2,8,9\n", "line 3 has 3 columns"),
            (b"step,a\n1,0.53\n", "line 2 has '0.53' as rank of 'a'"),
            (b"step,a\n1,-8\n", "'-8' as rank of 'a'"),
            (b"step,a\n1,nan\n", "'nan' as rank of 'a'"),
            (b"step,a\n1,70000\n", "from 0 to 65535"),
            (b"step,a\n1,\xd9\xa3\n", "as rank of 'a'"),
            (b"step,a\n1_0,8\n", "'1_0' as step"),
            (b"step,a\n99999999999999999999,8\n", "as step"),
            (b"step,a\n1,8\n\xff\xfe\n", "byte 11 is not UTF-8"),
            (b"step,a\n1,8\n\0\0\n", "byte 11 is 0"),
            (b'step,"a\n1,8\n', "is no CSV"),
            (b"step," + b"a" * 200_000 + b"\n1,8\n", "is no CSV"),
            (b"\x80\x04\x95pickle", "not UTF-8"),
        ],
    )
    def test_a_bad_log_is_refused_in_one_line(self, tmp_path, content, says):
        path = tmp_path / "rank_log.csv"
        path.write_bytes(content)
        refused(path, tmp_path / "run", says)

    def test_huge_logs_are_refused(self, rank_log, tmp_path, monkeypatch):
        monkeypatch.setattr(history, "MAX_VALUES", 100)
        refused(rank_log, tmp_path / "run", "192 directions over all records; at most 100")
        monkeypatch.setattr(history, "MAX_EVENTS", 3)
        refused(rank_log, tmp_path / "run", "4 allocations; at most 3")
        monkeypatch.setattr(rank_csv, "MAX_BYTES", 10)
        refused(rank_log, tmp_path / "run", "are read")

    @settings(max_examples=25, deadline=None)
    @given(data=st.data(), matrices=st.integers(1, 5))
    def test_values_survive_the_round_trip(self, tmp_path_factory, data, matrices):
        rank = st.integers(0, 40)
        rows = st.dictionaries(st.integers(0, 500), st.lists(rank, min_size=matrices, max_size=matrices), min_size=1)
        events = dict(sorted(data.draw(rows).items()))
        place = tmp_path_factory.mktemp("trip")
        path = write_rank_log(place / "rank_log.csv", [f"m.{n}.fc1" for n in range(matrices)], events)
        run = load_run(import_log(path, place / "run").folder)
        for step, ranks in events.items():
            assert run.ranks[run.record_at(step + 1)].tolist() == ranks
            assert [len(v) for v in run.singular_values(step + 1).values()] == ranks
        assert metrics.final_ranks(run).tolist() == list(events.values())[-1]
        assert len(run.notes) == len(events)

    @settings(max_examples=60, deadline=None)
    @given(content=st.binary(max_size=80), cut=st.integers(0, 400))
    def test_any_bytes_give_a_run_or_one_line(self, tmp_path_factory, content, cut):
        place = tmp_path_factory.mktemp("any")
        path = write_rank_log(place / "rank_log.csv")
        path.write_bytes(path.read_bytes()[:cut] + content)
        try:
            run = load_run(import_log(path, place / "run").folder)
        except LogImportError as error:
            assert len(str(error).splitlines()) == 1
            assert not (place / "run").exists()
        else:
            assert run.ranks.shape[1] == len(run.matrices)


class TestAdaLoRA:
    def test_ranks_and_scalars_come_out_as_they_were_logged(self, tmp_path):
        extra = [
            ("train/loss", 0.75, 100),
            ("train/learning_rate", 0.5, 100),
            ("eval/accuracy", 0.875, 200),
            ("eval/runtime", 3.0, 200),
            ("test/loss", 1.5, 300),
        ]
        done = import_log(write_adalora(tmp_path / "tb", extra=extra), tmp_path / "run")
        run = load_run(done.folder)
        assert (done.kind, run.header["method"], run.notices) == ("adalora_tensorboard", "adalora", [])
        assert run.steps.tolist() == [101, 201, 301, 302]
        assert run.ranks.tolist() == list(EVENTS.values())
        assert [m.name for m in run.matrices] == [name.removesuffix(".lora_E") for name in NAMES]
        assert np.isnan(run.log.values).all() and np.isnan(run.entropy).all() and np.isnan(run.energy).all()
        scalars = run.log.steps
        assert scalars["step"].tolist() == [100, 200, 300, 301]
        assert scalars["regularizer"].tolist() == [0.125] * 4
        assert scalars["loss"][0] == 0.75 and np.isnan(scalars["loss"][1:]).all()
        assert scalars["learning_rate"][0] == 0.5
        assert np.isnan(scalars["task_loss"]).all() and np.isnan(scalars["budget"]).all()
        assert [(e["step"], e["split"], e["metrics"]) for e in run.evals] == [
            (200, "eval", {"accuracy": 0.875}),
            (300, "test", {"loss": 1.5}),
        ]
        masked = [note for note in run.notes if note["kind"] == "masked"]
        assert masked[0] == {
            "kind": "masked", "step": 100, "total_rank": 32.0, "mask_threshold": 0.25, "sum_param": 49152.0
        }  # fmt: skip
        assert run.events == []
        assert len(done.notices) == 1 and "2 other tags are left out" in done.notices[0]
        assert planned_budget(run) is None
        assert len(pack_run(run)) > 0

    @pytest.mark.parametrize("options", [{"new_style": True}, {"new_style": True, "double_precision": True}])
    def test_new_style_scalars_are_the_same(self, tmp_path, options):
        write_adalora(tmp_path / "tb", **options)
        assert load_run(import_log(tmp_path / "tb", tmp_path / "run").folder).ranks.tolist() == list(EVENTS.values())

    def test_numbers_packed_as_bytes_are_read(self):
        from tensorboard.compat.proto.summary_pb2 import Summary

        value = Summary.Value(tag="t")
        value.tensor.dtype = 1
        value.tensor.tensor_content = struct.pack("<f", 0.5)
        assert event_file._number(value) == 0.5
        value.tensor.tensor_shape.dim.add().size = 2
        assert event_file._number(value) is None

    def test_a_file_a_folder_and_a_folder_above_will_do(self, tmp_path):
        folder = write_adalora(tmp_path / "runs" / "host")
        for number, path in enumerate((event_path(folder), folder, tmp_path / "runs")):
            assert import_log(path, tmp_path / f"run{number}").records == 4

    def test_a_disk_is_not_searched_for_a_log(self, tmp_path, monkeypatch):
        write_adalora(tmp_path / "a" / "b" / "tb")
        assert detect_kind(tmp_path) == "adalora_tensorboard"
        monkeypatch.setattr(event_file, "MAX_SEEN", 2)
        refused(tmp_path, tmp_path.parent / "run", "more than 2 files. Give the folder of one run")

    def test_two_files_of_one_run_are_joined(self, tmp_path):
        folder = write_adalora(tmp_path / "tb", events={100: EVENTS[100], 300: [1, 1, 1, 1]})
        first = event_path(folder)
        first.rename(folder / "events.out.tfevents.1000000000.host.1.0")
        write_adalora(folder, events={200: EVENTS[200]}, extra=[("eval/accuracy", 0.5, 300)])
        done = import_log(folder, tmp_path / "run")
        assert load_run(done.folder).ranks.tolist() == [EVENTS[100], EVENTS[200]]
        assert "go back" in done.notices[0] and "1 earlier values" in done.notices[0]

    def test_two_runs_are_not_mixed(self, tmp_path):
        for name in ("a", "b"):
            write_adalora(tmp_path / "tb" / name)
        refused(tmp_path / "tb", tmp_path / "run", "event files in 'a', 'b'")

    def test_a_step_that_lacks_a_matrix_is_left_out_and_told(self, tmp_path):
        folder = write_adalora(tmp_path / "tb", extra=[(f"Ranknum/{NAMES[0]}", 3, 400)])
        done = import_log(folder, tmp_path / "run")
        assert done.records == 4
        assert "1 steps lack the rank of some matrix or Budget/total_rank" in " ".join(done.notices)

    def test_a_total_that_is_not_the_sum_is_told(self, tmp_path):
        folder = write_adalora(tmp_path / "tb", extra=[("Budget/total_rank", 99, 301)])
        done = import_log(folder, tmp_path / "run")
        assert "not the sum of the ranks at 1 steps" in " ".join(done.notices)

    def test_a_value_that_is_none_stays_undefined(self, tmp_path):
        extra = [("train/loss", math.nan, 100), ("eval/accuracy", math.inf, 100)]
        run = load_run(import_log(write_adalora(tmp_path / "tb", extra=extra), tmp_path / "run").folder)
        assert np.isnan(run.log.steps["loss"]).all()
        assert run.evals[0]["metrics"] == {"accuracy": None}

    @pytest.mark.parametrize("value", [3.5, -1.0, math.nan, math.inf, 1e9])
    def test_a_rank_that_is_none_is_refused(self, tmp_path, value):
        folder = write_adalora(tmp_path / "tb", extra=[(f"Ranknum/{NAMES[0]}", value, 400)])
        refused(folder, tmp_path / "run", f"is {value} at step 400; a rank is a whole number")

    def test_a_step_below_zero_is_refused(self, tmp_path):
        folder = write_adalora(tmp_path / "tb", extra=[("train/loss", 1.0, -5)])
        refused(folder, tmp_path / "run", "has step -5 at 'train/loss'")

    def test_other_tensorboard_logs_are_refused_with_their_tags(self, tmp_path):
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(tmp_path / "tb")) as writer:
            writer.add_scalar("train/loss", 1.0, 1)
            writer.add_text("args", "{}")
        refused(tmp_path / "tb", tmp_path / "run", "has the tags 'train/loss'. AdaLoRA's RankAllocator writes")

    def test_a_cut_file_gives_what_is_whole_or_one_line(self, tmp_path):
        folder = write_adalora(tmp_path / "tb")
        file = event_path(folder)
        data = file.read_bytes()
        for number, cut in enumerate([*range(0, len(data), 97), len(data) - 1]):
            file.write_bytes(data[:cut])
            try:
                done = import_log(folder, tmp_path / f"run{number}")
            except LogImportError as error:
                assert len(str(error).splitlines()) == 1
                continue
            ranks = load_run(done.folder).ranks.tolist()
            told = "whether every matrix was is unknown" in " ".join(done.notices)
            assert told or ranks == list(EVENTS.values())[: len(ranks)]
        assert "is cut or damaged after record" in done.notices[0]

    def test_a_changed_byte_never_becomes_a_changed_rank(self, tmp_path):
        folder = write_adalora(tmp_path / "tb", events={100: EVENTS[100]})
        file = event_path(folder)
        data = file.read_bytes()
        for number, place in enumerate(range(0, len(data), 41)):
            file.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
            try:
                done = import_log(folder, tmp_path / f"run{number}")
            except LogImportError:
                continue
            told = "whether every matrix was is unknown" in " ".join(done.notices)
            assert told or load_run(done.folder).ranks.tolist() == [EVENTS[100]]

    @pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\x89PNG\r\n\x1a\n" + bytes(100), b"short"])
    def test_files_that_only_bear_the_name_are_refused(self, tmp_path, content):
        path = tmp_path / "events.out.tfevents.1.host"
        path.write_bytes(content)
        refused(path, tmp_path / "run", "is empty" if not content else "holds no TensorBoard events")

    def test_a_forged_length_does_not_fill_the_memory(self, tmp_path):
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

        folder = write_adalora(tmp_path / "tb")
        file = event_path(folder)
        length = struct.pack("<Q", 1 << 62)
        file.write_bytes(file.read_bytes() + length + struct.pack("<I", masked_crc32c(length)) + b"x")
        done = import_log(folder, tmp_path / "run")
        assert done.records == 4 and "is cut or damaged" in done.notices[0]

    def test_huge_logs_are_refused(self, tmp_path, monkeypatch):
        folder = write_adalora(tmp_path / "tb")
        monkeypatch.setattr(event_file, "MAX_POINTS", 5)
        refused(folder, tmp_path / "run", "more than 5 values")
        monkeypatch.setattr(event_file, "MAX_BYTES", 10)
        refused(folder, tmp_path / "run", "are read")
        monkeypatch.setattr(event_file, "MAX_FILES", 0)
        refused(folder, tmp_path / "run", "1 event files")

    def test_without_the_package_the_error_says_what_to_install(self, tmp_path, monkeypatch):
        folder = write_adalora(tmp_path / "tb")
        monkeypatch.setitem(sys.modules, "tensorboard.compat.tensorflow_stub.pywrap_tensorflow", None)
        refused(folder, tmp_path / "run", "pip install -r requirements.txt")


class TestRunFolders:
    def test_a_copy_is_the_log_and_nothing_else(self, own_run, tmp_path):
        done = import_log(own_run, tmp_path / "copy")
        assert {f.name for f in done.folder.iterdir()} == set(run_folder.FILES)
        for name in run_folder.FILES:
            assert (done.folder / name).read_bytes() == (own_run / name).read_bytes()
        assert (done.kind, done.matrices, done.records) == ("run_folder", 2, 3)
        assert done.notices == ("Only the log is copied, not 'checkpoint'.",)

    @pytest.mark.parametrize("prefix", ["", "own/", "a/b/"])
    def test_a_zip_is_the_same_run(self, own_run, tmp_path, prefix):
        members = files_of(own_run, prefix) | {f"{prefix}checkpoint/state.pkl": b"cposix\nsystem\n"}
        members |= {"__MACOSX/run.json": b"x"}
        done = import_log(zip_of(tmp_path / "own.zip", members), tmp_path / "copy")
        first, second = load_run(own_run), load_run(done.folder)
        assert (done.kind, second.notices) == ("run_zip", [])
        assert second.log.values.tobytes() == first.log.values.tobytes()
        assert second.evals == first.evals
        assert {f.name for f in done.folder.iterdir()} == set(run_folder.FILES)

    def test_a_run_without_an_end_is_told(self, tmp_path):
        writer = RunWriter(tmp_path / "live", {"matrices": [{"name": "a"}]})
        writer.spectrum(0, [[1.0]])
        writer.flush()
        done = import_log(tmp_path / "live", tmp_path / "copy")
        writer.close()
        assert "no end" in done.notices[-1]
        assert load_run(done.folder).state == "crashed"

    def test_damage_is_told(self, own_run, tmp_path):
        data = bytearray((own_run / "spectra.arrows").read_bytes())
        data[-20] ^= 1
        (own_run / "spectra.arrows").write_bytes(data)
        done = import_log(zip_of(tmp_path / "own.zip", files_of(own_run)), tmp_path / "copy")
        assert "spectra.arrows is damaged" in " ".join(done.notices)

    def test_a_damaged_header_names_the_file_that_was_given(self, own_run, tmp_path):
        (own_run / "run.json").write_text("{}")
        refused(own_run, tmp_path / "copy", f"{own_run}/run.json is damaged")
        refused(zip_of(tmp_path / "own.zip", files_of(own_run)), tmp_path / "copy", "own.zip/run.json is damaged")
        with pytest.raises(RunLogError, match=r"own\.zip/run\.json is damaged"):
            propose_mapping(tmp_path / "own.zip")

    def test_links_are_refused(self, own_run, tmp_path):
        (tmp_path / "secret").write_text("x")
        (own_run / "events.jsonl").unlink()
        (own_run / "events.jsonl").symlink_to(tmp_path / "secret")
        refused(own_run, tmp_path / "copy", "is no plain file")

    def test_a_copy_into_itself_is_refused(self, own_run):
        refused(own_run, own_run / "copy", "lies within")

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("../evil", "leads out"),
            ("own/../../evil", "leads out"),
            ("/etc/evil", "leads out"),
            ("C:/evil", "leads out"),
            ("..\\evil", "leads out"),
            ("\\\\host\\evil", "leads out"),
        ],
    )
    def test_paths_that_lead_out_are_refused(self, own_run, tmp_path, name, says):
        refused(zip_of(tmp_path / "own.zip", files_of(own_run) | {name: b"x"}), tmp_path / "copy", says)

    def test_links_in_a_zip_are_refused(self, own_run, tmp_path):
        path = zip_of(tmp_path / "own.zip", files_of(own_run))
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(link, "/etc/passwd")
        refused(path, tmp_path / "copy", "a link or device")

    def test_bombs_are_refused(self, own_run, tmp_path, monkeypatch):
        bomb = zip_of(tmp_path / "bomb.zip", files_of(own_run) | {"events.jsonl": bytes(4 << 20)})
        refused(bomb, tmp_path / "copy", "unpacks from")
        path = zip_of(tmp_path / "own.zip", files_of(own_run))
        monkeypatch.setattr(run_folder, "MAX_BYTES", 100)
        refused(path, tmp_path / "copy", "at most")
        refused(own_run, tmp_path / "copy", "is not imported")
        monkeypatch.setattr(run_folder, "MAX_ENTRIES", 2)
        refused(path, tmp_path / "copy", "a run has few")

    def test_a_size_that_is_a_lie_is_found_out(self, own_run, tmp_path, monkeypatch):
        path = zip_of(tmp_path / "own.zip", files_of(own_run) | {"events.jsonl": bytes(range(256)) * 256})
        data = bytearray(path.read_bytes())
        place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"events.jsonl"))
        data[place + 24 : place + 28] = struct.pack("<I", 10)
        path.write_bytes(data)
        refused(path, tmp_path / "copy", "is no readable zip")

    def test_numbers_that_unpack_to_more_than_the_memory_are_refused(self, tmp_path, monkeypatch):
        folder = tmp_path / "own"
        with RunWriter(folder, {"matrices": [{"name": "a"}]}) as writer:
            writer.spectrum(0, [np.zeros(60_000)])
            writer.end("completed")
        assert (folder / "spectra.arrows").stat().st_size < 5_000
        monkeypatch.setattr(run_folder, "MAX_UNPACKED", 200_000)
        refused(folder, tmp_path / "copy", "spectra.arrows unpacks to")
        monkeypatch.setattr(run_folder, "MAX_UNPACKED", 300_000)
        assert import_log(folder, tmp_path / "copy").records == 1

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda m: {}, "no run.json"),
            (lambda m: {"notes.txt": b"x"}, "no run.json"),
            (lambda m: m | {"b/run.json": b"{}"}, "2 runs"),
            (lambda m: {"run.json": b"[]"}, "run.json is damaged"),
        ],
    )
    def test_a_zip_of_something_else_is_refused(self, own_run, tmp_path, change, says):
        refused(zip_of(tmp_path / "own.zip", change(files_of(own_run))), tmp_path / "copy", says)

    def test_a_name_that_is_no_text_is_refused(self, own_run, tmp_path):
        path = zip_of(tmp_path / "own.zip", files_of(own_run))
        data = bytearray(path.read_bytes())
        data[7] |= 8
        data[30] = 0xFF
        path.write_bytes(data)
        refused(path, tmp_path / "copy", "is no readable zip")

    def test_a_locked_zip_is_refused(self, own_run, tmp_path):
        path = zip_of(tmp_path / "own.zip", files_of(own_run))
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(data)
        refused(path, tmp_path / "copy", "encrypted")

    def test_a_name_twice_is_refused(self, own_run, tmp_path):
        path = zip_of(tmp_path / "own.zip", files_of(own_run))
        with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
            archive.writestr("crc.jsonl", b"x")
        refused(path, tmp_path / "copy", "crc.jsonl twice")

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_a_damaged_zip_gives_a_run_or_one_line(self, tmp_path_factory, data):
        place = tmp_path_factory.mktemp("zip")
        with RunWriter(place / "own", {"matrices": [{"name": "a"}]}) as writer:
            writer.spectrum(0, [[1.0, 2.0]])
            writer.end("completed")
        path = zip_of(place / "own.zip", files_of(place / "own"))
        content = bytearray(path.read_bytes())
        share = st.floats(0, 1, exclude_max=True)
        if data.draw(st.booleans()):
            content = content[: 4 + int(data.draw(share) * (len(content) - 4))]
        for at, change in data.draw(st.lists(st.tuples(share, st.integers(1, 255)), max_size=3)):
            if len(content) > 4:
                content[4 + int(at * (len(content) - 4))] ^= change
        path.write_bytes(content)
        try:
            run = load_run(import_log(path, place / "copy").folder)
        except (LogImportError, RunLogError) as error:
            assert len(str(error).splitlines()) == 1
            assert not (place / "copy").exists()
        else:
            assert len(run.matrices) == 1

    def test_a_pickle_is_never_opened(self, tmp_path):
        ran = tmp_path / "ran"
        payload = b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR."
        (tmp_path / "adapter_model.bin").write_bytes(payload)
        refused(tmp_path / "adapter_model.bin", tmp_path / "run", "is no log that can be imported")
        assert not ran.exists()


class TestMapping:
    def test_names_tell_layer_and_module_type(self, rank_log):
        rows = propose_mapping(rank_log)
        assert [set(row) for row in rows] == [set(FIELDS)] * 4
        assert [(row["layer"], row["module_type"]) for row in rows] == [
            (0, "query"), (0, "value"), (1, "query"), (1, "value")
        ]  # fmt: skip
        assert [row["source"] for row in rows] == NAMES

    @pytest.mark.parametrize(
        ("source", "name"),
        [
            ("module.bert.layer.0.q.lora_E", "bert.layer.0.q"),
            ("base_model.model.bert.q.lora_E.default", "bert.q"),
            ("bert.q.lora_E", "bert.q"),
            ("bert.q", "bert.q"),
            (".lora_E", ".lora_E"),
        ],
    )
    def test_wrappers_are_taken_off(self, tmp_path, source, name):
        path = write_rank_log(tmp_path / "rank_log.csv", [source], {1: [2]})
        assert propose_mapping(path)[0]["name"] == name

    def test_names_that_would_fall_together_stay_as_they_are(self, tmp_path):
        path = write_rank_log(tmp_path / "rank_log.csv", ["a.q", "a.q.lora_E"], {1: [2, 3]})
        assert [row["name"] for row in propose_mapping(path)] == ["a.q", "a.q.lora_E"]

    def test_unknown_names_keep_their_last_words(self, tmp_path):
        path = write_rank_log(tmp_path / "rank_log.csv", ["zeta", "omega.7.weird"], {1: [2, 3]})
        assert [(r["layer"], r["module_type"]) for r in propose_mapping(path)] == [(None, "zeta"), (7, "weird")]
        run = load_run(import_log(path, tmp_path / "run").folder)
        assert [matrix.layer for matrix in run.matrices] == [None, 7]

    def test_corrections_reach_the_run(self, rank_log, tmp_path):
        rows = propose_mapping(rank_log)
        rows[1] |= {"name": "mine", "layer": 5.0, "module_type": "special", "in_features": np.int64(768)}
        rows[2] |= {"layer": math.nan}
        run = load_run(import_log(rank_log, tmp_path / "run", mapping=rows[1:3]).folder)
        assert run.matrices[1] == ("mine", 5, "special", 768, 0)
        assert run.matrices[2].layer is None
        assert run.matrices[0].module_type == "query"
        assert "mine" in run.notes[1]["lost"]

    def test_a_run_of_our_own_may_be_placed_anew_but_not_renamed(self, own_run, tmp_path):
        rows = propose_mapping(own_run)
        rows[0] |= {"layer": 3, "module_type": "query"}
        run = load_run(import_log(own_run, tmp_path / "copy", mapping=rows).folder)
        assert run.matrices[0][:3] == ("a", 3, "query")
        assert run.notices == []
        rows[0]["name"] = "c"
        refused(own_run, tmp_path / "other", "renames 'a'", rows)

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ([{"source": "nobody"}], "source 'nobody'; the log has 'deberta"),
            ([{"layer": 1}], "source None"),
            ([{"source": ["x"]}], "source ['x']"),
            ([{"source": NAMES[0]}, {"source": NAMES[0]}], "a second time"),
            ([{"source": NAMES[0], "depth": 1}], "the key 'depth'"),
            ([{"source": NAMES[0], "layer": "x"}], "layer 'x'"),
            ([{"source": NAMES[0], "layer": -1}], "layer -1"),
            ([{"source": NAMES[0], "layer": 1.5}], "layer 1.5"),
            ([{"source": NAMES[0], "layer": True}], "layer True"),
            ([{"source": NAMES[0], "layer": math.inf}], "layer inf"),
            ([{"source": NAMES[0], "in_features": 0}], "in_features 0"),
            ([{"source": NAMES[0], "module_type": " "}], "module_type ' '"),
            ([{"source": NAMES[0], "name": None}], "name None"),
            ([{"source": NAMES[0], "name": "x"}, {"source": NAMES[1], "name": "x"}], "two matrices the name 'x'"),
            (["row"], "is 'row'"),
            ({"source": NAMES[0]}, "a list of rows is needed"),
            ("rows", "a list of rows is needed"),
            (7, "a list of rows is needed"),
        ],
    )
    def test_bad_rows_are_refused(self, rank_log, tmp_path, rows, says):
        refused(rank_log, tmp_path / "run", says, rows)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), min_size=1, unique=True))
    def test_any_names_give_one_row_each_with_names_of_their_own(self, names):
        from analysis.importers.mapping import corrected_rows, proposed_rows

        sources = [f"module.{name}.lora_E" for name in names]
        rows = proposed_rows(sources)
        assert [row["source"] for row in rows] == sources
        assert len({row["name"] for row in rows}) == len(rows)
        assert corrected_rows(rows, rows) == rows


class TestDetection:
    def test_each_kind_is_found(self, rank_log, own_run, tmp_path):
        write_adalora(tmp_path / "tb")
        paths = {
            "run_folder": own_run,
            "run_zip": zip_of(tmp_path / "own.zip", files_of(own_run)),
            "rank_log_csv": rank_log,
            "adalora_tensorboard": tmp_path / "tb",
            "peft_result": tmp_path / "result.json",
            "peft_checkpoints": tmp_path / "output",
            "playground": tmp_path / "planted.flexlora.json",
        }
        (tmp_path / "output" / "checkpoint-7").mkdir(parents=True)
        (tmp_path / "output" / "checkpoint-7" / "adapter_model.safetensors").touch()
        paths["playground"].write_text('{"flexlora_playground":1,"settings":{}}', encoding="utf-8")
        paths["peft_result"].write_text('{"run_info": {}, "train_info": {}, "meta_info": {}}', encoding="utf-8")
        assert set(paths) == set(IMPORTERS)
        for kind, path in paths.items():
            assert detect_kind(path) == kind
            assert [name for name, importer in IMPORTERS.items() if importer.detect(path)] == [kind]
        shutil.copy(event_path(tmp_path / "tb"), tmp_path / "renamed.log")
        assert detect_kind(tmp_path / "renamed.log") == "adalora_tensorboard"

    def test_what_lies_in_a_run_folder_does_not_change_its_kind(self, own_run, rank_log):
        shutil.copy(rank_log, own_run)
        assert detect_kind(own_run) == "run_folder"

    def test_a_folder_of_two_kinds_is_refused(self, rank_log, tmp_path):
        write_adalora(tmp_path / "tb")
        out = tmp_path / "elsewhere" / "run"
        with pytest.raises(LogImportError, match=r"rank_log\.csv .* and TensorBoard .* Give the path of one"):
            import_log(tmp_path, out)

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("x.csv", b"", "an empty file"),
            ("x.csv", b"epoch,a\n", "a file of another kind"),
            ("x.csv", b"steps,a\n", "a file of another kind"),
            ("x.bin", bytes(range(64)), "a file of another kind"),
        ],
    )
    def test_something_else_is_told_what_is_allowed(self, tmp_path, name, content, says):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, tmp_path / "run", says)
        for importer in IMPORTERS.values():
            refused(tmp_path / name, tmp_path / "run", importer.title)

    def test_no_such_file_an_empty_folder_and_a_device(self, tmp_path):
        refused(tmp_path / "nobody", tmp_path / "run", "does not exist")
        (tmp_path / "void").mkdir()
        refused(tmp_path / "void", tmp_path / "run", "an empty folder")
        refused("/dev/null", tmp_path / "run", "neither a file nor a folder")
        refused("a\0b", tmp_path / "run", "does not exist")

    def test_a_folder_that_holds_something_is_not_overwritten(self, rank_log, tmp_path):
        out = tmp_path / "run"
        out.mkdir()
        assert import_log(rank_log, out).folder == out
        refused(rank_log, out, "exists already")
        refused(rank_log, rank_log, "exists already")
        with pytest.raises(LogImportError, match="cannot be made"):
            import_log(rank_log, rank_log / "below")


class TestCommand:
    def test_it_imports_and_tells_in_words_or_json(self, rank_log, tmp_path, capsys):
        assert main([str(rank_log), "--out", str(tmp_path / "a")]) == 0
        assert "4 matrices, 6 spectrum records" in capsys.readouterr().out
        assert main([str(rank_log), "--out", str(tmp_path / "b"), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report == {
            "kind": "rank_log_csv", "out": str(tmp_path / "b"), "matrices": 4, "records": 6, "notices": []
        }  # fmt: skip

    def test_the_map_it_shows_can_be_given_back(self, rank_log, tmp_path, capsys):
        assert main([str(rank_log)]) == 0
        assert "deberta.encoder.layer.1.attention.self.value_proj" in capsys.readouterr().out
        assert main([str(rank_log), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        report["mapping"][0]["module_type"] = "special"
        (tmp_path / "map.json").write_text(json.dumps(report))
        assert main([str(rank_log), "--map", str(tmp_path / "map.json"), "--out", str(tmp_path / "run")]) == 0
        assert load_run(tmp_path / "run").matrices[0].module_type == "special"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["nowhere"], "does not exist"),
            ([], "required"),
            (["rank_log.csv", "--out", "."], "exists already"),
            (["rank_log.csv", "--map", "nowhere.json"], "cannot be used as a map"),
            (["rank_log.csv", "--map", "rank_log.csv"], "cannot be used as a map"),
            (["rank_log.csv", "--map", "number.json"], "holds no list of rows"),
            (["rank_log.csv", "--kind", "x"], "unrecognized"),
        ],
    )
    def test_bad_input_is_one_line_and_status_two(self, rank_log, tmp_path, monkeypatch, capsys, arguments, says):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "number.json").write_text("7")
        assert main([*arguments, "--json"]) == 2
        out, err = capsys.readouterr()
        assert says in err and len(err.strip().splitlines()) == 1
        assert says in json.loads(out)["error"]

    def test_it_runs_as_a_module_and_imports_no_tensorflow(self, tmp_path):
        """A package of that name is put in the way: importing it would fail the import of the log."""
        (tmp_path / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')")
        write_adalora(tmp_path / "tb")
        code = (
            "import sys; from analysis.importers.__main__ import main\n"
            "light = 'tensorboard' not in sys.modules\n"
            "assert light and main(sys.argv[1:]) == 0\n"
            "assert not {'torch', 'streamlit', 'tensorflow', 'grpc'} & set(sys.modules)"
        )
        arguments = [str(tmp_path / "tb"), "--out", str(tmp_path / "run"), "--json"]
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}", *arguments],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["records"] == 4
