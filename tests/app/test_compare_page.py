"""The Compare page headless: what is refused, what an unfinished study shows, what a link opens."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from compare_studies import PLAIN, charts, script, words, write_plain_runs, write_study
from streamlit.testing.v1 import AppTest

from flexlora.study.files import SPEC
from flexlora.study.plan import plan_study
from flexlora.study.spec import read_study_text


@pytest.fixture(autouse=True)
def idle():
    """The registry of the process has nothing to do with these tests."""
    from jobs.registry import REGISTRY

    assert REGISTRY.line().running is None


@pytest.fixture
def page(roots):
    return AppTest.from_function(script, default_timeout=60)


@pytest.fixture
def make_study(roots, forge_run):
    """``write_study`` among the runs."""
    return partial(write_study, forge_run, roots[1])


@pytest.fixture
def plain_runs(roots, forge_run):
    """``write_plain_runs`` among the runs."""
    return write_plain_runs(forge_run, roots[1])


def test_with_nothing_chosen_the_sample_study_is_a_click_away(page, roots, make_study):
    sample = roots[0] / "studies" / "sample"
    sample.parent.mkdir()
    shutil.move(make_study(), sample)
    page.run()
    assert not page.exception and "Does moving rank help" in words(page)
    page.button(key="compare_sample").click().run()
    assert not page.exception
    assert page.selectbox(key="compare_chosen").value == "sample"
    assert page.query_params["study"] == "sample"


def test_an_unfinished_study_shows_what_is_there_and_offers_to_go_on(page, make_study):
    make_study(count=6)
    page.query_params["study"] = "runs/small"
    page.run()
    assert not page.exception
    assert "6 of 8 runs" in words(page)
    assert page.button(key="compare_resume").label == "Go on with it"


def test_a_study_of_another_browser_is_not_gone_on_with(page, make_study):
    from jobs.owner import Owner, write_owner

    write_owner(make_study(count=2), Owner.of("somebody else"))
    page.query_params["study"] = "runs/small"
    page.run()
    assert not page.exception and "only its owner goes on with it" in words(page)
    assert not [button for button in page.button if button.key == "compare_resume"]


def test_unequal_budgets_are_refused_by_how_much_and_gone_on_with_when_told_to(page, make_study):
    make_study(big=(6, 6))
    page.query_params["study"] = "runs/small"
    page.run()
    assert not page.exception
    told = "flexlora has 12 total rank in the end, 50 % above the 8 of lora"
    assert told in words(page) and not page.dataframe
    page.toggle(key="compare_unequal").set_value(True).run()
    assert not page.exception
    assert words(page).count(told) > 1, "noted beside what it is about"
    assert page.query_params["unequal"] == "1"
    assert page.dataframe


@pytest.mark.parametrize("link", [{"study": "runs/nowhere"}, {"study": "../etc"}, {"part": "x"}, {"study": "a" * 5000}])
def test_a_link_that_leads_nowhere_is_told(page, make_study, link):
    make_study(count=1)
    for name, value in link.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception and "Does moving rank help" in words(page)


def test_a_damaged_study_is_told(page, roots):
    folder = roots[1] / "broken"
    folder.mkdir()
    (folder / SPEC).write_bytes(b"\xff\xfe")
    page.query_params["study"] = "runs/broken"
    page.run()
    assert not page.exception and "no text in UTF-8" in words(page)


SECTIONS = ("Over steps", "Cost", "Rank maps", "Learning rates", "Stability", "Take along")


def test_the_first_screen_says_what_can_be_said(page, make_study):
    make_study()
    page.query_params["study"] = "runs/small"
    page.run()
    assert not page.exception
    told = words(page)
    assert "On digits, flexlora is not told apart from lora in test accuracy" in told or "is better than lora" in told
    assert "cannot tell anything apart, however large: 6 are needed" in told
    assert len(charts(page)) == 1


@pytest.mark.parametrize("view", SECTIONS)
def test_every_section_says_what_it_shows_and_has_its_table(page, make_study, view):
    make_study()
    page.query_params["study"] = "runs/small"
    page.query_params["view"] = view
    page.run()
    assert not page.exception and not page.error
    assert page.query_params["view"] == view
    if view in ("Learning rates", "Stability"):
        assert page.info and not charts(page), "neither tuned nor with two events"
    else:
        assert page.dataframe and (charts(page) or view == "Take along")
        # Four seeds: the bands and bars of every section must not pass for more than they are.
        assert view == "Take along" or "an interval over 4 says little more than what those runs were" in words(page)


def test_the_sample_study_has_every_figure(page, monkeypatch):
    monkeypatch.setenv("FLEXLORA_LAB_SAMPLES", str(Path(__file__).parents[2] / "sample_runs"))
    page.query_params["study"] = "four_ways"
    counts = {"Answer": 1, "Over steps": 1, "Cost": 1, "Rank maps": 2, "Learning rates": 1, "Stability": 1}
    page.run()
    for view, count in counts.items():
        page.segmented_control(key="compare_view").set_value(view).run()
        assert not page.exception and not page.error
        assert len(charts(page)) == count, view


def test_a_study_is_read_against_another_variant_and_a_link_opens_the_same(page, monkeypatch):
    monkeypatch.setenv("FLEXLORA_LAB_SAMPLES", str(Path(__file__).parents[2] / "sample_runs"))
    page.query_params["study"] = "four_ways"
    page.run()
    line = (
        "**Nothing here shows that moving rank helps: FlexLoRA could be worse by 0.046 or better by 0.001 than LoRA.**"
    )
    assert line in [markdown.value.replace("\\", "") for markdown in page.markdown]
    assert "reference" not in page.query_params
    page.selectbox(key="compare_against").set_value("random moves").run()
    assert not page.exception and not page.error
    assert "On digits, FlexLoRA is not told apart from random moves" in words(page)
    assert page.query_params["reference"] == "random moves"
    page.session_state["compare_view"] = "Take along"
    page.run()
    assert "FlexLoRA is not told apart from random moves" in str(page.dataframe[0].value.to_dict())
    assert page.selectbox(key="compare_against").value == "random moves"
    link = AppTest.from_function(script, default_timeout=60)
    link.query_params["study"], link.query_params["reference"] = "four_ways", "random moves"
    link.run()
    assert "On digits, FlexLoRA is not told apart from random moves" in words(link)


def picked(page, folders) -> str:
    return ",".join(f"runs/{folder.name}" for folder in folders)


def test_picked_runs_are_grouped_by_what_differs_and_a_link_opens_the_same(page, plain_runs):
    page.query_params["runs"] = picked(page, plain_runs)
    page.query_params["margin"] = "0.05"
    page.run()
    assert not page.exception and not page.error
    assert "method flexlora makes no difference that matters against run" in words(page)
    assert page.query_params["runs"] == picked(page, plain_runs)
    assert page.query_params["margin"] == "0.05"


def test_picked_runs_of_one_group_and_a_bad_margin_are_told(page, plain_runs):
    page.query_params["runs"] = picked(page, plain_runs[::2])
    page.run()
    assert not page.exception and "A comparison needs two groups" in words(page)
    page.text_input(key="compare_margin").set_value("much").run()
    assert not page.exception and "'much' is no margin" in words(page)


def test_runs_are_picked_by_the_words_of_their_tags(page, plain_runs):
    from jobs.owner import Owner
    from runs.notes import Notes, write_notes

    for folder in plain_runs[:2]:
        write_notes(folder, Notes(("baseline",)), Owner.of("anybody"))
    page.session_state["compare_chosen"] = "runs"
    page.run()
    page.text_input(key="compare_words").set_value("baseline").run()
    page.button(key="compare_pick_all").click().run()
    assert not page.exception
    assert sorted(page.multiselect(key="compare_runs").value) == sorted(f"runs/{f.name}" for f in plain_runs[:2])


def test_two_configurations_say_what_was_chosen_and_what_follows(page, plain_runs):
    lora, flexlora = plain_runs[:2]
    page.query_params["part"] = "Two configurations"
    page.query_params["a"], page.query_params["b"] = f"runs/{lora.name}", f"runs/{flexlora.name}"
    page.run()
    assert not page.exception and "They differ in **method**." in words(page)
    page.selectbox(key="compare_settings_b").set_value(f"runs/{plain_runs[2].name}").run()
    assert "They differ in their **seed** only" in words(page)


def test_everything_is_packed_in_one_zip(page, make_study):
    import io
    import zipfile

    make_study()
    page.query_params["study"] = "runs/small"
    page.query_params["view"] = "Take along"
    page.run()
    page.button(key="compare_pack").click().run()
    assert not page.exception and not page.error
    content = page.session_state["compare_packed"][2]
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert {"table.csv", "comparison.tex", "claims.md", "study.yaml"} <= set(names)


def test_a_study_goes_to_the_trash_and_comes_back(page, make_study, roots):
    from jobs.owner import Owner
    from runs.folders import in_trash, restore

    folder = make_study()
    page.query_params["study"] = "runs/small"
    page.run()
    page.button(key="compare_trash").click().run()
    assert not page.exception and not folder.exists()
    assert "small is in the trash" in words(page)
    (gone,) = in_trash(roots[1], Owner.of("anybody"))
    assert restore(roots[1], gone.folder, Owner.of("anybody")) == folder


def test_all_runs_without_equal_budgets_are_written_only_when_told_to(page, make_study):
    make_study(big=(6, 6))
    page.query_params["study"] = "runs/small"
    page.run()
    assert "All 8 runs are there" in words(page) and page.button(key="compare_resume").disabled
    page.toggle(key="compare_unequal").set_value(True).run()
    assert not page.button(key="compare_resume").disabled


def test_a_study_that_another_process_makes_is_left_to_it(page, make_study):
    from flexlora.study.files import study_folder

    folder = make_study(count=2)
    page.query_params["study"] = "runs/small"
    with study_folder(folder, PLAIN, resume=True):
        page.run()
        assert not page.exception and "A process beside this server works on it" in words(page)
        keys = {button.key for button in page.button}
        assert not keys & {"compare_resume", "compare_trash"}


def test_a_study_that_is_started_is_shown_unless_a_link_asks_for_another(page, make_study, monkeypatch):
    from jobs.live import LiveJob, Request
    from jobs.owner import Owner
    from jobs.registry import REGISTRY
    from jobs.study_job import study_job

    make_study(name="small")
    mine = make_study(count=2, name="mine")
    job = study_job(PLAIN, plan_study(read_study_text(PLAIN, SPEC)))
    live = LiveJob(Owner.of("me"), Request(job), mine)
    page.query_params["study"] = "runs/small"
    monkeypatch.setattr(REGISTRY, "busy_with", lambda _: live)
    page.run()
    assert not page.exception and page.selectbox(key="compare_chosen").value == "runs/small"
    later = LiveJob(live.owner, live.request, make_study(1, name="next"))
    monkeypatch.setattr(REGISTRY, "busy_with", lambda _: later)
    page.session_state["compare_part"] = "New study"
    page.run()
    assert not page.exception
    assert page.selectbox(key="compare_chosen").value == "runs/next"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("study.json", b"{}"),
        ("study.json", b"[" * 5000),
        ("table.parquet", b"PAR1"),
        ("costs.csv", b"\xff\xfe\x00"),
        ("choices.json", b"{"),
        ("choices.json", b"[" * 5000),
        ("runs/digits-lora-s0/run.json", b"{"),
        ("runs/digits-lora-s0/run.json", None),
        ("runs/digits-lora-s0/spectra.arrows", b""),
    ],
)
def test_a_damaged_study_has_no_traceback_in_any_section(page, roots, name, content):
    folder = roots[1] / "broken"
    shutil.copytree(Path(__file__).parents[2] / "sample_runs" / "studies" / "four_ways", folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    page.query_params["study"] = "runs/broken"
    page.run()
    assert not page.exception
    for view in SECTIONS if page.segmented_control(key="compare_part") and len(page.segmented_control) > 1 else ():
        page.segmented_control(key="compare_view").set_value(view).run()
        assert not page.exception, view


def test_a_study_that_ends_while_it_is_looked_at_stays_chosen(page, make_study, monkeypatch):
    from compare.studies import StudyEntry

    make_study(big=(6, 6))
    page.query_params["study"], page.query_params["view"] = "runs/small", "Take along"
    page.query_params["unequal"] = "1"
    monkeypatch.setattr(StudyEntry, "state", "under way")
    page.run()
    monkeypatch.setattr(StudyEntry, "state", "interrupted")
    page.toggle(key="compare_unequal").set_value(False).run()
    assert not page.exception
    assert page.selectbox(key="compare_chosen").value == "runs/small"
    assert page.query_params["study"] == "runs/small"
    page.toggle(key="compare_unequal").set_value(True).run()
    assert page.segmented_control(key="compare_view").value == "Take along"
    assert page.query_params["view"] == "Take along"


def test_another_study_begins_at_its_first_section_and_asks_anew_about_unequal_budgets(page, make_study):
    make_study(big=(6, 6))
    make_study(big=(6, 6), name="other")
    page.query_params["study"], page.query_params["view"], page.query_params["unequal"] = "runs/small", "Cost", "1"
    page.run()
    assert page.segmented_control(key="compare_view").value == "Cost"
    page.selectbox(key="compare_chosen").set_value("runs/other").run()
    assert not page.exception and not page.toggle(key="compare_unequal").value
    page.toggle(key="compare_unequal").set_value(True).run()
    assert page.segmented_control(key="compare_view").value == "Answer"
    assert "view" not in page.query_params


def test_a_study_that_was_made_although_budgets_differ_is_shown_at_once_with_its_note(page, roots):
    folder = roots[1] / "uneven"
    shutil.copytree(Path(__file__).parents[2] / "sample_runs" / "studies" / "four_ways", folder)
    summary = json.loads((folder / "study.json").read_text())
    summary["equal"] |= {"held": False, "note": "FlexLoRA has twice the rank of LoRA."}
    (folder / "study.json").write_text(json.dumps(summary))
    page.query_params["study"] = "runs/uneven"
    page.run()
    assert not page.exception and not page.toggle and "Refused" not in words(page)
    assert "Made all the same, so nothing is claimed. FlexLoRA has twice" in words(page)
    assert charts(page) and "Unequal budgets: FlexLoRA has twice" in words(page).replace("**", "")


def test_the_consent_that_started_a_study_is_not_asked_for_again_while_it_is_made(page, make_study, monkeypatch):
    from compare.studies import StudyEntry
    from jobs.live import LiveJob, Request
    from jobs.owner import Owner
    from jobs.study_job import study_job

    folder = make_study(count=6, big=(6, 6))
    job = study_job(PLAIN, plan_study(read_study_text(PLAIN, SPEC)))
    page.query_params["study"] = "runs/small"
    for agreed in (False, True):
        live = LiveJob(Owner.of("me"), Request(job.planned(1, unequal=agreed)), folder, launched=True)
        monkeypatch.setattr(StudyEntry, "live", live)
        live.runs = 6
        page.run()
        assert not page.exception and ("Refused" in words(page)) is not agreed
        assert "starting: the first run begins in about" in words(page)
