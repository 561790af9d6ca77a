"""Files of the embedded tasks: found without importing their package, checked before use. Torch-free."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from flexlora.errors import FlexLoRAError


def package_folder(module: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises:
        FlexLoRAError: the package is not installed.
    """
    spec = find_spec(module)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise FlexLoRAError(f"The package {module} is not installed here. Run: pip install {module.replace('_', '-')}")
    return Path(places[0])


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
