"""The command: ``python -m analysis.leaderboard RESULTS [--ours RUN] [--export FOLDER]``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.command import CommandParser, run_command
from analysis.leaderboard.compare import Board, Standing, describe_board, rank_results
from analysis.leaderboard.export import result_files
from analysis.leaderboard.figure import COST_NAMES, measure_name, pareto
from analysis.leaderboard.read import COSTS, read_results
from analysis.runs import load_run
from flexlora.errors import FlexLoRAError
from flexlora.study.files import replace_file

BOARD_KEYS = ("measure", "runs", "spread", "freedom", "detectable", "cost", "one_seed", "cost_ratio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    parser = CommandParser(
        "analysis.leaderboard",
        description="PEFT's method comparison with the spread of its reruns: who is told apart from the best, and who "
        "is on the front of accuracy against cost. --export writes run logs in the layout of its result files.",
    )
    parser.add_argument("results", nargs="*", type=Path, help="result files, or folders of them")
    parser.add_argument("--cost", default="memory_bytes", help=f"of the front: {', '.join(COSTS)}")
    parser.add_argument("--figure", type=Path, metavar="HTML", help="write the scatter with error bars")
    parser.add_argument("--ours", nargs="+", type=Path, default=[], metavar="RUN", help="run folders to export")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="write them here, one JSON file each")
    return run_command(parser, _act, arguments)


def _act(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if options.cost not in COSTS:
        raise FlexLoRAError(f"Unknown --cost {options.cost!r}. Choose one of: {', '.join(COSTS)}.")
    if bool(options.ours) != bool(options.export):
        raise FlexLoRAError("--ours names run folders, and --export where their result files go: give both or none.")
    if not options.results and not options.ours:
        raise FlexLoRAError("Give result files to read, or run folders to export.")
    report: dict[str, Any] = {}
    text = []
    if options.ours:
        report["written"] = _export(options.ours, options.export)
        text.append(f"{len(report['written'])} result files in {options.export}")
    if options.results:
        results, notices = read_results(options.results)
        board = rank_results(results, cost=options.cost)
        if options.figure:
            replace_file(options.figure, pareto(board).to_html(include_plotlyjs=True).encode())
        report |= _report(board) | {"notices": notices}
        text.append(_text(board, notices))
    return report, "\n\n".join(text)


def _export(folders: Sequence[Path], out: Path) -> list[str]:
    # All are read before anything is written.
    contents = result_files(load_run(folder) for folder in folders)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        replace_file(out / name, content)
    return [str(out / name) for name in contents]


def _report(board: Board) -> dict[str, Any]:
    rows = [{key: _plain(value) for key, value in vars(own).items()} for own in board.standings]
    told = {key: _plain(getattr(board, key)) for key in BOARD_KEYS}
    return {**told, "runs_needed": {f"{size:g}": runs for size, runs in board.pairs_for.items()}, "rows": rows}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _text(board: Board, notices: Sequence[str]) -> str:
    lines = describe_board(board)
    heads = [
        "experiment",
        "n",
        measure_name(board),
        "± 95 %",
        "p (Holm)",
        COST_NAMES[board.cost][0],
        "front",
        "total rank",
    ]
    lines += ["", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(_cells(own, board.cost)) + " |" for own in board.standings]
    return "\n".join([*lines, *(f"Note: {notice}" for notice in notices)])


def _cells(own: Standing, cost: str) -> list[str]:
    def told(value: float, form: str) -> str:
        return "–" if math.isnan(value) else format(value, form)

    paid = own.costs.get(cost, math.nan) / COST_NAMES[cost][1]
    front = "front" if own.front else "surely behind" if own.surely_behind else ""
    numbers = [told(own.mean, ".3f"), told(own.half, ".3f"), told(own.adjusted_p, ".3f"), told(paid, ".3g")]
    return [own.experiment.replace("|", r"\|"), str(own.n), *numbers, front, str(own.total_rank or "")]


if __name__ == "__main__":
    sys.exit(main())
