"""What is done to a folder of a run: nothing is half done, and nothing that somebody writes is touched."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from analysis.runs import load_run
from flexlora.run_log import find_runs, read_header
from jobs.owner import Owner, write_owner

ME, SOMEBODY = Owner.of("me"), Owner.of("somebody else")


@pytest.fixture
def root(roots):
    return roots[1]


@pytest.fixture
def run(root, make_run):
    return make_run(root / "first")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(says: str):
    from runs.folders import RunFolderError

    return pytest.raises(RunFolderError, match=says)


class TestRename:
    def test_there_and_back_gives_the_same_bytes(self, root, run):
        from runs.folders import rename

        before = contents(run)
        renamed = rename(root, run, " Second-best_1.0 ", ME)
        assert renamed == root / "Second-best_1.0"
        assert not run.exists()
        assert read_header(renamed) == ({**read_header(renamed)[0], "name": "Second-best_1.0"}, [])
        assert load_run(renamed).notices == []
        assert contents(rename(root, renamed, "first", ME)) == before

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
        from runs.folders import RunFolderError, rename

        if not (root / "first").exists():
            make_run(root / "first", steps=2)
        try:
            folder = rename(root, root / "first", name, ME)
        except RunFolderError as error:
            assert len(str(error).splitlines()) == 1
            assert [path.name for path in root.iterdir()] == ["first"]
        else:
            assert folder.parent == root and folder.name == name.strip()
            assert folder.name.isascii() and "/" not in folder.name and not folder.name.startswith(".")
            assert [path.name for path in root.iterdir()] == [folder.name]
            rename(root, folder, "first", ME)

    def test_the_message_says_what_is_allowed(self, root, run):
        from runs.folders import rename

        with refused("letters a–z and A–Z, digits"):
            rename(root, run, "my run", ME)

    def test_a_name_that_is_taken_is_refused_in_any_case(self, root, run, make_run):
        from runs.folders import rename

        make_run(root / "other")
        before = contents(root)
        for name in ("other", "OTHER"):
            with refused("already"):
                rename(root, run, name, ME)
        assert contents(root) == before

    def test_the_order_of_the_list_stays(self, root, run, make_run):
        from runs.folders import rename

        make_run(root / "later")
        os.utime(run / "run.json", (1, 1))
        rename(root, run, "earlier", ME)
        assert [folder.name for folder in find_runs(root)] == ["later", "earlier"]

    def test_runs_made_from_it_name_it_as_it_is_called_now(self, root, run, make_run):
        from runs.folders import rename

        child = make_run(root / "child")
        header = json.loads((child / "run.json").read_text())["header"]
        from flexlora.run_log.format import write_header

        write_header(child, {**header, "parent": "first"})
        rename(root, run, "renamed", ME)
        assert read_header(child) == ({**header, "parent": "renamed"}, [])

    def test_a_header_whose_checksum_fails_is_not_made_to_look_intact(self, root, run):
        from runs.folders import rename

        file = run / "run.json"
        file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
        renamed = rename(root, run, "renamed", ME)
        assert "checksum differs" in read_header(renamed)[1][0]

    def test_a_header_that_cannot_be_written_leaves_everything_as_it_was(self, root, run, monkeypatch):
        from runs import folders as run_folders

        def full(folder, header):
            raise OSError(28, "No space left on device")

        before = contents(root)
        monkeypatch.setattr(run_folders, "write_header", full)
        with refused("keeps its name"):
            run_folders.rename(root, run, "renamed", ME)
        assert contents(root) == before


class TestTrash:
    def test_trash_and_restore_give_the_same_bytes(self, root, run):
        from runs.folders import in_trash, restore, to_trash

        before = contents(run)
        gone = to_trash(root, run, ME)
        assert not run.exists()
        assert in_trash(root, ME) == [gone]
        assert (gone.name, gone.disk_bytes) == ("first", sum(map(len, before.values())))
        assert restore(root, gone.folder, ME) == run
        assert contents(run) == before
        assert in_trash(root, ME) == [] and list((root / ".trash").iterdir()) == []

    def test_two_runs_of_one_name_can_be_removed_and_the_second_restore_is_refused(self, root, run, make_run):
        from runs.folders import in_trash, restore, to_trash

        first = to_trash(root, run, ME)
        second = to_trash(root, make_run(root / "first", steps=3), ME)
        assert len(in_trash(root, ME)) == 2
        restore(root, second.folder, ME)
        with refused("Another run is named first"):
            restore(root, first.folder, ME)
        assert in_trash(root, ME) == [first]

    def test_stray_files_in_the_trash_are_passed_over(self, root, run):
        from runs.folders import in_trash, to_trash

        gone = to_trash(root, run, ME)
        (root / ".trash" / "stray").write_text("x")
        (root / ".trash" / "oddly named").mkdir()
        (root / ".trash" / "oddly named" / "old").mkdir()
        assert [(entry.name, entry.removed) for entry in in_trash(root, ME)] == [
            ("old", "some time ago"), ("first", gone.removed)
        ]  # fmt: skip

    def test_only_what_was_named_is_deleted(self, root, run, make_run):
        from runs.folders import delete_for_ever, in_trash, to_trash

        first, second = to_trash(root, run, ME), to_trash(root, make_run(root / "second"), ME)
        assert delete_for_ever(root, [first.folder], ME) == first.disk_bytes
        assert in_trash(root, ME) == [second]

    def test_what_is_not_in_the_trash_is_never_deleted(self, root, run):
        from runs.folders import delete_for_ever, restore, to_trash

        gone = to_trash(root, run, ME)
        restore(root, gone.folder, ME)
        for folder in (gone.folder, run, root / ".trash", root):
            with refused("not in the trash"):
                delete_for_ever(root, [folder], ME)
        assert run.is_dir()

    def test_a_link_is_neither_followed_nor_moved(self, root, run, tmp_path):
        from runs.folders import delete_for_ever, to_trash

        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "kept").write_text("x")
        (run / "adapter").symlink_to(elsewhere)
        (root / "linked").symlink_to(run)
        with refused("link to a folder elsewhere"):
            to_trash(root, root / "linked", ME)
        delete_for_ever(root, [to_trash(root, run, ME).folder], ME)
        assert (elsewhere / "kept").exists()

    def test_what_somebody_else_removed_is_theirs_to_restore_and_to_delete(self, root, run):
        from runs.folders import delete_for_ever, in_trash, restore, to_trash

        write_owner(run, SOMEBODY)
        gone = to_trash(root, run, SOMEBODY).folder
        assert in_trash(root, ME) == []
        for act in (lambda: restore(root, gone, ME), lambda: delete_for_ever(root, [gone], ME)):
            with refused("belongs to another browser"):
                act()
        assert [entry.folder for entry in in_trash(root, SOMEBODY)] == [gone]
        assert delete_for_ever(root, [gone], SOMEBODY) > 0

    def test_a_trash_that_leads_elsewhere_is_refused(self, root, run, tmp_path):
        from runs.folders import in_trash, to_trash

        (root / ".trash").symlink_to(tmp_path)
        with refused("is a link"):
            to_trash(root, run, ME)
        assert in_trash(root, ME) == []
        assert run.is_dir()


class TestInUse:
    @pytest.fixture(params=["rename", "trash"])
    def act(self, request, root):
        from runs.folders import rename, to_trash

        return (
            (lambda run: rename(root, run, "new", ME))
            if request.param == "rename"
            else (lambda run: to_trash(root, run, ME))
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
        from jobs.registry import REGISTRY

        monkeypatch.setattr(REGISTRY, "_running", SimpleNamespace(folder=run, launched=True))
        with refused("trained here. Stop it on Train"):
            act(run)
        monkeypatch.setattr(REGISTRY, "_running", None)
        monkeypatch.setattr(REGISTRY, "_waiting", [SimpleNamespace(folder=run, launched=False)])
        with refused("in line here"):
            act(run)

    def test_a_run_of_somebody_else_stays(self, root, run, act):
        write_owner(run, SOMEBODY)
        before = contents(root)
        with refused("belongs to another browser"):
            act(run)
        assert contents(root) == before
        write_owner(run, ME)
        act(run)

    def test_a_run_whose_owner_cannot_be_told_is_anybodys(self, root, run, act):
        (run / "owner.json").write_text('{"owner": ')
        act(run)

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
        from runs.folders import duplicate

        sample = make_run(roots[0] / "sample")
        (sample / "adapter").mkdir()
        copy = duplicate(roots[1], sample, "mine")
        assert read_header(copy)[0]["name"] == "mine"
        own, other = contents(copy), contents(sample)
        assert {name for name in other if name not in own} == {"heartbeat.json"}
        assert all(own[name] == other[name] for name in own if name != "run.json")

    def test_a_packed_run_can_be_imported_again(self, root, run, tmp_path):
        from runs.folders import import_run, pack

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
        from runs.folders import check_name, free_name

        for wanted in ("first", "First", "", "../..", "CON", "x" * 300, "a b/c", "é", "...", "nul.log"):
            assert check_name(root, free_name(root, wanted))
        assert free_name(root, "first") == "first-2"
