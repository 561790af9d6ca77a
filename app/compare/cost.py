"""What is reached against what it costs."""

from __future__ import annotations

from analysis.study import COSTS, pareto_points
from charts import chart
from compare.shown import Shown, behind, told
from widgets import select


def cost(what: Shown) -> None:
    """Draw the metric of each variant against one cost."""
    paid = select("Cost", list(COSTS), "compare_cost", format_func=lambda key: COSTS[key].label)
    points = pareto_points(what.table, paid)
    chart("compare_pareto", "Metric of each variant against its cost, with 95 % intervals of both", "pareto", points)
    told(
        "Ringed: told apart as better than every variant that is not surely dearer, if there is one. Faint: surely "
        "behind one of those. The others are not told apart, or cheapest. Seconds and memory are those of the "
        "machine that ran it.",
        what,
    )
    rows = [
        {
            "task": point.task, "within": point.cell, "variant": point.variant, "runs": point.n,
            COSTS[paid].label: point.x / COSTS[paid].unit, point.metric.replace("_", " "): point.y,
            "low": point.y_ends[0], "high": point.y_ends[1], "standing": point.standing,
        }
        for point in points
    ]  # fmt: skip
    behind(rows, "Cost and metric of each variant", "compare_table_cost")
