"""The command: ``python -m analysis.lessons page --out FILE.html``, ``python -m analysis.lessons effect FILE …``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.command import CommandParser, run_command
from analysis.lessons.effect import Effect, gain, read_answers, version_effect
from analysis.lessons.material import material, missing
from analysis.lessons.page import lessons_html
from analysis.statistics import Comparison
from flexlora.errors import FlexLoRAError
from flexlora.run_log.disk import put_bytes

EPILOG = """examples:
  python -m analysis.lessons page --out lessons.html
  python -m analysis.lessons effect answers/*.csv --json

page writes all lessons, their runs and the player as one file, which needs no server. effect reads the files that
"Answers as CSV" of the quiz hands out, one or more a reader: what the readers gained, and whether the two versions of a
lesson differ in that.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    return run_command(_parser(), _run, arguments)


def _parser() -> CommandParser:
    parser = CommandParser("analysis.lessons", description="The lessons as a file; what lessons did.", epilog=EPILOG)
    parser.add_argument("what", choices=("page", "effect"), help="what to do")
    parser.add_argument("files", nargs="*", type=Path, help="of effect: files of answers")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of page: the HTML file to write")
    parser.add_argument("--overwrite", action="store_true", help="of page: replace a file that is there")
    parser.add_argument("--samples", type=Path, default=Path("sample_runs"), help="where the lessons' runs are")
    return parser


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    return _page(options) if options.what == "page" else _effect(options)


def _page(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    out: Path | None = options.out
    if out is None or out.is_dir() or not out.parent.is_dir():
        raise FlexLoRAError("page needs --out FILE.html in a folder that exists.")
    if out.exists() and not options.overwrite:
        raise FlexLoRAError(f"{out} exists. Choose another name, or add --overwrite.")
    if lacking := missing(options.samples):
        raise FlexLoRAError(f"{options.samples} lacks {', '.join(lacking)}; name the folder by --samples.")
    put_bytes(out, lessons_html(material(options.samples)).encode())
    size = out.stat().st_size
    return {"out": str(out), "size_bytes": size}, f"Wrote {out} ({size / 1e6:.1f} MB). Open it in a browser."


def _effect(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if not options.files:
        raise FlexLoRAError("effect needs files of answers, such as answers/*.csv.")
    try:
        learners = read_answers(path.read_text(encoding="utf-8") for path in options.files)
    except (OSError, UnicodeDecodeError) as error:
        raise FlexLoRAError(f"A file cannot be read: {error}") from error
    gained = gain(learners)
    lessons = sorted({lesson for one in learners for lesson in one.versions})
    effects = {lesson: version_effect(learners, lesson) for lesson in lessons}
    report = {
        "readers": len(learners),
        "gain": asdict(gained) if gained else None,
        "versions": {lesson: _plain(found) if found else None for lesson, found in effects.items()},
    }
    told = [_gained(gained), *(_differ(lesson, found) for lesson, found in effects.items())]
    return report, "\n".join([f"{len(learners)} readers.", *told])


def _plain(found: Effect) -> dict[str, Any]:
    """JSON has no NaN: what cannot be told is null."""
    return {key: None if value != value else value for key, value in asdict(found).items()}


def _gained(found: Comparison | None) -> str:
    if found is None:
        return "Nobody took both quizzes: there is no gain to tell."
    return (
        f"Gain in right answers, after minus before: {found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}], "
        f"n = {found.n}, p = {found.p:.3f} (sign-flip)."
    )


def _differ(lesson: str, found: Effect | None) -> str:
    if found is None:
        return f"{lesson}: one of its two versions has no reader who took both quizzes."
    if min(found.counts) < 2:
        return (
            f"{lesson}: version a gained {found.mean:+.3f} more than b; with fewer than two readers each, no interval."
        )
    return (
        f"{lesson}: version a gained {found.mean:+.3f} more than b [{found.low:+.3f}, {found.high:+.3f}], "
        f"n = {found.counts[0]} and {found.counts[1]}, p = {found.p:.3f} (permutations)."
    )


if __name__ == "__main__":
    sys.exit(main())
