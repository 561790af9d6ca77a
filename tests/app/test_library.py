"""The library on folders: what a row says equals what the run says, and nothing that is done to a run is half done."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from analysis.importers import LogImportError, import_log, rows_by_pattern, rows_by_type, type_table
from analysis.metrics import net_moves
from analysis.runs import load_run
from flexlora.run_log import RunWriter, find_runs, glance_run, read_header

SAMPLES = sorted(find_runs(Path(__file__).parents[2] / "sample_runs"))


@pytest.fixture
def root(roots):
    return roots[1]


@pytest.fixture
def run(root, make_run):
    return make_run(root / "first")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(root):
    from library import read_rows

    return read_rows((f"runs/{folder.name}", folder) for folder in find_runs(root))


def refused(says: str):
    from run_folders import RunFolderError

    return pytest.raises(RunFolderError, match=says)


class TestRows:
    @pytest.mark.parametrize("folder", SAMPLES, ids=lambda folder: folder.name)
    def test_a_row_says_what_the_whole_log_says(self, folder):
        from library import read_row

        row, whole = read_row("x", folder), load_run(folder)
        accuracy = whole.metrics["test/accuracy"][1]
        assert (row.measured, row.result) == ("test accuracy", accuracy[-1])
        assert row.net_moves == net_moves(whole)
        assert (row.state, row.step, row.steps) == (whole.state, whole.steps[-1], whole.total_steps)
        assert (row.method, row.task, row.preset) == tuple(whole.header[key] for key in ("method", "task", "preset"))
        assert row.matrices == len(whole.matrices)

    def test_records_that_a_resume_made_void_do_not_count(self, root):
        matrices = [{"name": n, "layer": 0, "module_type": n, "in_features": 8, "out_features": 4} for n in ("a", "b")]
        folder = root / "resumed"

        def move(step, gains, loses):
            pair = [{"matrix": loses, "slot": 0, "singular_value": 0.0, "rules": []}], [{"matrix": gains, "slot": 9}]
            return step, 1, {"e": {"a": 0.0, "b": 1.0}}, "e", *pair

        with RunWriter(folder, {"matrices": matrices}) as writer:
            for step in range(1, 7):
                writer.step(step, 1.0, 0.0, 1.0, 0.1, 1)
                writer.spectrum(step, [[1.0], [1.0]])
            writer.event(*move(2, "a", "b"))
            writer.event(*move(6, "a", "b"))
            writer.eval(6, "test", {"accuracy": 0.9})
            writer.end("stopped")
        with RunWriter(folder, {}, resume_from=3) as writer:
            writer.note("resumed", step=3, resumed_from=3)
            writer.step(4, 1.0, 0.0, 1.0, 0.1, 1)
            writer.eval(4, "test", {"accuracy": 0.5})
        found = glance_run(folder)
        assert (found.step, found.net_moves, found.end) == (4, 1, None)
        assert [record["metrics"]["accuracy"] for record in found.evals] == [0.5]

    def test_a_matrix_named_like_a_field_of_an_event_is_counted_like_any_other(self, root):
        matrices = [{"name": name} for name in ("prune", 'a"prune": [', "extend")]
        with RunWriter(root / "odd", {"matrices": matrices}) as writer:
            writer.event(
                1, 1, {"prune": {"prune": 0.5}}, "prune", [{"matrix": "prune", "slot": 0}] * 2,
                [{"matrix": 'a"prune": [', "slot": 1}], {"extend": "protected"}, [], scores={"prune": [1.0]},
            )  # fmt: skip
            writer.end("completed")
        assert glance_run(root / "odd").net_moves == 2

    def test_the_spectra_are_not_opened_and_an_unchanged_log_is_read_once(self, root, run, monkeypatch):
        import library

        (before,) = rows_of(root)
        shutil.copytree(run, root / "bare")
        (root / "bare" / "spectra.arrows").write_bytes(b"")
        (root / "bare" / "scalars.arrows").write_bytes(b"")
        bare = next(row for row in rows_of(root) if row.name == "bare")
        told = ("method", "task", "preset", "state", "step", "steps", "result", "net_moves", "fault")
        assert [getattr(bare, key) for key in told] == [getattr(before, key) for key in told]
        monkeypatch.setattr(library, "glance_run", None)
        assert {row.name for row in rows_of(root)} == {"first", "bare"}

    def test_a_damaged_line_is_left_out_and_told(self, root, make_soft_run):
        folder = make_soft_run(root / "soft")
        assert rows_of(root)[0].result == 0.9
        lines = folder / "events.jsonl"
        lines.write_bytes(lines.read_bytes().replace(b'"accuracy": 0.9', b'"accuracy": 0.1'))
        (row,) = rows_of(root)
        assert row.result is None
        assert "1 of its pieces" in row.fault

    @pytest.mark.parametrize("content", ["", "{", '{"header": {}}', '{"header": {"schema": 99}}', "[1]"])
    def test_a_damaged_header_is_listed_with_its_fault(self, root, content):
        from library import DAMAGED

        (root / "bad").mkdir()
        (root / "bad" / "run.json").write_text(content)
        (row,) = rows_of(root)
        assert (row.name, row.state) == ("bad", DAMAGED)
        assert "run.json" in row.fault or "schema" in row.fault

    def test_only_runs_are_listed(self, root, run):
        from run_folders import to_trash

        (root / "notes").mkdir()
        (root / "readme.txt").write_text("hello")
        to_trash(root, run)
        assert rows_of(root) == []
        assert (root / ".trash").is_dir()

    def test_a_run_whose_log_has_no_end_is_running_until_its_process_is_gone(self, root, make_run):
        folder = make_run(root / "live", finish=False)
        assert rows_of(root)[0].state == "running"
        (folder / "heartbeat.json").unlink()
        assert rows_of(root)[0].state == "crashed"

    def test_disk_use_is_the_sum_of_the_files(self, root, run):
        from library import disk_use

        (run / "adapter").mkdir()
        (run / "adapter" / "weights").write_bytes(b"x" * 12345)
        (run / "adapter" / "link").symlink_to(root)
        files = [path for path in run.rglob("*") if path.is_file() and not path.is_symlink()]
        assert disk_use(run) == sum(path.stat().st_size for path in files)
        assert rows_of(root)[0].disk_bytes == disk_use(run)
        assert disk_use(root / "nowhere") == 0

    def test_imported_ranks_tell_their_moves_and_where_they_come_from(self, root, tmp_path):
        (tmp_path / "rank_log.csv").write_text("step,a,b,c\n10,4,4,4\n20,5,3,4\n30,6,3,3\n")
        import_log(tmp_path / "rank_log.csv", root / "theirs")
        (row,) = rows_of(root)
        assert row.net_moves == net_moves(load_run(root / "theirs")) == 2
        assert (row.source, row.replayable, row.step) == ("rank_log.csv", False, 31)


class TestSearch:
    def rows(self):
        from library import read_rows

        return read_rows((folder.name, folder) for folder in SAMPLES)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(("ada", "LORA", "digits", "finished", "paper", "zz", "bundled", "-"))))
    def test_what_is_found_holds_every_word_and_what_is_not_lacks_one(self, words):
        from library import search

        rows = self.rows()
        found = search(rows, "  ".join(words))
        for row in rows:
            told = f"{row.name} {row.method} {row.task} {row.preset} {row.state} {row.measured} {row.where}".lower()
            assert (row in found) == all(word.lower() in told for word in words)

    def test_the_table_has_a_cell_for_every_run_in_every_column(self):
        from library import columns

        rows = self.rows()
        table = columns(rows)
        assert table["name"] == [row.name for row in rows]
        assert {len(cells) for cells in table.values()} == {len(rows)}


class TestRename:
    def test_there_and_back_gives_the_same_bytes(self, root, run):
        from run_folders import rename

        before = contents(run)
        renamed = rename(root, run, " Second-best_1.0 ")
        assert renamed == root / "Second-best_1.0"
        assert not run.exists()
        assert read_header(renamed) == ({**read_header(renamed)[0], "name": "Second-best_1.0"}, [])
        assert load_run(renamed).notices == []
        assert contents(rename(root, renamed, "first")) == before

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(name=st.text(max_size=90))
    @example("../up")
    @example(".trash")
    @example("a/b")
    @example("CON")
    @example("nul.txt")
    @example("dot.")
    @example("x" * 81)
    @example("line\nbreak")
    @example("ß")
    def test_any_text_is_refused_in_one_line_or_names_a_folder_among_the_runs(self, root, make_run, name):
        from run_folders import RunFolderError, rename

        if not (root / "first").exists():
            make_run(root / "first", steps=2)
        try:
            folder = rename(root, root / "first", name)
        except RunFolderError as error:
            assert len(str(error).splitlines()) == 1
            assert [path.name for path in root.iterdir()] == ["first"]
        else:
            assert folder.parent == root and folder.name == name.strip()
            assert folder.name.isascii() and "/" not in folder.name and not folder.name.startswith(".")
            assert [path.name for path in root.iterdir()] == [folder.name]
            rename(root, folder, "first")

    def test_the_message_says_what_is_allowed(self, root, run):
        from run_folders import rename

        with refused("letters a–z and A–Z, digits"):
            rename(root, run, "my run")

    def test_a_name_that_is_taken_is_refused_in_any_case(self, root, run, make_run):
        from run_folders import rename

        make_run(root / "other")
        before = contents(root)
        for name in ("other", "OTHER"):
            with refused("already"):
                rename(root, run, name)
        assert contents(root) == before

    def test_the_order_of_the_list_stays(self, root, run, make_run):
        from run_folders import rename

        make_run(root / "later")
        os.utime(run / "run.json", (1, 1))
        rename(root, run, "earlier")
        assert [folder.name for folder in find_runs(root)] == ["later", "earlier"]

    def test_runs_made_from_it_name_it_as_it_is_called_now(self, root, run, make_run):
        from run_folders import rename

        child = make_run(root / "child")
        header = json.loads((child / "run.json").read_text())["header"]
        from flexlora.run_log.format import write_header

        write_header(child, {**header, "parent": "first"})
        rename(root, run, "renamed")
        assert read_header(child) == ({**header, "parent": "renamed"}, [])

    def test_a_header_whose_checksum_fails_is_not_made_to_look_intact(self, root, run):
        from run_folders import rename

        file = run / "run.json"
        file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
        renamed = rename(root, run, "renamed")
        assert "checksum differs" in read_header(renamed)[1][0]

    def test_a_header_that_cannot_be_written_leaves_everything_as_it_was(self, root, run, monkeypatch):
        import run_folders

        def full(folder, header):
            raise OSError(28, "No space left on device")

        before = contents(root)
        monkeypatch.setattr(run_folders, "write_header", full)
        with refused("keeps its name"):
            run_folders.rename(root, run, "renamed")
        assert contents(root) == before


class TestTrash:
    def test_trash_and_restore_give_the_same_bytes(self, root, run):
        from run_folders import in_trash, restore, to_trash

        before = contents(run)
        gone = to_trash(root, run)
        assert not run.exists()
        assert in_trash(root) == [gone]
        assert (gone.name, gone.disk_bytes) == ("first", sum(map(len, before.values())))
        assert restore(root, gone.folder) == run
        assert contents(run) == before
        assert in_trash(root) == [] and list((root / ".trash").iterdir()) == []

    def test_two_runs_of_one_name_can_be_removed_and_the_second_restore_is_refused(self, root, run, make_run):
        from run_folders import in_trash, restore, to_trash

        first = to_trash(root, run)
        second = to_trash(root, make_run(root / "first", steps=3))
        assert len(in_trash(root)) == 2
        restore(root, second.folder)
        with refused("Another run is named first"):
            restore(root, first.folder)
        assert in_trash(root) == [first]

    def test_stray_files_in_the_trash_are_passed_over(self, root, run):
        from run_folders import in_trash, to_trash

        gone = to_trash(root, run)
        (root / ".trash" / "stray").write_text("x")
        (root / ".trash" / "oddly named").mkdir()
        (root / ".trash" / "oddly named" / "old").mkdir()
        assert [(entry.name, entry.removed) for entry in in_trash(root)] == [
            ("old", "some time ago"), ("first", gone.removed)
        ]  # fmt: skip

    def test_only_what_was_named_is_deleted(self, root, run, make_run):
        from run_folders import delete_for_ever, in_trash, to_trash

        first, second = to_trash(root, run), to_trash(root, make_run(root / "second"))
        assert delete_for_ever(root, [first.folder]) == first.disk_bytes
        assert in_trash(root) == [second]

    def test_what_is_not_in_the_trash_is_never_deleted(self, root, run):
        from run_folders import delete_for_ever, restore, to_trash

        gone = to_trash(root, run)
        restore(root, gone.folder)
        for folder in (gone.folder, run, root / ".trash", root):
            with refused("not in the trash"):
                delete_for_ever(root, [folder])
        assert run.is_dir()

    def test_a_link_is_neither_followed_nor_moved(self, root, run, tmp_path):
        from run_folders import delete_for_ever, to_trash

        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "kept").write_text("x")
        (run / "adapter").symlink_to(elsewhere)
        (root / "linked").symlink_to(run)
        with refused("link to a folder elsewhere"):
            to_trash(root, root / "linked")
        delete_for_ever(root, [to_trash(root, run).folder])
        assert (elsewhere / "kept").exists()

    def test_a_trash_that_leads_elsewhere_is_refused(self, root, run, tmp_path):
        from run_folders import in_trash, to_trash

        (root / ".trash").symlink_to(tmp_path)
        with refused("is a link"):
            to_trash(root, run)
        assert in_trash(root) == []
        assert run.is_dir()


class TestInUse:
    @pytest.fixture(params=["rename", "trash"])
    def act(self, request, root):
        from run_folders import rename, to_trash

        return (
            (lambda run: rename(root, run, "new")) if request.param == "rename" else (lambda run: to_trash(root, run))
        )

    def test_a_run_that_somebody_writes_stays(self, root, make_run, act):
        folder = make_run(root / "live", finish=False)
        before = contents(root)
        with refused("process that lives"):
            act(folder)
        assert contents(root) == before
        (folder / "heartbeat.json").unlink()
        act(folder)

    def test_a_run_that_is_trained_here_stays(self, run, act, monkeypatch):
        from live import REGISTRY

        stop = threading.Event()
        thread = threading.Thread(target=stop.wait, daemon=True)
        thread.start()
        live = SimpleNamespace(alive=True, folder=run, thread=thread)
        monkeypatch.setattr(REGISTRY, "_current", live)
        with refused("trained here. Stop it on Train"):
            act(run)
        stop.set()

    def test_a_bundled_run_stays(self, roots, make_run, act):
        with refused("bundled run"):
            act(make_run(roots[0] / "sample"))

    def test_a_damaged_run_can_be_removed_unless_somebody_writes_it(self, root, run, act):
        (run / "run.json").write_text("{")
        (run / "heartbeat.json").write_text(json.dumps({"pid": os.getpid(), "unix_s": time.time()}))
        with refused("process that lives"):
            act(run)
        (run / "heartbeat.json").unlink()
        act(run)


class TestCopies:
    def test_a_duplicate_is_the_same_log_under_another_name(self, roots, make_run):
        from run_folders import duplicate

        sample = make_run(roots[0] / "sample")
        (sample / "adapter").mkdir()
        copy = duplicate(roots[1], sample, "mine")
        assert read_header(copy)[0]["name"] == "mine"
        own, other = contents(copy), contents(sample)
        assert {name for name in other if name not in own} == {"heartbeat.json"}
        assert all(own[name] == other[name] for name in own if name != "run.json")

    def test_a_packed_run_can_be_imported_again(self, root, run, tmp_path):
        from run_folders import import_run, pack

        (run / "adapter").mkdir()
        (run / "adapter" / "weights").write_bytes(b"x")
        data = pack(run)
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
        files = ("crc.jsonl", "events.jsonl", "run.json", "scalars.arrows", "spectra.arrows")
        assert sorted(names) == [f"first/{name}" for name in files]
        (tmp_path / "first.zip").write_bytes(data)
        done = import_run(root, tmp_path / "first.zip", "again", None)
        assert (load_run(done.folder).log.values == load_run(run).log.values).all()
        assert read_header(done.folder)[0]["name"] == "again"

    def test_a_free_name_can_always_be_used(self, root, run):
        from run_folders import check_name, free_name

        for wanted in ("first", "First", "", "../..", "CON", "x" * 300, "a b/c", "é", "...", "nul.log"):
            assert check_name(root, free_name(root, wanted))
        assert free_name(root, "first") == "first-2"


class TestCorrections:
    def rows(self, *names):
        return [
            {"source": n, "name": n, "layer": None, "module_type": n, "in_features": None, "out_features": None}
            for n in names
        ]

    def test_a_pattern_reads_layer_and_type(self):
        rows, count = rows_by_pattern(
            self.rows("blocks_3_q.lora_E", "blocks_12_out_proj.lora_E", "head"), "s_{layer}_{type}."
        )
        assert count == 2
        assert [(row["layer"], row["module_type"]) for row in rows] == [(3, "q"), (12, "out_proj"), (None, "head")]

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("x.{type}", (None, "q_proj")),
            ("{layer}", (7, "h.7.x.q_proj.E")),
            ("h.{layer}.{type}", (7, "x")),
            ("{type}.E", (None, "q_proj")),
        ],
    )
    def test_a_type_ends_at_a_dot_or_at_the_text_after_it(self, pattern, found):
        (row,), _ = rows_by_pattern(self.rows("h.7.x.q_proj.E"), pattern)
        assert (row["layer"], row["module_type"]) == found

    @pytest.mark.parametrize("pattern", ["plain", "{layer}{layer}", "{kind}", "{}", "{layer", ""])
    def test_a_pattern_of_no_use_is_refused(self, pattern):
        with pytest.raises(LogImportError, match="blocks_"):
            rows_by_pattern(self.rows("a"), pattern)

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=30), st.text(min_size=1, max_size=30))
    def test_any_pattern_gives_rows_or_one_line(self, pattern, name):
        try:
            rows, count = rows_by_pattern(self.rows(name), pattern)
        except LogImportError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert len(rows) == 1 and count in (0, 1)

    def test_a_type_is_corrected_in_all_its_matrices_and_empty_cells_change_nothing(self):
        rows = [{**row, "module_type": kind} for row, kind in zip(self.rows("a", "b", "c"), "qqv", strict=True)]
        table = type_table(rows)
        assert [(line["found"], line["matrices"]) for line in table] == [("q", 2), ("v", 1)]
        assert rows_by_type(rows, table) == rows
        table[0] |= {"module_type": "query", "in_features": 64, "out_features": float("nan")}
        changed = rows_by_type(rows, table)
        assert [(row["module_type"], row["in_features"], row["out_features"]) for row in changed] == [
            ("query", 64, None), ("query", 64, None), ("v", None, None)
        ]  # fmt: skip
