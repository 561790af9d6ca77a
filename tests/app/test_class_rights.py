"""In a class a run is its owner's and the leader's; nobody's job is larger than the leader allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from classroom.codes import make_codes
from classroom.room import Room
from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from jobs import sharing
from jobs.caps import Caps
from jobs.line import describe_line
from jobs.live import Request
from jobs.owner import Owner, may, refusal, write_owner
from jobs.recorded import LONG_LINE, nearest
from jobs.registry import Registry
from jobs.study_job import StudyJob
from runs.rows import OTHERS, YOURS, RunRow, whose
from runs.store import plain

LEADER, ANNA, BEN = (Owner.of(name) for name in ("leader", "anna", "ben"))
JOB = build_job("digits", steps=40)


def script():
    from app_pages import train

    train.page()


@pytest.fixture
def a_class():
    sharing.tell([LEADER.key], {ANNA.key: "Anna *", BEN.key: "Ben", LEADER.key: "Leader"}, Caps(steps=50, rank=8))
    yield
    sharing.forget()


@pytest.fixture
def line(tmp_path, a_class):
    """A registry in which Anna's run trains, and Ben's and the leader's wait; and these three."""
    registry = Registry(lambda live: None, lambda work, _: None, lambda: 0.0)
    jobs = [registry.start(owner, Request(JOB), tmp_path) for owner in (ANNA, BEN, LEADER)]
    return registry, jobs


def test_the_leader_stops_steers_and_removes_what_others_may_not(line, tmp_path):
    registry, (annas, bens, _) = line
    for command in ({"command": "stop"}, {"command": "set", "values": {"interval": 5}}, {"command": "pause"}):
        with pytest.raises(FlexLoRAError):
            registry.send(BEN, annas, command)
    with pytest.raises(FlexLoRAError):
        registry.stop(ANNA, bens)
    assert registry.stop_all(BEN) == 1 and not annas.controls.stopping
    bens = registry.start(BEN, Request(JOB), tmp_path)
    registry.stop(LEADER, bens)
    assert bens.outcome == "cancelled" and not annas.controls.stopping
    registry.stop(LEADER, annas)
    assert annas.controls.stopping
    folder = tmp_path / "done"
    folder.mkdir()
    write_owner(folder, ANNA)
    assert refusal(BEN, "remove", folder) and refusal(LEADER, "remove", folder) is None
    assert [whose("runs/done", folder, owner) for owner in (ANNA, BEN, LEADER)] == [YOURS, OTHERS, OTHERS]


def test_without_a_class_nobody_leads():
    assert not may(LEADER, "stop", ANNA.key) and sharing.caps_of(ANNA.key) is None


def test_stop_all_leaves_nothing_that_trains_or_waits(line):
    registry, jobs = line
    assert registry.stop_all(LEADER) == 3
    assert [live.outcome for live in jobs] == [None, "cancelled", "cancelled"] and jobs[0].controls.stopping
    assert not registry.line().waiting


def test_a_job_above_the_caps_is_refused_for_members_and_not_for_the_leader(tmp_path, a_class):
    registry = Registry(lambda live: None, lambda work, _: None, lambda: 0.0)
    large = Request(build_job("digits", steps=51))
    with pytest.raises(FlexLoRAError, match="51 steps, a run may have 50"):
        registry.start(ANNA, large, tmp_path)
    study = Request(StudyJob("", "s", runs=13, steps=10))
    with pytest.raises(FlexLoRAError, match="13 runs, a study may have 12"):
        registry.start(ANNA, study, tmp_path)
    assert not [*tmp_path.iterdir()]
    assert registry.start(LEADER, large, tmp_path).launched


def test_the_line_says_members_names_as_text(line):
    registry, _ = line
    assert describe_line(registry.line(), BEN).startswith("The run of Anna \\* **")


def row(name: str, state: str = "finished", **held) -> RunRow:
    return RunRow(name, Path(name), state, **{"task": "digits", "method": "flexlora", "steps": 300, **held})


