"""Slow motion, its static pictures and a pinned run: their numbers against the log, and how they are used."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest

from analysis.figures.theme import METHOD_LOOKS
from analysis.payload import pack_run
from analysis.player_modules import module_closure
from analysis.runs import Run, load_run
from analysis.stages import stages_of
from flexlora.importance import IMPORTANCES
from flexlora.methods import METHODS
from player import STAGES

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"
TIMEOUT_MS = 40_000
LOAD = """async () => {
  const views = EXPORTS;
  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  window.views = views;
  window.opened = (text) => new views.Model(views.openPayload(bytes(text)));
  window.scene = (model, step, other = null) => ({
    model, step, record: model.recordAt(step), selected: 0, colour: "rank", stage: null,
    other: other && views.pinnedAt(other, "other", step),
  });
}"""


@pytest.fixture(scope="module")
def core(browser, modules):
    """A page with the player's modules and without an app."""
    context = browser.new_context()
    page = context.new_page()
    page.evaluate(LOAD.replace("EXPORTS", modules(*module_closure("player/ui/player.js"))))
    yield page
    context.close()


def packed(run: Run) -> str:
    return base64.b64encode(pack_run(run)).decode()


def test_the_captions_tell_the_numbers_of_the_event(core):
    run = load_run(SAMPLES / "words-flexlora-paper")
    index = next(i for i, event in enumerate(run.events) if event["step"] == 50)
    captions = core.evaluate(
        """([text, i]) => {
          const model = opened(text);
          return views.STAGES.map((_, place) => views.stageOf(model, i, place).caption);
        }""",
        [packed(run), index],
    )
    scores = stages_of(run, 50).score
    assert f"{min(scores):.3f} … {max(scores):.3f}" in captions[0]
    assert captions[1].startswith(f"b = {run.events[index]['budget']}: the 6 lowest")
    assert captions[2].startswith("Pruned: 6 directions (L1 attn_out 3 → 2")
    assert captions[3].startswith("Extended: 6 directions (L3 key 8 → 9")
    first = [matrix.name for matrix in run.matrices].index(run.events[index]["extend"][0]["matrix"])
    lowered = scores[first] * np.log(8) / np.log(9)
    assert captions[3].endswith(f"lowers the score: {scores[first]:.3f} → {lowered:.3f} in the first")
    assert captions[4] == "Training goes on with total rank 288, as before; from step 51 on what is new may grow"


@pytest.mark.parametrize("key", IMPORTANCES)
def test_scores_are_coloured_over_the_range_of_their_measure(core, key):
    run = load_run(SAMPLES / "words-flexlora-paper")
    for event in run.events:
        event["measure"], event["decided"] = key, {}
    scale = core.evaluate("(text) => views.scoreScale(opened(text))", packed(run))
    seen = [score for event in run.events for score in event["importance"][key].values() if score is not None]
    ends = IMPORTANCES[key].range
    assert scale["label"] == IMPORTANCES[key].label
    assert scale["bounded"] == (None not in ends)
    expected = ends if scale["bounded"] else (min(seen), max(seen))
    assert (scale["low"], scale["high"]) == pytest.approx(expected)


def test_ties_and_refusals_are_told(core, make_run, tmp_path):
    run = load_run(make_run(tmp_path / "tied"))
    caption = core.evaluate(
        """(text) => {
          const model = opened(text);
          const refused = { [model.matrices[1].name]: "at_max_rank" };
          Object.assign(model.events[0], { budget: 2, rules: ["tie", "refused"], refused });
          return views.stageOf(model, 0, 1).caption;
        }""",
        packed(run),
    )
    assert "equal scores at the edge: a drawn order settles them" in caption
    assert f"passed over: L0 {run.matrices[1].module_type} (at max rank)" in caption


def test_a_pinned_run_of_another_length_and_model_is_held_at_its_end(core):
    run, other = load_run(SAMPLES / "digits-adalora"), load_run(SAMPLES / "words-lora")
    last = int(other.steps[-1])
    assert last < run.steps[-1]
    found = core.evaluate(
        """([mine, theirs, step]) => {
          const [model, other] = [opened(mine), opened(theirs)];
          const own = scene(model, step, other);
          return [own.other.missing, other.steps[own.other.record]];
        }""",
        [packed(run), packed(other), last + 10],
    )
    assert found == [True, last]


