"""``written``: measurements as the Markdown of docs/cost.md."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.costs.read import Measurement
from analysis.costs.series import Series
from analysis.costs.tables import Table, growth_table, resource_table, time_table
from analysis.costs.words import caption, headline, losses, measured, series_title, title


def written(measurements: Sequence[Measurement], series: Sequence[Series]) -> str:
    """Return a section a measurement and one a growth series, with tables, commands and where FlexLoRA loses."""
    return "\n".join([*(_measured(found, series) for found in measurements), *map(_grown, series)])


def markdown(table: Table) -> str:
    """Return a table as Markdown; the first column is text, the others are numbers."""
    lines = [f"| {' | '.join(table)} |", f"|---|{'---:|' * (len(table) - 1)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in _rows(table)]
    return "".join(f"{line}\n" for line in lines)


def _rows(table: Table) -> list[tuple[str, ...]]:
    return list(zip(*table.values(), strict=True))


def _measured(found: Measurement, series: Sequence[Series]) -> str:
    lost = [f"- {line}" for line in losses(found, series)]
    parts = [
        f"### {title(found)}",
        headline(found),
        markdown(time_table(found)).rstrip(),
        markdown(resource_table(found)).rstrip(),
        "Where FlexLoRA needs more than LoRA run alike:"
        if lost
        else f"FlexLoRA needs no more than LoRA run alike, of what was measured: {measured(found)}.",
        *(["\n".join(lost)] if lost else []),
        *(f"{one.name}: {one.failed or one.told}" for one in found.contestants if one.failed or one.told),
        f"{caption(found)}\n`{found.command}`",
    ]
    return "\n\n".join(parts) + "\n"


def _grown(series: Series) -> str:
    # One command may have measured several points.
    commands = "\n".join(dict.fromkeys(found.command for found in series.points.values()))
    once = [str(number) for number, found in series.points.items() if found.rounds == 1]
    first = f"Of one round only, a first look: {', '.join(once)}. " if once else ""
    parts = [
        f"### {series_title(series)}",
        markdown(growth_table(series)).rstrip(),
        f"{first}The first point: {caption(next(iter(series.points.values())))}",
        f"```\n{commands}\n```",
    ]
    return "\n\n".join(parts) + "\n"
