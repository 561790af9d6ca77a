"""What the header of a run log says about an adapter and the packages that train it."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

from flexlora.matrix_names import describe_matrix

if TYPE_CHECKING:
    from flexlora.adapter import Adapter

PACKAGES = ("torch", "transformers", "numpy", "flexlora-lab")


def matrix_table(adapter: Adapter) -> list[dict[str, Any]]:
    """Return the rows of ``header["matrices"]``, in the adapter's order."""
    table = []
    for name, matrix in adapter.matrices.items():
        layer, module_type = describe_matrix(name)
        table.append(
            {
                "name": name,
                "layer": layer,
                "module_type": module_type,
                "in_features": matrix.in_features,
                "out_features": matrix.out_features,
            }
        )
    return table


def versions() -> dict[str, str | None]:
    """Return package → version of what a run depends on; None when it is not installed as a package."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
