"""Where rank is: one map, an event in stages, several events, two runs; and when, in a row a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from analysis.directions import move_words
from analysis.figures.cells import Panel, draw_maps, has_room, map_grid, number_text, summed
from analysis.figures.curves import MOST_COLUMNS, of_records
from analysis.figures.scales import SCALES, Scale, absolute_scale, count_scale, difference_scale
from analysis.figures.theme import NO_RECORDS, STEP, capital, empty_figure, styled
from analysis.metrics import final_ranks, matrix_label
from analysis.order import sorted_matrices
from analysis.quantities import quantity, record_of, selected_records
from analysis.rank_limits import change_limit
from analysis.runs import Matrix, Run
from analysis.stages import STAGES, chosen_events, stages_of
from analysis.tables import TABLES
from analysis.tables.columns import numbers
from analysis.tables.maps import shown_step
from flexlora.importance import measure_label, measure_range

FORMATS = {
    "rank": ".0f",
    "change": "+.0f",
    "entropy": ".2f",
    "energy": ".2g",
    "parameters": "s",
    "gap": ".2f",
    "true_entropy": ".2f",
}
"""Colour → how a cell says its number."""
LABEL_PX = 15
UNDEFINED = "#c4c4c4"
GROUPS: dict[str, Callable[[Matrix], str]] = {
    "architecture": lambda matrix: matrix.module_type,
    "layer": lambda matrix: "no layer" if matrix.layer is None else f"layer {matrix.layer}",
}
"""Order that makes groups → the name of a matrix's group."""
NOTHING_MOVED = "No event of this run moved anything."


def rank_map(
    run: Run, step: int | None = None, colour: str = "rank", since: int | None = None, event: bool = True
) -> go.Figure:
    """Draw one quantity of each matrix at a step as a map of layer × module type.

    The number in a cell is what its colour shows; hatched is undefined. − and + are what an event at exactly this step
    prunes and extends, unless ``event`` is False; the map shows what its decision saw, and "4 → 5" what follows.

    ``step`` None is the parked event, the most instructive one. ``colour`` is a key of ``QUANTITIES``, else ValueError;
    change is counted from the step ``since``, None = the first record.
    """
    label = quantity(colour).label
    if not len(run.steps):
        return empty_figure(capital(label), NO_RECORDS)
    table = TABLES["rank_map"](run, step, colour, since, event)
    grid = map_grid(run.matrices)
    panel = _panel(table, colour, arrows=colour == "rank" and has_room(grid, 1, 6))
    counted = f", since step {since}" if colour == "change" and since is not None else ""
    return draw_maps(
        f"{capital(label)} at step {shown_step(run, step)}{counted}",
        run.matrices,
        [panel],
        [(map_scale([run], colour, since), label)],
        grid=summed(grid, run.matrices, numbers(table, "rank")),
        words=move_words(run),
    )


def map_scale(runs: Sequence[Run], colour: str, since: int | None = None) -> Scale:
    """Return the scale of a colour that covers whole runs, so that figures of one run compare."""
    arrays = [quantity(colour).values(run, since) for run in runs]
    if colour == "rank":
        arrays += [final_ranks(run).astype(np.float64) for run in runs if len(run.steps)]
    if colour == "change":
        arrays += [np.array([-1.0, 1.0]) * change_limit(run) for run in runs]
    return SCALES[colour](arrays)


def events_grid(run: Run, count: int = 6, colour: str = "rank", since: int | None = None) -> go.Figure:
    """Draw the map at several events, evenly spread from the first to the last: the animation in print.

    The options are those of ``rank_map``, and ``count`` maps, 1 to 9; ValueError for any other.
    """
    label = quantity(colour).label
    steps = chosen_events(run, count)
    if not len(run.steps) or not steps:
        return empty_figure(f"{capital(label)} at events", NOTHING_MOVED if len(run.steps) else NO_RECORDS)
    table, width = TABLES["events_grid"](run, count, colour, since), len(run.matrices)
    return draw_maps(
        f"{capital(label)} at {len(steps)} events",
        run.matrices,
        [_panel(table.slice(n * width, width), colour, f"step {step}") for n, step in enumerate(steps)],
        [(map_scale([run], colour, since), label)],
        words=move_words(run),
    )


