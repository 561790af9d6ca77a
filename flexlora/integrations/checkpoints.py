"""``last_checkpoint``: from which checkpoint a Trainer that was killed goes on, and whether it is of this adapter."""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.linear import FlexLoRALinear
from flexlora.targets import plain_name

STATE = "trainer_state.json"


def last_checkpoint(output_dir: str | Path) -> str | None:
    """Return the newest ``checkpoint-N`` in a Trainer's folder that is whole, None when there is none.

        trainer.train(resume_from_checkpoint=last_checkpoint("out"))

    A process that dies while it saves leaves a checkpoint cut, and ``resume_from_checkpoint=True`` would take it. Nor
    is that of the last step taken where it lies within an epoch: resumed from there, the Trainer would make one step
    more than ``max_steps``, so the one before goes on to the same end. Each newer one that is passed over is told in a
    ``FlexLoRAWarning``. The log has every record up to any that is whole.
    """
    found = {int(path.name[11:]): path for path in Path(output_dir).glob("checkpoint-*") if path.name[11:].isdecimal()}
    whole = (path for _, path in sorted(found.items(), reverse=True) if _is_whole(path))
    newest = next(whole, None)
    if newest is None or not _ends_within_an_epoch(newest):
        return None if newest is None else str(newest)
    before = next(whole, None)
    told = "it is the only one, and nothing is left to train" if before is None else f"{before.name} is taken instead"
    _warn(f"{newest} is of the last step: from there the Trainer would make one step more. So {told}.")
    return str(newest if before is None else before)


def check_matrices(model: nn.Module, incompatible: Any) -> None:
    """Refuse a state whose adapter is of other matrices than the model's; one without any adapter is none of ours.

    Raises:
        FlexLoRAError: with a matrix that one of them has and the other lacks.
    """
    own = {f"{name}.lam" for name, module in model.named_modules() if isinstance(module, FlexLoRALinear)}
    lacking = sorted(own.intersection(incompatible.missing_keys))
    strange = [key for key in incompatible.unexpected_keys if key.endswith(".lam")]
    # Where nothing of it was loaded, a callback tells.
    if len(lacking) < len(own) and (strange or lacking):
        first = plain_name((strange or lacking)[0].removesuffix(".lam"))
        which = "adapts, and this model does not" if strange else "does not adapt, and this model does"
        raise FlexLoRAError(
            f"The checkpoint holds an adapter of other matrices: {first}, for one, it {which}. Resume with the model "
            "and the target_modules that it was made with, or start anew."
        )


def _is_whole(path: Path) -> bool:
    """Check a checkpoint, and say what is wrong with it."""
    try:
        # Written last.
        for file in (path / STATE, *path.iterdir()):
            _check(file)
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile) as error:
        _warn(f"{path} is cut or damaged and passed over: {error}")
        return False
    return True


def _ends_within_an_epoch(path: Path) -> bool:
    """True where the Trainer's loop would go on: it asks for the end after a step only, and between epochs."""
    state = json.loads((path / STATE).read_bytes())
    return state.get("global_step", 0) >= state.get("max_steps", math.inf) and (state.get("epoch") or 0) % 1 > 0


def _warn(message: str) -> None:
    warnings.warn(message, FlexLoRAWarning, stacklevel=3)


def _check(file: Path) -> None:
    if file.suffix == ".json":
        json.loads(file.read_bytes())
    elif file.suffix == ".safetensors":
        with safe_open(file, framework="numpy"):
            pass
    elif file.suffix in (".pt", ".pth", ".bin"):
        # What torch.save writes is a zip archive with a checksum of each part; nothing is unpickled here.
        with zipfile.ZipFile(file) as archive:
            if bad := archive.testzip():
                raise ValueError(f"{bad} in {file.name} does not fit its checksum")
