"""A checkpoint: one safetensors file from which a session goes on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flexlora.errors import FlexLoRAError
from flexlora.optimizer_state import replace_parameters
from flexlora.run_log import disk
from flexlora.session import Session

FILE = "state.safetensors"


def save_checkpoint(session: Session, folder: Path, step: int, tally: Mapping[str, Any]) -> None:
    """Write the state after ``step`` to ``folder/state.safetensors``, replacing the last one atomically.

    Args:
        session: between two steps.
        folder: made if needed.
        step: finished optimizer steps; what the log says of them must be on disk, see ``RunWriter.checkpoint``.
        tally: what the run counts of itself, as JSON values.
    """
    named = session.named_parameters()
    tensors: dict[str, Tensor] = {"rng.cpu": torch.get_rng_state()}
    if session.device.type == "cuda":
        tensors["rng.cuda"] = torch.cuda.get_rng_state(session.device)
    for name, parameter in named.items():
        tensors[f"parameter.{name}"] = parameter.detach().cpu().contiguous()
        for key, value in session.optimizer.state.get(parameter, {}).items():
            # clone: fused AdamW may share one step tensor between parameters, which safetensors refuses.
            tensors[f"optimizer.{key}.{name}"] = value.detach().cpu().clone()
    values, own = session.dynamics.state()
    tensors |= {f"method.{name}": tensor.detach().cpu().clone().contiguous() for name, tensor in own.items()}
    state = {
        "step": step,
        "config": session.dynamics.config.to_dict(),
        "slots": {name: matrix.slots for name, matrix in session.adapter.matrices.items()},
        "bounds": {name: matrix.bounds for name, matrix in session.adapter.matrices.items()},
        "method": values,
        "tally": dict(tally),
    }
    disk.make_folder(folder)
    disk.put(folder / FILE, lambda file: save_file(tensors, file, metadata={"state": json.dumps(state)}))


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a run that needs none any more, if it is there and can be."""
    disk.remove(folder / FILE)


def load_checkpoint(session: Session, folder: Path) -> tuple[int, dict[str, Any]]:
    """Put a session into the state of a checkpoint; return its step and the run's tally.

    Raises:
        FlexLoRAError: the file is missing, damaged or belongs to another job.
    """
    path = folder / FILE
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            # Cloned: what is read lies in the file, wherever a tensor begins there.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118  (not a dict)
        _restore(session, state, tensors)
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, TypeError, RuntimeError) as error:
        raise FlexLoRAError(f"{path} cannot be resumed from: {error}") from error
    return int(state["step"]), state.get("tally", {})


def checkpoint_step(folder: Path) -> int | None:
    """Return the step a checkpoint was taken at, or None when there is none that can be read."""
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            return int(json.loads(file.metadata()["state"])["step"])
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, TypeError):
        return None


@torch.no_grad()
def _restore(session: Session, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    for name, matrix in session.adapter.matrices.items():
        while matrix.capacity < state["bounds"][name][-1]:
            replace_parameters(session.optimizer, matrix.grow())
        matrix.slots = list(state["slots"][name])
        matrix.mask.zero_()
        matrix.mask[matrix.slots] = 1.0
    for name, parameter in session.named_parameters().items():
        parameter.copy_(tensors[f"parameter.{name}"])
        moments = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors.get(f"optimizer.{key}.{name}")
            if value is not None:
                moments[key] = value.to(session.device)
        if moments:
            session.optimizer.state[parameter] = moments
    session.dynamics.config = type(session.dynamics.config).from_dict(state["config"])
    mine = {key.removeprefix("method."): value for key, value in tensors.items() if key.startswith("method.")}
    session.dynamics.restore(state["method"], mine)
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"], session.device)
