"""The schedule editor in a real browser: drag, keys, paste; its curve is the one that training uses."""

from __future__ import annotations

import json
import random
import time

from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.schedules import SCHEDULES
from schedule.editor import shape_of

HOST = ".fl-schedule[data-serial]"
TIMEOUT_MS = 40_000


def wait_for(page, condition, timeout_ms=TIMEOUT_MS):
    deadline = time.monotonic() + timeout_ms / 1000
    while not condition():
        assert time.monotonic() < deadline, page.locator("body").inner_text()[:2000]
        page.wait_for_timeout(50)


def values(page):
    return [int(value) for value in page.locator(HOST).get_attribute("data-values").split(",")]


def number(page, name):
    return page.get_by_role("spinbutton", name=name).input_value()


def random_settings(rng):
    while True:
        total = rng.randint(5, 300)
        points = sorted({rng.randint(0, total): 0.0 for _ in range(rng.randint(1, 6))})
        settings = {
            "schedule": rng.choice(list(SCHEDULES)),
            "initial_budget": rng.randint(0, 60),
            "warmup_steps": rng.randint(0, total),
            "final_steps": rng.randint(0, total),
            "interval": rng.randint(1, 20),
            "exponent": rng.choice([3.0, 1.0, 2.0, round(rng.uniform(0.1, 9), 2)]),
            "points": [[step, rng.choice([float(rng.randint(0, 40)), rng.uniform(0, 40)])] for step in points],
        }
        try:
            return FlexLoRAConfig(total_steps=total, **settings), settings
        except FlexLoRAError:
            continue


def test_the_curve_while_dragging_is_the_trained_one_at_every_step_for_200_settings(browser, modules):
    page = browser.new_page()
    rng = random.Random(7)
    cases = [random_settings(rng) for _ in range(200)]
    found = page.evaluate(
        f"async (cases) => {{ const {{ budgets, eventSteps }} = {modules('schedule/curve.js')}; return cases.map("
        "([shape, own, all]) => [budgets(shape, own, all), eventSteps(own, all)]); }",
        [[shape_of(SCHEDULES[settings["schedule"]]), settings, config.total_steps] for config, settings in cases],
    )
    page.close()
    assert len({settings["schedule"] for _, settings in cases}) == len(SCHEDULES)
    for (config, settings), (drawn, events) in zip(cases, found, strict=True):
        assert drawn == [config.budget(step) for step in range(1, config.total_steps + 1)], settings
        assert events == list(config.event_steps()), settings


def test_drag_undo_keys_and_paste(open_page):
    page = open_page("/train")
    page.wait_for_selector(HOST, timeout=TIMEOUT_MS)
    assert values(page) == [FlexLoRAConfig(total_steps=200).budget(step) for step in range(1, 201)]

    handle = page.get_by_role("slider", name="end of warm-up")
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = values(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y)
    page.mouse.move(x + 80, y, steps=5)
    wait_for(page, lambda: values(page) != before)
    assert number(page, "warmup steps") == "20", "the server is asked only when the handle is released"
    page.mouse.up()
    wait_for(page, lambda: number(page, "warmup steps") != "20")
    warmup = int(number(page, "warmup steps"))
    assert 25 < warmup < 60
    wait_for(page, lambda: page.locator(HOST).get_attribute("data-answer-ms") is not None)
    assert values(page) == [FlexLoRAConfig(total_steps=200, warmup_steps=warmup).budget(s) for s in range(1, 201)]

    page.get_by_role("button", name="Undo").click()
    wait_for(page, lambda: number(page, "warmup steps") == "20" and values(page) == before)

    page.get_by_role("slider", name="b0, the first budget").focus()
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    wait_for(page, lambda: number(page, "initial budget") == "15")

    page.get_by_role("button", name="Copy, paste").click()
    for text, told in (
        ('{"schedule": "points", "points": [[80, 1], [50, 2]]}', "steps must rise"),
        ('{"initial_budget": NaN}', "whole number"),
        ('{"warmup_steps": 500}', "These fit"),
    ):
        page.get_by_role("textbox", name="Paste JSON or YAML").fill(text)
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector(f"text={told}", timeout=TIMEOUT_MS)
        assert number(page, "initial budget") == "15"
    page.get_by_role("textbox", name="Paste JSON or YAML").fill(json.dumps({"schedule": "cubic", "initial_budget": 4}))
    page.get_by_role("button", name="Use it").click()
    wait_for(page, lambda: number(page, "initial budget") == "4")
    # Fields and curve come one after the other.
    highest = FlexLoRAConfig(total_steps=200, schedule="cubic", initial_budget=4).budget(21)
    wait_for(page, lambda: max(values(page)) == highest)
