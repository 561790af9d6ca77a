"""Explore in every state, without a browser: what the script asks Streamlit to show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from flexlora.job import build_job
from jobs.live import Request
from jobs.owner import Owner, write_owner
from jobs.registry import Registry

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"


def open_app(**query: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=30)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def components_of(app: AppTest, name: str) -> list:
    return [
        element.proto for element in app.get("bidi_component") if element.proto.component_name == f"flexlora_{name}"
    ]


def player_of(app: AppTest):
    found = components_of(app, "player")
    return found[0] if found else None


def picker_of(app: AppTest) -> dict:
    """What the two lists of runs offer, and what is chosen."""
    return json.loads(components_of(app, "run_picker")[0].json)


def request_of(app: AppTest) -> dict:
    """What the page asked the player to show."""
    return json.loads(player_of(app).json)


def texts(app: AppTest) -> str:
    blocks = [*app.warning, *app.info, *app.markdown, *app.caption, *app.subheader, *app.code]
    return "\n".join(str(block.value) for block in blocks)


@pytest.fixture
def sample(roots, make_run):
    return make_run(roots[0] / "test-paper")


def test_a_sample_run_opens_with_no_click(sample):
    app = open_app()
    assert request_of(app)["run"] == "test-paper"
    assert request_of(app)["step"] is None
    assert not app.warning


def test_neither_torch_nor_a_figure_is_needed_for_the_first_picture(sample):
    code = (
        "import sys; from streamlit.testing.v1 import AppTest;"
        f"app = AppTest.from_file({str(MAIN)!r}, default_timeout=30).run();"
        "assert not app.exception and len(app.get('bidi_component')) == 2 and not app.get('plotly_chart');"
        "loaded = {'torch', 'transformers', 'peft', 'scipy'} & set(sys.modules);"
        "assert not loaded, loaded"
    )
    path = f"{MAIN.parent}{os.pathsep}{MAIN.parent.parent}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_figure_is_made_when_the_details_are_opened(sample):
    app = open_app()
    app.session_state["explore_details"] = True
    app.run()
    assert not app.exception
    assert app.get("plotly_chart")


def test_without_a_run_the_page_says_what_to_do(roots):
    app = open_app()
    assert player_of(app) is None
    assert "python -m flexlora.train" in texts(app)


def test_the_users_runs_are_listed_before_the_samples(sample, roots, make_run):
    make_run(roots[1] / "mine")
    app = open_app()
    assert picker_of(app)["runs"] == [
        {"key": "runs/mine", "label": "mine (yours)", "group": "Your runs"},
        {"key": "test-paper", "label": "test-paper", "group": "test"},
    ]
    app.session_state["explore_run"] = "runs/mine"
    app.run()
    assert request_of(app)["run"] == picker_of(app)["run"] == "runs/mine"


def test_a_run_of_another_browser_is_not_called_yours(sample, roots, make_run):
    for name in ("older", "theirs", "newer"):
        make_run(roots[1] / name)
    write_owner(roots[1] / "theirs", Owner.of("somebody else"))
    runs = {choice["key"]: choice for choice in picker_of(open_app())["runs"]}
    assert {key: choice["group"] for key, choice in runs.items() if key != "test-paper"} == {
        "runs/newer": "Your runs",
        "runs/older": "Your runs",
        "runs/theirs": "Runs of other browsers",
    }
    assert [choice["label"] for choice in runs.values()][-2:] == ["test-paper", "theirs (another's)"]


def test_the_default_task_under_the_papers_preset_is_what_a_newcomer_sees(sample, roots, make_run):
    make_run(roots[0] / "words-flexlora-paper")
    make_run(roots[1] / "mine")
    assert request_of(open_app())["run"] == "words-flexlora-paper"


def test_a_deep_link_is_followed(sample, logged):
    app = open_app(run="test-paper", step="12", matrix=logged.name(0, "value"), colour="entropy")
    request = request_of(app)
    assert (request["run"], request["step"], request["matrix"], request["colour"]) == (
        "test-paper",
        12,
        logged.name(0, "value"),
        "entropy",
    )
    assert not app.info


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"step": "soon"}, "not a whole number"),
        ({"step": "4000"}, "4000 is not in this run"),
        ({"matrix": "<b>nothing</b>"}, "a matrix that this run does not have"),
        ({"colour": "red"}, "none of rank, change, entropy, energy"),
        ({"run": "nowhere"}, "a run that is not here"),
        ({"run": "../../etc"}, "a run that is not here"),
        ({"run": "a" * 300}, "a run that is not here"),
        ({"run": "runs/../test-paper"}, "a run that is not here"),
    ],
)
def test_a_link_that_cannot_be_followed_gets_a_calm_note_and_a_picture(sample, query, says):
    app = open_app(**query)
    assert says in texts(app)
    assert player_of(app) is not None
    assert not app.error


def test_a_link_of_nothing_but_mistakes_gets_one_box(sample):
    app = open_app(
        run="test-paper", step="abc", matrix="<b>no</b>", colour="red", since="-5", stage="x", **{"with": "nothing"}
    )
    assert [box.value.count("link") for box in app.info] == [6]


def test_a_damaged_run_is_shown_up_to_its_last_sound_record_with_a_note(sample):
    spectra = sample / "spectra.arrows"
    content = bytearray(spectra.read_bytes())
    content[-200] ^= 0xFF
    spectra.write_bytes(content)
    app = open_app()
    assert player_of(app) is not None or app.warning
    assert app.info or app.warning


def test_a_cut_run_is_still_drawn(sample):
    spectra = sample / "spectra.arrows"
    spectra.write_bytes(spectra.read_bytes()[:-10])
    app = open_app()
    assert app.info or app.warning


def test_a_folder_that_is_no_run_is_named_in_a_calm_box(sample, roots):
    (roots[1] / "photos").mkdir()
    app = open_app(run="runs/photos")
    assert player_of(app) is None
    assert "cannot be opened" in texts(app)
    assert not app.error


def test_a_run_from_a_newer_version_says_so(sample):
    path = sample / "run.json"
    content = json.loads(path.read_text())
    content["header"]["schema"] = 99
    path.write_text(json.dumps(content))
    app = open_app()
    assert "cannot be opened" in texts(app)
    assert not app.error


def test_a_run_that_vanished_is_no_traceback(sample):
    app = open_app(run="test-paper")
    shutil.rmtree(sample)
    app.run()
    assert not app.exception
    assert player_of(app) is None


def test_an_unfinished_run_is_drawn(roots, make_run):
    make_run(roots[1] / "going", steps=12, finish=False)
    assert request_of(open_app())["run"] == "runs/going"


def test_a_run_whose_process_died_without_a_word_is_told_once_though_the_opened_one_still_goes_on(
    roots, make_run, monkeypatch
):
    from app_pages import explore
    from runs import store

    folder = make_run(roots[1] / "going", steps=12, finish=False)
    monkeypatch.setattr("flexlora.run_log.reader.run_state", lambda *_: "running")
    opened = store.open_run(folder)
    assert opened is not None and opened.run.state == "running"
    monkeypatch.setattr(explore, "open_run", lambda _folder: opened)
    monkeypatch.setattr("runs.rows.run_state", lambda *_: "crashed")
    app = open_app()
    assert not app.exception
    assert any("crashed, step 12" in caption.value for caption in app.caption)


def test_a_second_run_is_pinned_by_choice_and_by_link_and_unpinned(sample, roots, make_run):
    make_run(roots[1] / "mine")
    app = open_app()
    assert request_of(app)["beside"] is None
    app.session_state["explore_with"] = "runs/mine"
    app.run()
    assert request_of(app)["beside"] == {"run": "runs/mine", "name": "mine (yours)"}
    assert picker_of(app)["other"] == "runs/mine"
    assert request_of(app)["link"] == {"run": "test-paper", "with": "runs/mine"}
    linked = open_app(run="test-paper", step="12", **{"with": "runs/mine"})
    assert request_of(linked)["beside"]["run"] == "runs/mine"
    assert request_of(linked)["step"] == 12
    app.session_state["explore_with"] = None
    app.run()
    assert request_of(app)["beside"] is None
    assert picker_of(app)["other"] is None


@pytest.mark.parametrize("other", ["nowhere", "../../etc", "test-paper"])
def test_a_pinned_run_that_is_not_there_or_the_same_is_told_in_a_note(sample, other):
    app = open_app(run="test-paper", **{"with": other})
    assert "none is pinned" in texts(app)
    assert request_of(app)["beside"] is None
    assert request_of(app)["run"] == "test-paper"


def test_a_pinned_run_that_cannot_be_opened_leaves_the_first_one_alone(sample, roots):
    (roots[1] / "photos").mkdir()
    app = open_app(run="test-paper", **{"with": "runs/photos"})
    assert "cannot be opened" in texts(app)
    assert request_of(app)["beside"] is None
    assert request_of(app)["run"] == "test-paper"


def test_the_run_that_is_shown_cannot_be_its_own_second_run(sample, roots, make_run):
    make_run(roots[1] / "mine")
    app = open_app(run="test-paper", **{"with": "runs/mine"})
    app.session_state["explore_run"] = "runs/mine"
    app.run()
    assert not app.exception
    assert [choice["key"] for choice in picker_of(app)["others"]] == ["test-paper"]
    assert request_of(app)["run"] == "runs/mine"
    assert request_of(app)["beside"] is None


def test_a_link_into_a_stage_of_slow_motion_is_followed_and_a_wrong_one_told(sample):
    assert request_of(open_app(step="10", stage="order"))["stage"] == "order"
    app = open_app(stage="sideways")
    assert request_of(app)["stage"] is None
    assert "none of score, order, prune, extend, resume" in texts(app)


def test_a_run_in_line_says_its_place_and_appears_when_it_begins(sample, roots, make_run, monkeypatch):
    from app_pages import explore

    turn = threading.Event()

    def worker(live):
        assert turn.wait(30)
        make_run(live.folder)

    registry = Registry(worker)
    monkeypatch.setattr(explore, "REGISTRY", registry)
    jobs = [
        registry.start(Owner.of(str(seed)), Request(build_job("digits", seed=seed, steps=4)), roots[1])
        for seed in range(3)
    ]
    key = f"runs/{jobs[2].folder.name}"
    app = open_app(run=key)
    assert "waits in line, number 2" in texts(app).replace("*", "") and player_of(app) is None
    assert "is loading" in texts(open_app(run=f"runs/{jobs[0].folder.name}"))
    turn.set()
    assert jobs[2].over.wait(30)
    app.run()
    assert request_of(app)["run"] == key and "waits" not in texts(app)
