"""The command: ``python -m analysis.adapters FOLDER [--json]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from analysis.adapters.adapter import Place, open_adapter
from analysis.adapters.comparison import Comparison, compare_adapters
from analysis.adapters.compression import compress_adapter, total_error, truncation_errors
from analysis.adapters.dtypes import DTYPES
from analysis.adapters.files import MAX_CONFIG_BYTES, AdapterError
from analysis.adapters.orders import ORDERS
from analysis.adapters.settings import config_snippet
from analysis.adapters.sizes import size_at, size_now
from analysis.adapters.spectra import AdapterSpectra, analyse_adapter
from analysis.adapters.suggestion import Suggestion, flexlora_moves, suggest_ranks, suggest_sizes
from analysis.adapters.tables import TABLE_FILES, adapter_report
from analysis.adapters.targets import SIZES, TARGETS
from analysis.adapters.words import (
    CAVEAT,
    describe_bound,
    describe_moves,
    describe_sizes,
    describe_suggestion,
    size_warnings,
)
from analysis.command import CommandParser, run_command, text_table
from analysis.outside import read_json

COLUMNS = ("matrix", "rank", "rank_99", "entropy", "effective_rank", "stable_rank", "norm", "state")
EPILOG = """examples:
  python -m analysis.adapters my_adapter
  python -m analysis.adapters my_adapter --energy 0.99 --out smaller
  python -m analysis.adapters my_adapter --curve
  python -m analysis.adapters my_adapter --bytes 2000000 --dtype BF16 --out smaller
  python -m analysis.adapters my_adapter --rank 64 --by spectral_entropy
  python -m analysis.adapters my_adapter --compare other_adapter --json
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
        default="least_error",
        choices=list(ORDERS),
        help="which matrix gives the next direction (default %(default)s)",
    )
    parser.add_argument(
        "--drop", action="store_true", help="let a matrix lose every direction (least_error only): it is left out then"
    )
    parser.add_argument(
        "--curve", action="store_true", help="error at several sizes of the file, all matrices under one budget"
    )
    parser.add_argument("--out", type=Path, help="write the shrunk adapter into this new folder")
    parser.add_argument(
        "--dtype", choices=list(DTYPES), help="type of the factors that --out writes (default: the type they have)"
    )
    parser.add_argument(
        "--moves", type=int, metavar="B", help="what one event of FlexLoRA's rule with budget B would move"
    )
    parser.add_argument("--compare", type=Path, metavar="OTHER", help="a second adapter: how far do they overlap")
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
    if options.out and target is None:
        raise AdapterError(f"--out needs a target: one of --{', --'.join(TARGETS)}.")
    if options.drop and options.by != "least_error":
        raise AdapterError(f"--drop needs --by least_error: {options.by} keeps a direction of every matrix.")
    if options.table and options.table.suffix.lstrip(".") not in TABLE_FILES:
        raise AdapterError(f"--table {options.table} must end with one of: .{', .'.join(TABLE_FILES)}.")
    adapter = open_adapter(str(options.adapter))
    if options.map:
        adapter = adapter.mapped(_read_map(options.map))
    with tqdm(total=len(adapter.matrices), unit="matrix", file=sys.stderr, disable=None, leave=False) as bar:
        spectra = analyse_adapter(adapter, lambda done, _: bar.update(done - bar.n))
    report = adapter_report(spectra)
    text = [*report["sentences"], *(f"Note: {line}" for line in report["notices"]), ""]
    text.append(text_table(spectra.table(), COLUMNS, right=COLUMNS[1:]))
    if target is not None:
        value = getattr(options, target)
        suggestion = suggest_ranks(spectra, target, value, options.by, int(not options.drop), options.dtype)
        report["suggestion"], lines = _suggested(spectra, suggestion, options)
        text += ["", *lines]
    if options.curve:
        report["curve"], lines = _curve(spectra, options)
        text += ["", *lines]
    if options.moves is not None:
        moves = flexlora_moves(spectra, options.moves)
        report["moves"] = {"budget": moves.budget, "prune": moves.prune, "extend": moves.extend, "rules": moves.rules}
        text += ["", describe_moves(spectra, moves), CAVEAT]
    if options.compare:
        comparison = compare_adapters(adapter, open_adapter(str(options.compare)))
        report["comparison"], lines = _compared(comparison, options.compare.name)
        text += ["", *lines]
    if options.table:
        options.table.write_bytes(TABLE_FILES[options.table.suffix.lstrip(".")](spectra))
    return report, "\n".join(text)


