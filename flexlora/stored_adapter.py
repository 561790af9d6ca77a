"""``StoredAdapter``: an adapter as it lies in a folder, turned into PEFT's without the model that it was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from flexlora import adapter_files
from flexlora.adapter import Adapter
from flexlora.adapter_config import AdapterConfig
from flexlora.checkpoint import FILE, OLDER, find_checkpoint
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.linear import FlexLoRALinear
from flexlora.methods import METHODS
from flexlora.run_log import disk
from flexlora.run_log.format import HEADER
from flexlora.targets import plain_name

TRAINER_STATE, TRAINER_WEIGHTS = "trainer_state.json", "model.safetensors"

Directions = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class StoredAdapter:
    """What a file says of an adapter.

    Attributes:
        kind: what the file is, in a person's words.
        config: of the method that trained it.
        directions: name → P (out, r), λ as it acts (r,) and Q (r, in) of the active directions, in slot order.
        head: name → parameter that was trained beside it.
        about: what ``adapter_files.about_model`` returned; None in files of before it was kept.
        run: the run folder that it lies in, where it lies in one.
        beside: name → what else the modules of the head hold, and buffers that moved; see ``flexlora.beside``.
    """

    kind: str
    config: AdapterConfig
    directions: Mapping[str, Directions]
    head: Mapping[str, Tensor]
    about: Mapping[str, Any] | None
    run: Path | None = None
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    def ranks(self) -> dict[str, int]:
        """Return name → number of active directions."""
        return {name: len(lam) for name, (_, lam, _) in self.directions.items()}

    def export_peft(self, folder: Path, base_model: str | None = None) -> Path:
        """Write what ``Adapter.export_peft`` of the live model writes, tensor for tensor; return the folder.

        Args:
            folder: is made.
            base_model: name or path of the base model for PEFT; None = as it was stored, if it was.

        Raises:
            FlexLoRAError: what ``Adapter.export_peft`` refuses.
        """
        about = self.about or {}
        if about.get("refused"):
            raise FlexLoRAError(about["refused"])
        adapter_files.export_peft(self._adapter(), folder, self._beside())
        known = {
            "base_model_name_or_path": base_model or about.get("base_model"),
            "target_modules": about.get("target_modules"),
            "modules_to_save": about.get("modules_to_save"),
            "fan_in_fan_out": about.get("transposed"),
        }
        path = folder / "adapter_config.json"
        written = json.loads(path.read_text(encoding="utf-8"))
        written |= {key: value for key, value in known.items() if value or (key in written and value is False)}
        with adapter_files.writing(folder):
            disk.put_bytes(path, json.dumps(written, indent=2, sort_keys=True).encode())
        return folder

    def _beside(self) -> dict[str, Tensor]:
        """Return everything that the live model would have exported beside the matrices."""
        kept, about = {**self.head, **self.beside}, self.about or {}
        shared = about.get("shared", {})
        wanted = about.get("beside", list(self.head))
        lost = [name for name in wanted if shared.get(name, name) not in kept]
        if lost:
            raise FlexLoRAError(
                f"{lost[0]} lies in a module that PEFT saves whole, and this file does not hold it. Export the live "
                "model, or what Adapter.save wrote."
            )
        return {name: kept[shared.get(name, name)] for name in wanted}

    def _adapter(self) -> Adapter:
        """Return an adapter of a model that is nothing but names: frozen weights have no values."""
        root, matrices = nn.Module(), {}
        for name, (P, lam, Q) in self.directions.items():
            base = nn.Linear(Q.shape[1], P.shape[0], bias=False, device="meta").requires_grad_(False)
            matrix = FlexLoRALinear(base, name=name, rank=1, capacity=1, scale=self.config.scale)
            matrix.Pt, matrix.lam, matrix.Q = nn.Parameter(P.T), nn.Parameter(lam), nn.Parameter(Q)
            matrix.slots = list(range(len(lam)))
            _place(root, name, lambda parent, key, matrix=matrix: parent.add_module(key, matrix))
            matrices[name] = matrix
        for name, tensor in self.head.items():
            part = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
            _place(root, name, lambda parent, key, part=part: parent.register_parameter(key, part))
        for module in root.modules():
            if not module._parameters:
                # What else is in it is not known: only what was trained counts as a module that was trained whole.
                module.register_parameter("frozen", nn.Parameter(torch.empty(0), requires_grad=False))
        return Adapter(root, self.config, matrices)


def read_stored(path: str | Path) -> StoredAdapter:
    """Read a Trainer's checkpoint, a checkpoint or run folder of the Lab, or what ``Adapter.save`` wrote.

    Raises:
        FlexLoRAError: it is none of these, or damaged.
    """
    path = Path(path)
    folder = path.parent if path.name in (FILE, OLDER, adapter_files.WEIGHTS, TRAINER_WEIGHTS) else path
    if not folder.is_dir():
        if (folder.parent / HEADER).exists():
            return _of_run(folder.parent)
        raise FlexLoRAError(
            f"{path} is no folder. Give a Trainer's checkpoint-N, a run folder, or one of Adapter.save."
        )
    if (folder / "adapter_config.json").exists():
        # Also a Trainer's checkpoint of a PeftModel.
        raise FlexLoRAError(f"{folder} is a PEFT adapter already: PEFT loads it as it is.")
    try:
        for name, read in READERS.items():
            if (folder / name).exists():
                return read(folder)
        if (folder / HEADER).exists():
            return _of_run(folder)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, FlexLoRAError):
            raise
        told = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise FlexLoRAError(f"{folder} is damaged or of another version: {told}.") from error
    raise FlexLoRAError(_not_an_adapter(folder))


def _of_trainer(folder: Path) -> StoredAdapter:
    callbacks = json.loads((folder / TRAINER_STATE).read_bytes()).get("stateful_callbacks") or {}
    kept = (callbacks.get("FlexLoRACallback") or {}).get("attributes")
    if not kept:
        raise FlexLoRAError(f"{folder} was not written with a FlexLoRACallback: it holds no FlexLoRA adapter.")
    if not (folder / TRAINER_WEIGHTS).exists():
        raise FlexLoRAError(f"{folder} has no {TRAINER_WEIGHTS}: weights in another form cannot be exported.")
    tensors = {plain_name(name): value for name, value in load_file(folder / TRAINER_WEIGHTS).items()}
    about = kept.get("export")
    found = [name.removesuffix(".mask") for name in tensors if name.endswith(".mask")]
    names = list(about["matrices"]) if about else [name for name in found if f"{name}.Pt" in tensors]
    # The adapted model may be a part of the one that the Trainer saves.
    prefix = next((name.removesuffix(names[0]) for name in found if name.endswith(names[0])), "")
    directions = {}
    for name in names:
        Pt, lam, Q, mask = (tensors[f"{prefix}{name}.{key}"] for key in ("Pt", "lam", "Q", "mask"))
        directions[name] = _active(Pt, lam, Q, [slot for slot, on in enumerate(mask.tolist()) if on])
    if about:
        head = {name: tensors[prefix + name] for name in about["head"]}
    else:
        own = tuple(f"{name}." for name in names)
        if any(name.startswith(own) and ".base." in name for name in tensors):
            raise FlexLoRAError(f"{folder} holds frozen weights, too, and does not say which were trained.")
        head = {name: value for name, value in tensors.items() if not name.startswith(own)}
    config = FlexLoRAConfig.from_dict(kept["config"])
    beside = {name: tensors[prefix + name] for name in (about or {}).get("beside", ()) if prefix + name in tensors}
    return StoredAdapter("a Trainer's checkpoint", config, directions, head, about, beside=beside)


def _of_checkpoint(folder: Path) -> StoredAdapter:
    found, faults = find_checkpoint(folder)
    if found is None:
        raise FlexLoRAError(f"{folder} holds no whole checkpoint: {'; '.join(faults.values())}.")
    state, tensors = found.state, found.tensors
    run = folder.parent if (folder.parent / HEADER).exists() else None
    about = state.get("export")
    header = {} if run is None else json.loads((run / HEADER).read_bytes())["header"]
    name = state.get("method_name") or header.get("method")
    if name not in METHODS:
        raise FlexLoRAError(f"{folder} does not say which method it is of. Leave it in its run folder.")
    own = {key.removeprefix("parameter."): value for key, value in tensors.items() if key.startswith("parameter.")}
    directions = {}
    for matrix, slots in state["slots"].items():
        lam, gate = own[f"{matrix}.lam"], tensors.get(f"gate.{matrix}")
        acts = lam if gate is None else lam * gate
        directions[matrix] = _active(own[f"{matrix}.Pt"], acts, own[f"{matrix}.Q"], slots)
    head = {plain_name(key[5:]): value for key, value in own.items() if key.startswith("head.")}
    config = METHODS[name].config_class.from_dict(state["config"])
    beside = {plain_name(key[7:]): value for key, value in tensors.items() if key.startswith("beside.")}
    return StoredAdapter("a checkpoint of the Lab", config, directions, head, about, run, beside)


def _of_saved(folder: Path) -> StoredAdapter:
    header = json.loads((folder / adapter_files.CONFIG).read_bytes())
    if header["format"] != adapter_files.FORMAT:
        raise FlexLoRAError(
            f"{folder} has adapter format {header['format']}; this version reads {adapter_files.FORMAT}."
        )
    tensors = load_file(folder / adapter_files.WEIGHTS)
    directions: dict[str, Directions] = {}
    for name in header["ranks"]:
        P, lam, Q = (tensors[f"{name}.{key}"] for key in ("P", "singular_values", "Q"))
        directions[name] = P, lam, Q
    head = {plain_name(key[5:]): value for key, value in tensors.items() if key.startswith("head.")}
    config = METHODS[header.get("method", "flexlora")].config_class.from_dict(header["config"])
    run = folder.parent if (folder.parent / HEADER).exists() else None
    beside = {plain_name(key[7:]): value for key, value in tensors.items() if key.startswith("beside.")}
    return StoredAdapter("a saved adapter", config, directions, head, header.get("export"), run, beside)


def _of_run(folder: Path) -> StoredAdapter:
    for part, read in (("adapter", _of_saved), ("checkpoint", _of_checkpoint)):
        if any((folder / part).glob("*.safetensors")):
            return read(folder / part)
    raise FlexLoRAError(
        f"{folder} is a run's log and holds no weights. Give the folder that the adapter was saved in (what "
        "model.save_pretrained, trainer.save_model, adapter.export_peft or adapter.save wrote), or the Trainer's "
        "checkpoint-N."
    )


READERS: dict[str, Callable[[Path], StoredAdapter]] = {
    TRAINER_STATE: _of_trainer,
    adapter_files.CONFIG: _of_saved,
    FILE: _of_checkpoint,
    OLDER: _of_checkpoint,
}
"""File by which a folder is known → what reads it."""


def _not_an_adapter(folder: Path) -> str:
    steps = sorted(int(path.name[11:]) for path in folder.glob("checkpoint-*") if path.name[11:].isdecimal())
    if steps:
        return f"{folder} is where checkpoints lie: give one of them, such as {folder / f'checkpoint-{steps[-1]}'}."
    return (
        f"{folder} holds no adapter: neither {TRAINER_STATE} (a Trainer's checkpoint) nor {adapter_files.CONFIG} "
        f"(Adapter.save), {FILE} (a checkpoint of the Lab) or {HEADER} (a run folder)."
    )


def _active(Pt: Tensor, lam: Tensor, Q: Tensor, slots: list[int]) -> Directions:
    return Pt[slots].T, lam[slots], Q[slots]


def _place(root: nn.Module, name: str, put: Callable[[nn.Module, str], None]) -> None:
    """Put something where a dotted name says, with plain modules on the way."""
    *way, key = name.split(".")
    for part in way:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    put(root, key)
