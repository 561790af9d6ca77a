"""The command: ``python -m flexlora.train --task words --method flexlora --preset paper --out runs/demo``."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flexlora import budgets
from flexlora.controls import Controls, read_commands
from flexlora.edits import parse_edits
from flexlora.errors import FlexLoRAError
from flexlora.job import LOOP_OPTIONS, Job, build_job, new_run_folder
from flexlora.lab_command import lab_command
from flexlora.methods import METHODS
from flexlora.policies import POLICIES, load_policy
from flexlora.run_log import RunLogError, read_run, refuse_beside_writer
from flexlora.run_log.format import HEADER
from flexlora.tally import describe_moves
from flexlora.tasks import MODEL_TASKS, TASKS

if TYPE_CHECKING:
    from flexlora.session import StepResult

STOPPED = 130
"""Exit status after Ctrl-C, as a shell reports it; the run ended cleanly and can be resumed."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FlexLoRAError(f"{message} (python -m flexlora.train --help lists every option)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 bad input or failed training, 130 stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    try:
        options = _parser().parse_args(arguments)
        summary = _train(options)
    except KeyboardInterrupt:
        sys.stderr.write("aborted; the log holds what was flushed, --resume goes on from the last checkpoint\n")
        return STOPPED
    except (FlexLoRAError, RunLogError) as error:
        sys.stderr.write(f"error: {error}\n")
        if as_json:
            sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return 2
    sys.stderr.write(_sentence(summary) + "\n")
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
    return 0 if summary["state"] == "completed" else STOPPED


def _parser() -> argparse.ArgumentParser:
    loop = {name: item.metadata["help"] for name, item in LOOP_OPTIONS.items()}
    own: dict[str, str] = {}
    for method in METHODS.values():
        fields = method.config_class.__dataclass_fields__
        told = {name: fields[name].metadata["help"] for name in method.options if name not in ("seed", "total_steps")}
        fresh = {name: text for name, text in told.items() if name not in own}
        own |= {name: text if method.name == "flexlora" else f"[{method.name}] {text}" for name, text in fresh.items()}
    keys = "\n".join(f"  {name:24} {text}" for name, text in {**own, **loop}.items())
    parser = _Parser(
        prog="python -m flexlora.train",
        description="Train an adapter and log every decision: words and digits need no download; text, choice and "
        "image take --set model=... and --set data=...",
        epilog=f"keys for --set:\n{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--task", help=f"one of: {', '.join([*TASKS, *MODEL_TASKS])} (default words)")
    parser.add_argument("--method", help=f"one of: {', '.join(METHODS)} (default flexlora)")
    parser.add_argument(
        "--policy", metavar="KEY|FILE.py", help=f"one of: {', '.join(POLICIES)}; or a file with a rule of your own"
    )
    parser.add_argument("--preset", help="one of the method's presets (default paper)")
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the task's)")
    parser.add_argument("--seed", type=int, help="draws head, directions and data order (default 0)")
    parser.add_argument("--out", type=Path, help="run folder (default: a new one under runs/)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set an option; repeats")
    parser.add_argument(
        "--edit",
        action="append",
        default=[],
        metavar="STEP:KEY=VALUE",
        help="change a live option after so many finished steps, as the page does; repeats",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out from its last checkpoint")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument(
        "--commands", action="store_true", help="read JSON commands from standard input; its end stops the run"
    )
    return parser


