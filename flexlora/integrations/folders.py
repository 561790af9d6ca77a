"""Where a training logs: in the folder of its checkpoint, or in one that holds no other run; and how to look at it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flexlora.errors import FlexLoRAWarning
from flexlora.lab_command import lab_command
from flexlora.run_log import discard_empty, holds_run, refuse_beside_writer
from flexlora.run_log.format import HEADER


def choose_folder(first: Path, before: Path | None, step: int, kept: Mapping[str, Any]) -> tuple[Path, int | None]:
    """Return where to log, and the step from which the log there is gone on with; None = a new one.

    Training anew leaves a run that is there as it is, and a warning names both; only an own one without a step is made
    again in the same place.

    Args:
        first: the folder that was asked for.
        before: the log of the training before this one, by the same callback.
        step: finished steps; 0 = training begins anew.
        kept: what the checkpoint says; ``folder`` is the name of its log.

    Raises:
        RunLogError: somebody still writes the run that was asked for.
    """
    if step:
        name = str(kept.get("folder") or "")
        own = first.with_name(name) if name.startswith(f"{first.name}-") else first
        folder = own if (own / HEADER).exists() else first
        return folder, step if (folder / HEADER).exists() else None
    there = first if before is None else before
    if not holds_run(there):
        return there, None
    if before is not None and (before / HEADER).exists() and discard_empty(before):
        return before, None
    refuse_beside_writer(there)
    number = 2
    while (folder := first.with_name(f"{first.name}-{number}")).exists():
        number += 1
    advice = "" if before is not None else " To go on with it, train(resume_from_checkpoint=...) of its checkpoint."
    warnings.warn(
        f"{there} holds a run, which is left as it is: training begins anew and is logged in {folder}.{advice}",
        FlexLoRAWarning,
        stacklevel=4,
    )
    return folder, None


def tell_where(folder: Path) -> None:
    """Say where the log of a training that has ended lies, and how to look at it; the app lists what is in ``runs``."""
    runs = folder.absolute().parent
    where = "" if runs == Path("runs").absolute() else f"FLEXLORA_LAB_RUNS={runs} "
    sys.stdout.write(f"The log is in {folder}. Look at it: {where}{lab_command()}\n")
