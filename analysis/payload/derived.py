"""What views draw beyond the log: computed here once, looked up by the player (docs/explore.md)."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.budget import planned_budget
from analysis.directions import move_words, slot_stays
from analysis.dynamics import loss_window
from analysis.groups import GROUPINGS, group_ranks, matrix_groups
from analysis.metrics import evaluation_series, final_ranks, total_rank
from analysis.order import SORTS, most_moved
from analysis.payload.container import Rows
from analysis.runs import Run
from analysis.stages import MOST_EVENTS, chosen_events

ON_DEMAND = ("similarity",)
"""Orders that take too long to come with every run."""


def by_record(run: Run, records: np.ndarray) -> dict[str, np.ndarray]:
    """Return whole numbers, each (n, columns) of the records asked for: the total rank, and that of each group."""
    groups = {f"{by}Ranks": group_ranks(run, by)[records] for by in GROUPINGS}
    return {"totalRank": total_rank(run)[records, None], **groups}


def whole_arrays(run: Run) -> dict[str, np.ndarray]:
    """Return b(t) where it is planned, the ranks in the end, orders and groups of the matrices."""
    arrays = {f"order:{key}": sort(run).astype(np.uint16) for key, sort in SORTS.items() if key not in ON_DEMAND}
    arrays |= {f"{by}Group": matrix_groups(run, by)[1].astype(np.uint16) for by in GROUPINGS}
    arrays["finalRanks"] = final_ranks(run).astype(np.uint16)
    if plan := planned_budget(run):
        arrays |= {"planSteps": np.array(plan["steps"], np.int32), "planBudget": np.array(plan["values"], np.int32)}
    return arrays


def told_once(run: Run) -> dict[str, Any]:
    """Return what is short: evaluation, labels of groups, which lines and events are worth showing, words."""
    split, metric, steps, values = evaluation_series(run) or (None, None, np.zeros(0), np.zeros(0))
    numbers = {event["step"]: number for number, event in enumerate(run.events)}
    return {
        "evaluation": [split, metric],
        "results": Rows("result", list(zip(steps.tolist(), values.tolist(), strict=True))),
        "groups": {by: matrix_groups(run, by)[0] for by in GROUPINGS},
        "highlighted": most_moved(run),
        "grid": [numbers[step] for step in chosen_events(run, MOST_EVENTS)],
        "words": dict(zip(("pruned", "extended"), move_words(run), strict=True)),
        "lossWindow": loss_window(run),
    }


def stay_arrays(run: Run, matrix: int | None = None) -> dict[str, np.ndarray]:
    """Return ``analysis.directions.slot_stays`` of all matrices, or of one."""
    stays = slot_stays(run)
    own = slice(None) if matrix is None else stays.matrix == matrix
    arrays = {"stayAfter": stays.after[own].astype(np.int32), "stayUntil": stays.until[own].astype(np.int32)}
    arrays["staySlot"] = stays.slot[own].astype(np.int32)
    return arrays if matrix is not None else {**arrays, "stayMatrix": stays.matrix.astype(np.uint16)}
