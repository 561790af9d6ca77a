"""The command: ``python -m analysis.adapters FOLDER [--json]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from analysis.adapters.adapter import Adapter, Place
from analysis.adapters.comparison import compare_adapters
from analysis.adapters.doctor import examine, examine_together
from analysis.adapters.doctor.neighbours import FEWEST, neighbour_sizes
from analysis.adapters.dtypes import DTYPES
from analysis.adapters.files import MAX_CONFIG_BYTES, AdapterError
from analysis.adapters.many import labels_of
from analysis.adapters.merging import MERGES, merge_adapters
from analysis.adapters.orders import ORDERS
from analysis.adapters.own import open_any
from analysis.adapters.plans import FORMS, SAME
from analysis.adapters.sections import (
    Section,
    curve_section,
    doctor_section,
    finding_lines,
    many_section,
    merge_section,
    pair_section,
    shrunk_section,
    usual_section,
)
from analysis.adapters.spectra import analyse_adapter
from analysis.adapters.suggestion import flexlora_moves, suggest_ranks
from analysis.adapters.tables import TABLE_FILES, adapter_report
from analysis.adapters.targets import SIZES, TARGETS
from analysis.adapters.words import CAVEAT, describe_moves
from analysis.command import CommandParser, run_command, text_table
from analysis.outside import first_line, read_json, shown

COLUMNS = ("matrix", "rank", "rank_99", "entropy", "effective_rank", "stable_rank", "norm", "state")
BY, HOW, DENSITY = "least_error", "linear", 0.5
"""Where nothing else is said."""
EPILOG = """examples:
  python -m analysis.adapters my_adapter
  python -m analysis.adapters my_adapter --energy 0.99 --out smaller
  python -m analysis.adapters my_adapter --curve
  python -m analysis.adapters my_adapter --bytes 2000000 --dtype BF16 --out smaller
  python -m analysis.adapters my_adapter --rank 64 --by spectral_entropy
  python -m analysis.adapters my_adapter --compare other_adapter third_adapter --json
  python -m analysis.adapters my_adapter --merge other_adapter --how ties --out merged
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    return run_command(_parser(), _run, arguments)


def _parser() -> CommandParser:
    parser = CommandParser(
        "analysis.adapters",
        description="Show what is inside an adapter: spectra, entropy, wasted rank; suggest ranks; write a smaller "
        "one. Needs neither the base model nor torch.",
        epilog=EPILOG,
    )
    parser.add_argument("adapter", type=Path, help="folder, safetensors or GGUF file, zip, or owner/name of the hub")
    targets = parser.add_mutually_exclusive_group()
    for name, meaning in TARGETS.items():
        short = ("--params",) if name == "parameters" else ()
        kind = int if name in SIZES else float
        targets.add_argument(*short, f"--{name}", dest=name, type=kind, metavar="N", help=f"shrink to this: {meaning}")
    parser.add_argument(
        "--by",
        default=BY,
        choices=list(ORDERS),
        help="which matrix gives the next direction (default %(default)s)",
    )
    parser.add_argument(
        "--drop", action="store_true", help="let a matrix lose every direction (least_error only): it is left out then"
    )
    parser.add_argument(
        "--curve", action="store_true", help="error at several sizes of the file, all matrices under one budget"
    )
    where = "write the shrunk adapter into this new folder, or file NAME.safetensors where the format is one (see --as)"
    parser.add_argument("--out", type=Path, help=where)
    parser.add_argument(
        "--dtype", choices=list(DTYPES), help="type of the factors that --out writes (default: the type they have)"
    )
    forms = "; ".join(map(": ".join, FORMS.items()))
    parser.add_argument(
        "--as", dest="form", default=SAME, choices=list(FORMS), help=f"what --out writes (default %(default)s): {forms}"
    )
    parser.add_argument(
        "--moves", type=int, metavar="B", help="what one event of FlexLoRA's rule with budget B would move"
    )
    several = parser.add_mutually_exclusive_group()
    several.add_argument(
        "--compare", type=Path, nargs="+", metavar="OTHER", help="further adapters: how far do they overlap"
    )
    several.add_argument("--merge", type=Path, nargs="+", metavar="OTHER", help="further adapters to merge into --out")
    parser.add_argument("--how", choices=list(MERGES), help=f"how to merge (default {HOW})")
    parser.add_argument("--weights", type=float, nargs="+", metavar="W", help="of each adapter in a merge (default 1)")
    parser.add_argument(
        "--density", type=float, metavar="D", help=f"share of entries that TIES and DARE keep (default {DENSITY})"
    )
    parser.add_argument(
        "--map",
        type=Path,
        metavar="FILE",
        help='JSON that corrects the map: {"name of a matrix": [layer, "module type"]}',
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help=f"write the table: .{', .'.join(TABLE_FILES)}")
    return parser


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    target = next((name for name in TARGETS if getattr(options, name) is not None), None)
    _check(options, target)
    adapter = open_any(str(options.adapter))
    if options.map:
        adapter = adapter.mapped(_read_map(options.map))
    with tqdm(total=len(adapter.matrices), unit="matrix", file=sys.stderr, disable=None, leave=False) as bar:
        spectra = analyse_adapter(adapter, lambda done, _: bar.update(done - bar.n))
    report = adapter_report(spectra)
    text = [*report["sentences"], *(f"Note: {line}" for line in report["notices"]), ""]
    report["findings"], lines = doctor_section(examine(spectra), adapter)
    few = len(options.compare or options.merge or ()) < FEWEST
    beside = (
        [f"Its size beside others is told by --compare with {FEWEST} or more for the same base model."] if few else []
    )
    text += [*lines, *beside, "", text_table(spectra.table(), COLUMNS, right=COLUMNS[1:])]

    def add(key: str, section: Section) -> None:
        report[key] = section[0]
        text.extend(["", *section[1]] if section[1] else [])

    add("usual", usual_section(spectra))
    least = int(not options.drop)
    if target is not None:
        value = getattr(options, target)
        suggestion = suggest_ranks(spectra, target, value, options.by, least, options.dtype, options.form)
        add("suggestion", shrunk_section(spectra, suggestion, options.out, options.dtype, options.form))
    if options.curve:
        add("curve", curve_section(spectra, least, options.dtype, options.form))
    if options.moves is not None:
        moves = flexlora_moves(spectra, options.moves)
        report["moves"] = {"budget": moves.budget, "prune": moves.prune, "extend": moves.extend, "rules": moves.rules}
        text += ["", describe_moves(spectra, moves), CAVEAT]
    _several(options, adapter, add)
    if options.table:
        _write_table(options.table, TABLE_FILES[options.table.suffix.lstrip(".")](spectra))
    return report, "\n".join(text)


