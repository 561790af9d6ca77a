"""``last_checkpoint``: from which checkpoint a Trainer that was killed goes on."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from flexlora.errors import FlexLoRAWarning


def last_checkpoint(output_dir: str | Path) -> str | None:
    """Return the newest ``checkpoint-N`` in a Trainer's folder that is whole, None when there is none.

        trainer.train(resume_from_checkpoint=last_checkpoint("out"))

    A process that dies while it saves leaves a checkpoint cut, and ``resume_from_checkpoint=True`` would take it. Each
    newer one that is passed over is told in a ``FlexLoRAWarning``. The log has every record up to any that is whole.
    """
    found = {int(path.name[11:]): path for path in Path(output_dir).glob("checkpoint-*") if path.name[11:].isdecimal()}
    for _, path in sorted(found.items(), reverse=True):
        try:
            # Written last.
            for file in (path / "trainer_state.json", *path.iterdir()):
                _check(file)
            return str(path)
        except (OSError, ValueError, SafetensorError, zipfile.BadZipFile) as error:
            warnings.warn(f"{path} is cut or damaged and passed over: {error}", FlexLoRAWarning, stacklevel=2)
    return None


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
