"""The shell that every command of this package has: one line for bad input, one JSON object when asked."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError


class CommandParser(argparse.ArgumentParser):
    """A parser that raises FlexLoRAError, so that every mistake is told the same way.

    Args:
        module: dotted name behind ``python -m``.
        options: of ``argparse.ArgumentParser``.
    """

    def __init__(self, module: str, **options: Any) -> None:
        super().__init__(prog=f"python -m {module}", formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.add_argument("--json", action="store_true", help="print one JSON object instead of text")

    def error(self, message: str) -> NoReturn:
        """Raise what ``run_command`` tells."""
        raise FlexLoRAError(f"{message} ({self.prog} --help lists every option)")


def text_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], right: Sequence[str] = ()) -> str:
    """Return some columns of rows as aligned text below their names; None is a dash, a float has three digits."""

    def shown(value: Any) -> str:
        return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)

    cells = [list(columns), *([shown(row[key]) for key in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = [str.rjust if key in right else str.ljust for key in columns]
    return "\n".join("  ".join(map(lambda s, c, w: s(c, w), sides, row, widths)).rstrip() for row in cells)


def run_command(
    parser: CommandParser,
    act: Callable[[argparse.Namespace], tuple[dict[str, Any], str]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse, act, print; return the exit status: 0 done, 2 bad input, 130 interrupted.

    The parser has ``--json`` already; ``act`` turns the options into what that prints, and text. ``arguments`` None =
    those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parser.parse_args(arguments)
        report, text = act(options)
    except KeyboardInterrupt:
        sys.stderr.write("aborted; nothing was written\n")
        return 130
    except (FlexLoRAError, RunLogError, OSError) as error:
        message = " ".join(_printable(str(error)).splitlines())
        sys.stderr.write(f"error: {message}\n")
        if "--json" in arguments:
            sys.stdout.write(json.dumps({"error": message}) + "\n")
        return 2
    sys.stdout.write(json.dumps(report) + "\n" if options.json else _printable(text) + "\n")
    return 0


def _printable(text: str) -> str:
    """Names from a file may hold lone surrogates, which no terminal takes."""
    return text.encode("utf-8", "backslashreplace").decode()
