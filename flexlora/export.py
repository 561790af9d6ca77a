"""The command: ``python -m flexlora.export CHECKPOINT --out FOLDER [--card] [--overwrite] [--json]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from flexlora.errors import FlexLoRAError
from flexlora.hub import copy_adapter
from flexlora.model_card import read_adapter, write_model_card
from flexlora.run_log import RunLogError

EPILOG = """examples:
  python -m flexlora.export out/checkpoint-500 --out my_adapter     # a Trainer's checkpoint
  python -m flexlora.export runs/demo --out my_adapter              # a run folder, finished or not
  python -m flexlora.export saved --out my_adapter --json           # what adapter.save wrote
  python -m flexlora.export runs/demo --out my_adapter --card --control runs/random --license apache-2.0
  python -m flexlora.export my_adapter --out my_adapter --card --run runs/mine   # a PEFT model's own: only the card

Nothing is trained and no base model is loaded: what was trained is in the file.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FlexLoRAError(f"{message} (python -m flexlora.export --help lists every option)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser().parse_args(arguments)
        report = _export(options)
    except (FlexLoRAError, RunLogError, OSError) as error:
        message = " ".join(str(error).split())
        sys.stderr.write(f"error: {message}\n")
        if "--json" in arguments:
            sys.stdout.write(json.dumps({"error": message}) + "\n")
        return 2
    text = (
        f"Wrote {report['out']} from {report['kind']}: {report['matrices']} matrices, total rank "
        f"{report['total_rank']}, as a PEFT LoRA."
    )
    if report["card"]:
        text += f" Its card: {report['card']}."
    sys.stdout.write((json.dumps(report) if options.json else text) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m flexlora.export",
        description="Make a PEFT adapter of what training left, without training and without the base model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="a Trainer's checkpoint-N, a run folder, or one of adapter.save")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the PEFT adapter goes")
    parser.add_argument("--base-model", metavar="NAME", help="the base model as PEFT should name it")
    parser.add_argument(
        "--card",
        action="store_true",
        help="write README.md, a model card, or our section of the one there, and a picture of the ranks",
    )
    parser.add_argument("--run", type=Path, metavar="RUN", help="run folder for the card (default: where it lies in)")
    parser.add_argument(
        "--control", type=Path, action="append", default=[], metavar="RUN", help="a run to compare with; repeats"
    )
    parser.add_argument("--license", metavar="NAME", help="for the card, as the hub spells it: apache-2.0")
    parser.add_argument("--overwrite", action="store_true", help="replace an adapter that is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser


def _export(options: argparse.Namespace) -> dict[str, Any]:
    there = (options.checkpoint / "adapter_config.json").exists()
    in_place = there and options.out.exists() and options.out.samefile(options.checkpoint)
    if (options.out / "adapter_config.json").exists() and not (options.overwrite or in_place):
        raise FlexLoRAError(f"{options.out} holds an adapter already. Choose another --out, or add --overwrite.")
    if not options.card and (options.run or options.control or options.license):
        raise FlexLoRAError("--run, --control and --license are for the model card: add --card.")
    if options.out.exists() and not options.out.is_dir():
        raise FlexLoRAError(f"{options.out} is a file. --out is the folder that the adapter goes to.")
    found = _carded(options) if there else _made(options)
    card = None
    if options.card:
        card = str(write_model_card(options.out, found.pop("run"), controls=options.control, license=options.license))
    ranks = found["ranks"]
    return {
        "checkpoint": str(options.checkpoint),
        "kind": found["kind"],
        "out": str(options.out),
        "matrices": len(ranks),
        "total_rank": sum(ranks.values()),
        "ranks": ranks,
        "head": found["head"],
        "card": card,
    }


def _made(options: argparse.Namespace) -> dict[str, Any]:
    """Make a PEFT adapter of what training left."""
    # torch costs over a second to import: only once the request is known to be good.
    from flexlora.stored_adapter import read_stored

    stored = read_stored(options.checkpoint)
    stored.export_peft(options.out, options.base_model)
    run = options.run or stored.run
    return {"kind": stored.kind, "ranks": stored.ranks(), "head": sorted(stored.head), "run": run}


def _carded(options: argparse.Namespace) -> dict[str, Any]:
    """Take a PEFT adapter as it is, such as what a PEFT model saved: it lacks a card at most."""
    if not options.card:
        raise FlexLoRAError(
            f"{options.checkpoint} is a PEFT adapter already and needs no export. --card writes its model card; "
            "--out may be the same folder."
        )
    if options.base_model:
        raise FlexLoRAError(f"--base-model is for an export; {options.checkpoint} names its base model itself.")
    _, ranks = read_adapter(options.checkpoint)
    copy_adapter(options.checkpoint, options.out)
    return {"kind": "a PEFT adapter", "ranks": ranks, "head": [], "run": options.run}


if __name__ == "__main__":
    sys.exit(main())
