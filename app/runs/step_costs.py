"""What a training step costs, as measured files say: a sentence, pictures, the numbers, and where FlexLoRA loses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from plotly.graph_objects import Figure

from analysis.costs import (
    Measurement,
    Series,
    caption,
    find_measurements,
    find_series,
    growth_table,
    headline,
    losses,
    measured,
    named,
    resource_table,
    time_table,
    title,
)
from analysis.costs.tables import Table
from analysis.figures import FIGURES
from charts import chart, draw
from runs.store import plain, samples_root
from widgets import select

Stamps = tuple[tuple[str, int], ...]
"""File of a folder → when it was changed."""
FOLDER, GROWTH = "costs", "growth"
"""Folder of the samples with a file a shape, and the one inside it with the points of growth series."""
COMMAND = "python benchmarks/cost.py --shape base --graph --memory --busy --json sample_runs/costs/base.json"


def step_costs() -> None:
    """Draw the section; says which command makes a file where there is none."""
    folder = samples_root() / FOLDER
    found, notices = _find(str(folder), _stamps(folder))
    st.markdown("## What a step costs")
    for notice in notices:
        st.caption(f":material/error: {plain(notice)}")
    if not found:
        st.markdown("Nothing was measured here yet. This does, on a machine with a GPU (`--shape minilm` on a CPU):")
        st.code(COMMAND, language="bash")
        return
    chosen = found[0]
    if len(found) > 1:
        chosen = found[select("Shape", range(len(found)), "methods_cost_shape", format_func=lambda i: title(found[i]))]
    points, more = _find(str(folder / GROWTH), _stamps(folder / GROWTH))
    series = find_series(points)
    for notice in more:
        st.caption(f":material/error: {plain(notice)}")
    _show(chosen, series)
    _show_growth(series)


def _show(found: Measurement, series: Sequence[Series]) -> None:
    st.markdown(f"**{plain(headline(found))}**")
    told = f"{headline(found)} Each contestant's mean step against PEFT LoRA's."
    draw("methods_step_ratio", told, _figure("step_ratio", found.file, _stamps(samples_root() / FOLDER), found))
    st.caption(
        "Dots are medians over rounds of the ratio within each, bars the lowest and highest round; undecided: rounds "
        f"lie on both sides of 1. {plain(named(found))}."
    )
    if any(one.busy_ms is not None for one in found.contestants):
        alt = "Of each contestant's step: ms that the GPU is busy as without an adapter, busy for it, and idle"
        draw("methods_step_time", alt, _figure("step_time", found.file, _stamps(samples_root() / FOLDER), found))
        st.caption(
            "Busy: the GPU runs a kernel. Idle: it waits for the host to launch the next one, which is what a graph "
            "takes away. Idle is the median step less the busy time, which was profiled apart."
        )
    lost = losses(found, series)
    nothing = f"**FlexLoRA needs no more than LoRA run alike**, of what was measured here: {measured(found)}."
    st.markdown("**Where FlexLoRA loses**" if lost else nothing)
    st.markdown("\n".join(f"- {plain(line)}" for line in lost))
    for one in found.contestants:
        if one.failed or one.told:
            st.caption(plain(f"{one.name}: {one.failed or one.told}"))
    st.caption(
        "Where the gain comes from: what all matrices multiply by is made for all of them at once, low-rank products "
        "are added in place, and an event changes no shape, so that a whole step can be replayed. docs/cost.md tells "
        "it, and what was aimed at and missed."
    )
    _behind(time_table(found), "Times", "methods_cost_times")
    _behind(resource_table(found), "Memory and FLOPs", "methods_cost_resources")
    with st.expander("How it was measured", icon=":material/science:", key="methods_cost_how"):
        st.caption(plain(caption(found)))
        st.code(found.command, language="bash")


def _show_growth(series: Sequence[Series]) -> None:
    if not series:
        return
    # Drawn when somebody looks: a class opens this page together.
    grown = st.expander(
        f"How it grows: {len(series)} series",
        icon=":material/trending_up:",
        key="methods_cost_growth",
        on_change="rerun",
    )
    if grown.open:
        with grown:
            for number, own in enumerate(series):
                _show_series(own, number)


def _show_series(own: Series, number: int) -> None:
    chart(f"methods_cost_growth_{number}", "FlexLoRA's mean step over PEFT LoRA's run alike", "cost_growth", own)
    st.caption(f"The first point: {plain(caption(next(iter(own.points.values()))))}")
    st.dataframe(growth_table(own), hide_index=True, alt="The numbers of the series")


def _behind(table: Table, name: str, key: str) -> None:
    rows = len(next(iter(table.values())))
    behind = st.expander(f"{name}: {rows} rows", icon=":material/table_rows:", key=key, on_change="rerun")
    if behind.open:
        behind.dataframe(table, hide_index=True, alt=f"{name} of each contestant")


@st.cache_resource(max_entries=16, show_spinner=False)
def _figure(name: str, file: str, stamps: Stamps, _found: Measurement) -> Figure:
    """A class opens this page together, and everybody sees the same: it is made once for each state of the files."""
    return FIGURES[name](_found)


def _stamps(folder: Path) -> Stamps:
    return tuple((path.name, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.json")))


@st.cache_resource(max_entries=4, show_spinner=False)
def _find(folder: str, stamps: Stamps) -> tuple[list[Measurement], list[str]]:
    return find_measurements(Path(folder))
