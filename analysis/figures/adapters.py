"""What is inside an adapter: maps of layer × module type, spectra, energy against rank, overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from analysis.adapters import AdapterMatrix, AdapterSpectra, Comparison, adapter_label, energy_kept, is_dead
from analysis.figures.cells import Panel, Placed, adapter_grid, draw_maps, number_text
from analysis.figures.scales import (
    CHANGE,
    CHANGE_ON_DARK,
    SCALES,
    VIOLETS,
    Scale,
    change_scale,
    even_scale,
    level_scale,
    on_dark,
)
from analysis.figures.theme import EXTENDED, PRUNED, SEQUENCE, capital, names_of, styled
from flexlora.importance import measure_label
from flexlora.matrix_names import module_type_order

UNDEFINED, DEAD = "∅", "dead"
WORDS = {"dead": DEAD, "not finite": "NaN"}
"""State of a matrix → what its cell says in place of a number."""
NO_NUMBER = "rgba(127,127,127,0.16)"
UNFILLED: dict[str, Any] = {"plot_bgcolor": NO_NUMBER, "margin": {"pad": 0}}
"""Layout of a map in which some cells have no number; without the pad of a page's template, which has that ground."""
STORED = ("rank", "parameters")
"""What also a dead matrix has."""
WHOLE_TICKS = 16


class MapColour(NamedTuple):
    """What a map may show.

    Attributes:
        column: of the adapter's table.
        label: as shown to people.
        scale: f(every number that it must cover) → scale.
        form: how a cell says its number.
    """

    column: str
    label: str
    scale: Callable[[Sequence[np.ndarray]], Scale]
    form: str


def _violets(arrays: Sequence[np.ndarray]) -> Scale:
    return even_scale(VIOLETS, arrays)


MAP_COLOURS: dict[str, MapColour] = {
    found.column: found
    for found in (
        MapColour("rank_99", "directions that hold 99 % of the energy", level_scale, ".0f"),
        MapColour("rank", "rank", level_scale, ".0f"),
        MapColour("entropy", f"{measure_label('spectral_entropy')} of σ²", SCALES["entropy"], ".2f"),
        MapColour("effective_rank", measure_label("effective_rank"), level_scale, ".1f"),
        MapColour("stable_rank", "stable rank", level_scale, ".1f"),
        MapColour("norm", "‖ΔW‖_F", _violets, "g"),
        MapColour("root_mean_square", "size: root mean square of ΔW's entries", _violets, ".2g"),
        MapColour("parameters", "parameters of the directions", SCALES["parameters"], "s"),
    )
}
"""Key → what a map may show."""


def adapter_map(
    spectra: AdapterSpectra, colour: str = "rank_99", selected: str | None = None, dark: bool = False
) -> go.Figure:
    """Draw one number of each matrix as a map of layer × module type.

    ``colour`` is a key of ``MAP_COLOURS``, else ValueError; the cell of the matrix ``selected`` has a frame. A dead
    matrix says so, an undefined number is ∅, NaN in the weights is NaN: never a colour alone.
    """
    if colour not in MAP_COLOURS:
        raise ValueError(f"unknown colour {colour!r}; choose one of {', '.join(MAP_COLOURS)}")
    asked = MAP_COLOURS[colour]
    scale = asked.scale if not dark else lambda arrays: on_dark(asked.scale(arrays))
    cells: dict[str, tuple[float | None, str]] = {}
    for row in spectra.table():
        value = row[asked.column]
        if row["state"] == "not finite" or value is None or (row["state"] == "dead" and colour not in STORED):
            cells[row["matrix"]] = None, WORDS.get(row["state"], UNDEFINED)
        else:
            cells[row["matrix"]] = value, number_text(value, asked.form)
    return one_map(spectra.adapter.matrices, cells, scale, capital(asked.label), selected)


def rank_change_map(
    spectra: AdapterSpectra,
    ranks: Mapping[str, int],
    title: str = "Rank: what it is → what would stay",
    dark: bool = False,
) -> go.Figure:
    """Draw how many directions each matrix would lose or gain with ``ranks`` (matrix → rank): before and after."""
    before = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
    told = {name: f"{rank} → {ranks[name]}" if ranks[name] != rank else str(rank) for name, rank in before.items()}
    cells = {name: (ranks[name] - rank, told[name]) for name, rank in before.items()}
    return one_map(
        spectra.adapter.matrices, cells, partial(change_scale, stops=CHANGE_ON_DARK if dark else CHANGE), title
    )


def overlap_map(
    comparison: Comparison, matrices: Sequence[AdapterMatrix], side: str = "output", dark: bool = False
) -> go.Figure:
    """Draw how far the subspaces of two adapters overlap, 0 to 1, in the matrices of the first; colour is above chance.

    ``side`` is ``output`` (column spaces of ΔW) or ``input`` (row spaces), else ValueError.
    """
    if side not in ("output", "input"):
        raise ValueError(f"unknown side {side!r}; choose output or input")
    cells: dict[str, tuple[float | None, str]] = {}
    for overlap in comparison.overlaps:
        value, chance = getattr(overlap, f"{side}_overlap"), getattr(overlap, f"{side}_chance")
        above = None if value is None else above_chance(value, chance)
        cells[overlap.matrix] = above, DEAD if value is None else f"{value:.2f}"
    own = [matrix for matrix in matrices if matrix.name in cells]
    ends = np.array([0.0, 1.0])
    scale = even_scale(VIOLETS, [ends])
    return one_map(
        own,
        cells,
        lambda _: on_dark(scale) if dark else scale,
        f"Overlap of the {side} subspaces; colour: above chance",
    )


