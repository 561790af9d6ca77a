"""Who a run belongs to, and the one place that says what somebody may do with it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flexlora.errors import FlexLoRAError
from flexlora.run_log.disk import put_bytes
from jobs import sharing

OWNER_FILE = "owner.json"
"""In a run folder: whose run it is. Without it, or with a damaged one, the run is nobody's in particular."""

Action = Literal["watch", "pause", "steer", "stop", "resume", "rename", "remove", "annotate"]

_UNKNOWN = "unknown"
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Owner:
    """Somebody at this server; whoever reads the key can do nothing with it.

    ``lasting``: the same somebody comes back under the same key: after a reload, in a second tab, to another server.
    """

    key: str
    lasting: bool = True

    @classmethod
    def of(cls, secret: str, *, lasting: bool = True) -> Owner:
        """Return whoever holds a secret, which cannot be had from the key."""
        return cls(hashlib.sha256(f"flexlora owner {secret}".encode()).hexdigest(), lasting)


def may(owner: Owner, action: Action, whose: str | None) -> bool:
    """Return whether somebody may do something with a run: its owner may, and who leads the class.

    ``whose`` is the key of the run's owner; None = nobody in particular, as for a run of the command line.
    """
    return action == "watch" or owns(owner, whose) or sharing.leads(owner.key)


def owns(owner: Owner, whose: str | None) -> bool:
    """Return whether a run is somebody's, or nobody's in particular."""
    return whose is None or whose == owner.key


def refusal(owner: Owner, action: Action, folder: Path) -> str | None:
    """Return why somebody may not do something with the run in ``folder``, in one line; None when they may."""
    if may(owner, action, read_owner(folder)):
        return None
    return (
        f"{folder.name} belongs to another browser, and only that one may resume, rename or remove it, or write on it."
    )


def read_owner(folder: Path) -> str | None:
    """Return the key of a run's owner, None where it is nobody's in particular.

    A file that is there and cannot be read names an owner that nobody is.
    """
    try:
        key = json.loads((folder / OWNER_FILE).read_bytes())["owner"]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, RecursionError):
        return None
    except OSError:
        return _UNKNOWN
    return key if isinstance(key, str) and _KEY.fullmatch(key) else None


def write_owner(folder: Path, owner: Owner) -> None:
    """Say whose run a folder holds; nothing is written for an owner who will not come back.

    Raises:
        FlexLoRAError: the file cannot be written.
    """
    if owner.lasting:
        try:
            put_bytes(folder / OWNER_FILE, json.dumps({"owner": owner.key}).encode())
        except OSError as error:
            raise FlexLoRAError(f"{folder.name} cannot be written: {error.strerror or error}.") from error
