"""A true journey through Adapters: a link opens one, a click on the map follows a matrix, an upload replaces it."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import numpy as np

from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors

TIMEOUT_MS = 40_000
KINDS = ("query", "value")
LAYERS = 3


def make(folder, seed):
    rng = np.random.default_rng(seed)
    folder.mkdir()
    tensors = {}
    for layer in range(LAYERS):
        for kind in KINDS:
            for part, shape in (("A", (4, 10)), ("B", (12, 4))):
                data = 0.1 * rng.normal(size=shape)
                name = f"base_model.model.encoder.layer.{layer}.attention.self.{kind}.lora_{part}.weight"
                tensors[name] = NewTensor("F64", shape, data.tobytes)
    write_tensors(folder / WEIGHTS, tensors)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    return folder


def wait_for(page, condition):
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, page.locator("body").inner_text()[:2000]
        page.wait_for_timeout(50)


def test_a_link_a_click_on_the_map_an_upload_and_a_wrong_path(open_page, tmp_path):
    first, second = make(tmp_path / "first", 0), make(tmp_path / "second", 1)
    page = open_page(f"/adapters?adapter={quote(str(first))}")
    plot = page.locator(".st-key-adapters_map .nsewdrag")
    plot.wait_for(timeout=TIMEOUT_MS)
    wait_for(page, lambda: page.get_by_text("Spectrum of layer 0 query").count())
    box = plot.bounding_box()
    page.wait_for_timeout(300)
    x, y = box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.83
    page.mouse.move(x - 5, y)
    page.mouse.move(x, y, steps=3)
    page.mouse.click(x, y)
    wait_for(page, lambda: page.get_by_text("Spectrum of layer 2 value").count())

    files = [str(second / name) for name in (WEIGHTS, CONFIG)]
    page.locator("input[type=file]").first.set_input_files(files)
    wait_for(page, lambda: page.get_by_text("adapter_model.", exact=True).count())

    page = open_page("/adapters")
    page.get_by_label("Adapter", exact=True).fill(str(tmp_path / "nowhere"))
    page.keyboard.press("Enter")
    wait_for(page, lambda: page.get_by_text("This adapter cannot be opened").count())
    assert page.get_by_text("Traceback").count() == 0
