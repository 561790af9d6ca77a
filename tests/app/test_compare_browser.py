"""A study from the page: started with a click, followed while it fills, stopped, and gone on with after a reload."""

from __future__ import annotations

import re

TIMEOUT_MS = 240_000
TEXT = """name: a journey
tasks: [planted]
methods: [lora, flexlora]
seeds: 2
metric: loss
settings: {steps: 300, save_adapter: false, eval_interval: 300}
equal: final_rank
"""


def test_a_study_is_started_stopped_and_gone_on_with(tab, server):
    tab.goto(f"{server}/compare?part=New+study")
    tab.get_by_text("File or ready example").click()
    area = tab.get_by_label("Study file (YAML)")
    area.fill(TEXT)
    area.press("Control+Enter")
    tab.get_by_text("2 variants × 2 seeds").wait_for(timeout=TIMEOUT_MS)
    tab.get_by_role("button", name="Start the study").click()
    tab.wait_for_url(re.compile("study=runs%2Fa-journey"), timeout=TIMEOUT_MS)
    tab.get_by_role("button", name="Stop the study").click(timeout=TIMEOUT_MS)
    tab.get_by_text(re.compile(r"\d of 4 runs are there")).wait_for(timeout=TIMEOUT_MS)
    # The address and the cookie know what is looked at and whose it is.
    tab.reload()
    tab.get_by_role("button", name="Go on with it").click(timeout=TIMEOUT_MS)
    tab.get_by_text("On planted, flexlora is").wait_for(timeout=TIMEOUT_MS)
    tab.wait_for_selector(".st-key-compare_forest .xtick", timeout=TIMEOUT_MS)
    tab.get_by_text("Go on with it").wait_for(state="detached", timeout=TIMEOUT_MS)
    tab.wait_for_selector(".st-key-compare_line", state="detached", timeout=TIMEOUT_MS)
