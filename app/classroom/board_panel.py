"""The board of results: what the leader compares, and who is where."""

from __future__ import annotations

import streamlit as st

from classroom.acting import act_on
from classroom.board import Board, Entry, ranked
from classroom.room import Room
from classroom.state import compared
from flexlora.job import build_job
from flexlora.tasks import TASKS
from jobs.caps import rank_of
from jobs.owner import read_owner
from runs.rows import read_row
from runs.store import plain, run_entries
from widgets import select

TITLE = "Board of results"


def entries() -> list[Entry]:
    """Return every finished run of this server whose owner is known and that measured something."""
    found = []
    for key, folder in run_entries():
        owner = read_owner(folder) if key.startswith("runs/") else None
        row = read_row(key, folder) if owner is not None else None
        if owner is None or row is None or row.state != "finished" or row.result is None or row.rank is None:
            continue
        found.append(Entry(owner, row.name, row.method, row.task, row.measured, row.steps, row.rank, row.result))
    return found


def board_panel(room: Room, me: str) -> None:
    """Draw the board as a member sees it."""
    state = room.state
    if state.board is None:
        st.caption("The leader has not opened a board.")
        return
    board = state.board
    st.markdown(
        f"**{plain(board.metric)}** on {plain(board.task)}, the best finished run of each member at an equal budget: "
        f"{board.steps:,} steps, rank {board.rank:,} a matrix at the end."
    )
    places = ranked(board, entries(), state.members)
    if not places:
        st.caption("No run counts yet: one that is finished, of this task, this many steps and this rank.")
        return
    hidden = board.anonymous and not room.leads(me)
    who = [
        "you" if place.entry.owner == me else "·" if hidden else state.members[place.entry.owner].name
        for place in places
    ]
    st.table(
        {
            "place": [place.number for place in places],
            "member": [plain(name) for name in who],
            board.metric: [f"{place.entry.result:.4f}" for place in places],
            "method": [plain(place.entry.method) for place in places],
            "run": ["·" if hidden else plain(place.entry.run) for place in places],
        },
        border="horizontal",
        hide_index=True,
        alt="Board of results",
    )


def choose_board(room: Room) -> None:
    """Draw the leader's choice of what is compared."""
    board = room.state.board
    tasks = [name for name, task in TASKS.items() if not task.requires or name in ("words",)]
    tasks = tasks or [*TASKS]
    columns = st.columns(4)
    task = select("Task", tasks, "class_board_task", columns[0], format_func=lambda key: TASKS[key].title)
    metrics = sorted({entry.metric for entry in entries() if entry.task == task}) or ["test accuracy", "test loss"]
    metric = select("Metric", metrics, f"class_board_metric_{task}", columns[1])
    job = build_job(task, "flexlora")
    steps = columns[2].number_input("Steps", 1, 1_000_000, job.steps, key=f"class_board_steps_{task}")
    rank = columns[3].number_input("Rank", 1, 10_000, rank_of(job), key=f"class_board_rank_{task}")
    anonymous = st.toggle("Names are hidden from others", key="class_board_anonymous")
    with st.container(horizontal=True):
        held = {"task": task, "metric": metric, "steps": int(steps), "rank": int(rank), "anonymous": anonymous}
        st.button("Show this board", key="class_board_show", type="primary", on_click=_show, args=(room, held))
        if board is not None:
            st.button("Take it away", key="class_board_away", on_click=act_on, args=(room, compared, None))


def _show(room: Room, held: dict[str, object]) -> None:
    act_on(room, lambda state: compared(state, Board.of(held)))
