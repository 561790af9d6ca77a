"""PEFT's leaderboard with error bars: their result files read, and runs of ours written in their layout."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from analysis.figures.theme import CONFIG
from analysis.importers import import_log
from analysis.leaderboard.compare import Board, describe_board, rank_results
from analysis.leaderboard.export import result_files
from analysis.leaderboard.figure import COST_NAMES, measure_name, pareto
from analysis.leaderboard.read import Result, read_results
from analysis.outside import OutsideError
from analysis.runs import load_run
from charts import chart
from compare.uploads import keep_files
from files import Kept
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from jobs.owner import Owner
from runs.rows import read_rows
from runs.store import named, plain, run_entries
from widgets import download, select, upload

MAX_MIB = 50
SHOWN_NOTICES = 5
PATH, FILES = "compare_board_path", "compare_board_files"
FAULTS = (FlexLoRAError, RunLogError, OSError, ValueError)


def board_part(me: Owner) -> None:
    """Draw the part: their table, the rank map of AdaLoRA, and the export of ours."""
    st.markdown(
        "PEFT publishes one result file a run (`method_comparison/*/results`). Here they are ranked with the spread of "
        "reruns: which rows can be told apart at all."
    )
    left, right = st.columns([0.55, 0.45])
    typed = left.text_input(
        "Folder or file", key=PATH, placeholder="path on the machine that runs the Lab", persist_state="session"
    ).strip()
    files = upload("or upload result files (.json, or a zip of them)", FILES, MAX_MIB, right, type=["json", "zip"])
    if typed or files:
        try:
            path = keep_files(FILES, files, MAX_MIB) if files else named(typed, OutsideError)
            results, notices = read_results([path])
        except FAULTS as error:
            st.error(f"**These results cannot be read.**\n\n{plain(str(error))}", icon=":material/error:")
        else:
            _board(results, notices)
    with st.expander("Write runs of mine in their layout", icon=":material/ios_share:", key="compare_board_export"):
        _export(me)


def _board(results: Sequence[Result], notices: Sequence[str]) -> None:
    cost = select("Cost", list(COST_NAMES), "compare_board_cost", format_func=lambda key: COST_NAMES[key][0])
    board = rank_results(results, cost=cost)
    st.markdown(plain(" ".join(describe_board(board))))
    measure = measure_name(board)
    told = f"Test {measure} of each configuration against its cost, with 95 % intervals"
    st.plotly_chart(pareto(board), key="compare_board_pareto", config=CONFIG, alt=told)
    st.caption(
        "Bars are 95 % intervals from the spread that all reruns share. Hollow: one that costs no more is better, and "
        "told apart from it."
    )
    with st.expander(f"Table: {len(board.standings)} configurations", icon=":material/table_rows:"):
        st.dataframe(
            _rows(board),
            hide_index=True,
            placeholder="",
            column_config={
                name: st.column_config.NumberColumn(format="%.3f") for name in (measure, "± 95 %", "p (Holm)")
            },
            alt="Configurations: result, interval, cost, front",
        )
    _rank_map(results)
    if notices:
        with st.expander("What was left out", icon=":material/info:"):
            for notice in notices[:SHOWN_NOTICES]:
                st.markdown(plain(notice))
            if len(notices) > SHOWN_NOTICES:
                st.caption(f"and {len(notices) - SHOWN_NOTICES} more")


def _rows(board: Board) -> list[dict[str, object]]:
    head, unit = COST_NAMES[board.cost]
    return [
        {
            "configuration": own.experiment,
            "runs": own.n,
            measure_name(board): own.mean,
            "± 95 %": own.half,
            "p (Holm)": own.adjusted_p,
            head: own.costs[board.cost] / unit if board.cost in own.costs else None,
            "front": "front" if own.front else "surely behind" if own.surely_behind else "",
            "total rank": own.total_rank,
        }
        for own in board.standings
    ]


def _rank_map(results: Sequence[Result]) -> None:
    """Draw where AdaLoRA ended, of a result that says so."""
    adaptive = [result for result in results if result.total_rank is not None]
    if not adaptive:
        return
    st.markdown("## Where AdaLoRA left its ranks")
    names = [f"{result.experiment} ({result.created or result.path.name})" for result in adaptive]
    place = select("Result", range(len(names)), "compare_board_result", format_func=lambda number: names[number])
    try:
        run = load_run(_imported(adaptive[place].path))
    except FAULTS as error:
        st.warning(plain(str(error)), icon=":material/block:")
        return
    chart("compare_board_map", "Final rank of each matrix, layer by module type", "rank_map", run, int(run.steps[-1]))
    st.caption("From the masks of its `rank_pattern`: how many directions of each matrix were on in the end.")


def _imported(path: Path) -> Path:
    """Return the log of a result file, imported once a session."""
    kept: dict[Path, Kept] = st.session_state.setdefault("compare_board_logs", {})
    if path not in kept:
        folder = Kept({}, "peft-result-")
        import_log(path, folder.folder / "run", None)
        kept[path] = folder
    return kept[path].folder / "run"


def _export(me: Owner) -> None:
    rows = {row.key: row for row in read_rows(run_entries(), me) if row.state == "finished" and not row.source}
    picked = st.multiselect(
        "Runs", list(rows), format_func=lambda key: rows[key].name, key="compare_board_runs", persist_state="session"
    )
    if not picked:
        st.caption("What their table has and a run log does not is null.")
        return
    try:
        files = result_files(load_run(rows[key].folder) for key in picked)
    except FAULTS as error:
        st.warning(plain(str(error)), icon=":material/block:")
        return
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    label = f"Download {len(files)} result files"
    download(label, buffer.getvalue(), "results.zip", "compare_board_zip", mime="application/zip")
