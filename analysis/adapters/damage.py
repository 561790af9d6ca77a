"""What a file is that should hold weights or a configuration and does not: a pointer, a page, a part."""

from __future__ import annotations

import json
import math
from pathlib import Path

from analysis.adapters.layout import ITEM_BYTES, MAX_HEADER_BYTES
from flexlora.placeholders import BOM, HEAD_BYTES, pointer_or_page, read_head

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"%PDF", "a PDF"),
    (b"GGUF", "a GGUF file"),
)
"""First bytes → what a file is that has them under another name."""
_MOST_SAID = 100
_MARKS = (BOM, b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-8 and UTF-16."""


def what_it_is(path: Path) -> str | None:
    """Return what was got in place of a safetensors or JSON file and what to do, in one line; None = nothing known."""
    told = pointer_or_page(path)
    if told is not None:
        return told
    try:
        size, head = path.stat().st_size, read_head(path)
    except OSError:
        return None
    if path.suffix == ".json" and head.startswith(_MARKS):
        return f"{path.name} begins with a byte order mark, which PEFT does not read either. Save it as plain UTF-8."
    if path.suffix == ".json":
        return None if head.lstrip().startswith((b"{", b"[")) else _said_in_text(path, head, size, "settings")
    if head.lstrip().startswith((b"{", b"[")):
        return f"{path.name} holds JSON text, not weights{_said(head)}. Download the file itself."
    if head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")):
        return (
            f"{path.name} is a zip, or a pickle of torch.save, under another name. A pickle can run code and is not "
            "opened; save it as safetensors first."
        )
    other = next((what for start, what in _OTHERS if head.startswith(start)), None)
    if other is not None and (path.suffix != ".gguf" or "GGUF" not in other):
        return f"{path.name} is {other} under another name. Give the file itself, under its own."
    if not head.strip(b"\0"):
        return f"{path.name} holds only zeros at its beginning: the download or the copy broke off. Get it again."
    said = None if size < 8 else _said_in_text(path, head, size)
    return said or _cut(path, size) or _contradiction(path, size)


def error_answer(config: dict[str, object]) -> str | None:
    """Return what a server said went wrong, where that is all that a configuration holds; None = it is one."""
    if "error" not in config and not set(config) <= {"detail", "message", "statusCode", "code", "documentation_url"}:
        return None
    said = _said(json.dumps(config).encode())
    return said.strip(" ()") or None


def _said_in_text(path: Path, head: bytes, size: int, wanted: str = "weights") -> str | None:
    """Say what stands in a short text, such as the refusal of a server."""
    try:
        text = " ".join(head.decode().split())
    except UnicodeDecodeError:
        return None
    if size > HEAD_BYTES or not text.isprintable() or not any(letter.isalpha() for letter in text):
        return None
    quoted = text if len(text) <= _MOST_SAID else f"{text[: _MOST_SAID - 1]}…"
    return f"{path.name} holds text, not {wanted}: {quoted!r}. Download the file itself."


def _contradiction(path: Path, size: int) -> str | None:
    """Say which tensor does not fit its place in a safetensors file whose head can be parsed."""
    again = "Get the file again, or save it anew."
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
        entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        places = sorted((*map(int, entry["data_offsets"]), str(name)) for name, entry in entries)
        for name, entry in entries:
            begin, end = entry["data_offsets"]
            if entry["dtype"] not in ITEM_BYTES or min(entry["shape"], default=0) < 0:
                continue
            takes = math.prod(entry["shape"]) * ITEM_BYTES[entry["dtype"]]
            if takes != end - begin:
                return (
                    f"{path.name} is damaged: {name} is {entry['dtype']} {entry['shape']} by its head, which takes "
                    f"{takes:,} bytes, and has {end - begin:,}. {again}"
                )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    at = 0
    for begin, end, name in places:
        if begin != at:
            what = "lies where another tensor does" if begin < at else "leaves bytes before it that no tensor has"
            return f"{path.name} is damaged: {name} {what}. {again}"
        at = end
    spare = size - 8 - length - at
    return f"{path.name} is damaged: it has {spare:,} bytes more than its tensors take. {again}" if spare > 0 else None


def _cut(path: Path, size: int) -> str | None:
    """Say how much of a safetensors file is there, where its head is whole enough to tell."""
    again = "Download or copy it again."
    if size < 8:
        return f"{path.name} is cut short: {size} bytes, of at least 8. {again}"
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            return None
        text = file.read(length)
    if text and not text.lstrip().startswith(b"{"):
        return None
    if len(text) < length:
        return f"{path.name} is cut short: {size:,} of at least {8 + length:,} bytes. {again}"
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None
    return f"{path.name} is cut short: {size:,} of {whole:,} bytes. {again}" if size < whole else None


def _said(head: bytes) -> str:
    """Return what a saved answer of a server says went wrong."""
    try:
        found = json.loads(head)
    except (ValueError, RecursionError):
        return ""
    said = None
    if isinstance(found, dict):
        said = next((found[key] for key in ("error", "message", "detail") if found.get(key)), None)
        said = said.get("message") if isinstance(said, dict) else said
    return f" ({' '.join(said.split())[:_MOST_SAID]})" if isinstance(said, str) else ""
