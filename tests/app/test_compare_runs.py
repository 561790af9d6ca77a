"""The runs of a comparison: each has an address in Explore, and the page Runs says where they are."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from compare_studies import script, words, write_plain_runs, write_study
from streamlit.testing.v1 import AppTest

from flexlora.run_log import RunWriter
from jobs.owner import Owner, write_owner
from runs.rows import OTHERS, whose
from runs.store import nearby_runs, resolve_run, run_entries


@pytest.fixture
def page(roots):
    return AppTest.from_function(script, default_timeout=60)


def addresses(page) -> list[str]:
    return [unquote(address.removeprefix("explore?run=")) for address in page.dataframe[0].value["open"]]


@pytest.mark.parametrize("bundled", [False, True])
def test_each_run_of_a_study_has_its_address_in_explore(page, roots, forge_run, bundled):
    root = roots[0] / "studies" if bundled else roots[1]
    root.mkdir(exist_ok=True)
    study = write_study(forge_run, root)
    page.query_params["study"] = "small" if bundled else "runs/small"
    page.query_params["view"] = "Runs"
    page.run()
    assert not page.exception and not page.error
    found = [resolve_run(key, run_entries()) for key in addresses(page)]
    assert sorted(entry.folder for entry in found if entry) == sorted((study / "runs").iterdir())


def test_each_picked_run_has_its_address_in_explore(page, roots, forge_run):
    keys = [f"runs/{folder.name}" for folder in write_plain_runs(forge_run, roots[1])]
    page.query_params["runs"], page.query_params["view"] = ",".join(keys), "Runs"
    page.run()
    assert not page.exception and sorted(addresses(page)) == sorted(keys)


@pytest.mark.parametrize(
    "key",
    [
        "runs/runs/x",
        "runs/small/trials/x",
        "runs/../runs/x",
        "runs/small/runs/..",
        "small/runs/x",
        "studies/a/b/runs/x",
    ],
)
def test_an_address_leads_to_no_other_folder(roots, key):
    for root in roots:
        for place in ("runs/x", "small/trials/x", "small/runs/x", "studies/a/b/runs/x"):
            (root / place).mkdir(parents=True, exist_ok=True)
    assert resolve_run(key, run_entries()) is None


def test_a_bare_name_is_the_users_own_run_where_no_bundled_one_has_it(roots):
    samples, own = roots
    for folder in (own / "mine", own / "both", samples / "both"):
        RunWriter(folder, {"matrices": [{"name": "a"}], "config": {}}).close()
    entries = run_entries()
    assert resolve_run("mine", entries) == resolve_run("runs/mine", entries) == ("runs/mine", own / "mine")
    assert resolve_run("both", entries).folder == samples / "both"
    assert resolve_run("mnie", entries) is None and nearby_runs("mnie", entries) == "Did you mean runs/mine?"
    assert "runs/both" in nearby_runs("zzz", entries) and nearby_runs("zzz", []) == "There is none here."


def test_a_run_of_a_study_is_its_owners(roots, forge_run):
    study = write_study(forge_run, roots[1], 1)
    write_owner(study, Owner.of("somebody"))
    (run,) = (study / "runs").iterdir()
    assert whose(f"runs/small/runs/{run.name}", run, Owner.of("me")) == OTHERS


def test_two_configurations_are_found_by_their_tags(page, roots, forge_run):
    from runs.notes import Notes, write_notes

    first, *_ = write_plain_runs(forge_run, roots[1])
    write_notes(first, Notes(("baseline",)), Owner.of("me"))
    page.query_params["part"] = "Two configurations"
    page.run()
    assert not page.exception and "They differ in" in words(page)
    assert f"{first.name} · baseline" in page.selectbox(key="compare_settings_a").options