def _check(options: argparse.Namespace, target: str | None) -> None:
    """Refuse options that would do nothing, or something else than asked for, before anything is read."""
    if options.merge and (options.out is None or target is not None):
        raise AdapterError("--merge needs --out, the new folder, and no target: shrink the merged adapter afterwards.")
    if options.out and target is None and not options.merge:
        raise AdapterError(f"--out needs a target: one of --{', --'.join(TARGETS)}.")
    for key in ("how", "weights", "density"):
        if getattr(options, key) is not None and not options.merge:
            raise AdapterError(f"--{key} is of a merge: it needs --merge.")
    if options.density is not None and MERGES[options.how or HOW] is None:
        raise AdapterError("--density is of TIES and DARE: it needs --how ties or --how dare.")
    if target is None and options.by != BY:
        raise AdapterError(f"--by needs a target: one of --{', --'.join(TARGETS)}.")
    if target is None and not options.curve:
        for key, given in (("drop", options.drop), ("dtype", options.dtype), ("as", options.form != SAME)):
            if given:
                raise AdapterError(f"--{key} needs a target, one of --{', --'.join(TARGETS)}, or --curve.")
    if options.drop and options.by != BY:
        raise AdapterError(f"--drop needs --by {BY}: {options.by} keeps a direction of every matrix.")
    if options.table is None:
        return
    if options.table.suffix.lstrip(".") not in TABLE_FILES:
        raise AdapterError(f"--table {options.table} must end with one of: .{', .'.join(TABLE_FILES)}.")
    if options.table.exists() or options.table.is_symlink():
        raise AdapterError(f"--table {options.table} exists already. Choose a new name.")
    if not options.table.parent.is_dir() and options.table.parent != options.out:
        raise AdapterError(
            f"--table {options.table}: there is no folder {options.table.parent}. Make it, or choose another."
        )


def _write_table(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as error:
        if not isinstance(error, FileExistsError):
            path.unlink(missing_ok=True)
        raise AdapterError(f"--table {path} cannot be written: {error.strerror or error}.") from error


def _several(options: argparse.Namespace, adapter: Adapter, add: Callable[[str, Section], None]) -> None:
    """Compare, and merge, with the interference told before."""
    others = [open_any(str(path)) for path in options.merge or options.compare or ()]
    if not others:
        return
    if options.compare and len(others) == 1:
        add("comparison", pair_section(compare_adapters(adapter, others[0]), *labels_of([adapter, others[0]])))
    compared, findings = examine_together([adapter, *others])
    add("together", many_section(compared, findings))
    if len(others) >= FEWEST:
        labels = labels_of([adapter, *others])
        found = neighbour_sizes(dict(zip(labels, map(analyse_adapter, [adapter, *others]), strict=True)))
        rows, lines = finding_lines([*found.values()])
        add("beside", (rows, [f"{name}: {line}" for name, line in zip(found, lines, strict=True)]))
    if options.merge:
        density = DENSITY if options.density is None else options.density
        merge = merge_adapters([adapter, *others], options.out, options.how or HOW, options.weights, density)
        add("merge", merge_section(merge, options.out))


def _read_map(path: Path) -> dict[str, Place]:
    try:
        found = read_json(path, MAX_CONFIG_BYTES)
        reason = "" if isinstance(found, dict) else "it is no object"
    except (OSError, ValueError) as error:
        found, reason = {}, getattr(error, "strerror", None) or first_line(error)
    for name, place in found.items() if not reason else ():
        fits = isinstance(place, list) and len(place) == 2 and isinstance(place[1], str)
        if not fits or not (place[0] is None or type(place[0]) is int):
            reason = f"{shown(name)} is {shown(place)}, not a layer (a whole number or null) and a module type"
            break
    if reason:
        raise AdapterError(
            f'{path} cannot be used as a map: {reason}. It must be JSON like {{"model.layers.0.q": [0, "query"]}}.'
        )
    return {name: (layer, kind) for name, (layer, kind) in found.items()}


if __name__ == "__main__":
    sys.exit(main())
