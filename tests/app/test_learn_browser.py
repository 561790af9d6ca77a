"""The lessons as a file in a real browser, without a server: played by keyboard alone, answered right and wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from analysis.lessons import lesson_book, material
from analysis.lessons.effect import read_answers
from analysis.lessons.page import lessons_html
from tests.app.learner import WATCH, Keyboard, Mouse

SAMPLES = Path(__file__).parents[2] / "sample_runs"
TIMEOUT_MS = 40_000
ALL = os.environ.get("FLEXLORA_ALL_LESSONS") == "1"
"""Set, all six lessons are played; two take part in every run of the tests."""
PLAYED = [0, 1, 2, 3, 4, 5] if ALL else [0, 3]


@pytest.fixture(scope="module")
def lab():
    return material(SAMPLES)


@pytest.fixture(scope="module")
def book(lab):
    return lesson_book(lab)


@pytest.fixture(scope="module")
def address(lab, tmp_path_factory):
    path = tmp_path_factory.mktemp("lessons") / "lessons.html"
    path.write_text(lessons_html(lab), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce", offline=True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(TIMEOUT_MS)
    page.add_init_script(WATCH)
    yield page
    context.close()
    assert not errors


class Player(Keyboard):
    """Plays with the keyboard, and looks at what the reader says."""

    def play(self, lesson, number):
        step = lesson["steps"][number]
        self.page.wait_for_selector(f"#ln-{lesson['key']}-{step['key']}[aria-current]")
        right = self.answer(step, number % 2 == 0)
        assert self.here.locator(".ln-reveal").is_visible()
        assert self.page.evaluate("held() !== document.body"), "the keyboard has a place"
        assert step["reveal"]["text"][0][:30].replace("*", "")[:12] in self.here.inner_text()
        told = self.page.evaluate("told.at(-1)")
        assert (told["lesson"], told["step"]) == (lesson["key"], step["key"])
        if right is not None:
            assert told["right"] is right
        self.go_on()


@pytest.mark.parametrize("place", PLAYED)
def test_a_lesson_is_played_with_the_keyboard_alone(page, address, book, place):
    lesson, learner = book["lessons"][place], Player(page)
    learner.open(f"{address}#lesson={lesson['key']}&step={lesson['steps'][0]['key']}&version=a")
    for number in range(len(lesson["steps"])):
        learner.play(lesson, number)
    following = book["lessons"][place + 1]["key"] if place < 5 else "quiz=after"
    page.wait_for_function("key => location.hash.includes(key)", arg=following)
    asked = [told["step"] for told in page.evaluate("told") if told["lesson"] == lesson["key"]]
    assert asked == [step["key"] for step in lesson["steps"]]


@pytest.mark.parametrize("place", PLAYED if ALL else [4])
def test_a_lesson_is_played_with_the_mouse_alone(page, address, book, place):
    lesson, mouse = book["lessons"][place], Mouse(page)
    mouse.open(f"{address}#lesson={lesson['key']}&step={lesson['steps'][0]['key']}&version=a")
    for number, step in enumerate(lesson["steps"]):
        page.wait_for_selector(f"#ln-{lesson['key']}-{step['key']}[aria-current]")
        right = mouse.answer(step, number % 2 == 1)
        told = page.evaluate("told.at(-1)")
        # What was looked for was found, after a miss.
        assert told["right"] is (number % 2 == 1 if right is None else right)
        mouse.go_on()
    asked = [told["step"] for told in page.evaluate("told") if told["lesson"] == lesson["key"]]
    assert asked == [step["key"] for step in lesson["steps"]]


def test_place_and_answers_are_found_again_and_a_link_opens_its_step(page, address):
    learner = Player(page)
    learner.open(f"{address}#lesson=better&step=interval")
    assert page.locator(".ln-step:visible").count() >= 3
    learner.tab_to(".ln-step[aria-current] .ln-option")
    page.keyboard.press("Enter")
    learner.open(address)
    assert learner.here.get_attribute("id") == "ln-better-interval"
    assert "ln-answered" in learner.here.get_attribute("class")
    page.keyboard.press("Shift+N")
    assert learner.here.get_attribute("id") == "ln-better-seeds"


def test_an_answer_leaves_the_film_where_the_reader_has_turned_it_unless_it_shows_another_stage(page, address):
    player = Player(page)
    for step, first, turned, letter, after in (
        ("order", "order", "prune", "b", "prune"),
        ("play", "score", "order", "c", "resume"),
    ):
        player.open(f"{address}#lesson=event&step={step}")
        page.wait_for_selector(f".fl-player[data-stage={first}]")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(f".fl-player[data-stage={turned}]")
        page.keyboard.press(letter)
        page.wait_for_selector(f"#ln-event-{step}.ln-answered")
        page.wait_for_selector(f".fl-player[data-stage={after}]")
        page.wait_for_timeout(300)
        assert page.locator(".fl-player").get_attribute("data-stage") == after


def test_each_lesson_that_the_keyboard_reaches_is_seen_whole(page, address):
    page.set_viewport_size({"width": 1024, "height": 768})
    player = Player(page)
    player.open(f"{address}#lesson=better&step=seeds")
    nav = page.locator(".ln-nav").bounding_box()
    for place in range(1, 9):
        player.tab_to(f".ln-tab:nth-child({place})")
        own = page.locator(".ln-tab").nth(place - 1).bounding_box()
        assert nav["x"] <= own["x"] and own["x"] + own["width"] <= nav["x"] + nav["width"]


def test_the_card_of_a_word_goes_with_the_keyboard(page, address, book):
    player, lesson = Player(page), book["lessons"][1]
    player.open(f"{address}#lesson=event&step=before")
    player.answer(lesson["steps"][0], wish=True)
    player.tab_to(".fl-term")
    card = page.locator(".fl-termcard:popover-open")
    card.wait_for()
    # The focus leaves the word in the same moment in which the clock moves.
    page.keyboard.press("n")
    page.wait_for_selector(f'.fl-player[data-step="{lesson["steps"][1]["stage"]["view"]["step"]}"]')
    card.wait_for(state="hidden")
    page.wait_for_timeout(300)
    assert card.count() == 0


def test_what_lies_behind_an_open_question_is_not_told(page, address):
    learner = Player(page)
    learner.open(f"{address}#lesson=spectrum&step=about")
    assert page.locator(".ln-step:visible").count() == 1
    assert page.locator(".ln-reveal:visible").count() == 0
    page.keyboard.press("n")
    assert page.locator(".ln-step:visible").count() == 2
    assert page.locator(".ln-tab[aria-current] .ln-state").inner_text() == "", "a step that was skipped is not done"


def test_letters_answer_and_the_line_of_a_drawing_is_where_the_hand_was(page, address, book):
    learner = Player(page)
    learner.open(f"{address}#lesson=spectrum&step=about")
    page.keyboard.press("b")
    page.wait_for_selector("#ln-spectrum-about.ln-answered")
    assert page.evaluate("told.at(-1).right") is True
    assert page.locator(".ln-tab[aria-current] .ln-state").inner_text().startswith("1/")

    ask = book["lessons"][3]["steps"][0]["ask"]
    learner.open(f"{address}#lesson=schedule&step=formula")
    page.wait_for_selector(".ln-drawing [data-point]")
    ends = [page.locator(f'.ln-drawing [data-point="{i}"]').bounding_box() for i in (0, len(ask["x"]) - 1)]
    left, right = (one["x"] + one["width"] / 2 for one in ends)
    picture = page.locator(".ln-drawing svg").bounding_box()
    top, height = picture["y"] + 45, picture["height"] - 110

    def fall(share):
        return 1 - (1 - share) ** 3

    # A fast hand down a curve that is steep at first: each step keeps the height at which the hand passed it.
    page.mouse.move(left, top)
    page.mouse.down()
    for share in [own / 40 for own in range(1, 41)]:
        page.mouse.move(left + share * (right - left), top + fall(share) * height)
    page.mouse.up()
    drawn = [float(one.get_attribute("cy")) for one in page.locator(".ln-drawing [data-point]").all()]
    shares = [fall((step - ask["x"][0]) / (ask["x"][-1] - ask["x"][0])) for step in ask["x"]]
    assert [(one - drawn[0]) / (drawn[-1] - drawn[0]) for one in drawn] == pytest.approx(shares, abs=0.01)


def test_in_a_narrow_window_a_drawing_ends_the_page_and_its_run_is_one_press_away(page, address, book):
    page.set_viewport_size({"width": 390, "height": 844})
    mouse, lesson = Mouse(page), book["lessons"][2]
    step = next(one for one in lesson["steps"] if one["ask"]["kind"] == "draw")
    # The step before has left a player on the stage, which is as long as the window is high.
    mouse.open(f"{address}#lesson={lesson['key']}&step={lesson['steps'][0]['key']}&version=a")
    page.wait_for_selector(".fl-player[data-step]")
    mouse.go_on()
    for wish in (True, False):
        assert mouse.answer(step, wish) is page.evaluate("told.at(-1).right") is wish
        drawn, button = (page.locator(one).bounding_box() for one in (".ln-dial", ".ln-torun"))
        assert 0 <= drawn["y"] - button["y"] < 80
        ends = page.evaluate("document.documentElement.scrollHeight - scrollY")
        assert ends - drawn["y"] - drawn["height"] < 120
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.evaluate("localStorage.clear()")
        mouse.open(f"{address}#lesson={lesson['key']}&step={step['key']}&version=a")
    mouse.answer(step, True)
    page.locator(".ln-torun").click()
    assert page.locator(".fl-player").is_visible()


def test_a_question_out_of_sight_is_announced_and_one_press_away(page, address):
    page.set_viewport_size({"width": 1024, "height": 640})
    player = Player(page)
    player.open(f"{address}#lesson=spectrum&step=about")
    cue, text = page.get_by_role("button", name="Question below"), page.locator(".ln-text")
    low = "node => node.getBoundingClientRect().bottom"
    option = player.here.locator(".ln-option").last
    assert option.evaluate(low) > text.evaluate(low)
    cue.click()
    cue.wait_for(state="hidden")
    assert option.evaluate(low) <= text.evaluate(low)
    # The keyboard goes there of itself.
    player.open(f"{address}#lesson=spectrum&step=about")
    cue.wait_for()
    player.tab_to(".ln-step[aria-current] .ln-option:last-child")
    cue.wait_for(state="hidden")


def test_the_picture_of_a_slider_is_whole_when_it_comes(page, address):
    learner = Player(page)
    for place in ("spectrum&step=dial", "zero_impact&step=factor&version=a", "schedule&step=dial"):
        learner.open(f"{address}#lesson={place}")
        page.wait_for_selector(".ln-picture .ln-bar")
        low = "selector => document.querySelector(selector).getBoundingClientRect().bottom"
        assert page.evaluate(low, ".ln-picture .ln-axis") <= page.evaluate(low, ".ln-picture")
        tall = page.eval_on_selector_all(
            ".ln-picture .ln-bar", "all => Math.max(...all.map((own) => own.height.baseVal.value))"
        )
        assert tall > 12


VERSION = "JSON.parse(localStorage['flexlora-learn']).versions.zero_impact"


def test_a_lesson_asks_unless_a_leader_asked_for_a_comparison_and_then_says_so_and_can_be_switched(page, address):
    learner, step = Player(page), f"{address}#lesson=zero_impact&step=nothing"
    learner.open(step)
    assert page.evaluate(VERSION) is None and learner.here.locator(".ln-option").count() == 3
    learner.open(f"{step}&version=coin")
    fell = page.evaluate(VERSION)
    assert fell in ("a", "b")
    learner.open(f"{step}&version=coin")
    assert page.evaluate(VERSION) == fell
    for version, open_questions in (("a", 3), ("b", 0)):
        learner.open(f"{step}&version={version}")
        assert learner.here.locator(".ln-option").count() == open_questions
        assert learner.here.locator(".ln-reveal").is_visible() == (version == "b")
        assert page.get_by_text("compares two versions").count() == (version == "b")
    page.get_by_role("button", name="Ask me first instead").press("Enter")
    assert learner.here.locator(".ln-option").count() == 3
    learner.open(step)
    assert learner.here.locator(".ln-option").count() == 3, "the choice is kept"
    assert page.evaluate(VERSION) == "b", "a comparison is of what was given"


def test_who_follows_a_leader_is_asked_for_the_same_version(page, address):
    learner = Player(page)
    learner.open(f"{address}#lesson=spectrum&step=about")
    query = {"lesson": "zero_impact", "step": "nothing", "version": "b"}
    page.evaluate("query => document.dispatchEvent(new CustomEvent('lab-follow', { detail: { query } }))", query)
    page.wait_for_selector("#ln-zero_impact-nothing[aria-current]")
    assert learner.here.locator(".ln-option").count() == 0 and page.evaluate(VERSION) == "b"
    assert "version=b" in page.url, "who follows this reader is asked the same"


def test_the_reading_version_shows_a_task_and_counts_as_done_when_it_was_seen(page, address, book):
    learner, lesson = Player(page), book["lessons"][2]
    learner.open(f"{address}#lesson=zero_impact&step=nothing&version=b")
    for step in lesson["steps"]:
        page.wait_for_selector(f"#ln-zero_impact-{step['key']}[aria-current]")
        assert learner.here.locator(".ln-question").inner_text().endswith((".", "?"))
        if step is not lesson["steps"][-1]:
            page.keyboard.press("n")
    assert page.locator(".ln-tab[aria-current] .ln-state").inner_text() == "✓"


def answer(page, questions, wrong=()):
    for number, question in enumerate(questions):
        chosen = (question["right"] + (number in wrong)) % len(question["options"])
        page.locator(f"[name=q{number}]").nth(chosen).press("Space")
    page.get_by_role("button", name="Check my answers").press("Enter")


def test_the_first_score_stays_when_the_quiz_is_taken_again(page, address, book):
    page.goto(f"{address}#quiz=after")
    questions = book["quiz"]["after"]
    answer(page, questions, wrong=(2,))
    page.get_by_role("button", name="Take it again").press("Enter")
    assert "first answers" in page.locator(".ln-quiz .ln-hint").first.inner_text()
    answer(page, questions, wrong=range(8))
    assert page.locator(".ln-score").inner_text().startswith("7 of 8 right. Taken again, as listed below: 0 of 8")
    assert page.evaluate("told.filter((one) => one.lesson === 'quiz').map((one) => one.score)") == [7]
    page.reload()
    assert page.locator(".ln-score").inner_text().startswith("7 of 8 right.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Answers as CSV").press("Enter")
    (learner,) = read_answers([Path(download.value.path()).read_text(encoding="utf-8")])
    assert learner.scores == {"after": 7 / 8}


def test_the_quiz_points_to_what_was_missed_and_hands_out_answers_without_a_name(page, address, book):
    page.goto(f"{address}#quiz=before")
    questions = book["quiz"]["before"]
    page.get_by_role("button", name="Check my answers").press("Enter")
    assert "Not answered yet: 1, 2" in page.get_by_role("alert").first.inner_text()
    answer(page, questions, wrong=(0, 4))
    assert page.locator(".ln-score").inner_text().startswith("6 of 8 right")
    assert page.locator(".ln-missed").count() == 2
    with page.expect_download() as download:
        page.get_by_role("button", name="Answers as CSV").press("Enter")
    (learner,) = read_answers([Path(download.value.path()).read_text(encoding="utf-8")])
    assert learner.scores == {"before": 6 / 8} and len(learner.code) == 8
    assert not learner.concepts["before"][questions[0]["concept"]]
    lesson, step = questions[0]["teaches"]
    label = page.locator(".ln-missed button").first.inner_text()
    assert re.fullmatch(r"Learn it in step \d\.\d", label), "the title of a step would tell its answer"
    page.locator(".ln-missed button").first.press("Enter")
    page.wait_for_selector(f"#ln-{lesson}-{step}[aria-current]")
    assert page.evaluate("told.find((one) => one.lesson === 'quiz').score") == 6