def test_the_events_side_by_side_spread_over_the_run_and_hold_the_clocks(core):
    run = load_run(SAMPLES / "words-flexlora-paper")
    shown = core.evaluate(
        """(text) => {
          const model = opened(text);
          return model.eventSteps.map((step) => views.eventsShown(model, step));
        }""",
        packed(run),
    )
    for current, chosen in enumerate(shown):
        assert current in chosen
        assert len(chosen) == len(set(chosen)) == 9
        assert chosen == sorted(chosen)


def test_every_method_has_its_own_colour_that_can_be_seen_in_light_and_dark(core):
    table = core.evaluate("() => views.METHOD_COLOURS")
    assert set(table) == set(METHODS)
    assert table == {method: colour for method, (colour, _) in METHOD_LOOKS.items()}
    assert len({colour.lower() for colour in table.values()}) == len(METHODS)

    def luminance(rgb: list[int]) -> float:
        parts = [v / 255 / 12.92 if v / 255 <= 0.03928 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for background, text in ((255, 28), (17, 230)):
        drawn = core.evaluate(
            "([names, background, text]) => names.map((name) => views.methodColour({ background, text }, name))",
            [list(METHODS), f"rgb({background},{background},{background})", f"rgb({text},{text},{text})"],
        )
        assert len(set(drawn)) == len(METHODS)
        for colour in drawn:
            light, dark = sorted(
                [luminance([background] * 3), luminance([int(v) for v in re.findall(r"\d+", colour)])], reverse=True
            )
            assert (light + 0.05) / (dark + 0.05) >= 2.95


class Slow:
    """A user in slow motion."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector("[data-testid=stMain] .fl-player[data-step]", timeout=TIMEOUT_MS)

    def wait(self, **values: object) -> None:
        names = "".join(f'[data-{name}="{value}"]' for name, value in values.items())
        self.page.wait_for_selector(f".fl-player{names}", timeout=TIMEOUT_MS)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def caption(self) -> str:
        return self.page.locator(".fl-stage").inner_text()


def test_slow_motion_is_turned_over_by_hand_and_escape_leaves(open_page, logged):
    first, second = logged.events[:2]
    user = Slow(open_page(f"/?run=test-paper&step={first}"))
    page = user.page
    user.press("s")
    for stage in STAGES:
        user.wait(step=first, stage=stage)
        assert page.locator(".fl-map").get_attribute("aria-label").startswith(f"Rank map, step {first}, {stage}")
        user.press("ArrowRight")
    user.wait(step=first + 1, stage="")
    assert user.caption == f"Slow motion: the next event comes at step {second}."
    user.press("ArrowLeft")
    user.wait(step=first, stage="resume")
    user.press("ArrowLeft")
    user.wait(step=first, stage="extend")
    assert user.caption.startswith("4/5 Extend · Extended: 1 direction (L1 ffn_in 4 → 5)")
    page.wait_for_url(re.compile("stage=extend"), timeout=TIMEOUT_MS)
    user.press("Escape")
    user.wait(step=first, stage="")
    assert page.locator(".fl-stage").is_hidden()
    assert page.get_by_label("Playback speed").input_value() == "1"


def test_playing_in_slow_motion_unfolds_each_event_in_five_stages(open_page, logged):
    user = Slow(open_page("/?run=test-paper&step=1"))
    page = user.page
    page.locator(".fl-player").evaluate(
        """(root) => {
          window.seen = [];
          new MutationObserver(() => {
            const { step, stage } = root.dataset;
            const now = `${step} ${stage}`;
            if (stage && window.seen[window.seen.length - 1] !== now) window.seen.push(now);
          }).observe(root, { attributes: true, attributeFilter: ["data-stage", "data-step"] });
        }"""
    )
    page.get_by_label("Playback speed").select_option("slow")
    page.locator(".fl-map").focus()
    user.press("+", "+", "+")
    page.locator("option:checked", has_text="slow motion 8×").wait_for(state="attached", timeout=TIMEOUT_MS)
    user.press("Space")
    user.wait(step=logged.steps, playing="false")
    assert page.evaluate("window.seen") == [f"{step} {stage}" for step in logged.events for stage in STAGES]


def test_whoever_asked_for_less_motion_turns_the_stages_over_by_hand(open_page, logged):
    user = Slow(open_page("/?run=test-paper&step=1", reduced_motion="reduce"))
    user.press("s", "Space")
    user.wait(step=logged.events[0], stage="score", playing="false")
    user.page.wait_for_timeout(1500)
    user.wait(step=logged.events[0], stage="score", playing="false")
    user.press("Space")
    user.wait(stage="order", playing="false")
    assert user.caption.startswith("2/5 Order · b = 1: the lowest")
    user.page.emulate_media(reduced_motion="no-preference")
    user.page.wait_for_timeout(300)
    user.press("Space")
    user.wait(stage="prune", playing="true")


def test_any_moment_of_an_event_is_a_drag_away_forward_and_backward(open_page, logged):
    first = logged.events[0]
    gains = logged.name(1, "ffn_in")
    user = Slow(open_page(f"/?run=test-paper&step={first}&matrix={gains}"))
    user.press("s")
    reel = user.page.locator(".fl-reel")
    reel.wait_for()
    box = reel.bounding_box()
    at = lambda moment: (box["x"] + box["width"] * moment / 5, box["y"] + box["height"] / 2)  # noqa: E731
    user.page.mouse.move(*at(0.3))
    user.page.mouse.down()
    for moment, stage, rank in (
        (2.4, "prune", 4),
        (3.9, "extend", 5),
        (4.7, "resume", 5),
        (2.4, "prune", 4),
        (0.4, "score", 4),
    ):
        user.page.mouse.move(*at(moment))
        user.wait(step=first, stage=stage, playing="false")
        user.page.locator(".fl-numbers", has_text=f"rank {rank} ·").wait_for(timeout=TIMEOUT_MS)
    assert user.caption.endswith("spread over its directions?")
    user.page.mouse.up()
    user.press("ArrowRight")
    user.wait(stage="order")


def test_a_link_opens_the_stage_and_the_pinned_run_in_a_new_profile(open_page, logged):
    user = Slow(open_page(f"/?run=test-paper&step={logged.events[1]}&with=runs/other&map=pair"))
    user.wait(pinned="other (yours)")
    assert "difference" in user.page.locator(".fl-map").get_attribute("aria-label")
    assert user.page.locator(".fl-run").all_inner_texts() == ["test-paper", "other (yours)"]
    user.press("s", "ArrowRight")
    user.wait(stage="order")
    user.page.wait_for_url(re.compile(r"with=runs.*stage=order"), timeout=TIMEOUT_MS)
    other = Slow(open_page("/" + user.page.url.split("/", 3)[3]))
    other.wait(step=logged.events[1], stage="order", pinned="other (yours)", map="map")


def test_a_click_on_an_event_among_the_small_maps_goes_there(open_page, logged):
    user = Slow(open_page(f"/?run=test-paper&step={logged.events[0]}&map=events"))
    box = user.page.locator(".fl-map").bounding_box()
    user.page.mouse.click(box["x"] + box["width"] - 12, box["y"] + box["height"] - 40)
    user.wait(step=logged.events[-1])


def test_lists_are_one_stop_for_tab_and_keep_the_focus(open_page, logged):
    user = Slow(open_page(f"/?run=test-paper&step={logged.events[1]}"))
    page = user.page
    page.locator(".fl-event[aria-current]").focus()
    user.press("ArrowDown", "Enter")
    user.wait(step=logged.events[2])
    assert page.locator(".fl-event:focus").inner_text().split()[0] == "3"
    assert page.locator('.fl-event[tabindex="0"]').count() == 1
    user.press("Tab", "ArrowDown", "Enter")
    user.wait(matrix=logged.name(1, "ffn_in"))
    assert "L1 ffn_in" in page.locator(".fl-move:focus").inner_text()
    page.locator(".fl-map").focus()
    user.press("Shift+Tab", "Tab")
    assert page.locator(".fl-map").evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