def event_stages(run: Run, step: int | None = None) -> go.Figure:
    """Draw one event in five maps: score, order, prune, extend, resume.

    Nothing travels: what is pruned here and extended there are different directions. ``step`` is that of an event, None
    = the parked one; ValueError where there is none.
    """
    found = stages_of(run, step)
    if found is None:
        return empty_figure("An event in stages", NOTHING_MOVED if len(run.steps) else NO_RECORDS)
    table, width, words = TABLES["event_stages"](run, step), len(run.matrices), move_words(run)
    bounded = None not in measure_range(found.measure)
    score, order = absolute_scale([]) if bounded else count_scale([found.score]), count_scale([found.order])
    rank = map_scale([run], "rank")
    many = found.by_direction
    stages = (
        ("1 score, mean of directions" if many else "1 score", score, "", ".2f" if bounded else ".1e"),
        ("2 above the threshold" if many else "2 order, 1 = lowest", order, "2", ".0f"),
        *((f"{n} {word}", rank, "3", ".0f") for n, word in enumerate((*words, "resume"), 3)),
    )
    panels = []
    for number, (title, scale, axis, form) in enumerate(stages[: len(STAGES)]):
        own = table.slice(number * width, width)
        values = numbers(own, "value")
        drawn = np.where(values == np.inf, scale.high, values)
        texts = ["first" if value == np.inf else number_text(value, form) for value in values.tolist()]
        told = [f"{title}: {text or 'undefined'}" for text in texts]
        panels.append(Panel(drawn, texts, told, title, f"coloraxis{axis}", *_moved(own)))
    measure = measure_label(found.measure)
    title = f"The event at step {found.step} in stages; score: {measure}"
    return draw_maps(title, run.matrices, panels, [(score, None), (order, None), (rank, "rank")], words=words)


def compare_maps(run: Run, other: Run, step: int | None = None, colour: str = "rank") -> go.Figure:
    """Draw the maps of two runs side by side, and the first minus the second.

    Matrices are matched by name; one that a run does not have is hatched there and in the difference. Each run shows
    its latest record at or before the step (None = the parked event of the first). ``colour`` is that of ``rank_map``.
    """
    label = quantity(colour).label
    if not len(run.steps) and not len(other.steps):
        return empty_figure(f"{capital(label)} of two runs", "Neither run has records yet.")
    table = TABLES["compare_maps"](run, other, step, colour)
    known = {matrix.name for matrix in run.matrices}
    matrices = [*run.matrices, *(matrix for matrix in other.matrices if matrix.name not in known)]
    difference = "+.0f" if quantity(colour).whole else "+.2g"
    panels = []
    for column, title, axis, form in (
        ("value", str(run.header.get("name") or "first"), "coloraxis", FORMATS[colour]),
        ("other_value", str(other.header.get("name") or "second"), "coloraxis", FORMATS[colour]),
        ("difference", "second − first", "coloraxis2", difference),
    ):
        values = numbers(table, column)
        texts = [number_text(value, form) for value in values.tolist()]
        panels.append(Panel(values, texts, [f"{title}: {text or 'none'}" for text in texts], title, axis))
    scales = [(map_scale([run, other], colour), label), (_difference_scale(run, other, colour), "difference")]
    title = f"{capital(label)} of two runs at step {shown_step(run, step)}"
    return draw_maps(title, matrices, panels, scales).update_layout(margin={"r": 150})


def _difference_scale(run: Run, other: Run, colour: str) -> Scale:
    """Cover the difference at every record of the first run, so that figures of one pair compare."""
    differences = []
    if len(run.steps) and len(other.steps):
        shared = [(run.places[name], other.places[name]) for name in run.places if name in other.places]
        own, theirs = np.array(shared, np.int64).reshape(-1, 2).T
        records = [record_of(other, step) for step in run.steps.tolist()]
        values, others = (quantity(colour).values(item, None) for item in (run, other))
        differences = [values[:, own] - others[records][:, theirs]]
    return SCALES["change"](differences) if quantity(colour).whole else difference_scale(differences)


def _moved(table: pa.Table) -> list[np.ndarray]:
    return [numbers(table, half).astype(np.int64) for half in ("pruned", "extended")]


