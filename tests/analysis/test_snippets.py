"""The code beside a figure draws that figure; the list of figures in the documentation is the one in the code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.figures import RUN_FIGURES
from analysis.runs import load_run
from analysis.snippets import SEVERAL_RUNS, figure_code

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_runs"
FIRST, SECOND = "words-flexlora-paper", "words-flexlora-reference"
MATRIX = "bert.encoder.layer.0.attention.self.query"

OPTIONS = {
    "rank_map": {"step": 60, "colour": "change", "since": 30},
    "strip": {"colour": "energy", "sort": "similarity"},
    "rank_trajectories": {"highlight": [MATRIX], "measure": "entropy"},
    "rank_share": {"by": "layer"},
    "spectrum": {"matrix": MATRIX, "step": 40},
    "energy_shares": {"matrix": MATRIX},
    "spectra_over_time": {"matrix": MATRIX},
    "net_gross": {"within": 3},
    "event_stages": {"step": 40},
    "events_grid": {"count": 4},
    "compare_maps": {"colour": "entropy"},
}


@pytest.mark.parametrize("name", RUN_FIGURES)
def test_the_code_of_a_figure_draws_it_in_at_most_seven_lines(name):
    options = OPTIONS.get(name, {})
    several = name in SEVERAL_RUNS
    others = [SECOND] if several or name == "compare_maps" else []
    code = figure_code(FIRST, name, others, folder=SAMPLES, **options)
    assert len(code.split("\n")) <= 8
    names: dict = {}
    exec(compile(code, name, "exec"), names)
    paths = [(SAMPLES / own).as_posix() for own in (FIRST, *others)]
    runs = [load_run(path) for path in paths]
    expected = RUN_FIGURES[name](*([dict(zip(paths, runs, strict=True))] if several else runs), **options)
    assert names["figure"].to_json() == expected.to_json()
    assert code.rstrip().endswith("\nfigure")


def test_options_that_are_as_by_default_are_left_out():
    code = figure_code("my run", "rank_map", step=None, colour="rank", since=None)
    assert code.splitlines()[-3:] == ["run = load_run('my run')", "figure = FIGURES['rank_map'](run)", "figure"]


def test_a_step_from_an_array_is_written_as_a_number():
    assert "step=45)" in figure_code("run", "rank_map", step=np.int64(45))


def test_a_path_with_quotes_stays_a_path():
    code = figure_code('it\'s "mine"\\', "loss")
    assert repr('it\'s "mine"\\') in code
    compile(code, "code", "exec")


@pytest.mark.parametrize(
    ("figure", "others", "options", "told"),
    [
        ("beauty", (), {}, "choose one of rank_map"),
        ("loss", (), {"colour": "rank"}, "has no option 'colour'; it has none"),
        ("strip", (), {"step": 3}, "it has colour, sort, since"),
        ("compare_maps", (), {}, "takes 1 other run, got 0"),
        ("loss", ("b",), {}, "takes 0 other runs, got 1"),
        ("spectra_over_time", (), {}, "needs matrix="),
    ],
)
def test_what_cannot_be_written_down_is_refused(figure, others, options, told):
    with pytest.raises(ValueError, match=told):
        figure_code("run", figure, others, **options)


def test_the_documentation_lists_every_figure_of_runs_in_order():
    text = (ROOT / "docs" / "figures.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    listed = {name: told.replace("\\|", "|") for name, told in rows}
    first_lines = {name: (draw.__doc__ or "").split("\n")[0].strip() for name, draw in RUN_FIGURES.items()}
    assert listed == first_lines
    assert list(listed) == list(first_lines)
