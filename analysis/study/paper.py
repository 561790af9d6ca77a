"""Figures as SVG and PDF at the width of a column, by Plotly's own exporter: what is on the page is what is printed."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go

from analysis.study.pictures import Picture
from analysis.study.write import latex_escaped, latex_label
from flexlora.errors import FlexLoRAError
from flexlora.study.files import replace_file

COLUMNS = {"single": 3.25, "double": 6.75}
"""Width → inches."""
FORMATS = ("svg", "pdf")
PX_PER_INCH = 96
FONT_PX = {"single": 9.4, "double": 10.7}
"""7 and 8 points: what stands beside a text of 9 or 10."""
DESIGNED_PX = 700
"""Width that figures are drawn for on a page; narrower ones are a little lower, too."""
CELL_TEXT = 0.62
"""Width of a character as a share of its size."""
LEAST_SMALLER = 1.5
"""Pixels by which the number in a cell may be smaller than other text."""
INSTALL = "pip install 'flexlora-lab[paper]' installs kaleido, and it needs Chrome or Chromium on this machine"
WITHOUT = "Without them the camera over each figure in the app saves its SVG"


def paper_figure(figure: go.Figure, width: str) -> go.Figure:
    """Return a copy for print: no title (the caption has it), white ground, dark letters, ``COLUMNS[width]`` wide."""
    found, size = go.Figure(figure), FONT_PX[width]
    px = round(COLUMNS[width] * PX_PER_INCH)
    narrow = px < DESIGNED_PX / 2
    layout: Any = figure.layout
    several = len([key for key in layout.to_plotly_json() if key.startswith("yaxis")]) > 1
    # Above the picture: below it, the title of the axis stands in the way.
    legend: dict[str, Any] = {"font": {"size": size}, "orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"}
    shrunk = 1.0 if several else 0.8 if narrow else 0.9
    found.update_layout(
        width=px,
        height=round((layout.height or 450) * shrunk),
        title=None,
        template="plotly_white",
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        font={"family": "Helvetica, Arial, sans-serif", "size": size, "color": "#111111"},
        legend={
            **legend,
            "y": 1.0 + 20 / (layout.height or 450) * several,
            "itemwidth": 30,
            "itemsizing": "trace",
        },
        margin={"l": 8, "r": 6, "t": 22 if layout.annotations else 8, "b": 8},
        modebar=None,
    )
    found.update_xaxes(automargin=True, title_font_size=size, tickfont_size=size - 0.7)
    found.update_yaxes(automargin=True, title_font_size=size, tickfont_size=size - 0.7)
    found.update_annotations(font={"size": size})
    found.update_coloraxes(colorbar={"tickfont": {"size": size - 0.7}, "title": {"font": {"size": size}}})
    traces: Any = found.data
    for number, trace in enumerate(traces):
        # Otherwise drawn by lot.
        trace.update(uid=f"trace{number}")
    _fit_cells(found, px, size)
    return found


def write_figures(pictures: Sequence[Picture], folder: Path) -> list[Path]:
    """Write each figure as SVG and PDF at both widths, and ``figures.tex`` with their captions.

    The same figures give the same bytes on one machine: what the exporter draws by lot or by the clock is fixed.

    Raises:
        FlexLoRAError: the exporter or its browser is missing, with what installs it, or the folder cannot be written.
    """
    names = [(picture, width) for picture in pictures for width in COLUMNS]
    drawn = _export([paper_figure(picture.figure, width) for picture, width in names])
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (picture, width), contents in zip(names, drawn, strict=True):
            for ending, content in contents.items():
                paths.append(folder / f"{picture.name}-{width}.{ending}")
                replace_file(paths[-1], content)
        paths.append(folder / "figures.tex")
        replace_file(paths[-1], figures_tex(pictures).encode())
    except OSError as error:
        raise FlexLoRAError(f"{folder} cannot be written: {error.strerror or error}.") from error
    return paths


def figures_tex(pictures: Sequence[Picture]) -> str:
    """Return a LaTeX figure environment for each picture, at one column; it needs the package graphicx."""
    parts = [
        "\n".join(
            [
                r"\begin{figure}",
                rf"\centering\includegraphics{{{picture.name}-single.pdf}}",
                rf"\caption{{{latex_escaped(picture.caption)}}}",
                latex_label("fig", picture.name),
                r"\end{figure}",
            ]
        )
        for picture in pictures
    ]
    return "\n\n".join(parts) + "\n"


def exporter_missing() -> str:
    """Return the sentence that says what is missing for SVG and PDF; empty where nothing is."""
    if importlib.util.find_spec("kaleido") is None:
        return f"Figures need the extra paper: {INSTALL}. {WITHOUT}."
    return ""


def _export(figures: Sequence[go.Figure]) -> list[dict[str, bytes]]:
    """Return format → content of each figure; one browser draws them all."""
    if told := exporter_missing():
        raise FlexLoRAError(told)
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    # In a thread of its own: a notebook has a loop that runs already.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_drawn(figures))).result()


async def _drawn(figures: Sequence[go.Figure]) -> list[dict[str, bytes]]:
    import kaleido
    from choreographer.errors import BrowserDepsError, BrowserFailedError, ChromeNotFoundError

    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    found = []
    try:
        # Nothing is fetched: the library lies beside this one, and no formula needs MathJax.
        async with kaleido.Kaleido(plotlyjs=script, mathjax=False) as browser:
            for figure in figures:
                layout: Any = figure.layout
                contents = {}
                for ending in FORMATS:
                    content = await browser.calc_fig(
                        figure.to_plotly_json(), opts={"format": ending, "width": layout.width, "height": layout.height}
                    )
                    contents[ending] = _settled(bytes(content), ending)
                found.append(contents)
    except (ChromeNotFoundError, BrowserDepsError, BrowserFailedError) as error:
        raise FlexLoRAError(f"No browser draws the figures: {INSTALL}. {WITHOUT}.") from error
    return found


def _settled(content: bytes, ending: str) -> bytes:
    """Fix what differs from one export to the next: the lot in the ids of an SVG, the date in a PDF."""
    if ending == "pdf":
        # As many bytes as before, or the table of places in the file would be wrong.
        return re.sub(rb"\(D:\d{14}", b"(D:20000101000000", content)
    lots = list(dict.fromkeys(re.findall(rb'id="(?:defs|topdefs|clip|legend|g)-?([0-9a-f]{6})', content)))
    for number, lot in enumerate(lots):
        content = content.replace(lot, b"@%05d" % number)
    # Ids of their own for each picture: several may stand in one page.
    own = hashlib.sha256(content).hexdigest().encode()
    for number in range(len(lots)):
        content = content.replace(b"@%05d" % number, own[6 * number : 6 * number + 6])
    return content


def _fit_cells(figure: Any, px: int, size: float) -> None:
    """Drop the numbers of maps whose cells are too narrow for them."""
    for trace in figure.data:
        if trace.type != "heatmap" or trace.texttemplate is None or trace.text is None:
            continue
        domain = figure.layout[f"xaxis{(trace.xaxis or 'x')[1:]}"].domain or (0.0, 1.0)
        # About a sixth of the width is labels and the colour bar.
        cell = px * 5 / 6 * (domain[1] - domain[0]) / len(trace.z[0])
        longest = max(len(str(text)) for row in trace.text for text in row)
        own = min(size, cell / (CELL_TEXT * max(1, longest)))
        if own < size - LEAST_SMALLER:
            trace.update(texttemplate="")
        else:
            trace.update(textfont={"size": own})
