"""The command: ``python -m analysis.importers PATH [--out FOLDER] [--map FILE] [--json]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.command import CommandParser, run_command, text_table
from analysis.importers.errors import LogImportError
from analysis.importers.mapping import FIELDS, Row, corrected_rows
from analysis.importers.registry import IMPORTERS, detect_kind, import_log, propose_mapping
from analysis.outside import read_json

MAX_MAP_BYTES = 16 << 20
EPILOG = """examples:
  python -m analysis.importers rank_log.csv
  python -m analysis.importers rank_log.csv --out runs/theirs
  python -m analysis.importers runs/Nov24_host --out runs/adalora --map map.json --json

Without --out nothing is written: the map is shown. With --json it is printed as --map takes it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    return run_command(_parser(), _run, arguments)


def _parser() -> CommandParser:
    kinds = "; ".join(importer.title for importer in IMPORTERS.values())
    parser = CommandParser(
        "analysis.importers",
        description=f"Turn a log from elsewhere into a run folder. What can be imported: {kinds}.",
        epilog=EPILOG,
    )
    parser.add_argument("path", type=Path, help="the log: a file or a folder")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the run into this new folder")
    parser.add_argument(
        "--map", type=Path, metavar="FILE", help=f"JSON list of rows that correct the map; keys: {', '.join(FIELDS)}"
    )
    return parser


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    mapping = _read_map(options.map) if options.map else None
    if options.out is None:
        kind = detect_kind(options.path)
        rows = corrected_rows(propose_mapping(options.path), mapping)
        text = f"{options.path} is {IMPORTERS[kind].title}: {len(rows)} matrices. --out FOLDER imports it.\n\n"
        text += text_table(rows, ("source", "layer", "module_type", "name"))
        return {"kind": kind, "out": None, "mapping": rows}, text
    done = import_log(options.path, options.out, mapping)
    report = {
        "kind": done.kind,
        "out": str(done.folder),
        "matrices": done.matrices,
        "records": done.records,
        "notices": list(done.notices),
    }
    lines = [
        f"Imported {options.path}, {IMPORTERS[done.kind].title}, into {done.folder}: "
        f"{done.matrices} matrices, {done.records} spectrum records.",
        *(f"Note: {notice}" for notice in done.notices),
    ]
    return report, "\n".join(lines)


def _read_map(path: Path) -> list[Row]:
    try:
        found = read_json(path, MAX_MAP_BYTES)
    except (OSError, ValueError) as error:
        raise LogImportError(f"{path} cannot be used as a map: {error}. It must be a JSON list of rows.") from error
    # What --json printed without --out may be edited and given back.
    rows = found.get("mapping") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise LogImportError(f"{path} cannot be used as a map: it holds no list of rows.")
    return rows


if __name__ == "__main__":
    sys.exit(main())
