"""A view as a figure to zoom, as numbers to keep, as code to repeat, and the whole run as a report."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import RUN_FIGURES
from analysis.report import report_html
from analysis.runs import Run
from analysis.snippets import SEVERAL_RUNS, figure_code
from analysis.tables import TABLES, write_csv_bytes, write_parquet_bytes
from player import PlayerView
from runs.store import RunEntry, plain, typed_path
from widgets import download, select

OF_ONE_RUN = tuple(name for name in RUN_FIGURES if name not in (*SEVERAL_RUNS, "compare_maps"))
FIRST = "spectra_over_time"

WRITERS: dict[str, Callable[..., bytes]] = {"csv": write_csv_bytes, "parquet": write_parquet_bytes}


def title_of(name: str) -> str:
    """Name of a figure as people read it."""
    return name.replace("_", " ").capitalize()


def figure_options(name: str, view: PlayerView) -> dict[str, Any]:
    """Options of a figure of `RUN_FIGURES` that draw what the player shows.

    Those of step, matrix, colour, since and sort that the figure has and the view knows.
    """
    known = {key: value for key, value in view.as_dict().items() if value is not None}
    parameters = inspect.signature(RUN_FIGURES[name]).parameters
    return {key: value for key, value in known.items() if key in parameters}


def show_take_out(place: DeltaGenerator, entry: RunEntry, run: Run, view: PlayerView) -> None:
    """Shows in an open expander what can be taken out of a run that the player shows."""
    with place:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            first, figure = OF_ONE_RUN.index(FIRST), "take_out_figure"
            name = select("Figure", OF_ONE_RUN, figure, index=first, format_func=title_of, width=280)
            options = figure_options(name, view)
            _downloads(entry, run, name, options)
        st.plotly_chart(
            RUN_FIGURES[name](run, **options), key="take_out_chart", alt=f"{title_of(name)} of {plain(entry.key)}"
        )
        st.code(figure_code(typed_path(entry), name, **options), language="python")


def _downloads(entry: RunEntry, run: Run, name: str, options: dict[str, Any]) -> None:
    for suffix, write in WRITERS.items():
        label = f"Its numbers, {suffix.upper() if suffix == 'csv' else suffix.capitalize()}"
        made = partial(_written, run, name, options, write)
        download(label, made, f"{entry.folder.name}-{name}.{suffix}", f"take_out_{suffix}")
    download(
        "The run as a report",
        partial(report_html, run),
        f"{entry.folder.name}.html",
        "take_out_report",
        mime="text/html",
        icon=":material/play_circle:",
        help="One HTML file with this player. It opens without a server and without a network.",
    )


def _written(run: Run, table: str, options: dict[str, Any], write: Callable[..., bytes]) -> bytes:
    return write(TABLES[table](run, **options))
