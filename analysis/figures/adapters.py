"""What is inside an adapter: maps of layer × module type, spectra, energy against rank, overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import plotly.graph_objects as go

from analysis.adapters import AdapterMatrix, AdapterSpectra, Comparison, adapter_label, energy_kept, is_dead
from analysis.figures.scales import BLUES, CHANGE, CIVIDIS, VIOLETS
from analysis.figures.theme import EXTENDED, PRUNED, SEQUENCE, styled
from flexlora.matrix_names import module_type_order, place_label

UNDEFINED, DEAD, BROKEN = "∅", "dead", "NaN"
WHOLE_TICKS = 16
ROOMY_ROWS = 16
MAX_HEIGHT_PX = 820
TARGETS_IN_CELL = (-0.36, -0.12, 0.12, 0.36)
"""A cell is wider than a marker: it has several, so that a click anywhere in it is found."""
TEXT_ROWS = 40
"""Up to so many layers a cell has room for its number."""


class MapColour(NamedTuple):
    """What a map may show: column of the table, label, scale, fixed domain (None = as the data), format of a cell."""

    column: str
    label: str
    scale: list[str]
    domain: tuple[float, float] | None
    shown: str


MAP_COLOURS: dict[str, MapColour] = {
    "rank_99": MapColour("rank_99", "directions that hold 99 % of the energy", BLUES, None, ".0f"),
    "rank": MapColour("rank", "rank", BLUES, None, ".0f"),
    "entropy": MapColour("entropy", "spectral entropy of σ²", CIVIDIS, (0, 1), ".2f"),
    "effective_rank": MapColour("effective_rank", "effective rank", BLUES, None, ".1f"),
    "stable_rank": MapColour("stable_rank", "stable rank", BLUES, None, ".1f"),
    "norm": MapColour("norm", "‖ΔW‖_F", VIOLETS, None, ".2g"),
    "parameters": MapColour("parameters", "parameters of the directions", BLUES, None, ".3s"),
}
"""Key → what a map may show."""


RANK_COLOURS = ("rank_99", "rank", "effective_rank", "stable_rank")


class Placed(Protocol):
    """A matrix that has a place in a model."""

    @property
    def name(self) -> str:
        """As the model names it."""
        ...

    @property
    def layer(self) -> int | None:
        """Number of its layer; None outside the layers."""
        ...

    @property
    def module_type(self) -> str:
        """What it does there, such as query."""
        ...


class Grid(NamedTuple):
    """Where each matrix stands: row and column labels, and name → (row, column)."""

    rows: list[str]
    columns: list[str]
    place: dict[str, tuple[int, int]]


def adapter_grid(matrices: Sequence[Placed]) -> Grid:
    """Return layer × module type; matrices that would share a cell get columns of their own."""
    seen: dict[tuple[int | None, str], int] = {}
    column_of: dict[str, tuple[str, int]] = {}
    for matrix in matrices:
        number = seen.get((matrix.layer, matrix.module_type), 0)
        seen[matrix.layer, matrix.module_type] = number + 1
        column_of[matrix.name] = (matrix.module_type, number)
    layers = sorted({m.layer for m in matrices}, key=lambda layer: (layer is None, layer or 0))
    order = {kind: place for place, kind in enumerate(module_type_order({m.module_type for m in matrices}))}
    columns = sorted(set(column_of.values()), key=lambda column: (order[column[0]], column[1]))
    rows = ["–" if layer is None else str(layer) for layer in layers]
    labels = [kind if not number else f"{kind} ({number + 1})" for kind, number in columns]
    place = {m.name: (layers.index(m.layer), columns.index(column_of[m.name])) for m in matrices}
    return Grid(rows, labels, place)


def adapter_map(spectra: AdapterSpectra, colour: str = "rank_99", selected: str | None = None) -> go.Figure:
    """Draw one number of each matrix as a map of layer × module type.

    A dead matrix says so, an undefined number is ∅, NaN in the weights is NaN: never a colour alone.

    Args:
        spectra: an analysed adapter.
        colour: key of ``MAP_COLOURS``.
        selected: matrix to outline.

    Raises:
        ValueError: an unknown colour.
    """
    if colour not in MAP_COLOURS:
        raise ValueError(f"unknown colour {colour!r}; choose one of {', '.join(MAP_COLOURS)}")
    asked = MAP_COLOURS[colour]
    values: dict[str, float | None] = {}
    texts: dict[str, str] = {}
    for row in spectra.table():
        value = row[asked.column]
        broken, dead = row["state"] == "not finite", row["state"] == "dead" and colour not in ("rank", "parameters")
        values[row["matrix"]] = None if broken or dead else value
        texts[row["matrix"]] = BROKEN if broken else DEAD if dead else _shown(value, asked.shown)
    if asked.domain:
        domain = asked.domain
    else:
        found = [float(value) for value in values.values() if value is not None]
        high = max(found, default=1.0) or 1.0
        # Ranks as in Explore: from just below the lowest, or a nearly even map would be one dark block.
        low = max(0.0, min(found, default=1.0) - 1) if colour in RANK_COLOURS else 0.0
        domain = (low, max(high, low + 1) if colour in RANK_COLOURS else high)
    title = f"{asked.label[0].upper()}{asked.label[1:]}"
    return grid_map(spectra.adapter.matrices, values, texts, asked.scale, domain, title, selected)


def rank_change_map(
    spectra: AdapterSpectra, ranks: Mapping[str, int], title: str = "Rank: what it is → what would stay"
) -> go.Figure:
    """Draw how many directions each matrix would lose or gain; the cell says the rank before and after.

    Args:
        spectra: an analysed adapter.
        ranks: matrix → rank.
        title: of the figure.
    """
    change = {matrix.name: float(ranks[matrix.name] - matrix.rank) for matrix in spectra.adapter.matrices}
    texts = {m.name: f"{m.rank} → {ranks[m.name]}" if change[m.name] else f"{m.rank}" for m in spectra.adapter.matrices}
    extent = max([1.0, *(abs(value) for value in change.values())])
    return grid_map(spectra.adapter.matrices, change, texts, CHANGE, (-extent, extent), title, None)


def overlap_map(comparison: Comparison, matrices: Sequence[AdapterMatrix], side: str = "output") -> go.Figure:
    """Draw how far the subspaces of two adapters overlap, 0 to 1.

    Args:
        comparison: of two adapters.
        matrices: of the first adapter.
        side: ``output`` (column spaces of ΔW) or ``input`` (row spaces).

    Raises:
        ValueError: another side.
    """
    if side not in ("output", "input"):
        raise ValueError(f"unknown side {side!r}; choose output or input")
    values: dict[str, float | None] = {
        overlap.matrix: getattr(overlap, f"{side}_overlap") for overlap in comparison.overlaps
    }
    own = [matrix for matrix in matrices if matrix.name in values]
    texts = {name: DEAD if value is None else f"{value:.2f}" for name, value in values.items()}
    return grid_map(own, values, texts, VIOLETS, (0.0, 1.0), f"Overlap of the {side} subspaces", None)


def adapter_spectrum(spectra: Mapping[str, AdapterSpectra], matrix: str) -> go.Figure:
    """Draw the singular values of one matrix as stems, and the energy they hold together.

    Args:
        spectra: label → analysed adapter, one or several that have the matrix.
        matrix: its name.

    Raises:
        ValueError: none of the adapters has this matrix.
    """
    own = {label: item.singular_values[matrix] for label, item in spectra.items() if matrix in item.singular_values}
    if not own:
        raise ValueError(f"no adapter here has a matrix {matrix!r}")
    figure = go.Figure()
    for number, (label, values) in enumerate(own.items()):
        colour = (EXTENDED, PRUNED, *SEQUENCE)[number]
        places = np.arange(1, len(values) + 1)
        figure.add_bar(
            x=places + (number - (len(own) - 1) / 2) * 0.22,
            y=values,
            width=0.16,
            name=f"{label}: σ",
            marker={"color": colour},
            hovertemplate=f"{label}<br>direction %{{customdata}}<br>σ %{{y:.4g}}<extra></extra>",
            customdata=places,
        )
        figure.add_scatter(
            x=places,
            y=energy_kept(values)[1:] if np.isfinite(values).all() else [],
            yaxis="y2",
            name=f"{label}: energy kept",
            mode="lines+markers",
            line={"color": colour, "width": 1.5, "dash": "dot"},
            marker={"size": 5, "symbol": ("circle", "square")[number % 2]},
            hovertemplate=f"{label}<br>first %{{x}} directions<br>%{{y:.2%}} of the energy<extra></extra>",
        )
    some = next(item.adapter.find(matrix) for item in spectra.values() if matrix in item.singular_values)
    styled(figure, title=f"Spectrum of {adapter_label(some)}", x="direction, largest first", y="σ of ΔW")
    figure.update_layout(
        yaxis={"rangemode": "tozero"},
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "range": [0, 1.04],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "tickformat": ".0%",
            "showgrid": False,
            "title": "energy kept",
        },
        margin={"r": 60},
    )
    if max(len(values) for values in own.values()) <= WHOLE_TICKS:
        figure.update_xaxes(dtick=1)
    return figure


def energy_curves(spectra: AdapterSpectra, selected: str | None = None) -> go.Figure:
    """Draw the share of energy in the first k directions, one thin line a matrix, the selected one thick.

    Args:
        spectra: an analysed adapter; dead matrices and those with NaN are left out.
        selected: matrix to highlight.
    """
    figure = go.Figure()
    kinds = module_type_order({matrix.module_type for matrix in spectra.adapter.matrices})
    shown: set[str] = set()
    for matrix, values in spectra.rows():
        if is_dead(values) or not np.isfinite(values).all():
            continue
        chosen = matrix.name == selected
        number = kinds.index(matrix.module_type)
        figure.add_scatter(
            x=np.arange(len(values) + 1),
            y=energy_kept(values),
            mode="lines",
            name=matrix.module_type,
            legendgroup=matrix.module_type,
            showlegend=matrix.module_type not in shown,
            opacity=1.0 if chosen else 0.45,
            line={
                "color": SEQUENCE[number % len(SEQUENCE)],
                "width": 4 if chosen else 1.2,
                "dash": "solid" if number < len(SEQUENCE) else "dash",
            },
            hovertemplate=f"{adapter_label(matrix)}<br>first %{{x}} directions<br>%{{y:.2%}}<extra></extra>",
        )
        shown.add(matrix.module_type)
    for share in (0.9, 0.99):
        figure.add_hline(y=share, line={"color": "rgba(127,127,127,0.7)", "width": 1, "dash": "dash"})
    styled(figure, title="Energy in the first directions, every matrix", x="directions kept", y="share of Σσ²")
    return figure.update_yaxes(range=[0, 1.02], tickformat=".0%")


ADAPTER_FIGURES: dict[str, Callable[..., go.Figure]] = {
    "adapter_map": adapter_map,
    "rank_change_map": rank_change_map,
    "overlap_map": overlap_map,
    "adapter_spectrum": adapter_spectrum,
    "energy_curves": energy_curves,
}


def _shown(value: float | None, form: str) -> str:
    if value is None:
        return UNDEFINED
    if form == ".3s":
        return f"{value / 1e6:.3g}M" if value >= 1e6 else f"{value / 1e3:.3g}k" if value >= 1e3 else f"{value:.0f}"
    return f"{value:{form}}"


def grid_map(
    matrices: Sequence[Placed],
    values: Mapping[str, float | None],
    texts: Mapping[str, str],
    scale: list[str],
    domain: tuple[float, float],
    title: str,
    selected: str | None,
) -> go.Figure:
    """Draw one number of each matrix as a map of layer × module type.

    Args:
        matrices: what has a cell.
        values: matrix → number, None = no colour.
        texts: matrix → what its cell says.
        scale: colours.
        domain: lowest and highest value of the scale.
        title: of the figure.
        selected: matrix to outline.
    """
    grid = adapter_grid(matrices)
    shape = (len(grid.rows), len(grid.columns))
    z, text = np.full(shape, np.nan), np.full(shape, "", dtype=object)
    for name, place in grid.place.items():
        value = values[name]
        z[place] = np.nan if value is None else value
        text[place] = "" if value is None else texts[name]
    figure = go.Figure()
    colour_bar: dict[str, Any] = {"thickness": 10, "outlinewidth": 0}
    if scale is CHANGE:
        # Directions are whole: no marks between them.
        colour_bar["dtick"] = max(1, int(domain[1]) // 4)
    figure.add_heatmap(
        z=z,
        text=text,
        texttemplate="%{text}" if shape[0] <= TEXT_ROWS else None,
        zmin=domain[0],
        zmax=domain[1],
        colorscale=scale,
        colorbar=colour_bar,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
    )
    _add_cells(figure, matrices, grid, texts)
    if selected in grid.place:
        row, column = grid.place[selected]
        figure.add_shape(
            type="rect",
            x0=column - 0.5,
            x1=column + 0.5,
            y0=row - 0.5,
            y1=row + 0.5,
            line={"color": PRUNED, "width": 3},
        )
    return _framed(figure, grid, title)


def _framed(figure: go.Figure, grid: Grid, title: str) -> go.Figure:
    shape = (len(grid.rows), len(grid.columns))
    styled(figure, title=title, x="module type", y="layer")
    row_px = 30 if shape[0] <= ROOMY_ROWS else 20
    figure.update_layout(
        height=max(260, min(MAX_HEIGHT_PX, 120 + row_px * shape[0])), margin={"b": 70}, clickmode="event+select"
    )
    figure.update_xaxes(
        tickvals=list(range(shape[1])), ticktext=grid.columns, showgrid=False, range=[-0.5, shape[1] - 0.5]
    )
    figure.update_yaxes(
        tickvals=list(range(shape[0])), ticktext=grid.rows, showgrid=False, range=[shape[0] - 0.5, -0.5]
    )
    return figure


def _add_cells(figure: go.Figure, matrices: Sequence[Placed], grid: Grid, texts: Mapping[str, str]) -> None:
    """Add what a click and a hover find: cells of a heatmap cannot be selected, and dead ones have no colour."""
    spots = [(matrix, offset) for matrix in matrices for offset in TARGETS_IN_CELL]
    figure.add_scatter(
        x=[grid.place[matrix.name][1] + offset for matrix, offset in spots],
        y=[grid.place[matrix.name][0] for matrix, _ in spots],
        customdata=[[matrix.name] for matrix, _ in spots],
        text=[f"{place_label(m.layer, m.module_type)}<br>{m.name}<br>{texts[m.name]}" for m, _ in spots],
        hovertemplate="%{text}<extra></extra>",
        mode="markers",
        marker={"size": 22, "symbol": "square", "color": "rgba(0,0,0,0)", "line": {"width": 0}},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        showlegend=False,
    )
    dead = [matrix.name for matrix in matrices if texts[matrix.name] in (DEAD, BROKEN, UNDEFINED)]
    if dead:
        # On the page's background, so not in the ink that the heatmap picks for its cells.
        figure.add_scatter(
            x=[grid.place[name][1] for name in dead],
            y=[grid.place[name][0] for name in dead],
            text=[texts[name] for name in dead],
            mode="text",
            textfont={"color": "#7F7F7F"},
            hoverinfo="skip",
            showlegend=False,
        )
