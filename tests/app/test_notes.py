"""Tags and notes: beside the log, by the owner alone, found by the search, and no part of what travels."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from flexlora.errors import FlexLoRAError
from flexlora.run_log import read_run
from jobs.owner import Owner, write_owner
from runs.folders import duplicate, pack
from runs.notes import MAX_NOTE, MAX_TAG, MAX_TAGS, NOTES_FILE, Notes, parse_tags, read_notes, write_notes
from runs.rows import read_row, search

ANNA, BEN = Owner.of("anna"), Owner.of("ben")


def script():
    from app_pages import runs

    runs.page()


@pytest.fixture
def run(roots, make_run):
    folder = make_run(roots[1] / "mine")
    write_owner(folder, ANNA)
    return folder


@given(st.lists(st.text(min_size=1, max_size=MAX_TAG, alphabet=st.characters(categories=["L", "N", "S"])), max_size=12))
def test_tags_that_are_written_are_read(tmp_path_factory, tags):
    folder = tmp_path_factory.mktemp("run")
    notes = Notes(parse_tags(" , ".join(tags)), "why\nnot")
    write_notes(folder, notes, ANNA)
    assert read_notes(folder) == notes
    assert notes.tags == tuple(dict.fromkeys(tags))


@pytest.mark.parametrize(
    "text", ["a" * (MAX_TAG + 1), ",".join(map(str, range(MAX_TAGS + 1))), "be\u0007ll"], ids=["long", "many", "bell"]
)
def test_tags_that_cannot_be_are_told(text):
    with pytest.raises(FlexLoRAError, match="at most"):
        parse_tags(text)


def test_only_the_owner_writes_and_the_log_stays_as_it_is(run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(FlexLoRAError, match="belongs to another browser"):
        write_notes(run, Notes(("mine now",)), BEN)
    with pytest.raises(FlexLoRAError, match="characters"):
        write_notes(run, Notes(note="x" * (MAX_NOTE + 1)), ANNA)
    write_notes(run, Notes(("baseline", "paper"), "seed 0 of the table"), ANNA)
    assert read_run(run).notices == []
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name != NOTES_FILE} == before
    row = read_row("runs/mine", run)
    assert search([row], "paper baseline") == search([row], "table") == [row]
    assert search([row], "other") == []
    write_notes(run, Notes(), ANNA)
    assert not (run / NOTES_FILE).exists()


def test_they_travel_neither_in_a_zip_nor_in_a_duplicate(run, roots):
    write_notes(run, Notes(("secret",)), ANNA)
    assert not [name for name in zipfile.ZipFile(io.BytesIO(pack(run))).namelist() if name.endswith(NOTES_FILE)]
    assert not (duplicate(roots[1], run, "copy") / NOTES_FILE).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"tags": 3}', '{"tags": ["' + "a" * 99 + '"]}', "[" * 9999])
def test_a_damaged_file_says_nothing(run, text):
    (run / NOTES_FILE).write_text(text)
    assert read_notes(run).tags == ()
    assert read_row("runs/mine", run).state == "finished"


def test_the_page_keeps_what_is_typed_and_shows_it_to_everybody(roots, make_run):
    make_run(roots[1] / "open")
    page = AppTest.from_function(script, default_timeout=60)
    page.session_state["runs_selected"] = "runs/open"
    page.run()
    page.text_input(key="runs_notes_open_tags").set_value("baseline, *bold*")
    page.text_area(key="runs_notes_open_note").set_value("first try")
    next(button for button in page.button if button.label == "Keep").click().run()
    assert not page.exception
    told = " ".join(item.value for item in page.markdown)
    assert ":gray-badge[baseline]" in told and r"\*bold\*" in told and "first try" in told
    assert page.dataframe[0].value["tags"].tolist() == ["baseline, *bold*"]


def test_somebody_else_is_offered_no_pen(roots, run):
    page = AppTest.from_function(script, default_timeout=60)
    page.session_state["runs_selected"] = "runs/mine"
    page.run()
    assert not page.exception
    assert not [item for item in page.text_input if item.label == "Tags"]
