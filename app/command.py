"""The console command ``flexlora``: a word, and what it runs. Nothing is imported before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

HELP = ("-h", "--help")


class Command(NamedTuple):
    """One word after ``flexlora``.

    Attributes:
        module: dotted name, seen from here; has ``main(arguments) -> exit status``, and prints its own ``--help``.
        does: one line for ``flexlora --help``.
        extra: what to install when a module that it needs is missing.
    """

    module: str
    does: str
    extra: str = "all"


COMMANDS = {
    "app": Command(".serve", "serve the Lab in a browser", "app"),
    "train": Command("flexlora.train", "train an adapter and log every decision", "train"),
    "study": Command("flexlora.study.__main__", "make every run of a study file, and one table of them", "train"),
    "report": Command("analysis.report.__main__", "write a run as one HTML file"),
    "pack": Command("analysis.pack.__main__", "write lessons, playground and runs as files that need no server"),
    "adapters": Command("analysis.adapters.__main__", "show what is inside an adapter, shrink it", "app"),
    "export": Command("flexlora.export", "make a PEFT adapter of a checkpoint, without training", "train,peft"),
    "leaderboard": Command("analysis.leaderboard.__main__", "put PEFT's method comparison and our runs on one board"),
    "import": Command("analysis.importers.__main__", "turn a log from elsewhere into a run folder", "tensorboard"),
}
"""Word → command, in the order of ``flexlora --help``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 2 for a word that is none, and where a package is missing."""
    word, *rest = (sys.argv[1:] if arguments is None else arguments) or HELP
    if word in HELP:
        sys.stdout.write(_help())
        return 0
    if word not in COMMANDS:
        sys.stderr.write(f"error: flexlora has no command {word!r}. Choose one of: {', '.join(COMMANDS)}.\n")
        return 2
    command = COMMANDS[word]
    try:
        return import_module(command.module, __package__).main(rest)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("flexlora", "analysis", "flexlora_lab", "app"):
            raise
        sys.stderr.write(
            f"error: flexlora {word} needs {missing}, which is not installed: "
            f'pip install "flexlora-lab[{command.extra}]"\n'
        )
        return 2


def _help() -> str:
    lines = [f"  {word:11} {command.does}" for word, command in COMMANDS.items()]
    return "\n".join(
        ["usage: flexlora COMMAND ...", "", *lines, "", "flexlora COMMAND --help lists the options of one.", ""]
    )


if __name__ == "__main__":
    sys.exit(main())
