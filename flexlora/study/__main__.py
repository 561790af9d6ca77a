"""The command: ``python -m flexlora.study STUDY.yaml``."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from flexlora.study.plan import plan_study
from flexlora.study.runner import StudyStopped, run_study
from flexlora.study.spec import read_study

STOPPED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FlexLoRAError(f"{message} (python -m flexlora.study --help lists every option)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input or an unequal comparison, 130 stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser().parse_args(arguments)
        summary = _run(options)
    except (StudyStopped, KeyboardInterrupt):
        sys.stderr.write("stopped; what is done is kept, --resume goes on\n")
        return STOPPED
    except (FlexLoRAError, RunLogError) as error:
        message = " ".join(str(error).split())
        sys.stderr.write(f"error: {message}\n")
        if "--json" in arguments:
            sys.stdout.write(json.dumps({"error": message}) + "\n")
        return 2
    sys.stderr.write(_told(summary))
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m flexlora.study",
        description="Make every run that a study file asks for, side by side, and one table of them. What is done is "
        "not repeated; half-finished runs are gone on with.",
        epilog="python -m analysis.study FOLDER then compares the variants: intervals, tests, verdicts.",
    )
    parser.add_argument("study", type=Path, help="study file; docs/studies.md describes it")
    parser.add_argument("--out", type=Path, help="folder of the study (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with the study in --out, or begin it")
    parser.add_argument("--jobs", type=int, help="runs side by side (default: one a core, or one a GPU)")
    parser.add_argument("--lanes", type=int, help="runs that share their steps at most (default: what suits); 1 = none")
    parser.add_argument("--ray", action="store_true", help="on a Ray cluster: that of RAY_ADDRESS, or a local one")
    parser.add_argument("--limit", type=int, help="runs at most; the file's own limit otherwise")
    parser.add_argument("--allow-unequal", action="store_true", help="compare unequal budgets; the table says so")
    parser.add_argument("--dry-run", action="store_true", help="check the file and count its runs; make nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    return parser


def _run(options: argparse.Namespace) -> dict[str, Any]:
    for name in ("jobs", "lanes", "limit"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise FlexLoRAError(f"--{name}={getattr(options, name)} must be at least 1.")
    study = read_study(options.study)
    if options.limit is not None:
        study = replace(study, limit=options.limit)
    plan = plan_study(study)
    out = options.out or Path("runs") / (re.sub(r"[^A-Za-z0-9_]+", "-", study.name).strip("-") or "study")
    counts = {"runs": len(plan.variants) * len(study.seeds), "trials": len(plan.trials)}
    told = f"{study.name}: {len(plan.variants)} variants × {len(study.seeds)} seeds = {counts['runs']} runs"
    sys.stderr.write(f"{told}{f', {len(plan.trials)} trials before' if plan.trials else ''} → {out}\n")
    if options.dry_run:
        return {"variants": [variant.title for variant in plan.variants], **counts}
    stopping = threading.Event()
    kept = _stop_on_signals(stopping)
    try:
        return run_study(
            plan,
            out,
            options.study.read_text(encoding="utf-8"),
            resume=options.resume,
            jobs=options.jobs,
            lanes=options.lanes,
            on_ray=options.ray,
            allow_unequal=options.allow_unequal,
            stopping=stopping,
        )
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _stop_on_signals(stopping: threading.Event) -> dict[int, Any]:
    """Stop after the current steps at the first signal, at once at the second; return the handlers as they were."""

    def stop(number: int, _frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        sys.stderr.write("\nstopping after the current steps; press Ctrl-C again to abort at once\n")
        stopping.set()

    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}


def _told(summary: dict[str, Any]) -> str:
    if "table" not in summary:
        return ""
    lines = [f"{summary['table']}: {summary['runs']} runs, {summary['skipped']} done before"]
    lines += [f"{summary['diverged']} of them diverged: they count as missing"] * bool(summary["diverged"])
    lines += [f"note: {summary['equal']['note']}"] * bool(summary["equal"]["note"])
    lines += [f"at an end of the learning rates tried: {'; '.join(summary['edges'])}"] * bool(summary["edges"])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
