"""The Runs page headless: every state of it, every action with its way back, and one line for every wrong file."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.runs import load_run
from flexlora.run_log import read_header
from jobs.owner import Owner, write_owner

NAMES = [f"encoder.layer.{n}.attention.self.{kind}.lora_E" for n in range(2) for kind in ("query", "value")]
EVENTS = {100: [8, 8, 7, 9], 200: [8, 7, 8, 9], 300: [9, 6, 8, 9]}


def script():
    from app_pages import runs

    runs.page()


def rank_log(names=NAMES, events=EVENTS) -> bytes:
    """As loralib/flexlora.py of the released code writes it."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["step", *names], *([step, *ranks] for step, ranks in events.items())])
    return text.getvalue().encode()


def event_file(folder: Path) -> tuple[str, bytes]:
    """As loralib/adalora.py writes it, through torch's SummaryWriter."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    for step, ranks in EVENTS.items():
        for name, rank in zip(NAMES, ranks, strict=True):
            writer.add_scalar(f"Ranknum/{name}", rank, step)
        writer.add_scalar("Budget/total_rank", sum(ranks), step)
    writer.close()
    (file,) = folder.iterdir()
    return file.name, file.read_bytes()


@pytest.fixture
def page(roots, make_run):
    """The page with a bundled run and two of the user's."""
    samples, own = roots
    make_run(samples / "sample")
    for name in ("first", "second"):
        make_run(own / name)
    return AppTest.from_function(script, default_timeout=30)


@pytest.fixture
def bare(roots):
    return AppTest.from_function(script, default_timeout=30)


def text(page):
    blocks = [*page.markdown, *page.caption, *page.error, *page.warning, *page.info, *page.success, *page.header]
    return "\n".join(block.value for block in blocks).replace("\\", "")


def keys(page):
    return {widget.key for widget in [*page.button, *page.get("download_button"), *page.get("popover")]}


def chosen(page, key):
    """Select a run as the page itself does; a click on the table needs a browser."""
    page.session_state["runs_selected"] = key
    page.session_state["runs_choices"] = time.monotonic()
    page.run()
    assert not page.exception
    return page


def upload(page, *files):
    page.file_uploader[0].set_value([(name, content, "application/octet-stream") for name, content in files])
    page.run()
    assert not page.exception
    return page


def name_field(page):
    return next(field for field in page.text_input if field.label == "Name of the run")


def press(page, key):
    page.button(key=key).click().run()
    assert not page.exception
    return page


