"""The registry of jobs without Streamlit and without training: the worker, its thread and the clock are the test's."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexlora.errors import FlexLoRAError
from flexlora.job import build_job, new_run_folder
from jobs import registry
from jobs.line import describe_line
from jobs.live import LiveJob, Request
from jobs.owner import OWNER_FILE, Owner, read_owner, write_owner
from jobs.queue_file import QUEUE
from jobs.registry import Registry

ANNA, BEN, CAROL = (Owner.of(name) for name in ("anna", "ben", "carol"))
GUEST = Owner.of("guest", lasting=False)
JOB = build_job("digits", steps=40)


class Stage:
    """A registry whose jobs train when, and end as, the test says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        self.turns: list = []
        self.fault: BaseException | None = None
        self.trained: list[LiveJob] = []
        self.registry = Registry(self._worker, lambda work, _: self.turns.append(work), lambda: self.now, 300.0)

    def _worker(self, live: LiveJob) -> None:
        self.trained.append(live)
        if self.fault:
            raise self.fault
        (live.folder / "run.json").write_text("{}")

    def start(self, owner: Owner, request: Request | None = None, **more) -> LiveJob:
        return self.registry.start(owner, request or Request(JOB), self.root, **more)

    def finish(self, fault: BaseException | None = None) -> None:
        """What trains comes to its end."""
        self.fault = fault
        self.turns.pop(0)()

    def waiting(self) -> list[LiveJob]:
        return list(self.registry.line().waiting)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_the_first_trains_and_the_others_wait_in_the_order_in_which_they_came(stage):
    first, second, third = (stage.start(owner) for owner in (ANNA, BEN, CAROL))
    assert first.state == "loading"
    assert (stage.registry.line().running, stage.waiting()) == (first, [second, third])
    assert len({live.folder for live in (first, second, third)}) == 3
    stage.finish()
    stage.finish()
    assert (first.state, second.state, third.state) == ("stopped", "stopped", "loading")
    assert not second.controls.stopping
    stage.finish()
    assert stage.trained == [first, second, third]
    assert not (stage.root / QUEUE).exists()


def test_each_sees_their_own_job(stage):
    first, second = stage.start(ANNA), stage.start(BEN)
    assert (stage.registry.of(ANNA), stage.registry.of(BEN), stage.registry.waiting_of(BEN)) == (first, None, second)
    stage.finish()
    assert (stage.registry.of(ANNA), stage.registry.of(BEN), stage.registry.waiting_of(BEN)) == (first, second, None)


@pytest.mark.parametrize("command", ["pause", "resume", "step", "next_event", "stop", "set"])
def test_only_the_owner_steers(stage, command):
    live = stage.start(ANNA)
    order = {"command": command, "values": {"initial_budget": 1}}
    for other in (BEN, GUEST):
        with pytest.raises(FlexLoRAError, match="another browser"):
            stage.registry.send(other, live, order)
    assert not (live.controls.paused or live.controls.stopping or live.controls.edits())
    stage.registry.send(ANNA, live, order)


def test_everybody_has_one_job_and_replaces_only_their_own(stage):
    running, waiting = stage.start(ANNA), stage.start(BEN)
    for owner in (ANNA, BEN):
        with pytest.raises(FlexLoRAError, match="one job at a time"):
            stage.start(owner)
    other = stage.start(CAROL)
    instead = stage.start(BEN, replace=True)
    assert waiting.outcome == "cancelled" and not waiting.folder.exists()
    assert stage.waiting() == [instead, other], "a place in line belongs to a person"
    again = stage.start(ANNA, replace=True)
    assert running.controls.stopping and stage.waiting() == [instead, other, again]
    assert running.state == "stopping"
    stage.finish()
    assert stage.registry.line().running is instead


@pytest.mark.parametrize(
    "fault", [FlexLoRAError("no such model"), ValueError("bad"), SystemExit(1), KeyboardInterrupt()]
)
def test_a_job_that_fails_says_why_leaves_nothing_behind_and_the_next_one_starts(stage, fault):
    first, second = stage.start(ANNA), stage.start(BEN)
    stage.finish(fault)
    assert first.state == "failed" and str(fault) in first.error
    assert not first.folder.exists()
    assert second.alive


