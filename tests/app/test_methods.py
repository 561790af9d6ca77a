"""The Methods page headless: the family, its examples, and what is said where something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.costs import find_measurements, headline, losses
from flexlora.methods import METHODS

MEASURED = Path(__file__).resolve().parents[2] / "sample_runs" / "costs"


def script():
    from app_pages import methods

    methods.page()


@pytest.fixture
def page(roots):
    """The page with what is drawn on demand opened, but for the picture."""
    page = AppTest.from_function(script, default_timeout=30)
    for key in ("methods_numbers", "methods_cost_growth", "methods_cost_times", "methods_cost_resources"):
        page.session_state[key] = True
    return page


def costs(**changes):
    row = {"method": "adalora", "step_ms": 30.0, "step_ratio": 1.5, "step_ratio_low": 1.4, "step_ratio_high": 1.75}
    row |= {"peak_memory_ratio": None, **changes}
    return {"command": "python costs.py", "machine": "a machine", "task": "words", "rows": [row]}


def captions(page):
    return "\n".join(caption.value for caption in page.caption)


def numbers(page):
    return page.table[1].value.set_index("Method").loc["**AdaLoRA**"]


def test_every_method_stands_in_the_family_before_any_example_exists(page):
    page.run()
    assert not page.exception
    assert len(page.table) == 1
    assert list(page.table[0].value["Method"]) == [
        f"**{method.title}**".replace("(", r"\(").replace(")", r"\)") for method in METHODS.values()
    ]
    assert any("No recorded example yet" in block.value for block in page.markdown)
    assert "--method flexlora" in page.code[0].value
    assert "python benchmarks/method_costs.py" in captions(page)


def test_the_numbers_of_an_example_are_those_of_its_log(page, roots, make_soft_run):
    make_soft_run(roots[0] / "digits-adalora")
    page.run()
    assert not page.exception
    row = numbers(page)
    assert row["Test accuracy"] == "0.900"
    assert row["Total rank, start → end"] == "24 → 24 (≈ 24 used a step)"
    assert row["Active parameters at the end"] == f"{24 * 65:,}"
    assert row["State kept beside it, at most"] == "4.0 kB"
    assert "digits-adalora" in captions(page)
    assert "One seed is one seed" in captions(page)


def test_controls_other_tasks_and_damaged_runs_are_no_examples(page, roots, make_soft_run):
    for name, change in (("a-control", {"control": "head_only"}), ("b-damaged", None), ("c-words", {})):
        path = make_soft_run(roots[0] / name) / "run.json"
        if change is None:
            path.write_text("{")
            continue
        rewrite(path, {"task": "words"} if name == "c-words" else {"config": change})
    page.run()
    assert not page.exception
    assert len(page.table) == 1


def rewrite(path, changes):
    from flexlora.run_log.format import write_header

    write_header(path.parent, json.loads(path.read_text())["header"] | changes)


def test_measured_costs_stand_beside_the_numbers(page, roots, make_soft_run):
    make_soft_run(roots[0] / "digits-adalora")
    (roots[0] / "method_costs_cpu.json").write_text(json.dumps(costs()))
    page.run()
    assert numbers(page)["Time against LoRA, CPU"] == "1.50 × (1.40 to 1.75)"
    assert not any("GPU" in key or "Peak" in key for key in numbers(page))
    assert "CPU: task words on a machine, by `python costs.py`" in captions(page)
    (roots[0] / "method_costs_gpu.json").write_text(json.dumps(costs(peak_memory_ratio=1.25)))
    page.run()
    assert numbers(page)["Time against LoRA, GPU"] == "1.50 × (1.40 to 1.75)"
    assert numbers(page)["Peak memory, GPU"] == "1.25 ×"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"rows": 3}', json.dumps(costs(step_ratio="fast")), json.dumps(costs(step_ratio=float("nan")))],
)
def test_a_damaged_costs_file_is_told_in_one_line(page, roots, text):
    (roots[0] / "method_costs_cpu.json").write_text(text)
    page.run()
    assert not page.exception
    assert "missing or damaged" in captions(page)


def test_the_picture_is_drawn_when_it_is_opened(page, roots, make_run, make_soft_run):
    make_run(roots[0] / "digits-flexlora-paper")
    make_soft_run(roots[0] / "digits-adalora")
    page.run()
    assert not page.get("plotly_chart")
    page.session_state["methods_picture"] = True
    page.run()
    assert not page.exception
    assert page.get("plotly_chart")


def test_a_chosen_method_shows_its_source_and_its_caution(page):
    page.run()
    page.button_group[0].set_value("salora").run()
    assert not page.exception
    assert any(METHODS["salora"].url in block.value for block in page.markdown)
    assert "Safety-alignment preserved LoRA" in captions(page)
    assert "--method salora" in page.code[0].value


def test_without_a_measurement_the_command_that_makes_one_is_shown(page):
    page.run()
    assert any("python benchmarks/cost.py" in block.value for block in page.code)
    assert not page.get("plotly_chart")


def test_what_a_step_costs_is_told_from_the_file(page, roots):
    (roots[0] / "costs").mkdir()
    shutil.copy(MEASURED / "base.json", roots[0] / "costs")
    (found,), _ = find_measurements(roots[0] / "costs")
    page.run()
    assert not page.exception
    told = "\n".join(block.value for block in page.markdown).replace("\\", "")
    assert headline(found) in told
    assert all(line in told for line in losses(found))
    assert any(found.command in block.value for block in page.code)
    assert len(page.get("plotly_chart")) == 2
    assert not page.selectbox


def test_a_shape_is_chosen_where_several_were_measured_and_a_damaged_file_is_one_line(page, roots):
    folder = roots[0] / "costs"
    (folder / "growth").mkdir(parents=True)
    document = json.loads((MEASURED / "base.json").read_text())
    (folder / "base.json").write_text(json.dumps(document))
    plain = [row | {"busy_ms": None} for row in document["contestants"] if "+" not in row["name"]]
    other = document | {"shape": document["shape"] | {"name": "words", "length": 8}, "contestants": plain}
    (folder / "words.json").write_text(json.dumps(other))
    (folder / "broken.json").write_text("{")
    page.run()
    assert not page.exception
    assert "broken.json cannot be read" in captions(page)
    page.selectbox[0].select_index(1).run()
    assert not page.exception
    assert "32 × 8 tokens" in captions(page)
    assert len(page.get("plotly_chart")) == 1
    for rank in (4, 16):
        grown = other | {"shape": other["shape"] | {"rank": rank}}
        (folder / "growth" / f"{rank}.json").write_text(json.dumps(grown))
    page.run()
    assert not page.exception
    assert len(page.get("plotly_chart")) == 2
