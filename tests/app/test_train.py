"""The Train page headless: the form, its errors, and the job registry behind it."""

from __future__ import annotations

import time

import pytest
from streamlit.testing.v1 import AppTest

import links
from flexlora.job import build_job
from flexlora.methods import METHODS
from flexlora.run_log import read_run
from jobs.live import Request
from jobs.owner import Owner
from jobs.registry import Registry

ME, SOMEBODY = Owner.of("me"), Owner.of("somebody else")


def script():
    from app_pages import train

    train.page()


@pytest.fixture
def registry(monkeypatch):
    """A registry of the test's own, in which the page is `ME`; whatever it trains is stopped at the end."""
    from app_pages import train

    own = Registry()
    monkeypatch.setattr(train, "REGISTRY", own)
    monkeypatch.setattr(train, "visitor", lambda: ME)
    yield own
    assert own.close(120)


@pytest.fixture
def pretended(registry, monkeypatch):
    """The same, whose jobs take no time to load, never end by themselves and write no log."""

    def worker(live):
        live.finished_step(live.step)
        while not live.controls.stopping:
            time.sleep(0.01)

    monkeypatch.setattr(registry, "_worker", worker)
    return registry


@pytest.fixture
def page(roots, registry):
    return AppTest.from_function(script, default_timeout=60)


def stopped_run(root, owner):
    """A run of another server, which ended before its last step."""
    other = Registry()
    live = other.start(owner, Request(build_job("digits", steps=12), paused=True), root)
    wait_for(lambda: (live.folder / "checkpoint" / "state.safetensors").exists())
    assert other.close(120)
    return live.folder


def text(element):
    return element.value.replace("\\", "").replace("**", "")


def line(page):
    """What the page says of the line, without its icon; empty when it says nothing."""
    mark = ":material/hourglass_top: "
    return next((text(item).removeprefix(mark) for item in page.markdown if item.value.startswith(mark)), "")


