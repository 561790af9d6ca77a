"""The command: ``python -m analysis.study runs/my_study``."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.command import CommandParser, run_command
from analysis.study import caption, compare_study, comparison_rows, latex_table, load_study, markdown_table
from flexlora.errors import FlexLoRAError
from flexlora.study.files import replace_file


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    parser = CommandParser(
        "analysis.study",
        description="Compare the variants of a study with their reference, paired by seed: interval, test, detectable "
        "effect and verdict, as comparison.csv, .md and .tex in its folder.",
    )
    parser.add_argument("folder", type=Path, help="folder of a study that python -m flexlora.study has made")
    parser.add_argument("--margin", type=float, help="a difference smaller than this would not matter")
    return run_command(parser, _act, arguments)


def _act(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if options.margin is not None and not 0 < options.margin < float("inf"):
        raise FlexLoRAError(f"--margin={options.margin} must be a number above 0.")
    study = load_study(options.folder)
    found = compare_study(study, margin=options.margin)
    rows, told = comparison_rows(found), caption(study, found, options.margin)
    text = f"{told}\n\n{markdown_table(found)}"
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    outputs = {"csv": table.getvalue(), "md": text + "\n", "tex": latex_table(found, told) + "\n"}
    paths = {kind: options.folder / f"comparison.{kind}" for kind in outputs}
    for kind, content in outputs.items():
        replace_file(paths[kind], content.encode())
    report = {kind: str(path) for kind, path in paths.items()}
    return {**report, "equal": study.summary["equal"], "comparisons": rows}, text


if __name__ == "__main__":
    sys.exit(main())
