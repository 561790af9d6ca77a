"""Which GPUs a study may use, and which runs have one each. Torch-free: the runner itself computes nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from flexlora.study.plan import Planned

VISIBLE = "CUDA_VISIBLE_DEVICES"
ASK_TIMEOUT_S = 10.0


def visible_gpus() -> list[str]:
    """Return the GPUs as ``CUDA_VISIBLE_DEVICES`` names them: those that it allows, else all that the driver knows."""
    told = os.environ.get(VISIBLE)
    if told is not None:
        allowed = []
        for name in (part.strip() for part in told.split(",")):
            # As CUDA reads it: what follows the first that is none is not seen either.
            if not name or name.startswith("-"):
                break
            allowed.append(name)
        return allowed
    try:
        found = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in found.splitlines()))]


def shared_out(runs: Sequence[Planned]) -> list[str]:
    """Return the GPUs that runs with ``device: cuda`` are shared out to; empty where there is nothing to share.

    A run that names one, ``cuda:1``, means it as it is numbered now: then each worker sees all.
    """
    devices = {run.job.loop.device for run in runs}
    found = visible_gpus() if "cuda" in devices and devices <= {"cuda", "cpu"} else []
    return found if len(found) > 1 else []