def test_threads_that_cannot_be_started_cost_one_job_and_not_the_line(tmp_path):
    def launch(_work, _name):
        raise RuntimeError("can't start new thread")

    own = Registry(lambda live: None, launch)
    live = own.start(ANNA, Request(JOB), tmp_path)
    assert live.state == "failed" and "new thread" in live.error
    assert own.line().running is None
    assert own.busy_with(ANNA) is None


def test_a_stop_while_it_loads_is_obeyed(stage):
    live = stage.start(ANNA)
    stage.registry.send(ANNA, live, {"command": "stop"})
    assert live.state == "stopping"
    stage.finish()
    assert live.state == "stopped"


def test_leaving_the_line(stage):
    first, second, third = (stage.start(owner) for owner in (ANNA, BEN, CAROL))
    stage.registry.cancel(BEN)
    stage.registry.cancel(BEN)
    stage.registry.cancel(ANNA)
    assert second.outcome == "cancelled" and not second.folder.exists()
    assert first.alive and stage.waiting() == [third]


def test_the_time_until_each_starts(stage):
    first = stage.start(ANNA)
    stage.start(BEN)
    stage.start(CAROL)
    assert stage.registry.line().starts_s == (None, None), "nobody knows before there is a pace"
    for step in range(1, 12):
        stage.now += 2.0
        first.finished_step(step)
    assert first.left_s() == pytest.approx(2.0 * 29)
    assert stage.registry.line().starts_s == (pytest.approx(58.0), None)
    stage.finish()
    # A job of the same kind is expected to take as long a step.
    assert stage.registry.line().starts_s == (pytest.approx(80.0),)


def test_the_time_left_waits_for_enough_steps_and_one_slow_step_does_not_shake_it(stage):
    live = stage.start(ANNA)
    told = []
    for step in range(1, 15):
        stage.now += 30.0 if step == 12 else 0.25
        live.finished_step(step)
        told.append(live.left_s())
    assert told[:10] == [None] * 10
    assert told[10:] == [pytest.approx(0.25 * (40 - step)) for step in range(11, 15)]


def test_pauses_do_not_count_as_training(stage):
    live = stage.start(ANNA)
    for step in range(1, 5):
        stage.now += 1.0
        live.finished_step(step)
    stage.now += 600.0
    live.controls.waited_s += 600.0
    stage.now += 1.0
    live.finished_step(5)
    assert live.step_s() == pytest.approx(1.0)
    live.controls.send({"command": "pause"})
    assert live.left_s() is None
    live.controls.send({"command": "stop"})
    assert live.left_s() == 0


def test_a_pause_makes_way_when_others_have_waited_long_enough(stage):
    live = stage.start(ANNA)
    live.controls.send({"command": "pause"})
    live.controls.waiting_since = 0.0
    stage.now = 1000.0
    stage.registry.make_way()
    assert not live.controls.stopping, "nobody waits"
    assert stage.registry.line().patience_s is None
    stage.start(BEN)
    stage.now = 1240.0
    assert "The pause makes way for them in 60 s" in describe_line(stage.registry.line(), ANNA)
    assert "has ended (its pause makes way in 60 s)" in describe_line(stage.registry.line(), BEN)
    stage.now = 1299.0
    stage.registry.make_way()
    assert not live.controls.stopping
    stage.now = 1300.0
    stage.registry.make_way()
    assert live.controls.stopping and "made way" in live.notice
    stage.finish()
    assert live.state == "stopped, made way for others"


def test_a_run_that_trains_makes_way_for_nobody(stage):
    live = stage.start(ANNA)
    stage.start(BEN)
    stage.now = 1e6
    stage.registry.make_way()
    assert not live.controls.stopping


class TestResume:
    @pytest.fixture
    def old(self, tmp_path):
        folder = tmp_path / "old"
        folder.mkdir()
        (folder / "run.json").write_text("{}")
        return folder

    def test_only_the_owner_goes_on_with_a_run(self, stage, old):
        write_owner(old, ANNA)
        with pytest.raises(FlexLoRAError, match="only that one may resume, rename or remove it, or write"):
            stage.start(BEN, Request(JOB, folder=old))
        assert stage.start(ANNA, Request(JOB, folder=old)).folder == old

    def test_anybody_goes_on_with_a_run_of_the_command_line_but_one_at_a_time(self, stage, old):
        stage.start(CAROL)
        live = stage.start(BEN, Request(JOB, folder=old))
        with pytest.raises(FlexLoRAError, match="already"):
            stage.start(ANNA, Request(JOB, folder=old))
        assert stage.registry.find(old) is live
        stage.registry.cancel(BEN)
        assert old.exists() and stage.registry.find(old) is None
        stage.start(ANNA, Request(JOB, folder=old))