def _read_map(path: Path) -> dict[str, Place]:
    try:
        found = read_json(path, MAX_CONFIG_BYTES)
        places = {str(name): (layer, str(kind)) for name, (layer, kind) in found.items()}
        if not all(layer is None or type(layer) is int for layer, _ in places.values()):
            raise ValueError("a layer is not a whole number or null")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AdapterError(
            f'{path} cannot be used as a map: {error}. It must be JSON like {{"model.layers.0.q": [0, "query"]}}.'
        ) from error
    return places


def _suggested(
    spectra: AdapterSpectra, suggestion: Suggestion, options: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    snippet = config_snippet(spectra.adapter, suggestion.ranks)
    if options.out:
        errors = compress_adapter(spectra, suggestion.ranks, options.out, dtype=options.dtype)
    else:
        errors = truncation_errors(spectra, suggestion.ranks)
    whole = total_error(errors, spectra)
    before, after = size_now(spectra.adapter), size_at(spectra.adapter, suggestion.ranks, options.dtype)
    warnings = size_warnings(before, after, suggestion.error, whole["relative"])
    report = {
        **vars(suggestion),
        "error": whole,
        "bytes_before": vars(before),
        "bytes_after": vars(after),
        "warnings": warnings,
        "matrix_errors": [vars(error) for error in errors],
        "lora_config": snippet,
        "written": str(options.out) if options.out else None,
    }
    lines = [
        describe_suggestion(spectra, suggestion),
        describe_sizes(before, after),
        f"Error of ΔW: {whole['relative']:.2%} in the Frobenius norm ({whole['frobenius']:.4g}), at most "
        f"{whole['spectral']:.4g} in the spectral norm of a matrix. {describe_bound(suggestion)}".rstrip(),
        *(f"Warning: {line}" for line in warnings),
        "",
        snippet,
    ]
    return report, lines + ([f"\nWritten to {options.out}."] if options.out else [])


def _curve(spectra: AdapterSpectra, options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    found = suggest_sizes(spectra, least=int(not options.drop), dtype=options.dtype)
    rows = [
        {
            "bytes": size_at(spectra.adapter, one.ranks, options.dtype).total,
            "parameters": one.parameters,
            "total_rank": one.total_rank,
            "error": one.error,
            "least_possible": one.bound,
            "energy_kept": one.energy_kept,
        }
        for one in found
    ]
    return rows, [
        "Error against size, by the singular values, one budget over all matrices:",
        text_table(rows, list(rows[0]), list(rows[0])),
    ]


def _compared(comparison: Comparison, name: str) -> tuple[dict[str, Any], list[str]]:
    rows = [
        {
            **vars(overlap),
            "output_cosines": overlap.output_cosines.tolist(),
            "input_cosines": overlap.input_cosines.tolist(),
        }
        for overlap in comparison.overlaps
    ]
    lines = [f"Overlap with {name} (0 = orthogonal, 1 = contained; chance in brackets), cosine of both ΔW:"]
    for overlap in comparison.overlaps:
        if overlap.output_overlap is None or overlap.input_overlap is None:
            lines.append(f"  {overlap.matrix}: dead in one of them")
            continue
        lines.append(
            f"  {overlap.matrix}: output {overlap.output_overlap:.3f} ({overlap.output_chance:.3f}), "
            f"input {overlap.input_overlap:.3f} ({overlap.input_chance:.3f}), cosine {overlap.similarity:+.3f}"
        )
    for names, which in ((comparison.only_first, "the first"), (comparison.only_second, "the second")):
        if names:
            lines.append(f"Only in {which}: {len(names)}, such as {names[0]}.")
    lines += [f"Note: {line}" for line in comparison.notices]
    return {**vars(comparison), "overlaps": rows}, lines


if __name__ == "__main__":
    sys.exit(main())
