"""The table of all policies on task ``planted``, into docs/rankbench.md.

    python benchmarks/rankbench.py --seeds 64 --jobs 16 --out rankbench_out

Two studies a scenario (``flexlora.study``): every row, then those that start with the final ranks that spectral entropy
ended with at the same seed. What is finished is not repeated, so the command can be stopped and goes on; the folders
below ``--out`` are studies like any other. ``--jobs 0`` trains in this process.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from analysis import metrics
from analysis.runs import load_run
from analysis.statistics import Comparison, compare_pairs, holm
from flexlora.errors import FlexLoRAError
from flexlora.job import ALL_OPTIONS
from flexlora.methods import METHODS
from flexlora.planted import SCENARIOS, way
from flexlora.policies import BUILT_IN, POLICIES
from flexlora.run_log import RunLogError
from flexlora.study.files import RUNS
from flexlora.study.plan import Plan, plan_study
from flexlora.study.runner import run_study
from flexlora.study.spec import parse_study
from flexlora.study.worker import perform

DOC = Path(__file__).resolve().parents[1] / "docs" / "rankbench.md"
MARKS = ("<!-- table -->", "<!-- /table -->")
QUIET = {
    "save_adapter": False,
    "checkpoint_interval_s": 1e9,
    "eval_interval": 100_000,
    "spectrum_interval": 100,
    "log_measures": "lambda",
}
"""What is measured is ranks, moves and the last loss: events are logged whatever the interval of spectra is."""
LATER = ("from_scratch", "permuted_within", "permuted_across")
"""Policies that start with the final ranks of ``SOURCE``."""
SOURCE = "spectral_entropy"
UNIFORM, ORACLE = "uniform", "true_ranks"
LIMIT = 1_000_000

ROWS: dict[str, dict[str, Any]] = {
    **{key: {"policy": key} for key in sorted(BUILT_IN)},
    "prune_only": {"method": "flexlora", "settings": {"direction": "prune_only"}},
    "extend_only": {"method": "flexlora", "settings": {"direction": "extend_only"}},
    "small_value": {"method": "flexlora", "settings": {"new_direction": "small_value"}},
    "all_zero": {"method": "flexlora", "settings": {"new_direction": "all_zero"}},
    "gram_schmidt": {"method": "flexlora", "settings": {"new_direction": "gram_schmidt"}},
    **{
        f"method {name}": {"method": name}
        for name in ("lora", "adalora", "elalora", "l1ra", "dora_dynamic", "sora", "salora", "autolora")
    },
}
"""Row of the table → entry of a study: every policy; directions and starts of new directions, of which both and
zero_impact are ``spectral_entropy``; and methods as they are, with starts and training of their own."""


POLICY_ROWS = "policies"
"""Stands for the row of every policy."""


class Measured(NamedTuple):
    """What one run says; see ``flexlora.planted.way``. The loss is NaN where it diverged."""

    loss: float
    distance: float
    halfway_step: float
    towards: float
    changes: float
    final_rank: float


def measure(folder: Path) -> Measured:
    """Read one run back."""
    run = load_run(folder)
    truth = run.header["data"]["true_ranks"]
    found = way(dict(zip(truth, run.ranks[0].tolist(), strict=True)), run.events, truth)
    loss = run.metrics["test/loss"][1][-1] if "test/loss" in run.metrics else math.nan
    return Measured(
        loss if math.isfinite(loss) else math.nan,
        found.last,
        math.nan if found.halfway_step is None else found.halfway_step,
        found.towards,
        found.changes,
        float(metrics.final_ranks(run).sum()),
    )


def compared(found: Mapping[str, Sequence[Measured]]) -> tuple[dict[str, Comparison], dict[str, float]]:
    """Return row → comparison of log(loss) with one rank for all, paired by seed, and Holm's p over the table."""
    base = np.log([item.loss for item in found[UNIFORM]])
    pairs = {}
    for key, own in found.items():
        differences = np.log([item.loss for item in own]) - base
        differences = differences[np.isfinite(differences)]
        if key != UNIFORM and len(differences):
            pairs[key] = compare_pairs(differences)
    return pairs, holm({key: pair.p for key, pair in pairs.items()})


