"""The command: ``python -m analysis.report RUN --out FILE.html [--overwrite] [--json]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.command import CommandParser, run_command
from analysis.report.page import write_report
from analysis.runs import load_run

EPILOG = """examples:
  python -m analysis.report sample_runs/words-flexlora-paper --out words.html
  python -m analysis.report runs/demo --out demo.html --overwrite --json

The file holds the run, the player and its tables. It opens in any current browser, without a server or a network.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    return run_command(_parser(), _run, arguments)


def _parser() -> CommandParser:
    parser = CommandParser(
        "analysis.report",
        description="Write a run as one HTML file: the player with every view, and tables.",
        epilog=EPILOG,
    )
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the HTML file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    return parser


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    run = load_run(options.run)
    done = write_report(run, options.out, overwrite=options.overwrite)
    report = {
        "run": str(options.run),
        "out": str(done.path),
        "size_bytes": done.size_bytes,
        "notes": list(done.notes),
        "notices": list(run.notices),
    }
    lines = [
        f"Wrote {done.path} ({done.size_bytes / 1e6:.1f} MB). Open it in a browser.",
        *(f"Note: {note}" for note in (*run.notices, *done.notes)),
    ]
    return report, "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