class TestOwnerFile:
    def test_reading_it_gives_no_power(self, stage):
        live = stage.start(ANNA)
        text = (live.folder / OWNER_FILE).read_text()
        assert "anna" not in text
        stolen = json.loads(text)["owner"]
        assert read_owner(live.folder) == stolen == ANNA.key
        assert Owner.of(stolen).key != ANNA.key

    def test_somebody_who_will_not_come_back_owns_nothing_in_the_end(self, stage):
        live = stage.start(GUEST)
        stage.finish()
        assert read_owner(live.folder) is None

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"owner": 3}', '{"owner": "x"}', "\x00", "[" * 9999])
    def test_a_damaged_one_means_nobody(self, tmp_path, text):
        (tmp_path / OWNER_FILE).write_text(text)
        assert read_owner(tmp_path) is None


class TestServerThatEnds:
    def test_what_waits_is_offered_to_its_owner_again(self, stage):
        stage.start(ANNA)
        waiting = stage.start(BEN, Request(JOB, parent="old", paused=True))
        guest = stage.start(GUEST)
        after = Stage(stage.root)
        assert after.registry.offered(BEN, stage.root) == waiting.request
        assert after.registry.offered(ANNA, stage.root) is None
        assert after.registry.offered(GUEST, stage.root) is None
        assert not waiting.folder.exists() and not guest.folder.exists(), "kept for runs that have written nothing"
        after.start(CAROL)
        assert Stage(stage.root).registry.offered(BEN, stage.root) == waiting.request, "also when the next one dies"
        after.registry.forget_offer(BEN, stage.root)
        assert Stage(stage.root).registry.offered(BEN, stage.root) is None

    def test_a_run_to_go_on_with_is_offered_and_stays_as_it_is(self, stage, tmp_path):
        (tmp_path / "old").mkdir()
        stage.start(ANNA)
        stage.start(BEN, Request(JOB, folder=tmp_path / "old"))
        offered = Stage(stage.root).registry.offered(BEN, stage.root)
        assert offered.folder == tmp_path / "old" and offered.folder.exists()

    def test_nothing_is_started_once_it_ends(self, stage):
        first, second = stage.start(ANNA), stage.start(BEN)
        threading.Timer(0.05, stage.finish).start()
        assert stage.registry.close(10)
        assert first.outcome == "ended" and not second.launched
        with pytest.raises(FlexLoRAError, match="ending"):
            stage.start(CAROL)
        assert Stage(stage.root).registry.offered(BEN, stage.root) is not None

    @pytest.mark.parametrize(
        "text", ["", "{", "{}", "[1]", '[{"owner": "x"}]', '[{"folder": "../up", "parent": null}]']
    )
    def test_a_damaged_file_offers_nothing(self, stage, text):
        (stage.root / QUEUE).write_text(text)
        assert stage.registry.offered(BEN, stage.root) is None
        stage.start(ANNA)

    def test_a_file_that_leads_elsewhere_touches_nothing(self, stage, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        root = tmp_path / "runs"
        root.mkdir()
        entry = {"owner": BEN.key, "job": JOB.to_dict(), "parent": None, "paused": False, "resume": False}
        for name in ("../outside", "..", ".", ""):
            (root / QUEUE).write_text(json.dumps([{**entry, "folder": name}]))
            assert Stage(root).registry.offered(BEN, root) is None
        assert outside.exists()

    def test_a_disk_that_takes_nothing_costs_the_offer_and_not_the_job(self, stage, monkeypatch):
        from jobs import queue_file

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(queue_file, "put_bytes", full)
        stage.start(ANNA)
        assert stage.start(BEN).state == "waiting in line"


def test_the_line_has_an_end(stage, monkeypatch):
    monkeypatch.setattr(registry, "MAX_WAITING", 5)
    for number in range(6):
        stage.start(Owner.of(str(number)))
    with pytest.raises(FlexLoRAError, match="wait already"):
        stage.start(ANNA)
    stage.start(Owner.of("5"), replace=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    acts=st.lists(
        st.tuples(
            st.sampled_from(["start", "replace", "stop", "cancel", "finish", "fail", "pause", "wait"]),
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        max_size=30,
    )
)
def test_whatever_is_clicked(acts, tmp_path_factory):
    """At most one trains; first come, first served; nobody's click ends another's; each job ends in one way."""
    stage = Stage(tmp_path_factory.mktemp("runs"))
    people = [ANNA, BEN, CAROL, GUEST]
    accepted: list[LiveJob] = []
    line: list[Owner] = []

    def check() -> None:
        assert sum(live.alive for live in accepted) <= 1
        now = stage.registry.line()
        assert [live.owner for live in now.waiting] == line
        assert now.running is not None or not now.waiting
        for live in accepted:
            known = live is now.running or live in now.waiting
            assert (live.outcome is None) == known, "a job is lost"
            assert live.over.is_set() == (live.outcome is not None)

    for act, number, other in acts:
        me, before = people[number], stage.registry.line()
        theirs = {live: live.controls.stopping for live in accepted if live.owner != me and live.outcome is None}
        running = before.running
        if act in ("start", "replace"):
            busy = stage.registry.busy_with(me)
            try:
                live = stage.start(me, replace=act == "replace")
            except FlexLoRAError:
                assert busy is not None and act == "start"
            else:
                accepted.append(live)
                if live.launched:
                    assert running is None
                elif me not in line:
                    line.append(me)
        elif act == "cancel":
            stage.registry.cancel(me)
            line = [owner for owner in line if owner != me]
        elif act in ("stop", "pause") and running is not None:
            if running.owner == me:
                stage.registry.send(me, running, {"command": act})
            else:
                with pytest.raises(FlexLoRAError):
                    stage.registry.send(me, running, {"command": act})
        elif act in ("finish", "fail") and running is not None:
            stage.finish(ValueError("bad") if act == "fail" else None)
            assert running.outcome == ("failed" if act == "fail" else "ended")
            line = line[1:]
            theirs.pop(running, None)
        stage.now += other
        for live, stopping in theirs.items():
            assert live.controls.stopping == stopping and live.outcome is None
        check()
    while stage.registry.line().running is not None:
        stage.finish()
    assert all(live.outcome in ("ended", "failed", "cancelled") for live in accepted)
    ended = [live for live in accepted if live.outcome != "cancelled"]
    assert sorted(map(id, stage.trained)) == sorted(map(id, ended))


def test_all_at_the_same_instant_in_true_threads(tmp_path):
    """Twenty people press Start at once: one after the other trains, each in a folder of their own."""
    training, most, order = 0, 0, []
    guard = threading.Lock()

    def worker(live: LiveJob) -> None:
        nonlocal training, most
        with guard:
            training += 1
            most = max(most, training)
        time.sleep(0.002)
        (live.folder / "run.json").write_text("{}")
        with guard:
            training -= 1
            order.append(live)

    mine = Registry(worker)
    gate = threading.Barrier(20)
    found: list[LiveJob] = []

    def press(number: int) -> None:
        gate.wait()
        found.append(mine.start(Owner.of(str(number)), Request(JOB), tmp_path))

    threads = [threading.Thread(target=press, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(live.over.wait(20) for live in found)
    assert most == 1
    assert len({live.folder for live in found}) == 20
    assert sorted(map(id, order)) == sorted(map(id, found))
    assert mine.close()


def test_a_new_folder_is_made_once_however_many_ask_at_the_same_instant(tmp_path):
    gate, found = threading.Barrier(16), []

    def ask() -> None:
        gate.wait()
        found.append(new_run_folder(tmp_path / "runs", JOB))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 16
    assert all(folder.is_dir() and not any(folder.iterdir()) for folder in found)


def test_a_run_made_from_another_is_named_after_it(tmp_path):
    names = [
        new_run_folder(tmp_path, JOB, parent).name for parent in ("demo", "demo-edited", "../demo", "demo-edited-2")
    ]
    assert names == ["demo-edited", "demo-edited-2", "demo-edited-3", "demo-edited-4"]
    assert new_run_folder(tmp_path, JOB, "..").name == new_run_folder(tmp_path / "other", JOB).name
