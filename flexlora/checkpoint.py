"""A checkpoint: one safetensors file, with a checksum of itself, from which a session goes on bit for bit."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flexlora.adapter_files import about_model
from flexlora.beside import moved_buffers
from flexlora.errors import FlexLoRAError
from flexlora.optimizer_state import replace_parameters
from flexlora.run_log import disk
from flexlora.session import Session

FILE, OLDER = "state.safetensors", "older.safetensors"


class Checkpoint(NamedTuple):
    """What ``save_checkpoint`` wrote to ``path``: JSON values and tensors."""

    path: Path
    state: dict[str, Any]
    tensors: dict[str, Tensor]


def save_checkpoint(session: Session, folder: Path, step: int, tally: Mapping[str, Any]) -> None:
    """Write the state after ``step`` to ``folder/state.safetensors``; the one before it is kept as the older one.

    The session stands between two steps, and what the log says of the finished ones is on disk, see
    ``RunWriter.checkpoint``. ``tally`` is what the run counts of itself, as JSON values.
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
    for name in moved_buffers(session.adapter):
        tensors[f"beside.{name}"] = session.adapter.model.get_buffer(name).detach().cpu().clone()
    for name, matrix in session.adapter.matrices.items():
        if matrix.gate is not None:
            tensors[f"gate.{name}"] = matrix.gate.detach().cpu().clone()
    values, own = session.dynamics.state()
    tensors |= {f"method.{name}": tensor.detach().cpu().clone().contiguous() for name, tensor in own.items()}
    state = {
        "step": step,
        "method_name": session.job.method,
        "export": about_model(session.adapter),
        "config": session.dynamics.config.to_dict(),
        "slots": {name: matrix.slots for name, matrix in session.adapter.matrices.items()},
        "bounds": {name: matrix.bounds for name, matrix in session.adapter.matrices.items()},
        "method": values,
        "tally": dict(tally),
    }
    text = json.dumps(state)
    metadata = {"state": text, "crc32": _checksum(text, tensors)}
    disk.make_folder(folder)
    if (folder / FILE).exists():
        # Before the new one is written, so that there are never three.
        disk.perform("replace", folder / OLDER, (folder / FILE).replace, folder / OLDER)
    disk.put(folder / FILE, lambda file: save_file(tensors, file, metadata=metadata))


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoints of a run that needs none any more, where they are there and can be."""
    disk.remove(folder / OLDER)
    disk.remove(folder / FILE)


def load_checkpoint(session: Session, folder: Path) -> tuple[int, dict[str, Any], str, list[Path]]:
    """Put a session into the state of its newest whole checkpoint; without one it stays as it was built.

    Returns:
        Its step (0 = the beginning), the run's tally, what was found and is done in one line, and the damaged files: of
        no use once the log is rewound to the step.

    Raises:
        FlexLoRAError: the checkpoint belongs to another job.
    """
    found, faults = find_checkpoint(folder)
    told = "".join(f"{path} is damaged: {why}. " for path, why in faults.items())
    if found is None:
        return 0, {}, f"{told}There is no whole checkpoint: the run begins anew.", list(faults)
    step = int(found.state["step"])
    try:
        _restore(session, found.state, found.tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise FlexLoRAError(f"{found.path} cannot be resumed from: {error}") from error
    told += f"Resumed from step {step}, from {found.path.name}."
    # From step 0 everything is counted anew.
    return step, found.state.get("tally", {}) if step else {}, told, list(faults)


def find_checkpoint(folder: Path) -> tuple[Checkpoint | None, dict[Path, str]]:
    """Return the newest whole checkpoint, None when there is none, and why each newer file cannot be read."""
    faults = {}
    for path in (folder / FILE, folder / OLDER):
        try:
            return _read(path), faults
        except FileNotFoundError:
            continue
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            faults[path] = " ".join(str(error).split())
    return None, faults


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        # Cloned: what is read lies in the file, wherever a tensor begins there.
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118  (not a dict)
    # Older versions wrote no checksum.
    if metadata.get("crc32", own := _checksum(metadata["state"], tensors)) != own:
        raise ValueError("its checksum does not fit")
    return Checkpoint(path, json.loads(metadata["state"]), tensors)


def _checksum(state: str, tensors: Mapping[str, Tensor]) -> str:
    found = zlib.crc32(state.encode())
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


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
    for name, value in tensors.items():
        if name.startswith("beside."):
            session.adapter.model.get_buffer(name.removeprefix("beside.")).copy_(value)
    session.dynamics.config = type(session.dynamics.config).from_dict(state["config"])
    mine = {key.removeprefix("method."): value for key, value in tensors.items() if key.startswith("method.")}
    session.dynamics.restore(state["method"], mine)
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"], session.device)
