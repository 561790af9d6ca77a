"""The command: ``python -m analysis.pack --out FOLDER [--run RUN ...] [--overwrite] [--json]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.command import CommandParser, run_command
from analysis.pack.folder import write_pack

EPILOG = """examples:
  flexlora pack --out lab
  flexlora pack --out lab --run runs/demo --run sample_runs/digits-adalora --overwrite

The folder holds lessons, playground, player and runs as pages that open by double click, without a server or a network;
beside it lies the same as a zip. It can be put on any web server as it is.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    return run_command(_parser(), _run, arguments)


def _parser() -> CommandParser:
    parser = CommandParser("analysis.pack", description="Write the Lab as files that need no server.", epilog=EPILOG)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder to write")
    parser.add_argument("--run", type=Path, action="append", default=[], help="one more run folder; may be repeated")
    parser.add_argument("--samples", type=Path, default=Path("sample_runs"), help="where the lessons' runs are")
    parser.add_argument("--overwrite", action="store_true", help="replace a pack that is there")
    return parser


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    done = write_pack(options.out, options.samples, options.run, overwrite=options.overwrite)
    report = {
        "out": str(done.folder),
        "zip": str(done.archive),
        "size_bytes": done.size_bytes,
        "runs": list(done.runs),
        "notes": list(done.notes),
    }
    lines = [
        f"Wrote {done.folder} and {done.archive} ({done.size_bytes / 1e6:.1f} MB). Open {done.folder / 'index.html'}.",
        *(f"Note: {note}" for note in done.notes),
    ]
    return report, "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
