"""A few true journeys through Explore, in a real browser."""

from __future__ import annotations

import re

import pytest

READY = "[data-testid=stMain] .fl-player[data-step]"
TIMEOUT_MS = 40_000


class Viewer:
    """What a user sees and does."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector(READY, timeout=TIMEOUT_MS)

    def get(self, name: str) -> str:
        return self.page.locator(".fl-player").get_attribute(f"data-{name}")

    def wait(self, name: str, value: str) -> None:
        self.page.wait_for_selector(f'.fl-player[data-{name}="{value}"]', timeout=TIMEOUT_MS)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)


def test_a_newcomer_sees_a_run_parked_at_an_event_without_a_click(open_page, logged):
    viewer = Viewer(open_page())
    assert int(viewer.get("step")) in logged.events
    assert viewer.get("playing") == "false"
    assert viewer.page.locator(".fl-sentence").inner_text()
    assert viewer.page.locator(".fl-event").count() == len(logged.events)


def test_the_event_at_the_clock_is_in_sight_though_its_moves_take_room_from_the_list(open_page, logged):
    viewer = Viewer(open_page())
    panel = viewer.page.locator(".fl-eventpanel")
    panel.evaluate("node => { node.style.height = '122px'; node.querySelector('.fl-moves').style.minHeight = 0; }")
    viewer.press("Home")
    viewer.wait("step", "1")
    height = "node => node.querySelector('.fl-events').clientHeight"
    room = panel.evaluate(height)
    viewer.press("End")
    viewer.wait("step", str(logged.steps))
    assert panel.evaluate(height) < room
    assert viewer.page.locator(".fl-event[aria-current]").evaluate(
        """node => { const list = node.closest("ol").getBoundingClientRect(), own = node.getBoundingClientRect();
        return own.top >= list.top - 1 && own.bottom <= list.bottom + 1; }"""
    )


def test_the_keyboards_place_among_the_pages_can_be_seen(open_page):
    page = Viewer(open_page()).page
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Playground"
    assert page.evaluate("getComputedStyle(document.activeElement).outline").endswith("solid 2px")


def test_no_plotly_is_fetched_before_the_details_are_opened(open_page):
    page = open_page()
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    page.reload()
    viewer = Viewer(page)
    viewer.press("ArrowRight")
    page.wait_for_timeout(1500)
    assert not [url for url in fetched if "Plotly" in url or "plotly" in url]
    page.get_by_text("A figure to zoom").click()
    page.wait_for_selector(".js-plotly-plot", timeout=TIMEOUT_MS)
    assert [url for url in fetched if "Plotly" in url or "plotly" in url]


def test_keys_move_the_clock_by_records_and_by_events(open_page, logged):
    viewer = Viewer(open_page())
    viewer.press("Home")
    viewer.wait("step", "1")
    viewer.press("ArrowRight")
    viewer.wait("step", "2")
    viewer.press("ArrowLeft")
    viewer.wait("step", "1")
    for step in logged.events:
        viewer.press("Shift+ArrowRight")
        viewer.wait("step", str(step))
    viewer.press("Shift+ArrowLeft")
    viewer.wait("step", str(logged.events[-2]))
    viewer.press("End")
    viewer.wait("step", str(logged.steps))


def test_playing_goes_from_event_to_event_to_the_end_and_stops(open_page, logged):
    viewer = Viewer(open_page())
    viewer.press("Home")
    viewer.wait("step", "1")
    viewer.page.get_by_label("Playback speed").select_option("8")
    # What is shown for a frame or two is noted in the page: a busy machine may look too late.
    viewer.page.locator(".fl-player").evaluate(
        """player => {
            const seen = (window.seen = [player.dataset.step]);
            new MutationObserver(() => seen.at(-1) !== player.dataset.step && seen.push(player.dataset.step))
                .observe(player, { attributeFilter: ["data-step"] });
        }"""
    )
    viewer.page.get_by_role("button", name=re.compile("^Play")).click()
    viewer.wait("step", str(logged.steps))
    viewer.wait("playing", "false")
    seen = [int(step) for step in viewer.page.evaluate("window.seen")]
    assert seen == sorted(seen)
    assert set(logged.events) <= set(seen)


def test_space_pauses_where_the_clock_is(open_page, logged):
    viewer = Viewer(open_page())
    viewer.press("Home")
    viewer.press("Space")
    viewer.wait("playing", "true")
    viewer.wait("step", str(logged.events[0]))
    viewer.press("Space")
    viewer.wait("playing", "false")
    step = viewer.get("step")
    viewer.page.wait_for_timeout(600)
    assert viewer.get("step") == step


def test_a_matrix_selected_anywhere_is_selected_everywhere(open_page, logged):
    viewer = Viewer(open_page())
    page = viewer.page
    page.get_by_label("Matrix").select_option(label="L0 value")
    viewer.wait("matrix", logged.name(0, "value"))
    assert "L0 value" in page.locator(".fl-map").get_attribute("aria-label")
    page.locator(".fl-map").focus()
    page.keyboard.press("ArrowDown")
    viewer.wait("matrix", logged.name(1, "value"))
    assert page.get_by_label("Matrix").locator("option:checked").inner_text() == "L1 value"
    page.locator(".fl-event").first.click()
    page.locator(".fl-move.fl-plus").first.click()
    viewer.wait("matrix", logged.name(1, "ffn_in"))


def test_a_click_in_the_map_selects_and_a_click_on_the_time_axis_moves_the_clock(open_page, logged):
    viewer = Viewer(open_page())
    box = viewer.page.locator(".fl-map").bounding_box()
    viewer.page.mouse.click(box["x"] + 60, box["y"] + 40)
    viewer.wait("matrix", logged.name(0, "query"))
    box = viewer.page.locator(".fl-moving").bounding_box()
    viewer.page.mouse.click(box["x"] + box["width"] - 90, box["y"] + box["height"] - 60)
    viewer.wait("step", str(logged.steps))


def test_the_address_opens_the_same_view_in_a_new_profile(open_page):
    viewer = Viewer(open_page())
    viewer.press("End")
    viewer.press("Shift+ArrowLeft")
    viewer.page.get_by_label("Matrix").select_option(label="L1 value")
    viewer.press("3")
    viewer.page.wait_for_url(re.compile(r"step=.*matrix=.*colour="), timeout=TIMEOUT_MS)
    seen = [viewer.get(name) for name in ("step", "matrix", "colour")]
    address = "/" + viewer.page.url.split("/", 3)[3]
    other = Viewer(open_page(address))
    assert [other.get(name) for name in ("step", "matrix", "colour")] == seen
    # The same picture, to the pixel.
    canvases = """async (list) => {
      await document.fonts.ready;
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      return list.map((canvas) => canvas.toDataURL());
    }"""

    def pictures(one):
        return one.page.locator(".fl-map, .fl-side, .fl-still, .fl-moving").evaluate_all(canvases)

    # What fades after a key takes as long as the machine is busy, and what stands above may have moved the player.
    for one in (viewer, other):
        one.page.evaluate("window.dispatchEvent(new Event('resize'))")
    waited_ms = 0
    while pictures(viewer) != pictures(other) and waited_ms < TIMEOUT_MS:
        viewer.page.wait_for_timeout(200)
        waited_ms += 200
    assert pictures(viewer) == pictures(other)
    assert len(pictures(viewer)) == 4


def test_moving_the_clock_adds_nothing_to_the_history(open_page):
    # A tab that has seen much counts no further than 50.
    viewer = Viewer(open_page(new=True))
    before = viewer.page.evaluate("history.length")
    for _ in range(3):
        viewer.press("ArrowRight")
        viewer.page.wait_for_timeout(700)
    viewer.page.wait_for_url(re.compile("step="), timeout=TIMEOUT_MS)
    assert viewer.page.evaluate("history.length") == before


def test_another_run_takes_the_stage_at_its_own_parking_place(open_page, logged):
    viewer = Viewer(open_page())
    viewer.press("End")
    viewer.wait("step", str(logged.steps))
    viewer.page.get_by_label("Run", exact=True).select_option("runs/other")
    viewer.page.wait_for_url(re.compile("run=runs"), timeout=TIMEOUT_MS)
    viewer.wait("updates", "2")
    assert int(viewer.get("step")) in logged.events


def test_a_second_run_is_chosen_named_in_the_address_and_put_away(open_page):
    page = Viewer(open_page()).page
    page.get_by_label("Compare with", exact=True).select_option("runs/other")
    page.wait_for_url(re.compile("with=runs"), timeout=TIMEOUT_MS)
    page.locator(".fl-runs").get_by_text("other").wait_for(timeout=TIMEOUT_MS)
    page.get_by_label("Compare with", exact=True).select_option("")
    page.wait_for_url(re.compile(r"^((?!with=).)*$"), timeout=TIMEOUT_MS)
    page.locator(".fl-runs").wait_for(state="hidden", timeout=TIMEOUT_MS)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768)])
def test_map_transport_and_time_axis_fit_the_window(open_page, width, height):
    page = open_page()
    page.set_viewport_size({"width": width, "height": height})
    viewer = Viewer(page)
    for selector in (".fl-map", ".fl-bar", ".fl-slider", ".fl-time"):
        box = viewer.page.locator(selector).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height


def test_a_direction_that_is_off_or_used_in_part_of_the_steps_is_told_as_such(open_page, logged):
    off_at = logged.events[0]
    first, last = logged.name(0, "query"), logged.name(1, "ffn_in")
    viewer = Viewer(open_page(f"/?run=runs/soft&step={off_at + 1}&matrix={first}"))
    page = viewer.page
    assert "rank 3 (−1 since the start), 1 off" in page.locator(".fl-map").get_attribute("aria-label")
    assert page.locator(".fl-numbers").inner_text().startswith("rank 3, 1 off ·")
    spectrum = page.get_by_role("img", name=re.compile("^Spectrum of"))
    box = spectrum.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 30)
    assert page.locator(".fl-tip").inner_text() == "slot 3 · λ 0.1 · off, may revive"
    page.get_by_label("Matrix").select_option(label="L1 ffn_in")
    viewer.wait("matrix", last)
    assert "rank 4, ≈ 3.6 used a step" in page.locator(".fl-map").get_attribute("aria-label")
    page.mouse.move(box["x"] + box["width"] - 31, box["y"] + 30)
    assert "used in 60 % of steps" in page.locator(".fl-tip").inner_text()
    assert "of which a training step uses 22.6 on average" in page.locator(".fl-sentence").inner_text()


def test_soft_moves_keep_their_slot_and_show_their_own_score(open_page, logged):
    viewer = Viewer(open_page(f"/?run=runs/soft&step={logged.events[0]}"))
    page = viewer.page
    assert page.locator(".fl-moves h3").all_inner_texts() == ["Event 1: off", "back"]
    assert page.locator(".fl-aim").inner_text() == "target total 23, threshold 0.5"
    move = page.locator(".fl-move.fl-minus")
    assert move.locator(".fl-score").inner_text() == "0.125"
    assert move.get_attribute("title") == "score 0.125 · rule: masked (off, may come back)"
    viewer.press("Shift+ArrowRight")
    viewer.wait("step", str(logged.events[2]))
    assert page.locator(".fl-move.fl-plus").get_attribute("title") == "score 0.125 · rule: revived (was off)"
    viewer.press("ArrowRight")
    viewer.wait("step", str(logged.events[2] + 1))
    assert page.locator(".fl-numbers").inner_text().startswith("rank 4 ·")


def test_the_methods_page_leads_to_an_example_and_to_training(open_page):
    page = open_page("/methods")
    page.get_by_role("button", name="Open its example in Explore").click()
    assert Viewer(page).get("step")
    page.get_by_role("link", name="Methods").click()
    page.get_by_test_id("stButtonGroup").get_by_text("ElaLoRA").click()
    page.get_by_text("No recorded example yet. This makes one").wait_for(timeout=TIMEOUT_MS)
    page.get_by_test_id("stButtonGroup").get_by_text("AdaLoRA", exact=True).click()
    page.get_by_text("No recorded example yet. This makes one").wait_for(state="hidden", timeout=TIMEOUT_MS)
    page.get_by_role("button", name="Train with it").click()
    page.get_by_text("target rank").first.wait_for(timeout=TIMEOUT_MS)
    assert page.get_by_test_id("stSelectbox").nth(1).locator("input").input_value() == "AdaLoRA"


def test_browser_and_server_know_the_same_choices(open_page):
    from player import CHOICES

    page = Viewer(open_page()).page
    for name, keys in CHOICES.items():
        choice = page.locator(f".fl-choose-{name} select")
        assert choice.locator("option").evaluate_all("list => list.map((o) => o.value)") == list(keys)
        for key in choice.locator("option:not([hidden])").evaluate_all("list => list.map((o) => o.value)"):
            choice.evaluate("(list, key) => { list.value = key; list.dispatchEvent(new Event('change')); }", key)
            page.wait_for_selector(f'.fl-player[data-{name}="{key}"]', timeout=TIMEOUT_MS)