def test_the_nearest_recorded_run_is_of_the_same_task_first_then_of_the_same_method():
    rows = [
        row("a", task="words"), row("b", method="lora", steps=40), row("c"), row("d", steps=60), row("e", "damaged")
    ]  # fmt: skip
    assert nearest(JOB, rows).name == "d"
    assert nearest(JOB, rows[:2]).name == "b" and nearest(JOB, rows[:1]).name == "a" and nearest(JOB, []) is None


def test_a_start_is_told_its_bounds_and_where_many_wait_a_recorded_run_comes_first(
    a_class, roots, make_run, monkeypatch
):
    from app_pages import train

    make_run(roots[0] / "sample")
    others = {Owner.of(f"m{number}").key: f"Member {number}" for number in range(1 + LONG_LINE)}
    sharing.tell([LEADER.key], {ANNA.key: "Anna", **others}, Caps(steps=50, rank=8))
    registry = Registry(lambda live: None, lambda work, _: None, lambda: 0.0)
    for number in range(1 + LONG_LINE):
        registry.start(Owner.of(f"m{number}"), Request(build_job("digits", steps=40, seed=number + 1)), roots[1])
    monkeypatch.setattr(train, "REGISTRY", registry)
    monkeypatch.setattr(train, "visitor", lambda: ANNA)
    page = AppTest.from_function(script, default_timeout=60)
    page.session_state["train_task"] = "digits"
    page.run()
    told = " ".join(item.value for item in page.caption)
    assert "300 steps, a run may have 50" in told and page.button(key="train_start").disabled
    next(item for item in page.number_input if item.label == "Steps").set_value(40).run()
    told = " ".join(item.value for item in page.caption)
    assert "at most 50 steps and rank 8" in told and not page.button(key="train_start").disabled
    page.button(key="train_start").click().run()
    assert registry.waiting_of(ANNA) is None
    assert any(f"{LONG_LINE} runs wait already. The recorded run **sample**" in item.value for item in page.markdown)
    page.button(key="train_wait").click().run()
    assert registry.waiting_of(ANNA) is not None


def test_who_was_taken_out_starts_nothing(tmp_path, a_class):
    registry = Registry(lambda live: None, lambda work, _: None, lambda: 0.0)
    with pytest.raises(FlexLoRAError, match="give the code to join again"):
        registry.start(Owner.of("taken out"), Request(JOB), tmp_path)
    assert not any(tmp_path.iterdir()) and registry.line().running is None


def members(room, registry):
    from classroom.members_panel import members_panel

    members_panel(room, registry)


def test_who_is_taken_out_leaves_the_line_and_what_they_train_is_stopped_as_the_question_says(tmp_path, monkeypatch):
    from classroom import acting, members_panel

    for module in (acting, members_panel):
        monkeypatch.setattr(module, "visitor", lambda: LEADER)
    make_codes(tmp_path, "School")
    room, registry = Room(tmp_path), Registry(lambda live: None, lambda work, _: None, lambda: 0.0)
    for owner, name in ((LEADER, "Leader"), (ANNA, "Anna"), (BEN, "Ben")):
        room.join(owner.key, name, leads=owner is LEADER)
    annas, bens, leaders = (registry.start(owner, Request(JOB), tmp_path) for owner in (ANNA, BEN, LEADER))
    page = AppTest.from_function(members, args=(room, registry), default_timeout=60).run()
    assert any(f"{plain(annas.folder.name)}** is stopped; it keeps its log" in item.value for item in page.markdown)
    page.selectbox(key="class_out").set_value(BEN.key).run()
    assert any(f"{plain(bens.folder.name)}** leaves the line." in item.value for item in page.markdown)
    assert not annas.controls.stopping and bens.outcome is None, "nothing happens before it is confirmed"
    page.button(key="class_take_out_now").click().run()
    assert bens.outcome == "cancelled" and BEN.key not in room.state.members
    assert not annas.controls.stopping and registry.line().waiting == (leaders,)
    page.button(key="class_take_out_now").click().run()
    assert annas.controls.stopping and ANNA.key not in room.state.members
    assert registry.line().waiting == (leaders,)
    room.close()
