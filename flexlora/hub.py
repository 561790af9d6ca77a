"""``push_to_hub``: an adapter with its model card as a repository of the Hugging Face hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from flexlora.errors import FlexLoRAError
from flexlora.model_card import CARD, write_model_card

if TYPE_CHECKING:
    from flexlora.adapter import Adapter

__all__ = ["push_to_hub", "write_model_card"]


def push_to_hub(
    adapter: Adapter | str | Path,
    repository: str,
    *,
    run: str | Path | None = None,
    controls: Iterable[str | Path] = (),
    license: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    message: str = "Upload a FlexLoRA adapter",
) -> str:
    """Export an adapter for PEFT, write its card, and upload both; return the address.

    A card that the repository has, or else the folder, stays as it is around our section; see ``write_model_card``.

    Args:
        adapter: a live one, or a folder: a PEFT adapter, or whatever ``flexlora export`` takes.
        repository: ``name`` or ``owner/name``; it is made where it is not there.
        run: the run folder that it is of, see ``write_model_card``.
        controls: run folders of what it should be compared with.
        license: as the hub spells it.
        private: of a repository that is made; None = as the owner's settings say.
        token: None = the one of ``hf auth login``.
        message: of the commit.

    Raises:
        FlexLoRAError: huggingface_hub is missing, or what exporting and the card refuse.
        RunLogError: a run cannot be read.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise FlexLoRAError("push_to_hub needs huggingface_hub: pip install huggingface_hub") from error
    with tempfile.TemporaryDirectory() as temporary:
        folder = _exported(adapter, Path(temporary) / repository.rpartition("/")[2])
        # What is wrong with run or adapter is told before anything is made there.
        write_model_card(folder, run, controls=controls, license=license)
        made = huggingface_hub.create_repo(repository, private=private, token=token, exist_ok=True)
        if huggingface_hub.file_exists(made.repo_id, CARD, token=token):
            shutil.copy(huggingface_hub.hf_hub_download(made.repo_id, CARD, token=token), folder / CARD)
            write_model_card(folder, run, controls=controls, license=license)
        huggingface_hub.upload_folder(
            repo_id=made.repo_id, folder_path=str(folder), commit_message=message, token=token
        )
        return str(made)


def copy_adapter(source: Path, folder: Path) -> Path:
    """Copy what PEFT reads of an adapter into a folder, which is made, and its card where there is none; return it.

    Onto itself nothing is copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not folder.samefile(source):
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(source / name, folder / name)
        if (source / CARD).exists() and not (folder / CARD).exists():
            shutil.copy(source / CARD, folder / CARD)
    return folder


def _exported(adapter: Adapter | str | Path, folder: Path) -> Path:
    if not isinstance(adapter, str | Path):
        return adapter.export_peft(folder)
    source = Path(adapter)
    if (source / "adapter_config.json").exists():
        return copy_adapter(source, folder)
    from flexlora.stored_adapter import read_stored

    return read_stored(source).export_peft(folder)
