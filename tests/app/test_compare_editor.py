"""The editor of Compare headless: what the form and the file say before a study is started, and what is started."""

from __future__ import annotations

import pytest
from compare_studies import PLAIN, script, words
from streamlit.testing.v1 import AppTest


@pytest.fixture
def page(roots):
    return AppTest.from_function(script, default_timeout=60)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be a mapping"),
        ("a: &x [1]\nb: *x", "anchor"),
        (PLAIN.replace("equal: final_rank", "equal: final_rank\naxes: {wings: [1, 2]}"), "Unknown axis 'wings'"),
        (PLAIN + f"axes: {{batch_size: {list(range(1, 1001))}, interval: {list(range(1, 1001))}}}", "runs"),
        (PLAIN.replace("lora, flexlora", "lora, flexlore"), "flexlore"),
        ("\x00", "no YAML"),
    ],
)
def test_a_bad_study_file_is_one_line_and_starts_nothing(page, text, told):
    page.query_params["part"] = "New study"
    page.run()
    page.text_area(key="compare_study_text").set_value(text).run()
    assert not page.exception
    (error,) = page.error
    assert told in error.value.replace("\\", "") and "\n" not in error.value
    assert not [button for button in page.button if button.key == "compare_start"]


def test_the_file_says_how_many_runs_it_is_and_unequal_settings_are_told_before(page):
    page.query_params["part"] = "New study"
    page.run()
    assert "3 variants × 8 seeds = **24 runs**" in words(page)
    uneven = PLAIN.replace("[lora,", "[{name: big, method: lora, settings: {initial_rank: 12}},")
    page.text_area(key="compare_study_text").set_value(uneven).run()
    assert not page.exception and "Not an equal comparison" in words(page)
    assert page.button(key="compare_start").disabled
    page.toggle(key="compare_study_anyway").set_value(True).run()
    assert not page.button(key="compare_start").disabled


def test_the_form_writes_a_file_that_the_parser_takes(page):
    page.query_params["part"] = "New study"
    page.run()
    page.text_input(key="compare_form_ranks").set_value("2, 4")
    page.number_input(key="compare_form_seeds").set_value(3)
    page.button(key="compare_form_write").click().run()
    assert not page.exception and not page.error
    assert "6 variants × 3 seeds = **18 runs**" in words(page)
