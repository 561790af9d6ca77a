"""Where rank is: one map, an event in stages, several events, two runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from plotly.subplots import make_subplots

from analysis.directions import move_words
from analysis.figures.cells import Panel, add_panel, has_room, is_sideways, map_grid
from analysis.figures.scales import SCALES, Scale, count_scale, difference_scale
from analysis.figures.theme import NO_RECORDS, empty_figure, styled
from analysis.metrics import final_ranks
from analysis.quantities import quantity, record_of
from analysis.runs import Matrix, Run
from analysis.stages import stages_of
from analysis.tables import TABLES
from analysis.tables.columns import numbers
from analysis.tables.maps import STAGES, chosen_events, shown_step
from flexlora.importance import measure_label, measure_range
from flexlora.matrix_names import place_label

ROW_PX, MIN_PX, MAX_PX = 34, 300, 860
SHOWN = {"rank": ".0f", "change": "+.0f", "entropy": ".2f", "energy": ".2g", "gap": ".2f"}
WHOLE = ("rank", "change")


def rank_map(
    run: Run, step: int | None = None, colour: str = "rank", since: int | None = None, event: bool = True
) -> go.Figure:
    """Draw one quantity of each matrix at a step as a map of layer × module type.

    The number in a cell is what its colour shows; hatched is undefined. − and + are what an event at exactly this step
    prunes and extends; the map shows what its decision saw, and "4 → 5" what follows.

    Args:
        run: a loaded run.
        step: None = the parked event, the most instructive one.
        colour: key of ``QUANTITIES``.
        since: step that change is counted from; None = the first record.
        event: mark the moves of the event at this step.

    Raises:
        ValueError: an unknown colour.
    """
    asked = quantity(colour)
    title = f"{_capital(asked.label)} at step {shown_step(run, step)}"
    if not len(run.steps):
        return empty_figure(_capital(asked.label), NO_RECORDS)
    table = TABLES["rank_map"](run, step, colour, since, event)
    grid = map_grid(run.matrices)
    figure = make_subplots()
    panel = _panel(run.matrices, table, colour, arrows=has_room(grid, 1, 6))
    add_panel(figure, run.matrices, grid, panel, words=move_words(run))
    if colour == "change" and since is not None:
        title += f", since step {since}"
    _frame(figure, title, run.matrices, 1)
    _add_sums(figure, run.matrices, grid.place, numbers(table, "rank"))
    return figure.update_layout(coloraxis=map_scale([run], colour, since).axis(asked.label))


def map_scale(runs: Sequence[Run], colour: str, since: int | None = None) -> Scale:
    """Return the scale of a colour that covers whole runs, so that figures of one run compare."""
    arrays = [quantity(colour).values(run, since) for run in runs]
    if colour == "rank":
        arrays += [final_ranks(run).astype(np.float64) for run in runs if len(run.steps)]
    return SCALES[colour](arrays)


def events_grid(run: Run, count: int = 6, colour: str = "rank", since: int | None = None) -> go.Figure:
    """Draw the map at several events, evenly spread from the first to the last: the animation in print.

    Args:
        run: a loaded run.
        count: maps, 1 to 9.
        colour: key of ``QUANTITIES``.
        since: step that change is counted from; None = the first record.

    Raises:
        ValueError: an unknown colour, or a count outside 1 to 9.
    """
    asked = quantity(colour)
    steps = chosen_events(run, count)
    title = f"{_capital(asked.label)} at {len(steps)} events"
    if not len(run.steps) or not steps:
        why = "No event of this run moved anything." if len(run.steps) else NO_RECORDS
        return empty_figure(f"{_capital(asked.label)} at events", why)
    table = TABLES["events_grid"](run, count, colour, since)
    columns = 1 if is_sideways(run.matrices) else min(3, len(steps))
    figure = _maps(-(-len(steps) // columns), columns, [f"step {step}" for step in steps])
    grid, width, words = map_grid(run.matrices), len(run.matrices), move_words(run)
    for number in range(len(steps)):
        panel = _panel(run.matrices, table.slice(number * width, width), colour)
        add_panel(figure, run.matrices, grid, panel, _place(number, columns), columns, words)
    _frame(figure, title, run.matrices, -(-len(steps) // columns))
    return figure.update_layout(coloraxis=map_scale([run], colour, since).axis(asked.label))


def event_stages(run: Run, step: int | None = None) -> go.Figure:
    """Draw one event in five maps: score, order, prune, extend, resume.

    Nothing travels: what is pruned here and extended there are different directions.

    Args:
        run: a loaded run.
        step: of an event; None = the parked one.

    Raises:
        ValueError: there is no event at this step.
    """
    found = stages_of(run, step)
    if found is None:
        return empty_figure(
            "An event in stages", "No event of this run moved anything." if len(run.steps) else NO_RECORDS
        )
    table = TABLES["event_stages"](run, step)
    sideways, width = is_sideways(run.matrices), len(run.matrices)
    words = move_words(run)
    measure = measure_label(found.measure)
    titles = [
        "1 score, mean of directions" if found.by_direction else "1 score",
        "2 above the threshold" if found.by_direction else "2 order, 1 = lowest",
        f"3 {words[0]}",
        f"4 {words[1]}",
        "5 resume",
    ]
    columns = 1 if sideways else 3
    figure = _maps(-(-len(STAGES) // columns), columns, titles)
    bounded = None not in measure_range(found.measure)
    scales = {
        "coloraxis": SCALES["entropy"]([]) if bounded else count_scale([found.score]),
        "coloraxis2": count_scale([found.order]),
        "coloraxis3": map_scale([run], "rank"),
    }
    grid = map_grid(run.matrices)
    for number, axis in enumerate(("coloraxis", "coloraxis2", "coloraxis3", "coloraxis3", "coloraxis3")):
        own = table.slice(number * width, width)
        values = numbers(own, "value")
        form = (".2f" if bounded else ".1e") if number == 0 else ".0f"
        texts = ["first" if value == np.inf else f"{value:{form}}" for value in values.tolist()]
        drawn = np.where(values == np.inf, scales[axis].high, values)
        hovers = [
            f"{place_label(m.layer, m.module_type)}<br>{m.name}<br>{titles[number]}: "
            f"{text if np.isfinite(value) else 'undefined'}"
            for m, text, value in zip(run.matrices, texts, drawn.tolist(), strict=True)
        ]
        pruned, extended = (numbers(own, half).astype(np.int64) for half in ("pruned", "extended"))
        panel = Panel(drawn, texts, hovers, pruned, extended, axis)
        add_panel(figure, run.matrices, grid, panel, _place(number, columns), columns, words)
    _frame(
        figure, f"The event at step {found.step} in stages; score: {measure}", run.matrices, -(-len(STAGES) // columns)
    )
    return figure.update_layout(
        coloraxis={**scales["coloraxis"].axis(measure), "showscale": False},
        coloraxis2={**scales["coloraxis2"].axis("order"), "showscale": False},
        coloraxis3=scales["coloraxis3"].axis("rank"),
    )


def compare_maps(run: Run, other: Run, step: int | None = None, colour: str = "rank") -> go.Figure:
    """Draw the maps of two runs side by side, and the second minus the first.

    Matrices are matched by name; one that a run does not have is hatched there and in the difference. Each run shows
    its latest record at or before the step.

    Args:
        run: first run.
        other: second run.
        step: None = the parked event of the first.
        colour: key of ``QUANTITIES``.

    Raises:
        ValueError: an unknown colour.
    """
    asked = quantity(colour)
    if not len(run.steps) and not len(other.steps):
        return empty_figure(f"{_capital(asked.label)} of two runs", "Neither run has records yet.")
    table = TABLES["compare_maps"](run, other, step, colour)
    known = {matrix.name for matrix in run.matrices}
    matrices = [*run.matrices, *(matrix for matrix in other.matrices if matrix.name not in known)]
    labels = [_label(run, "first"), _label(other, "second")]
    sideways = is_sideways(matrices)
    columns = 1 if sideways else 3
    titles = [*labels, "second − first"]
    figure = _maps(3 // columns, columns, titles)
    grid = map_grid(matrices)
    none = np.zeros(len(matrices), np.int64)
    for number, column in enumerate(("value", "other_value", "difference")):
        values = numbers(table, column)
        kind = ("change" if colour in WHOLE else "difference") if number == 2 else colour
        texts = [_shown(value, kind) for value in values.tolist()]
        hovers = [
            f"{place_label(m.layer, m.module_type)}<br>{m.name}<br>{titles[number]}: {text or 'none'}"
            for m, text in zip(matrices, texts, strict=True)
        ]
        axis = "coloraxis2" if number == 2 else "coloraxis"
        panel = Panel(values, texts, hovers, none, none, axis)
        add_panel(figure, matrices, grid, panel, _place(number, columns), columns)
    _frame(figure, f"{_capital(asked.label)} of two runs at step {shown_step(run, step)}", matrices, 3 // columns)
    scales = map_scale([run, other], colour), _difference_scale(run, other, colour)
    return figure.update_layout(
        coloraxis=scales[0].axis(asked.label), coloraxis2=scales[1].axis("difference", x=1.13)
    ).update_layout(margin={"r": 150})


def _difference_scale(run: Run, other: Run, colour: str) -> Scale:
    """Cover the difference at every record of the first run, so that figures of one pair compare."""
    differences = []
    if len(run.steps) and len(other.steps):
        place = {matrix.name: number for number, matrix in enumerate(other.matrices)}
        shared = [(i, place[matrix.name]) for i, matrix in enumerate(run.matrices) if matrix.name in place]
        records = [record_of(other, step) for step in run.steps.tolist()]
        own, theirs = (quantity(colour).values(item, None) for item in (run, other))
        pairs = np.array(shared, np.int64).reshape(-1, 2)
        differences = [theirs[records][:, pairs[:, 1]] - own[:, pairs[:, 0]]]
    return SCALES["change"](differences) if colour in WHOLE else difference_scale(differences)


def _panel(matrices: Sequence[Matrix], table: pa.Table, colour: str, arrows: bool = False) -> Panel:
    rows = table.to_pylist()
    values = numbers(table, quantity(colour).column)
    texts = [_shown(value, colour) for value in values.tolist()]
    hovers = []
    for number, (matrix, row) in enumerate(zip(matrices, rows, strict=True)):
        after = row["rank"] - row["pruned"] + row["extended"]
        if arrows and colour == "rank" and after != row["rank"]:
            texts[number] = f"{row['rank']} → {after}"
        told = [
            f"rank {row['rank']} ({row['rank_change']:+d})",
            *(
                f"{name} {'undefined' if row[key] is None else f'{row[key]:.4g}'}"
                for name, key in (
                    ("entropy", "entropy"),
                    ("energy", "energy"),
                    ("parameters", "parameters"),
                    ("gap", "entropy_gap"),
                )
            ),
        ]
        hovers.append("<br>".join([place_label(matrix.layer, matrix.module_type), matrix.name, *told]))
    pruned, extended = (numbers(table, half).astype(np.int64) for half in ("pruned", "extended"))
    return Panel(values, texts, hovers, pruned, extended, "coloraxis")


def _shown(value: float, colour: str) -> str:
    if not np.isfinite(value):
        return ""
    if colour == "parameters":
        return f"{value / 1e6:.3g}M" if value >= 1e6 else f"{value / 1e3:.3g}k" if value >= 1e3 else f"{value:.0f}"
    text = f"{value:{SHOWN.get(colour, '+.2g')}}"
    return "0" if colour == "change" and not value else text.replace("-", "−")


def _maps(rows: int, columns: int, titles: list[str]) -> go.Figure:
    return make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=titles,
        horizontal_spacing=0.06 if columns > 1 else 0,
        vertical_spacing=0.22 / rows,
    )


def _place(number: int, columns: int) -> tuple[int, int]:
    return number // columns + 1, number % columns + 1


def _frame(figure: go.Figure, title: str, matrices: Sequence[Matrix], rows: int) -> None:
    sideways = is_sideways(matrices)
    styled(figure, title=title, x="", y="")
    names = ("layer", "module type") if sideways else ("module type", "layer")
    single = len(figure.layout.annotations) == 0
    for axis, name in zip((figure.update_xaxes, figure.update_yaxes), names, strict=True):
        axis(title=name if single else None, showgrid=False)
    count = len(map_grid(matrices).rows)
    row_px = max(10, min(ROW_PX, MAX_PX // max(1, count * rows)))
    figure.update_layout(
        height=int(max(MIN_PX, 150 + rows * (60 + row_px * count))),
        margin={"t": 70, "b": 80},
        barmode="overlay",
        legend={"y": -0.16, "yanchor": "top"},
    )
    figure.update_annotations(font={"size": 12})


def _add_sums(
    figure: go.Figure, matrices: Sequence[Matrix], place: dict[str, tuple[int, int]], ranks: np.ndarray
) -> None:
    """Write how much rank each row and column holds into its label."""
    for axis, labels, part in ((figure.update_yaxes, "yaxis", 0), (figure.update_xaxes, "xaxis", 1)):
        own = figure.layout[labels]
        if part == 1 and is_sideways(matrices):
            continue
        sums = {int(tick): 0 for tick in own.tickvals}
        for matrix, rank in zip(matrices, ranks.tolist(), strict=True):
            at = place[matrix.name][part]
            if at in sums:
                sums[at] += int(rank)
        between = "<br>" if part == 1 else " · "
        axis(ticktext=[f"{text}{between}Σ {sums[tick]}" for tick, text in zip(own.tickvals, own.ticktext, strict=True)])


def _label(run: Run, otherwise: str) -> str:
    return str(run.header.get("name") or otherwise)


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
