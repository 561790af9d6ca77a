"""The few lines of Python that draw a figure again."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures import RUN_FIGURES

SEVERAL_RUNS = ("compare_curves", "total_rank")
"""Figures of label → run."""


def figure_code(
    run: str | Path, figure: str, others: Sequence[str | Path] = (), folder: str | Path = "", **options: Any
) -> str:
    """Return Python that draws a figure of logged runs; its last line is the figure, as a notebook shows it.

    Args:
        run: the run's folder, or its path below ``folder``.
        figure: key of ``RUN_FIGURES``.
        others: further runs, as ``run``: one for ``compare_maps``, any number where several are drawn together.
        folder: put before each run.
        **options: of the figure; those that are as by default are left out.

    Raises:
        ValueError: an unknown figure or option, or another number of runs than the figure takes.
    """
    if figure not in RUN_FIGURES:
        raise ValueError(f"no code for figure {figure!r}; choose one of {', '.join(RUN_FIGURES)}")
    parameters = inspect.signature(RUN_FIGURES[figure]).parameters
    taken = [name for name in parameters if name not in ("run", "runs", "other")]
    unknown = [name for name in options if name not in taken]
    if unknown:
        raise ValueError(f"{figure} has no option {unknown[0]!r}; it has {', '.join(taken) or 'none'}")
    several = figure in SEVERAL_RUNS
    wanted = 1 if figure == "compare_maps" else 0
    if not several and len(others) != wanted:
        raise ValueError(f"{figure} takes {wanted} other run{'' if wanted == 1 else 's'}, got {len(others)}")
    missing = [name for name in taken if parameters[name].default is inspect.Parameter.empty and name not in options]
    if missing:
        raise ValueError(f"{figure} needs {missing[0]}=...")
    paths = [(Path(folder) / path).as_posix() for path in (run, *others)]
    # A number from an array is written as a number.
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    told = [f"{name}={value!r}" for name, value in plain.items() if value != parameters[name].default]
    lines = ["from analysis.figures import FIGURES", "from analysis.runs import load_run", ""]
    if several:
        lines += [f"runs = {{path: load_run(path) for path in {paths!r}}}"]
        arguments = ["runs"]
    else:
        arguments = ["run", "other"][: len(paths)]
        lines += [f"{name} = load_run({path!r})" for name, path in zip(arguments, paths, strict=True)]
    return "\n".join([*lines, f"figure = FIGURES[{figure!r}]({', '.join([*arguments, *told])})", "figure", ""])