def above_chance(overlap: float, chance: float) -> float:
    """Return how far an overlap is above that of random subspaces, as a share of what there is above it, 0 to 1."""
    return float(np.clip((overlap - chance) / (1 - chance), 0, 1)) if chance < 1 else 0.0


def one_map(
    matrices: Sequence[Placed],
    cells: Mapping[str, tuple[float | None, str]],
    scale: Callable[[Sequence[np.ndarray]], Scale],
    title: str,
    selected: str | None = None,
) -> go.Figure:
    """Draw matrix → (number or None, text) as a map whose cells can be clicked; layers always lie along y."""
    values = np.array(
        [np.nan if cells[matrix.name][0] is None else cells[matrix.name][0] for matrix in matrices], float
    )
    texts = [cells[matrix.name][1] for matrix in matrices]
    panels, scales = [Panel(values, texts, texts)], [(scale([values]), "")]
    figure = draw_maps(title, matrices, panels, scales, grid=adapter_grid(matrices), clickable=True, selected=selected)
    # A cell without a number has no colour of the scale, and would sink into the page.
    return figure.update_layout(**UNFILLED) if np.isnan(values).any() else figure


def adapter_spectrum(spectra: Mapping[str, AdapterSpectra], matrix: str) -> go.Figure:
    """Draw the singular values of one matrix as stems, and the energy they hold together.

    ``spectra`` is label → analysed adapter, one or several; ValueError where none has the matrix.
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
            # A dead matrix has no energy to keep.
            y=energy_kept(values)[1:] if np.isfinite(values).all() and not is_dead(values) else [],
            yaxis="y2",
            name=f"{label}: energy kept",
            mode="lines+markers",
            line={"color": colour, "width": 1.5, "dash": "dot"},
            marker={"size": 5, "symbol": ("circle", "square")[number % 2]},
            hovertemplate=f"{label}<br>first %{{x}} directions<br>%{{y:.2%}} of the energy<extra></extra>",
        )
    some = next(item.adapter.find(matrix) for item in spectra.values() if matrix in item.singular_values)
    styled(figure, title=f"Spectrum of {adapter_label(some)}", x="direction, largest first", y="σ of ΔW")
    shares = {"range": [0, 1.04], "tickvals": [0, 0.25, 0.5, 0.75, 1], "tickformat": ".0%", "title": "energy kept"}
    drawn = [values for values in own.values() if np.isfinite(values).all() and not is_dead(values)]
    if not drawn:
        word = DEAD if all(is_dead(values) for values in own.values()) else WORDS["not finite"]
        figure.add_annotation(text=f"{word}: no spectrum", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    figure.update_yaxes(rangemode="tozero", range=None if drawn else [0, 1])
    figure.update_layout(yaxis2={"overlaying": "y", "side": "right", "showgrid": False, **shares}, margin={"r": 60})
    figure.update_xaxes(range=[0.4, max(map(len, own.values())) + 0.6])
    return figure.update_xaxes(dtick=1 if max(map(len, own.values())) <= WHOLE_TICKS else None)


def energy_curves(spectra: AdapterSpectra, selected: str | None = None) -> go.Figure:
    """Draw the share of energy in the first k directions, one thin line a matrix, the selected one thick.

    Dead matrices and those with NaN are left out.
    """
    figure = go.Figure()
    kinds = list(module_type_order({matrix.module_type for matrix in spectra.adapter.matrices}))
    for matrix, values in spectra.rows():
        if is_dead(values) or not np.isfinite(values).all():
            continue
        chosen, kind, number = matrix.name == selected, matrix.module_type, kinds.index(matrix.module_type)
        colour, dash = SEQUENCE[number % len(SEQUENCE)], "solid" if number < len(SEQUENCE) else "dash"
        figure.add_scatter(
            x=np.arange(len(values) + 1),
            y=energy_kept(values),
            mode="lines",
            name=kind,
            legendgroup=kind,
            showlegend=kind not in names_of(figure),
            opacity=1.0 if chosen else 0.6,
            line={"color": colour, "width": 4 if chosen else 1.2, "dash": dash},
            hovertemplate=f"{adapter_label(matrix)}<br>first %{{x}} directions<br>%{{y:.2%}}<extra></extra>",
        )
    for share in (0.9, 0.99):
        figure.add_hline(y=share, line={"color": "rgba(127,127,127,0.7)", "width": 1, "dash": "dash"})
    styled(figure, title="Energy in the first directions, every matrix", x="directions kept", y="share of Σσ²")
    return figure.update_yaxes(range=[0, 1.02], tickformat=".0%")


ADAPTER_FIGURES: dict[str, Callable[..., go.Figure]] = {
    figure.__name__: figure for figure in (adapter_map, rank_change_map, overlap_map, adapter_spectrum, energy_curves)
}
