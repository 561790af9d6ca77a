"""A policy from a file outside the package: someone else's idea in twenty lines."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.policies.policy import Policy, reason


def read_policy(path: Path) -> Policy:
    """Run a Python file and return the policy that it defines.

    The file has a function ``decide(observed, ranks, budget)`` or ``start(observed, budget)``, perhaps ``reads`` (names
    of arrays) and ``label``; or ``POLICY``, a record. Its key is the file's name without ``.py``.

    Raises:
        FlexLoRAError: the file is missing, cannot be run, or defines none or two.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise FlexLoRAError(f"Policy file {path} cannot be read: {error.strerror or error}.") from None
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # someone else's code may raise anything
        raise FlexLoRAError(f"Policy file {path} failed: {reason(error)}") from error
    origin = {"file": str(path), "sha256": hashlib.sha256(source).hexdigest()}
    found = getattr(module, "POLICY", None)
    if isinstance(found, Policy):
        settings = found.settings or _settings(found.key, found.kind)
        return replace(found, settings=settings, **origin)
    kinds = [kind for kind in ("decide", "start") if hasattr(module, kind)]
    if len(kinds) != 1:
        had = "has both" if kinds else "has neither"
        raise FlexLoRAError(
            f"Policy file {path} must have one function, decide(observed, ranks, budget) or start(observed, budget); "
            f"it {had}."
        )
    reads, label = getattr(module, "reads", ()), getattr(module, "label", path.stem)
    return Policy(
        key=path.stem,
        label=label if isinstance(label, str) else path.stem,
        kind=kinds[0],
        reads=(reads,) if isinstance(reads, str) else tuple(reads) if isinstance(reads, list) else reads,
        function=getattr(module, kinds[0]),
        settings=_settings(path.stem, kinds[0]),
        **origin,
    )


def _settings(key: str, kind: str) -> dict[str, Any]:
    return {"policy": key, "initial_budget": 0} if kind == "start" else {"policy": key}
