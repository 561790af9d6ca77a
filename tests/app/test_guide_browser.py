"""What a newcomer finds in Explore, in a real browser: a sentence, an event, a tour, words that explain themselves."""

from __future__ import annotations

import pytest

TIMEOUT_MS = 40_000
CARD = ".fl-termcard:popover-open"


class Viewer:
    """What a user sees and does."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector("[data-testid=stMain] .fl-player[data-step]", timeout=TIMEOUT_MS)

    def get(self, name: str) -> str:
        return self.page.locator(".fl-player").get_attribute(f"data-{name}")

    def wait(self, name: str, value: str) -> None:
        self.page.wait_for_selector(f'.fl-player[data-{name}="{value}"]', timeout=TIMEOUT_MS)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)


@pytest.fixture
def viewer(open_page):
    return Viewer(open_page())


def guide(viewer):
    return viewer.page.locator(".fl-guidetext")


def press(viewer, name):
    viewer.page.get_by_role("button", name=name, exact=True).click()


def test_one_sentence_says_what_an_event_does_and_one_click_shows_it(viewer, logged):
    assert "lose their smallest one" in guide(viewer).inner_text()
    press(viewer, "Show me one event")
    viewer.page.wait_for_selector('.fl-player.fl-slow[data-playing="true"]', timeout=TIMEOUT_MS)
    step = viewer.get("step")
    assert int(step) in logged.events and viewer.get("stage")
    # It ends with this event, and does not go on to the next one.
    viewer.wait("playing", "false")
    assert (viewer.get("step"), viewer.get("stage")) == (step, "resume")
    assert viewer.page.get_by_role("button", name="Show it again", exact=True).count() == 1


def test_the_tour_leads_through_five_moments_and_back_to_the_sentence(viewer, logged):
    press(viewer, "Take the tour")
    viewer.wait("step", "1")
    for place, title in enumerate(("The map", "One spectrum", "An event", "Entropy", "The result"), 1):
        assert guide(viewer).inner_text().startswith(f"{place} of 5 · {title}")
        assert (viewer.get("stage") != "") == (title == "An event")
        if place < 5:
            press(viewer, "Next")
    viewer.wait("step", str(logged.steps))
    assert viewer.page.get_by_role("button", name="Next", exact=True).count() == 0
    press(viewer, "Back")
    viewer.wait("colour", "entropy")
    press(viewer, "End")
    assert "lose their smallest one" in guide(viewer).inner_text()


def test_a_link_begins_the_tour(open_page):
    viewer = Viewer(open_page("/?run=test-paper&tour=2"))
    viewer.page.get_by_text("2 of 5").wait_for(timeout=TIMEOUT_MS)


def test_a_word_opens_by_pointer_focus_and_click_and_escape_closes_it_only(viewer):
    page = viewer.page
    viewer.press("s")
    page.wait_for_selector(".fl-player.fl-slow")
    word = page.locator('.fl-numbers [data-term="entropy"]')
    word.hover()
    page.wait_for_selector(CARD, timeout=TIMEOUT_MS)
    assert "How evenly" in page.locator(CARD).inner_text() and " / ln " in page.locator(CARD).inner_text()
    assert page.locator(f"{CARD} svg").count() == 1
    viewer.press("Escape")
    page.wait_for_selector(CARD, state="detached", timeout=TIMEOUT_MS)
    assert page.locator(".fl-player.fl-slow").count() == 1
    page.locator('.fl-numbers [data-term="rank"]').focus()
    viewer.press("Tab")
    page.wait_for_selector(CARD, timeout=TIMEOUT_MS)
    assert word.get_attribute("aria-describedby") == page.locator(CARD).get_attribute("id")
    viewer.press("Escape")
    word.click()
    page.wait_for_selector(CARD, timeout=TIMEOUT_MS)


def test_an_open_word_follows_the_clock(viewer, logged):
    page = viewer.page
    page.locator('.fl-numbers [data-term="energy"]').click()
    page.wait_for_selector(CARD, timeout=TIMEOUT_MS)
    viewer.press("End")
    page.locator(CARD, has_text=f"step {logged.steps}").wait_for(timeout=TIMEOUT_MS)


def test_words_of_other_texts_are_found_too(viewer):
    page = viewer.page
    viewer.press("w")
    page.wait_for_selector(".fl-why .fl-term", timeout=TIMEOUT_MS)
    page.locator(".fl-more summary").click()
    page.wait_for_selector(".fl-morenumbers .fl-term", timeout=TIMEOUT_MS)
    assert page.evaluate("document.querySelectorAll('h1').length") == 1
