"""Models from a folder, a GGUF file, an installed package or the Hugging Face hub."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from flexlora.errors import FlexLoRAError
from flexlora.heads import embeddings
from flexlora.tasks.files import package_folder
from flexlora.tasks.source import SourceOptions

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PACKAGE = "package:"


def load_model(kind: Any, source: SourceOptions, seed: int, control: str, **settings: Any) -> Any:
    """Return a pretrained model with a new head drawn from the seed; torch's global random state is left as it was.

    ``kind`` is an auto class of transformers, such as ``AutoModelForCausalLM``; control ``random_base`` draws every
    weight. The settings are for the model's configuration, such as ``num_labels``.

    Raises:
        FlexLoRAError: the model cannot be found or read; with what to do.
    """
    from transformers import AutoConfig

    where = find_model(source)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if control == "random_base":
            config = _loaded(source, lambda: AutoConfig.from_pretrained(**where, **settings))
            model = kind.from_config(config)
        else:
            more = {} if "gguf_file" in where else {"ignore_mismatched_sizes": True}
            more |= {"output_loading_info": True, "dtype": DTYPES[source.dtype]}
            model, loaded = _loaded(source, lambda: kind.from_pretrained(**where, **more, **settings))
            _check_loaded(model, loaded, source)
    if source.activation_checkpointing:
        # The method's name changed within transformers 5.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return model.to(DTYPES[source.dtype]).eval()


def load_processor(kind: Any, source: SourceOptions) -> Any:
    """Return the tokenizer or image processor that belongs to the model.

    Raises:
        FlexLoRAError: it cannot be found or read.
    """
    where = find_model(source)
    return _loaded(source, lambda: kind.from_pretrained(**where))


def find_model(source: SourceOptions) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that name the model.

    Raises:
        FlexLoRAError: no such package, or a GGUF file without the package that reads it.
    """
    name = source.model or ""
    if not name:
        raise FlexLoRAError("model= is needed: a folder, a .gguf file, package:NAME, or a name on the hub.")
    if name.startswith(PACKAGE):
        name = str(_in_package(name.removeprefix(PACKAGE)))
    if name.endswith(".gguf"):
        if find_spec("gguf") is None:
            raise FlexLoRAError("GGUF files need the package gguf. Run: pip install gguf")
        path = Path(name)
        if not path.is_file():
            raise FlexLoRAError(f"There is no file {name}.")
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name, "local_files_only": True}
    if Path(name).is_dir():
        return {"pretrained_model_name_or_path": name, "local_files_only": True}
    return {"pretrained_model_name_or_path": name, "local_files_only": not hub_reachable()}


def hub_reachable(timeout_s: float = 3.0) -> bool:
    """True when the hub can be asked; found out once here instead of by a minute of retries there."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    try:
        socket.create_connection(("huggingface.co", 443), timeout_s).close()
    except OSError:
        return False
    return True


def without_network(what: str) -> str:
    """Return what to do about a name on the hub when there is no network."""
    offline = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else "the hub cannot be reached from here"
    return f"{what} is no folder or file here, is not in the local cache, and {offline}"


def describe_source(source: SourceOptions) -> Mapping[str, Any]:
    """Return what a run log says about model and data."""
    return {"model": source.model, "data": source.data, "dtype": source.dtype}


def _check_loaded(model: Any, loaded: Mapping[str, Any], source: SourceOptions) -> None:
    """Refuse weights that do not fit their configuration: what is not loaded is random, and only a head may be.

    Args:
        model: as it was loaded.
        loaded: what ``from_pretrained`` tells: mismatched keys with the shape in the file and that of the model.
        source: for refusals.
    """
    mismatched = [entry if isinstance(entry, tuple) else (entry,) for entry in loaded.get("mismatched_keys") or ()]
    body = f"{model.base_model_prefix}."
    wrong = sorted(entry for entry in mismatched if entry[0].startswith(body))
    if wrong:
        name, *shapes = wrong[0]
        told = (
            f", which is {tuple(shapes[0])} in the file and {tuple(shapes[1])} by the configuration" if shapes else ""
        )
        raise FlexLoRAError(
            f"model={source.model}: {len(wrong)} weights do not fit config.json, such as {name}{told}. Put the "
            "configuration there that belongs to the weights."
        )
    absent = [key for key in loaded.get("missing_keys") or () if key.startswith(body)]
    # A pooler may be new; a layer is not, nor are embeddings of words.
    words = {id(part) for module in embeddings(model) for part in module.parameters()}
    named = dict(model.named_parameters())
    blocks = [key for key in absent if any(map(str.isdigit, key.split(".")))]
    wrong = sorted({*blocks, *(key for key in absent if key in named and id(named[key]) in words)} & named.keys())
    if wrong:
        raise FlexLoRAError(
            f"model={source.model}: the file lacks {len(wrong)} weights that config.json describes, such as "
            f"{wrong[0]}; they would stay random. Put weights and configuration there that belong together."
        )


def _in_package(module: str) -> Path:
    root = package_folder(module)
    folders = [path.parent for path in sorted(root.glob("**/config.json"))]
    # A sentence encoder has further folders with a config.json, of its pooling.
    found = [folder for folder in folders if any(folder.glob("*.safetensors"))] or sorted(root.glob("**/*.gguf"))
    if not found:
        raise FlexLoRAError(f"The package {module} holds no model: no folder with config.json and weights, no .gguf.")
    return found[0]


def _loaded(source: SourceOptions, load: Any) -> Any:
    from transformers.utils import logging

    # A new head is what is asked for; transformers would print a table about it.
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return load()
    except Exception as error:  # the tokenizers library raises nothing more exact for a file that is damaged
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        here = Path(source.model or "").exists() or (source.model or "").startswith(PACKAGE)
        if not here and not hub_reachable():
            raise FlexLoRAError(
                f"{without_network(f'model={source.model}')}. Connect once, or give a folder with config.json and "
                "the weights."
            ) from error
        raise FlexLoRAError(f"model={source.model} cannot be loaded: {said}") from error
    finally:
        logging.set_verbosity(before)
