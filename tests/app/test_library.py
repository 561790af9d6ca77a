"""The rows of the library: what one says equals what the whole log says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.importers import import_log
from analysis.metrics import describe_run, net_moves
from analysis.runs import load_run
from flexlora.run_log import RunWriter, find_runs, glance_run
from jobs.owner import Owner

SAMPLES = sorted(find_runs(Path(__file__).parents[2] / "sample_runs"))


@pytest.fixture
def root(roots):
    return roots[1]


@pytest.fixture
def run(root, make_run):
    return make_run(root / "first")


def rows_of(root):
    from runs.rows import read_rows

    return read_rows(((f"runs/{folder.name}", folder) for folder in find_runs(root)), Owner.of("me"))


class TestRows:
    @pytest.mark.parametrize("folder", SAMPLES, ids=lambda folder: folder.name)
    def test_a_row_says_what_the_whole_log_says(self, folder):
        from runs.rows import read_row

        row, whole = read_row("x", folder), load_run(folder)
        metric = "accuracy" if "test/accuracy" in whole.metrics else "pearson"
        assert (row.measured, row.result) == (f"test {metric}", whole.metrics[f"test/{metric}"][1][-1])
        assert f" · {row.measured} {row.result:.3f} · " in describe_run(whole)
        assert row.net_moves == net_moves(whole)
        assert (row.state, row.step, row.steps) == (whole.state, whole.steps[-1], whole.total_steps)
        assert (row.method, row.task, row.preset) == tuple(whole.header[key] for key in ("method", "task", "preset"))
        assert row.matrices == len(whole.matrices)
        config = whole.config
        told = (row.seed, row.importance, row.schedule)
        assert told == (whole.header["seed"], config.get("importance", ""), config.get("schedule", ""))

    def test_a_pause_is_the_state_that_every_page_tells_until_the_run_goes_on_or_ends(self, root):
        from analysis.payload import pack_run
        from analysis.payload.container import read_header as header_in
        from runs.rows import read_row

        def told() -> str:
            writer.flush()
            run, row = load_run(root / "live"), read_row("x", root / "live")
            words = {row.state, header_in(pack_run(run))[0]["run"]["told"]}
            assert f" {row.state}, step " in describe_run(run) and len(words) == 1
            return words.pop()

        matrices = [{"name": "a", "layer": 0, "module_type": "a", "in_features": 8, "out_features": 4}]
        with RunWriter(root / "live", {"matrices": matrices}) as writer:
            writer.step(1, 0.0, 0.0, 0.0, 1e-3, 1)
            assert told() == "running"
            for kind, word in (("paused", "paused"), ("resumed", "running"), ("paused", "paused")):
                writer.note(kind, step=1)
                writer.note("edited", step=1, values={})
                assert told() == word
            writer.end("stopped")
        assert read_row("x", root / "live").state == "stopped"

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
        from runs import rows as library

        (before,) = rows_of(root)
        shutil.copytree(run, root / "bare")
        for name in ("spectra.arrows", "scalars.arrows"):
            (root / "bare" / name).write_bytes(bytes((run / name).stat().st_size))
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
        from runs.rows import DAMAGED

        (root / "bad").mkdir()
        (root / "bad" / "run.json").write_text(content)
        (row,) = rows_of(root)
        assert (row.name, row.state) == ("bad", DAMAGED)
        assert "run.json" in row.fault or "schema" in row.fault

    def test_only_runs_are_listed(self, root, run):
        from runs.folders import to_trash

        (root / "notes").mkdir()
        (root / "readme.txt").write_text("hello")
        to_trash(root, run, Owner.of("me"))
        assert rows_of(root) == []
        assert (root / ".trash").is_dir()

    def test_a_run_whose_log_has_no_end_is_running_until_its_process_is_gone(self, root, make_run):
        folder = make_run(root / "live", finish=False)
        assert rows_of(root)[0].state == "running"
        (folder / "heartbeat.json").unlink()
        assert rows_of(root)[0].state == "crashed"

    def test_disk_use_is_the_sum_of_the_files(self, root, run):
        from runs.rows import disk_use

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
        from runs.rows import read_rows

        return read_rows(((folder.name, folder) for folder in SAMPLES), Owner.of("me"))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(("ada", "LORA", "digits", "finished", "paper", "zz", "bundled", "-"))))
    def test_what_is_found_holds_every_word_and_what_is_not_lacks_one(self, words):
        from runs.rows import search

        rows = self.rows()
        found = search(rows, "  ".join(words))
        for row in rows:
            told = f"{row.name} {row.method} {row.task} {row.preset} {row.state} {row.measured} {row.where}".lower()
            assert (row in found) == all(word.lower() in told for word in words)

    def test_the_table_has_a_cell_for_every_run_in_every_column(self):
        from runs.rows import columns

        rows = self.rows()
        table = columns(rows)
        assert table["name"] == [row.name for row in rows]
        assert {len(cells) for cells in table.values()} == {len(rows)}
