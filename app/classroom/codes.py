"""What opens a class: a code for students, a token for its leader."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from flexlora.errors import FlexLoRAError
from flexlora.run_log.disk import is_locked_elsewhere, put

FOLDER = ".class"
"""Among the runs: everything that is kept of a class."""
CODES, LOCK = "codes.json", "lock"
LETTERS = "ABCDEFGHKMNPRTUVWXY"
"""Those that are not taken for one another, aloud or in print: no I, J, L, O, Q, S, Z."""
LENGTH = 6
LONGEST_NAME = 60
_CODE, _DIGEST = re.compile(r"[A-Z0-9]{4,20}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Codes:
    """What is kept in ``.class/codes.json``, which only the user of the server may read.

    Attributes:
        name: of the class.
        code: for students. Kept as it is, because the leader shows it again after a restart; a hash of six letters
            would hide nothing from who has the file.
        leader: SHA-256 of the leader's token, which has 256 random bits and is printed once.
    """

    name: str
    code: str
    leader: str

    def opens(self, typed: str) -> bool:
        """Return whether that is the code, in any case and spacing; the time taken does not tell how much fits."""
        letters = "".join(typed.upper().split()).replace("-", "")
        return self.code != "" and hmac.compare_digest(letters.encode("utf-8", "replace"), self.code.encode())

    def leads(self, token: str) -> bool:
        """Return whether that is the leader's token."""
        return hmac.compare_digest(digest(token).encode(), self.leader.encode("utf-8", "replace"))


def digest(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(f"flexlora leader {token}".encode("utf-8", "replace")).hexdigest()


def make_codes(root: Path, name: str) -> tuple[Codes, str]:
    """Make new codes of a class below ``root``; return them and the leader's token, which is kept nowhere.

    Raises:
        FlexLoRAError: the file cannot be written.
    """
    token = secrets.token_urlsafe(32)
    codes = Codes(name, "".join(secrets.choice(LETTERS) for _ in range(LENGTH)), digest(token))
    _write(root, codes)
    return codes, token


def rename_class(root: Path, codes: Codes, name: str) -> Codes:
    """Give a class another name; its codes stay."""
    renamed = Codes(name, codes.code, codes.leader)
    _write(root, renamed)
    return renamed


def read_codes(root: Path) -> Codes | None:
    """Return the codes of the class below ``root``, None when there was none yet.

    Raises:
        FlexLoRAError: the file cannot be read, or is damaged.
    """
    path = root / FOLDER / CODES
    try:
        held = json.loads(path.read_bytes())
        name, code, leader = (str(held[field]) for field in ("name", "code", "leader"))
        if not _CODE.fullmatch(code):
            raise ValueError("its code is none")
        if not _DIGEST.fullmatch(leader):
            raise ValueError("what it keeps of the leader's token is no SHA-256")
        return Codes(name.encode("utf-8", "ignore").decode(), code, leader)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FlexLoRAError(f"{path} cannot be read ({error}). --new-codes makes new ones.") from error


def is_served(root: Path) -> bool:
    """Return whether a server holds the class below ``root`` now."""
    try:
        with (root / FOLDER / LOCK).open("r+b") as file:
            return is_locked_elsewhere(file)
    except OSError:
        return False


def _write(root: Path, codes: Codes) -> None:
    folder = root / FOLDER
    text = json.dumps({"name": codes.name, "code": codes.code, "leader": codes.leader})
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        put(folder / CODES, lambda path: _write_private(path, text.encode()), durable=True)
    except OSError as error:
        raise FlexLoRAError(f"{folder / CODES} cannot be written: {error.strerror or error}.") from error


def _write_private(path: Path, data: bytes) -> None:
    """Nobody else may read it, not even for a moment."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
