"""Files of the embedded tasks: found without importing their package, checked before use. Torch-free."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from flexlora.errors import FlexLoRAError


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it.

    Args:
        name: what it is imported by, or what pip calls it.

    Raises:
        FlexLoRAError: the package is not installed.
    """
    for module in dict.fromkeys((name, name.replace("-", "_"))):
        if module.isidentifier() and (spec := find_spec(module)) and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations)))
    wanted = _as_pip(name)
    for module, packages in metadata.packages_distributions().items():
        if wanted in map(_as_pip, packages) and module.isidentifier() and not module.startswith("_"):
            spec = find_spec(module)
            if spec is not None and spec.submodule_search_locations:
                return Path(next(iter(spec.submodule_search_locations)))
    raise FlexLoRAError(
        f"The package {name} is not installed here. "
        + (
            f"Run: pip install {wanted}"
            if re.fullmatch(r"[a-z0-9][a-z0-9-]*", wanted)
            else "package: is followed by the name of one."
        )
    )


def _as_pip(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def read_verified(path: Path, sha256: str) -> bytes:
    """Return the content of a file that is exactly the expected one.

    The bytes that were hashed are the bytes that are used: nothing is opened a second time.

    Raises:
        FlexLoRAError: the file cannot be read, or its sha256 differs.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FlexLoRAError(f"{path} cannot be read: {error.strerror}. Reinstall the package it belongs to.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FlexLoRAError(
            f"{path} is not the expected file: got sha256 {found}, expected {sha256}. "
            "Reinstall the package it belongs to; nothing was loaded from it."
        )
    return content


def fixed_order(names: Sequence[str], salt: str) -> list[str]:
    """Return the names in an order that looks random and is the same on every machine and version.

    Sorted by a keyed hash of each name, so that a name's place does not depend on a library's random stream.
    """
    return sorted(names, key=lambda name: hashlib.blake2b(f"{salt}:{name}".encode(), digest_size=16).digest())