def wait_for(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def keys(page):
    return {button.key for button in page.button}


def widget(page, name):
    return next(item for item in [*page.selectbox, *page.number_input, *page.text_input] if item.label == name)


def test_the_form_is_filled_in_and_says_what_its_schedule_allows(page):
    page.run()
    assert not page.exception
    assert widget(page, "Task").value == "words"
    assert widget(page, "warmup steps").value == 20
    assert any("events" in caption.value and "the last at step" in caption.value for caption in page.caption)
    assert not page.button(key="train_start").disabled


def test_derived_numbers_follow_the_number_of_steps(page):
    page.run()
    widget(page, "Steps").set_value(400).run()
    assert (widget(page, "warmup steps").value, widget(page, "interval").value) == (40, 10)


def test_a_schedule_without_room_is_told_beside_its_field_and_the_last_good_one_stays(page):
    page.run()
    widget(page, "warmup steps").set_value(30).run()
    widget(page, "warmup steps").set_value(190).run()
    assert not page.exception
    assert "These fit" in page.error[0].value and "The last good schedule stays" in page.error[0].value
    assert widget(page, "warmup steps").value == 30
    assert not page.button(key="train_start").disabled


def test_a_form_that_cannot_work_cannot_start(page):
    page.run()
    widget(page, "max rank").input("2").run()
    assert "max_rank=2 is below" in page.error[0].value.replace("\\", "")
    assert page.button(key="train_start").disabled


def test_text_that_is_no_number_is_told_beside_the_form(page):
    page.run()
    widget(page, "learning rate").set_value("fast").run()
    assert "learning_rate" in page.error[0].value.replace("\\", "")
    assert page.button(key="train_start").disabled


def test_lora_offers_no_schedule(page):
    page.run()
    widget(page, "Method").set_value("lora").run()
    assert not page.exception
    assert not page.error
    assert "schedule" not in [item.label for item in page.selectbox]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_form_of_its_own_options(page, method):
    page.run()
    widget(page, "Task").set_value("digits").run()
    widget(page, "Method").set_value(method).run()
    assert not page.exception
    assert not page.button(key="train_start").disabled
    shown = {item.label.replace(" ", "_") for item in [*page.selectbox, *page.number_input, *page.text_input]}
    if method == "flexlora":
        # Knots have a table and the adaptive rule its settings, each under its own schedule.
        for schedule in ("points", "adaptive"):
            widget(page, "schedule").set_value(schedule).run()
            assert not page.exception
            shown |= {item.label.replace(" ", "_") for item in page.number_input}
            told = " ".join(caption.value for caption in page.caption)
            shown |= {"points"} if "Straight lines join the knots" in told else set()
    assert set(METHODS[method].options) - {"seed", "total_steps"} <= shown
    foreign = {key for other in METHODS.values() for key in other.options} - set(METHODS[method].options)
    assert not foreign & shown


def test_the_initial_rank_follows_the_target_and_what_is_shown_holds(page):
    page.run()
    widget(page, "Method").set_value("adalora").run()
    assert (widget(page, "target rank").value, widget(page, "initial rank").value) == (8, 12)
    widget(page, "target rank").set_value(4).run()
    assert widget(page, "initial rank").value == 6
    widget(page, "initial rank").set_value(3).run()
    assert "target_rank=4 is above initial_rank=3" in page.error[0].value.replace("\\", "")
    assert page.button(key="train_start").disabled
    widget(page, "initial rank").set_value(20).run()
    assert not page.error and widget(page, "target rank").value == 4


def test_a_run_is_started_watched_stopped_and_resumed(page, registry, roots):
    page.run()
    widget(page, "Task").set_value("digits").run()
    widget(page, "Steps").set_value(40).run()
    page.checkbox(key="train_paused").check().run()
    page.button(key="train_start").click().run()
    assert not page.exception
    folder = roots[1] / "digits-flexlora-paper-s0"
    wait_for(lambda: (folder / "run.json").exists() and registry.of(ME).controls.paused)
    page.run()
    assert {"train_step", "train_explore"} <= keys(page)
    page.button(key="train_step").click().run()
    wait_for(lambda: registry.of(ME).step == 1)
    page.button(key="train_next_event").click().run()
    wait_for(lambda: registry.of(ME).controls.paused)
    first_event = build_job("digits", steps=40).config.event_steps()[0]
    assert registry.of(ME).step == first_event
    page.button(key="train_stop").click().run()
    wait_for(lambda: not registry.of(ME).alive)
    assert registry.of(ME).step == first_event
    page.run()
    page.button(key="train_go_on").click().run()
    wait_for(lambda: not registry.of(ME).alive)
    log = read_run(folder)
    assert log.state == "finished"
    assert log.steps["step"].tolist() == list(range(1, 41))
    page.run()
    assert not page.exception
    assert page.button(key="train_explore")


def test_the_idle_word_goes_with_the_start_and_a_page_that_waits_tells_of_no_run_to_come(page, pretended, roots):
    def captions():
        return " ".join(caption.value for caption in page.caption)

    page.run()
    assert "Nothing trains at this server now" in captions() and "appears here" in captions()
    theirs = pretended.start(SOMEBODY, Request(build_job("digits", steps=300)), roots[1])
    page.run()
    page.button(key="train_start").click().run()
    assert "appears here" not in captions()
    pretended.send(SOMEBODY, theirs, {"command": "stop"})
    assert theirs.over.wait(60)
    page.run()
    assert "Yours trains, and nobody waits." in captions()


def test_what_ended_is_called_as_its_log_calls_it_and_damage_is_told(page, registry, roots, monkeypatch):
    done = registry.start(ME, Request(build_job("digits", steps=3)), roots[1])
    assert done.over.wait(60)
    page.run()
    [told] = [text(item) for item in page.markdown if done.folder.name in item.value]
    assert "finished, step 3 of 3 · test accuracy 0." in told
    seen = []
    monkeypatch.setattr(links, "_PAGES", {"Explore": "the page"})
    monkeypatch.setattr(links.st, "switch_page", lambda to, query_params=None: seen.append((to, query_params)))
    page.button(key="train_explore").click().run()
    assert seen == [("the page", {"run": f"runs/{done.folder.name}"})]
    done.step, done.notice = 2, "Nothing is lost: Resume goes on from here."
    page.run()
    assert "train_go_on" in keys(page) and any("Nothing is lost" in item.value for item in page.info)
    (done.folder / "run.json").write_bytes(b"garbage")
    page.run()
    assert "run.json" in text(page.error[0]) and not page.exception
    assert not keys(page) & {"train_go_on", "train_explore"}
    assert not any("Nothing is lost" in item.value for item in page.info)


def test_a_resume_says_from_which_step_while_it_loads(page, registry, roots, monkeypatch):
    done = registry.start(ME, Request(build_job("digits", steps=3)), roots[1])
    assert done.over.wait(60)
    monkeypatch.setattr(registry, "_worker", lambda live: live.controls.wait() or live.over.wait(2))
    done.step = 2
    page.run()
    page.button(key="train_go_on").click().run()
    assert any("loading, from step 3" in item.value for item in page.markdown)


def test_a_start_while_another_browser_trains_waits_and_ends_nothing(page, pretended, roots):
    theirs = pretended.start(SOMEBODY, Request(build_job("digits", steps=300), paused=True), roots[1])
    page.run()
    assert line(page) == "Another browser's run digits-flexlora-paper-s0 is paused, step 0 of 300."
    assert not [button for button in page.button if button.key in ("train_stop", "train_resume", "train_go_on")]
    page.button(key="train_start").click().run()
    mine = pretended.waiting_of(ME)
    assert mine is not None and theirs.alive and not theirs.controls.stopping
    assert "Yours, words-flexlora-paper-s0, is next and starts when that one has ended" in line(page)
    page.button(key="train_leave").click().run()
    assert mine.outcome == "cancelled" and "Yours" not in line(page)
    page.button(key="train_start").click().run()
    pretended.send(SOMEBODY, theirs, {"command": "stop"})
    wait_for(lambda: pretended.of(ME) is not None)
    page.run()
    assert not page.exception
    assert "words-flexlora-paper-s0 · training" in " ".join(text(item) for item in page.markdown)


def test_a_start_beside_ones_own_run_asks_first(page, pretended, roots):
    first = pretended.start(ME, Request(build_job("digits", steps=300)), roots[1])
    page.run()
    page.button(key="train_start").click().run()
    assert not first.controls.stopping
    assert page.button(key="train_replace").label == "Stop it and start the new one"
    page.button(key="train_never_mind").click().run()
    assert not first.controls.stopping and pretended.waiting_of(ME) is None
    page.button(key="train_start").click().run()
    page.button(key="train_replace").click().run()
    wait_for(lambda: pretended.of(ME) is not first)
    assert first.outcome == "ended" and pretended.of(ME).alive


@pytest.mark.parametrize("seed", [0, 1])
def test_a_start_with_another_seed_is_no_edit_of_the_run_above(page, pretended, roots, seed):
    first = pretended.start(ME, Request(build_job("words", steps=300)), roots[1])
    page.run()
    widget(page, "Seed").set_value(seed).run()
    page.button(key="train_start").click().run()
    page.button(key="train_replace").click().run()
    wait_for(lambda: pretended.of(ME) is not first)
    assert pretended.of(ME).request.parent == (None if seed else first.folder.name)
    assert pretended.of(ME).folder.name.endswith("-s1" if seed else "-edited")


def test_the_same_start_again_while_it_waits_is_no_second_start(page, pretended, roots):
    pretended.start(SOMEBODY, Request(build_job("digits", steps=300)), roots[1])
    page.run()
    page.button(key="train_start").click().run()
    mine = pretended.waiting_of(ME)
    page.button(key="train_start").click().run()
    assert pretended.waiting_of(ME) is mine
    assert "is next" in line(page) and not keys(page) & {"train_replace", "train_again"}
    widget(page, "Seed").set_value(1).run()
    page.button(key="train_start").click().run()
    assert page.button(key="train_replace").label == "Give its place to the new one"


def test_a_resume_that_waits_in_line_says_so_and_offers_no_second_one(page, pretended, roots):
    mine = pretended.start(ME, Request(build_job("digits", steps=300)), roots[1])
    mine.finished_step(7)
    (mine.folder / "run.json").write_text("{}")
    mine.notice = "Nothing is lost: Resume goes on from here."
    pretended.send(ME, mine, {"command": "stop"})
    assert mine.over.wait(60)
    pretended.start(SOMEBODY, Request(build_job("digits", steps=300)), roots[1])
    pretended.start(ME, Request(mine.job, folder=mine.folder), roots[1])
    page.run()
    assert any(
        f"{mine.folder.name} · waits in line to go on from step 7 of 300" in text(item) for item in page.markdown
    )
    assert "train_go_on" not in keys(page)
    assert not any("Nothing is lost" in item.value for item in page.info)


def test_a_job_that_the_log_has_already_is_looked_at_or_trained_again(page, registry, roots):
    from runs.replays import trained_already

    done = registry.start(ME, Request(build_job("digits", steps=3)), roots[1])
    wait_for(lambda: not done.alive)
    for other in (build_job("digits", steps=4), build_job("digits", steps=3, seed=1)):
        assert trained_already(other) is None
    page.run()
    widget(page, "Task").set_value("digits").run()
    widget(page, "Steps").set_value(3).run()
    page.button(key="train_start").click().run()
    told = "Your run digits-flexlora-paper-s0 is exactly this job, trained to its end."
    assert told in [text(item) for item in page.get("dialog")[0].markdown]
    assert registry.of(ME) is done
    page.button(key="train_again").click().run()
    assert registry.of(ME) is not done and registry.of(ME).job == done.job


def test_a_job_that_somebody_has_in_line_or_in_training_is_not_trained_twice_without_a_word(page, pretended, roots):
    pretended.start(SOMEBODY, Request(build_job("digits", steps=3)), roots[1])
    theirs = pretended.start(Owner.of("a third"), Request(build_job("words")), roots[1])
    page.run()
    page.button(key="train_start").click().run()
    told = f"Another browser's run {theirs.folder.name} is exactly this job, waiting in line, step 0 of 200."
    assert told in [text(item) for item in page.get("dialog")[0].markdown]
    assert pretended.waiting_of(ME) is None and "train_look" not in keys(page)
    page.button(key="train_again").click().run()
    assert pretended.waiting_of(ME) is not None


def test_what_waited_when_the_server_ended_is_offered_again(page, pretended, roots):
    before = Registry(lambda live: None, lambda work, name: None)
    before.start(SOMEBODY, Request(build_job("digits", steps=300)), roots[1])
    before.start(ME, Request(build_job("digits", steps=7), paused=True), roots[1])
    page.run()
    assert any("flexlora on digits, 7 steps" in text(item) for item in page.markdown)
    page.button(key="train_offer_start").click().run()
    assert pretended.of(ME).job.steps == 7
    assert pretended.offered(ME, roots[1]) is None


def test_a_browser_without_cookies_is_told_and_two_of_them_are_two(page, registry, monkeypatch):
    from app_pages import train
    from jobs.visitor import visitor

    seen = []
    monkeypatch.setattr(train, "visitor", lambda: seen.append(visitor()) or seen[-1])
    page.run()
    page.run()
    assert any("keeps no cookie" in caption.value for caption in page.caption)
    AppTest.from_function(script, default_timeout=60).run()
    assert not any(owner.lasting for owner in seen)
    assert (seen[0], seen[0] == seen[2]) == (seen[1], False)


def test_a_job_that_cannot_start_says_why_in_the_page(page, registry, roots):
    page.run()
    widget(page, "Task").set_value("digits").run()
    widget(page, "target modules").set_value("nothing_like_this").run()
    page.button(key="train_start").click().run()
    wait_for(lambda: not registry.of(ME).alive)
    page.run()
    assert not page.exception
    assert "Names that exist" in page.error[0].value


def test_a_run_that_was_killed_is_offered_for_resuming_and_a_damaged_checkpoint_told(page, registry, roots):
    folder = stopped_run(roots[1], ME)
    last = folder / "checkpoint" / "state.safetensors"
    last.replace(last.with_name("older.safetensors"))
    last.write_bytes(b"\0" * 100)
    page.run()
    assert widget(page, "A run that ended early").value == folder.name
    page.button(key="train_resume").click().run()
    wait_for(lambda: registry.of(ME) is not None and not registry.of(ME).alive)
    assert read_run(folder).state == "finished"
    page.run()
    [told] = [text(element) for element in page.info if "is damaged" in element.value]
    assert told.endswith("Resumed from step 0, from older.safetensors.")


def test_a_run_of_another_browser_is_not_offered_for_resuming(page, registry, roots):
    stopped_run(roots[1], SOMEBODY)
    page.run()
    assert not page.exception
    assert "A run that ended early" not in [item.label for item in page.selectbox]


def test_a_reset_goes_back_to_the_preset_and_can_be_undone(page):
    page.run()
    widget(page, "initial budget").set_value(5).run()
    widget(page, "learning rate").set_value("0.001").run()
    assert any("initial\\_budget = 5" in caption.value for caption in page.caption)
    page.button(key="train_reset").click().run()
    assert widget(page, "initial budget").value == 12
    assert widget(page, "learning rate").value == ""
    page.button(key="train_undo").click().run()
    assert widget(page, "initial budget").value == 5
    assert widget(page, "learning rate").value == "0.001"