class TestLibrary:
    def test_without_any_run_the_page_says_how_to_get_one(self, bare):
        bare.run()
        assert not bare.exception
        assert "No run yet" in text(bare) and "What can be imported" in text(bare)
        assert not bare.dataframe

    def test_every_run_is_in_the_table_with_the_users_own_first(self, page):
        page.run()
        assert not page.exception
        table = page.dataframe[0].value
        assert sorted(table["name"][:2]) == ["first", "second"] and list(table["name"][2:]) == ["sample"]
        assert list(table["where"]) == ["yours", "yours", "bundled"]
        assert list(table.columns)[:2] == ["name", "where"], "whose a run is must not be cut off at the right"
        assert set(table["net moves"]) == {4}
        assert "2 of yours" in text(page) and "1 bundled" in text(page)
        assert "runs_explore" not in keys(page)

    def test_a_run_whose_log_was_cut_is_marked(self, page, roots):
        page.run()
        scalars = roots[1] / "first" / "scalars.arrows"
        os.truncate(scalars, scalars.stat().st_size // 2)
        page.run()
        table = page.dataframe[0].value
        states = dict(zip(table["name"], table["state"], strict=True))
        assert states == {"first": "finished ⚠", "second": "finished", "sample": "finished"}

    def test_the_viewers_run_in_line_is_told_above_the_table(self, page, roots, monkeypatch):
        from app_pages import runs
        from flexlora.job import build_job
        from jobs.live import Request
        from jobs.registry import Registry

        # Whatever comes to its turn stays there.
        registry = Registry(launch=lambda work, name: None)
        monkeypatch.setattr(runs, "REGISTRY", registry)
        monkeypatch.setattr(runs, "visitor", lambda: Owner.of("me"))
        for who in ("somebody", "me"):
            live = registry.start(Owner.of(who), Request(build_job("digits", steps=4)), roots[1])
        assert f"Yours, {live.folder.name}, is next" in text(page.run()).replace("*", "")

    def test_the_search_narrows_the_table_and_says_when_nothing_is_left(self, page):
        page.run()
        page.text_input(key="runs_search").set_value("BUNDLED flexlora").run()
        assert list(page.dataframe[0].value["name"]) == ["sample"]
        page.text_input(key="runs_search").set_value("nothing like it").run()
        assert not page.exception
        assert "None of 3 runs holds all of these words" in text(page)
        assert not page.dataframe

    def test_a_bundled_run_can_be_duplicated_and_no_more(self, page, roots):
        chosen(page.run(), "sample")
        assert {"runs_explore", "runs_what_if", "runs_zip", "runs_duplicate"} <= keys(page)
        assert "runs_trash" not in keys(page)
        press(page, "runs_duplicate")
        assert "runs/sample is a copy of sample" in text(page)
        assert read_header(roots[1] / "sample")[0]["name"] == "sample"
        assert page.session_state["runs_selected"] == "runs/sample"
        press(page, "runs_undo")
        assert not (roots[1] / "sample").exists()

    def test_a_run_is_renamed_and_the_other_pages_follow(self, page, roots):
        chosen(page.run(), "runs/first")
        page.session_state["explore_run"] = page.session_state["what_if_run"] = "runs/first"
        page.text_input(key="runs_name_first").set_value("best")
        press(page, "runs_rename_do")
        assert "first is called best now" in text(page)
        assert read_header(roots[1] / "best")[0]["name"] == "best"
        followed = {page.session_state[key] for key in ("explore_run", "what_if_run", "runs_selected")}
        assert followed == {"runs/best"}
        press(page, "runs_undo")
        assert (roots[1] / "first").is_dir() and not (roots[1] / "best").exists()
        assert page.session_state["explore_run"] == "runs/first"

    @pytest.mark.parametrize("name", ["../up", "a b", "", "second", "[x](http://y)", ".hidden"])
    def test_a_bad_name_is_refused_in_one_box(self, page, roots, name):
        chosen(page.run(), "runs/first")
        page.text_input(key="runs_name_first").set_value(name)
        press(page, "runs_rename_do")
        assert len(page.warning) == 1
        assert sorted(path.name for path in roots[1].iterdir()) == ["first", "second"]

    def test_a_removed_run_comes_back_by_undo_and_from_the_trash(self, page, roots):
        chosen(page.run(), "runs/first")
        press(page, "runs_trash")
        assert "first is in the trash" in text(page) and "1 in the trash" in text(page)
        assert "first" not in list(page.dataframe[0].value["name"])
        assert "runs_details" not in keys(page) and "runs_explore" not in keys(page)
        press(page, "runs_undo")
        assert "first is back" in text(page) and (roots[1] / "first").is_dir()
        press(page, "runs_trash")
        (ident,) = [key for key in keys(page) if key and key.startswith("runs_restore_")]
        press(page, ident)
        assert (roots[1] / "first").is_dir()

    def test_nothing_is_deleted_before_a_second_yes(self, page, roots):
        for name in ("first", "second"):
            press(chosen(page.run(), f"runs/{name}"), "runs_trash")
        press(page, "runs_empty")
        assert "Delete 2 runs" in text(page) and "Nothing brings it back" in text(page)
        trash = roots[1] / ".trash"
        assert len(list(trash.iterdir())) == 2
        press(page, "runs_confirm_no")
        assert "Nothing brings it back" not in text(page) and len(list(trash.iterdir())) == 2
        one = min(key for key in keys(page) if key and key.startswith("runs_delete_"))
        press(page, one)
        press(page, "runs_confirm_yes")
        assert "freed" in text(page) and len(list(trash.iterdir())) == 1
        press(page, next(key for key in keys(page) if key and key.startswith("runs_delete_")))
        press(page, "runs_confirm_yes")
        assert list(trash.iterdir()) == [] and "Restore" not in [button.label for button in page.button]

    def test_a_run_that_is_written_can_be_looked_at_and_not_changed(self, page, roots, make_run):
        make_run(roots[1] / "live", finish=False)
        chosen(page.run(), "runs/live")
        assert page.button(key="runs_trash").disabled
        assert "live is being written by a process that lives" in text(page)
        assert not page.button(key="runs_explore").disabled

    def test_a_run_of_another_browser_can_be_looked_at_and_not_changed(self, page, roots):
        write_owner(roots[1] / "first", Owner.of("somebody else"))
        chosen(page.run(), "runs/first")
        assert "1 of yours" in text(page) and "1 of other browsers" in text(page)
        assert page.button(key="runs_trash").disabled
        assert "first belongs to another browser" in text(page)
        assert not page.button(key="runs_explore").disabled

    def test_a_damaged_run_is_told_and_can_only_be_moved(self, page, roots):
        (roots[1] / "first" / "run.json").write_text("{")
        (roots[1] / "first" / "heartbeat.json").unlink()
        chosen(page.run(), "runs/first")
        assert "is damaged or not a run header" in text(page)
        assert not keys(page) & {"runs_explore", "runs_what_if", "runs_zip"}
        press(page, "runs_trash")
        assert not (roots[1] / "first").exists()

    def test_names_from_outside_are_shown_as_they_are(self, page, roots):
        odd = roots[1] / "**bold** [x](http:y)"
        (roots[1] / "first").rename(odd)
        chosen(page.run(), f"runs/{odd.name}")
        assert r"\*\*bold\*\* \[x\]\(http\:y\)" in "".join(block.value for block in page.markdown)


class TestImport:
    def test_a_rank_log_is_uploaded_its_map_corrected_and_imported(self, bare, roots):
        upload(bare.run(), ("rank_log.csv", rank_log()))
        assert "rank_log.csv of the released FlexLoRA code**: 4 matrices" in text(bare)
        types, rows = bare.data_editor
        assert list(types.value["found"]) == ["query", "value"] and list(types.value["matrices"]) == [2, 2]
        assert list(rows.value["source"]) == NAMES and list(rows.value["layer"]) == [0, 0, 1, 1]
        bare.session_state[types.key] = {"edited_rows": {0: {"module_type": "q", "in_features": 64}}}
        bare.run()
        rows = bare.data_editor[1]
        assert list(rows.value["module_type"]) == ["q", "value"] * 2
        bare.session_state[rows.key] = {"edited_rows": {3: {"layer": 7, "name": "last"}}}
        name_field(bare).set_value("theirs")
        press(bare, "runs_import")
        assert "theirs is imported: 4 matrices, 5 records" in text(bare).replace("*", "")
        run = load_run(roots[1] / "theirs")
        assert [(m.layer, m.module_type, m.in_features) for m in run.matrices] == [
            (0, "q", 64), (0, "value", 0), (1, "q", 64), (7, "value", 0)
        ]  # fmt: skip
        assert run.matrices[3].name == "last"
        assert run.ranks[-1].tolist() == EVENTS[300]
        assert {"runs_imported_explore", "runs_explore"} <= keys(bare)
        assert "runs_what_if" not in keys(bare)
        assert not bare.data_editor

    def test_a_pattern_reads_odd_names(self, bare, roots):
        names = [f"blocks_{n}_{kind}.lora_E" for n in range(2) for kind in "qv"]
        upload(bare.run(), ("odd.csv", rank_log(names)))
        assert bare.data_editor[1].value["layer"].isna().all()
        pattern = next(field for field in bare.text_input if field.label.startswith("Read layer"))
        pattern.set_value("{what}").run()
        assert "cannot be used" in text(bare) and not bare.exception
        pattern.set_value("blocks_{layer}_{type}.lora_E").run()
        assert "Found in 4 of 4 names" in text(bare)
        press(bare, "runs_import")
        assert [(m.layer, m.module_type) for m in load_run(roots[1] / "odd").matrices] == [
            (n, kind) for n in range(2) for kind in "qv"
        ]

    def test_event_files_of_adalora_are_uploaded(self, bare, roots, tmp_path):
        upload(bare.run(), event_file(tmp_path / "tb"))
        assert "TensorBoard event files of AdaLoRA**: 4 matrices" in text(bare)
        name_field(bare).set_value("ada")
        press(bare, "runs_import")
        assert load_run(roots[1] / "ada").ranks.tolist() == list(EVENTS.values())

    def test_a_run_comes_as_zip_as_files_or_by_its_path(self, page, roots):
        from runs.folders import pack

        run = roots[1] / "first"
        upload(page.run(), ("first.zip", pack(run)))
        assert name_field(page).value == "first-2"
        press(page, "runs_import")
        files = [(file.name, file.read_bytes()) for file in run.iterdir() if file.is_file()]
        upload(page, *files)
        name_field(page).set_value("third")
        press(page, "runs_import")
        next(field for field in page.text_input if field.label.startswith("or the path")).set_value(str(run)).run()
        name_field(page).set_value("fourth")
        press(page, "runs_import")
        ranks = load_run(run).ranks.tolist()
        for name in ("first-2", "third", "fourth"):
            assert load_run(roots[1] / name).ranks.tolist() == ranks
            assert read_header(roots[1] / name)[0]["name"] == name

    @pytest.mark.parametrize(
        ("files", "says"),
        [
            ([("photo.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 50)], "photo.png is no log that can be imported"),
            ([("rank_log.csv", b"")], "rank_log.csv is empty"),
            ([("rank_log.csv", b"step,a\n1,0.5\n")], "'0.5' as rank of 'a'"),
            ([("events.out.tfevents.1.host", b"garbage")], "no TensorBoard events"),
            ([("run.zip", b"PK\x03\x04 cut")], "run.zip is no readable zip"),
            ([("run.json", b"{"), ("crc.jsonl", b"")], "run.json is damaged"),
            ([("a.txt", b"1"), ("b.txt", b"2")], "What was uploaded is no log that can be imported"),
            ([("../../**x**.csv", b"hello")], "_x_.csv is no log"),
            ([(f"{n}.txt", b"1") for n in range(60)], "at most 50"),
        ],
    )
    def test_a_wrong_file_is_one_line_and_leaves_nothing_behind(self, bare, roots, files, says):
        upload(bare.run(), *files)
        assert len(bare.error) == 1
        told = bare.error[0].value.replace("\\", "")
        assert says in told
        assert len(told.splitlines()) == 1
        assert tempfile.gettempdir() not in told
        assert list(roots[1].iterdir()) == []
        assert "runs_import" not in keys(bare)

    @pytest.mark.parametrize(
        "path", ["nowhere.csv", "nul\0byte", "x" * 5000, "~no_such_user/x", "/", "[a](http://b) **c**", os.devnull]
    )
    def test_an_odd_path_is_one_line(self, bare, path):
        bare.run()
        next(field for field in bare.text_input if field.label.startswith("or the path")).set_value(path).run()
        assert not bare.exception
        assert len(bare.error) == 1

    def test_nothing_of_a_file_of_the_server_is_told_and_a_shared_one_opens_one_folder(
        self, bare, roots, tmp_path, monkeypatch
    ):
        def told(path) -> str:
            field = next(field for field in bare.text_input if field.label.startswith("or the path"))
            field.set_value(str(path)).run()
            return bare.error[0].value.replace("\\", "") if bare.error else "taken"

        (secret := tmp_path / "secret").write_text("treasure")
        bare.run()
        assert "treasure" not in told(secret) and "a file of another kind" in told(secret)
        assert "secret" not in told(tmp_path).replace(str(secret), "")
        (opened := tmp_path / "opened").mkdir()
        (opened / "link").symlink_to(secret)
        (opened / "rank_log.csv").write_bytes(rank_log())
        monkeypatch.setenv("FLEXLORA_LAB_FILES", str(opened))
        for path in (secret, opened / "link", opened / ".." / "secret", tmp_path / "nowhere"):
            assert "must lie in" in told(path) and not bare.exception
        assert told(opened / "rank_log.csv") == "taken"

    @pytest.mark.parametrize("hosts", [["*"], ["localhost", "lab.example"]])
    def test_a_server_that_others_reach_opens_the_runs_alone_unless_a_folder_is_set(
        self, roots, tmp_path, monkeypatch, hosts
    ):
        import streamlit

        from analysis.importers import LogImportError
        from runs.store import named

        options = {"server.address": "127.0.0.1", "server.allowedHosts": ["localhost"]}
        monkeypatch.setattr(streamlit, "get_option", options.get)
        monkeypatch.delenv("FLEXLORA_LAB_FILES")
        assert named(str(tmp_path), LogImportError) == tmp_path
        options["server.allowedHosts"] = hosts
        with pytest.raises(LogImportError, match="must lie among the runs"):
            named(str(tmp_path), LogImportError)
        assert named(str(roots[1] / "mine"), LogImportError) == roots[1] / "mine"

    def test_a_bad_name_or_map_is_one_line_and_can_be_mended(self, bare, roots):
        upload(bare.run(), ("rank_log.csv", rank_log()))
        name_field(bare).set_value("no good")
        press(bare, "runs_import")
        assert "cannot be the name of a run" in bare.error[0].value.replace("\\", "")
        name_field(bare).set_value("good")
        rows = bare.data_editor[1]
        bare.session_state[rows.key] = {"edited_rows": {1: {"name": NAMES[0].removesuffix(".lora_E")}}}
        press(bare, "runs_import")
        assert "gives two matrices the name" in bare.error[0].value.replace("\\", "")
        assert list(roots[1].iterdir()) == []
        bare.session_state[rows.key] = {"edited_rows": {}}
        press(bare, "runs_import")
        assert [path.name for path in roots[1].iterdir()] == ["good"]

    def test_what_was_uploaded_goes_when_it_is_imported_or_taken_away(self, bare, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

        def kept():
            return {
                path for path in Path(tempfile.gettempdir()).glob("flexlora-log-*") if path.stat().st_mtime >= started
            }

        started = time.time() - 1
        before = kept()
        upload(bare.run(), ("rank_log.csv", rank_log()))
        assert len(kept() - before) == 1
        press(bare, "runs_import")
        assert kept() - before == set()
        upload(bare, ("wrong.txt", b"x"))
        upload(bare)
        assert kept() - before == set()

    def test_a_run_of_ranks_cannot_be_replayed_and_what_if_says_so(self, roots, tmp_path):
        from analysis.importers import import_log

        def what_if():
            from app_pages import what_if

            what_if.page()

        (tmp_path / "rank_log.csv").write_bytes(rank_log())
        import_log(tmp_path / "rank_log.csv", roots[1] / "theirs")
        page = AppTest.from_function(what_if, default_timeout=30)
        page.run()
        assert not page.exception
        assert "It holds no λ" in page.warning[0].value

    def test_the_header_keeps_what_the_log_said(self, page, roots):
        from runs.folders import pack

        upload(page.run(), ("first.zip", pack(roots[1] / "first")))
        press(page, "runs_import")
        own, copy = (read_header(roots[1] / name)[0] for name in ("first", "first-2"))
        assert json.dumps({**copy, "name": "first"}) == json.dumps(own)