def table(found: Mapping[str, Sequence[Measured]]) -> str:
    """Return the Markdown table of one scenario, the lowest loss first."""
    pairs, adjusted = compared(found)
    losses = {key: _mean([item.loss for item in own]) for key, own in found.items()}
    lines = [
        "| policy | test loss | relative | against uniform (95 %) | Holm p | detectable | distance | halfway | towards "
        "| changes | final rank |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted(found, key=lambda key: math.inf if math.isnan(losses[key]) else losses[key]):
        columns = np.array(found[key], float)
        span = losses[UNIFORM] - losses[ORACLE]
        told = ["", "", ""]
        if key in pairs:
            pair = pairs[key]
            told = [
                f"{_percent(pair.mean)} ({_percent(pair.low)} to {_percent(pair.high)})",
                f"{adjusted[key]:.3f}",
                f"{100 * pair.detectable:.1f} %",
            ]
        diverged = int(np.isnan(columns[:, 0]).sum())
        reached = columns[:, 2][~np.isnan(columns[:, 2])]
        halfway = f"{np.median(reached):.0f} in {len(reached)} of {len(columns)}" if len(reached) else "never"
        cells = [
            f"`{key}`" + f" ({diverged} diverged)" * bool(diverged), f"{losses[key]:.5f}",
            _plain((losses[key] - losses[ORACLE]) / span if span else math.nan), *told,
            f"{columns[:, 1].mean():.3f}", halfway, _plain(_mean(columns[:, 3])),
            f"{columns[:, 4].mean():.0f}", f"{columns[:, 5].mean():.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(text: str, path: Path = DOC) -> None:
    """Put the text between the marks of a document; one that is not there is made.

    Raises:
        FlexLoRAError: a document without the marks, or one that cannot be written.
    """
    try:
        whole = path.read_text(encoding="utf-8") if path.exists() else "\n".join(["# RankBench", "", *MARKS, ""])
        if not all(mark in whole for mark in MARKS):
            raise FlexLoRAError(f"{path} has no place for the table: write {' and '.join(MARKS)} into it.")
        start, end = (whole.index(mark) for mark in MARKS)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(whole[: start + len(MARKS[0])] + f"\n{text}\n" + whole[end:], encoding="utf-8")
    except OSError as error:
        raise FlexLoRAError(f"{path} cannot be written: {error.strerror or error}.") from error


def make(
    out: Path, scenarios: Iterable[str], rows: Sequence[str], seeds: int, jobs: int | None, settings: dict[str, Any]
) -> str:
    """Train what is missing; return the tables.

    Raises:
        FlexLoRAError: settings that cannot work, or a run that cannot be made.
    """
    early = [key for key in rows if key not in LATER]
    # All of it is planned before anything runs.
    plans = {name: _plan(name, {key: ROWS[key] for key in early}, seeds, settings) for name in scenarios}
    parts = []
    for name, (plan, text) in plans.items():
        found = _made(plan, text, out / name, jobs)
        later = [key for key in rows if key in LATER]
        if later:
            folders = out / name / RUNS
            sources = {run.seed: run.name for run in plan.runs() if run.variant.label == SOURCE}
            ranks = {seed: metrics.final_ranks(load_run(folders / own)).tolist() for seed, own in sources.items()}
            by_seed = {seed: {"initial_ranks": own} for seed, own in ranks.items()}
            entries = {key: {**ROWS[key], "by_seed": by_seed} for key in later}
            found |= _made(*_plan(name, entries, seeds, settings), out / f"{name}-later", jobs)
        raw = {key: [item._asdict() for item in found[key]] for key in rows}
        (out / f"{name}.json").write_text(json.dumps(raw), encoding="utf-8")
        parts.append(f"### `{name}`, {seeds} seeds\n\n{table({key: found[key] for key in rows})}")
    return "\n\n".join(parts)


def _plan(
    scenario: str, entries: Mapping[str, Mapping[str, Any]], seeds: int, settings: Mapping[str, Any]
) -> tuple[Plan, str]:
    """Return a study as a plan and as the text of its file."""
    content = {
        "name": f"rankbench, {scenario}",
        "tasks": [{"task": "planted", "settings": {"scenario": scenario}}],
        "methods": [{"name": key, **_with(entry, settings)} for key, entry in entries.items()],
        "seeds": seeds,
        "settings": {**QUIET, **{key: value for key, value in settings.items() if key not in ALL_OPTIONS}},
        "equal": "none",
        "metric": "loss",
        "limit": LIMIT,
    }
    return plan_study(parse_study(content, "rankbench")), yaml.safe_dump(content, sort_keys=False)


def _with(entry: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with those settings that are options of its method."""
    method = entry["method"] if "method" in entry else POLICIES[entry["policy"]].method
    own = {key: value for key, value in settings.items() if key in METHODS[method].options}
    return {**entry, "settings": {**own, **entry.get("settings", {})}}


def _made(plan: Plan, text: str, folder: Path, jobs: int | None) -> dict[str, list[Measured]]:
    runs = plan.runs()
    if jobs == 0:
        for run in runs:
            (outcome,) = perform([run.job], [folder / RUNS / run.name])
            if outcome.state == "refused":
                raise FlexLoRAError(f"{run.variant.title}, seed {run.seed}: {outcome.message}")
    else:
        run_study(plan, folder, text, resume=True, jobs=jobs)
    found: dict[str, list[Measured]] = {}
    for run in runs:
        found.setdefault(run.variant.label, []).append(measure(folder / RUNS / run.name))
    return found


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _percent(share: float) -> str:
    return f"{100 * math.expm1(share):+.1f} %"


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return KEY=VALUE texts as settings of a study: numbers and true or false as such, the rest as text."""
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise FlexLoRAError(f"--set {text!r} is not KEY=VALUE, for example --set steps=200.")
        if key.strip() in ("scenario", "policy", "initial_ranks"):
            raise FlexLoRAError(f"--set {text!r}: {key.strip()} is what the rows and --scenarios say.")
        try:
            found[key.strip()] = json.loads(value)
        except ValueError:
            found[key.strip()] = value.strip()
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument(
        "--rows",
        nargs="+",
        default=list(ROWS),
        choices=[*ROWS, POLICY_ROWS],
        help=f"all otherwise; {POLICY_ROWS} = each",
    )
    parser.add_argument("--jobs", type=int, help="runs side by side (default: as many as fit); 0 = in this process")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of every run")
    parser.add_argument("--out", type=Path, default=Path("rankbench_out"))
    parser.add_argument("--doc", type=Path, default=DOC, help="document with the marks that the tables go between")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 2 for bad input, which is told in one line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _options(arguments)
    needed = {UNIFORM, ORACLE, *([SOURCE] if set(LATER) & set(options.rows) else [])}
    wanted = {*options.rows, *needed, *(BUILT_IN if POLICY_ROWS in options.rows else ())}
    rows = [key for key in ROWS if key in wanted]
    try:
        text = make(options.out, options.scenarios, rows, options.seeds, options.jobs, _settings(options.set))
        told = shlex.join(["python", "benchmarks/rankbench.py", *arguments])
        runs = len(rows) * options.seeds * len(options.scenarios)
        text = f"Made by `{told}`: {len(rows)} rows × {options.seeds} seeds a scenario, {runs:,} runs.\n\n{text}"
        write(text, options.doc)
    except (FlexLoRAError, RunLogError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
