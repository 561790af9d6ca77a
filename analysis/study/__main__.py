"""The command: ``python -m analysis.study runs/my_study``."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.command import CommandParser, run_command
from analysis.study import (
    Compared,
    StudyTable,
    compare_study,
    comparison_rows,
    load_study,
    study_groups,
    with_reference,
)
from analysis.study.export import comparison_files, comparison_text, write_archive
from flexlora.errors import FlexLoRAError
from flexlora.study.files import replace_file


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    parser = CommandParser(
        "analysis.study",
        description="Compare the variants of a study with their reference, paired by seed: interval, test, detectable "
        "effect and verdict, as comparison.csv, .md and .tex in its folder; and its figures for print.",
    )
    parser.add_argument("folder", type=Path, help="folder of a study that python -m flexlora.study has made")
    parser.add_argument("--margin", type=float, help="a difference smaller than this would not matter")
    parser.add_argument(
        "--reference", metavar="VARIANT", help="what the others are compared with; default: the study's"
    )
    parser.add_argument("--figures", type=Path, metavar="OUT", help="also every figure as SVG and PDF, in this folder")
    parser.add_argument("--zip", type=Path, metavar="FILE", help="also all of it, with the runs' headers, in one zip")
    return run_command(parser, _act, arguments)


def _act(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if options.margin is not None and not 0 < options.margin < float("inf"):
        raise FlexLoRAError(f"--margin={options.margin} must be a number above 0.")
    study = load_study(options.folder)
    if options.reference is not None:
        study = with_reference(study, options.reference)
    found = compare_study(study, margin=options.margin)
    report: dict[str, Any] = {}
    for name, content in comparison_files(study, found, options.margin).items():
        replace_file(options.folder / name, content)
        report[name.partition(".")[2]] = str(options.folder / name)
    text = [comparison_text(study, found, options.margin)]
    if options.figures or options.zip:
        extra, told = _taken_out(study, found, options)
        report |= extra
        text += ["", *told]
    return {**report, "equal": study.summary["equal"], "comparisons": comparison_rows(found)}, "\n".join(text)


def _taken_out(
    study: StudyTable, found: Sequence[Compared], options: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """Write the figures and the zip that are asked for; return what is reported, and lines about it."""
    if importlib.util.find_spec("plotly") is None:
        raise FlexLoRAError("Figures need Plotly: pip install 'flexlora-lab[paper]'.")
    from analysis.study.paper import exporter_missing, write_figures
    from analysis.study.pictures import study_pictures

    if options.figures and (missing := exporter_missing()):
        raise FlexLoRAError(missing)
    groups, report, told = study_groups(study), {}, []
    if options.figures:
        paths = write_figures(study_pictures(study, found, groups, options.margin), options.figures)
        report["figures"] = [str(path) for path in paths]
        told.append(f"{options.figures}: {len(paths)} files, SVG and PDF at 3.25 and 6.75 inches, figures.tex")
    if options.zip:
        names = write_archive(options.zip, study, groups, margin=options.margin, drawn=options.figures)
        report["zip"] = str(options.zip)
        told.append(f"{options.zip}: {len(names)} files")
    return report, told


if __name__ == "__main__":
    sys.exit(main())
