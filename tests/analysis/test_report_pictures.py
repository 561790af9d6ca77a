"""The picture in an adapter's report is the figure of the page: its points, its marks, its numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from analysis.adapters import analyse_adapter, open_adapter, suggest_sizes
from analysis.figures import FIGURES
from analysis.report.pictures import MOST_TICKS, lines_svg


@pytest.fixture(params=[1.0, 1e-4], ids=["even", "one matrix holds nearly all"])
def spectra(request, tmp_path, write_adapter):
    rng = np.random.default_rng(0)
    factors = {f"layers.{n}.q_proj": (rng.normal(size=(12, 4)), rng.normal(size=(4, 10))) for n in range(3)}
    B, A = factors["layers.1.q_proj"]
    factors = {name: (request.param * B, A) for name, (B, A) in factors.items()}
    factors["layers.1.q_proj"] = B[:, :1] @ np.eye(1, 4), A
    return analyse_adapter(open_adapter(write_adapter(tmp_path / "one", factors, r=4, lora_alpha=4)))


def test_every_point_lies_where_the_figure_has_it(spectra):
    chosen = {f"rank {one.total_rank}": one for one in suggest_sizes(spectra)}
    figure = FIGURES["size_curve"](spectra, chosen)
    drawn = ET.fromstring(lines_svg(figure))
    points = np.array([p.split(",") for p in drawn.find("polyline").get("points").split()], float)
    x, y = (np.asarray(own, float) for own in (figure.data[0].x, figure.data[0].y))
    # Both axes are linear: places are the numbers, moved and stretched, and upwards is smaller.
    for places, values, sign in ((points[:, 0], x, 1), (points[:, 1], y, -1)):
        slope, start = np.polyfit(values, places, 1)
        assert sign * slope > 0 and np.abs(slope * values + start - places).max() < 0.1
    marks = drawn.findall("path")
    assert len(marks) == len(chosen)
    for mark, (label, one) in zip(marks, chosen.items(), strict=True):
        assert mark.find("title").text.startswith(f"{label}, {one.parameters:,} parameters, error ")


def test_numbers_along_an_axis_are_told_apart(spectra):
    figure = FIGURES["size_curve"](spectra)
    told = [text.text for text in ET.fromstring(lines_svg(figure)).findall("text")]
    shares = [text for text in told if text.endswith("%")]
    assert 2 < len(shares) == len(set(shares)) <= MOST_TICKS + 1
    assert {figure.layout.xaxis.title.text, figure.layout.yaxis.title.text} <= set(told)


def test_nothing_in_it_runs_or_is_fetched(spectra):
    assert not re.search(r"<script|href|url\(|on\w+=", lines_svg(FIGURES["size_curve"](spectra)))