def _panel(table: pa.Table, colour: str, title: str = "", arrows: bool = False) -> Panel:
    """Return one map of the rows of ``rank_map``; ``arrows`` say what rank follows where an event changes it."""
    values = numbers(table, quantity(colour).column)
    texts, told = [], []
    for value, row in zip(values.tolist(), table.to_pylist(), strict=True):
        after = row["rank"] - row["pruned"] + row["extended"]
        moves = arrows and after != row["rank"]
        texts.append(f"{row['rank']} → {after}" if moves else number_text(value, FORMATS[colour]))
        further = [(name, row[name]) for name in ("entropy", "energy", "parameters")] + [("gap", row["entropy_gap"])]
        lines = [f"{name} {'undefined' if number is None else f'{number:.4g}'}" for name, number in further]
        told.append("<br>".join([f"rank {row['rank']} ({row['rank_change']:+d})", *lines]))
    return Panel(values, texts, told, title, "coloraxis", *_moved(table))


def strip(run: Run, colour: str = "entropy", sort: str = "architecture", since: int | None = None) -> go.Figure:
    """Draw one quantity of every matrix over time, a row a matrix; grey is undefined.

    ``colour`` and ``since`` are those of ``rank_map``; ``sort`` is a key of ``analysis.order.SORTS``, else ValueError.
    """
    asked, order = quantity(colour), sorted_matrices(run, sort)
    title = f"{capital(asked.label)} over time"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    drawn = selected_records(run, MOST_COLUMNS)
    z = numbers(TABLES["strip"](run, colour, sort, since), asked.column).reshape(run.ranks.shape)[drawn].T
    steps = run.steps[drawn]
    # A record holds until the next one: its cell reaches from its own step to there.
    edges = np.append(steps, steps[-1] + (max(1, int(np.median(np.diff(steps)))) if len(steps) > 1 else 1))
    figure = go.Figure()
    cells = {"x": edges, "y": [run.matrices[place].name for place in order]}
    if not np.isfinite(z).all():
        figure.add_heatmap(
            **cells,
            z=np.where(np.isfinite(z), np.nan, 0.0).astype(np.float32),
            colorscale=[[0, UNDEFINED], [1, UNDEFINED]],
            showscale=False,
            name="undefined",
            showlegend=True,
            hovertemplate="%{y}<br>step %{x}<br>undefined<extra></extra>",
        )
    told = f"%{{y}}<br>step %{{x}}<br>{asked.label} %{{z:.4g}}<extra></extra>"
    figure.add_heatmap(**cells, z=z, coloraxis="coloraxis", name=asked.label, hovertemplate=told, hoverongaps=False)
    styled(figure, title=title + of_records(run, len(drawn)), x=STEP, y="")
    figure.update_xaxes(showgrid=False, range=[int(edges[0]), max(int(edges[-1]), run.total_steps)])
    height = min(710, max(220, 9 * len(order)))
    _label_rows(figure, [run.matrices[place] for place in order], GROUPS.get(sort), height)
    axis = map_scale([run], colour, since).axis(asked.label)
    return figure.update_layout(height=150 + height, margin={"l": 130}, coloraxis=axis)


def _label_rows(figure: go.Figure, matrices: list[Matrix], group: Callable[[Matrix], str] | None, height: int) -> None:
    """Name groups where the order makes any, else single rows, as many as there is room for in ``height`` px."""
    sizes = [(name, len(list(own))) for name, own in groupby(matrices, group or matrix_label)]
    ends = np.cumsum([size for _, size in sizes])
    every = -(-len(sizes) * LABEL_PX // height)
    middles = [float(end - size / 2 - 0.5) for end, (_, size) in zip(ends, sizes, strict=True)]
    figure.update_yaxes(tickvals=middles[::every], ticktext=[name for name, _ in sizes][::every])
    if group and every == 1:
        for end in ends[:-1].tolist():
            figure.add_hline(y=end - 0.5, line={"color": "#ffffff", "width": 2})
    ends = [len(matrices) - 0.5, -0.5]
    figure.update_yaxes(type="category", range=ends, showgrid=False, tickfont={"size": 11}, title=None)