def _train(options: argparse.Namespace) -> dict[str, Any]:
    settings = dict(_pair(text) for text in options.set)
    if options.policy:
        policy = load_policy(options.policy)
        options.method = options.method or policy.method
        if policy.settings:
            settings["policy"] = policy.key
    if "initial_ranks" in settings and (Path(settings["initial_ranks"]) / HEADER).exists():
        settings["initial_ranks"] = ",".join(map(str, final_ranks(Path(settings["initial_ranks"]))))
    job = _resumed_job(options, settings) if options.resume else _new_job(options, settings)
    edits = parse_edits(options.edit, job.config)
    folder = options.out or new_run_folder(Path("runs"), job)
    sys.stderr.write(f"{job.task} · {METHODS[job.method].title} · {job.config.preset} → {folder}\n")
    controls = Controls()
    if options.commands:
        read_commands(sys.stdin, controls, _report)
    _stop_on_signals(controls)

    # torch costs over a second to import: only once the request is known to be good.
    from tqdm import tqdm

    from flexlora.loop import run_job

    bar = tqdm(total=job.steps, unit="step", file=sys.stderr, disable=None, dynamic_ncols=True)

    def progress(step: int, result: StepResult) -> None:
        bar.set_postfix(loss=f"{result.task_loss:.3f}", refresh=False)
        bar.update(step - bar.n)

    try:
        with bar:
            return run_job(
                job, folder, controls=controls, resume=options.resume, progress=progress, edits=edits, report=_report
            )
    finally:
        if options.out is None:
            # A run that could not begin leaves the folder that was made for it empty.
            with contextlib.suppress(OSError):
                folder.rmdir()


def _new_job(options: argparse.Namespace, settings: dict[str, str]) -> Job:
    job = build_job(
        task=options.task or "words",
        method=options.method or "flexlora",
        preset=options.preset,
        steps=options.steps,
        seed=options.seed or 0,
        settings=settings,
    )
    if options.out and (options.out / "run.json").exists():
        raise FlexLoRAError(f"{options.out} holds a run already. Choose another --out, or go on with it by --resume.")
    return job


def _resumed_job(options: argparse.Namespace, settings: dict[str, str]) -> Job:
    if options.out is None:
        raise FlexLoRAError("--resume needs --out: the folder of the run to go on with.")
    log = read_run(options.out)
    if "task" not in log.header.get("config", {}):
        raise FlexLoRAError(
            f"{options.out} was written by another loop ({log.header.get('source') or 'see its header'}). Resume it "
            "there; with the Trainer: trainer.train(resume_from_checkpoint=last_checkpoint(output_dir))."
        )
    job = Job.from_dict(log.header["config"])
    refuse_beside_writer(options.out)
    if log.state == "finished":
        raise FlexLoRAError(f"{options.out} is complete: {job.steps} of {job.steps} steps. There is nothing to resume.")
    asked = {"task": options.task, "method": options.method, "preset": options.preset}
    asked |= {"total_steps": options.steps, "seed": options.seed}
    kept = job.to_dict()
    wanted = build_job(job.task, job.method, job.config.preset, job.steps, job.config.seed, settings).to_dict()
    asked |= {key: wanted[key] for key in settings}
    for key, value in asked.items():
        if value is not None and value != kept[key]:
            raise FlexLoRAError(
                f"{options.out} was started with {key}={kept[key]}, not {value}. "
                "Resume with the same options (or none), or start a new run with another --out."
            )
    return job


def final_ranks(folder: Path) -> list[int]:
    """Return the rank of each matrix of a run after its last event, in module order.

    Raises:
        RunLogError: it cannot be read.
        FlexLoRAError: it holds no spectrum.
    """
    log = read_run(folder)
    if not len(log.spectra_steps):
        raise FlexLoRAError(f"{folder} holds no spectrum, so its final ranks are not known.")
    return budgets.final_ranks(log).tolist()


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise FlexLoRAError(f"--set {text!r} is not KEY=VALUE, for example --set initial_rank=4.")
    return key.strip(), value.strip()


def _stop_on_signals(controls: Controls) -> None:
    def stop(number: int, _frame: object) -> None:
        if controls.stopping:
            raise KeyboardInterrupt
        sys.stderr.write("\nstopping after this step; press Ctrl-C again to abort at once\n")
        controls.send({"command": "stop"})

    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), stop)


def _report(line: str) -> None:
    sys.stderr.write(line + "\n")


def _sentence(summary: dict[str, Any]) -> str:
    text = f"{summary['state']}: {summary['steps']} of {summary['total_steps']} steps in {summary['wall_s']:.1f} s"
    if "test_accuracy" in summary:
        text += f", test accuracy {summary['test_accuracy']:.3f}"
    if summary["moved"]:
        text += f", {describe_moves(summary['pruned'], summary['extended'])}"
    return f"{text}. Look at it: {lab_command()}"


if __name__ == "__main__":
    sys.exit(main())
