"""What a file is that should hold weights or a configuration and does not: a pointer, a page, a part."""

from __future__ import annotations

import json
from pathlib import Path

HEAD_BYTES = 4096
_POINTER = b"version https://git-lfs.github.com/spec/"
_MOST_HEADER = 100 << 20


def what_it_is(path: Path) -> str | None:
    """Return what was got in place of a safetensors or JSON file and what to do, in one line; None = nothing known."""
    told = pointer_or_page(path)
    if told is not None or path.suffix == ".json":
        return told
    try:
        size, head = path.stat().st_size, _head(path)
    except OSError:
        return None
    if head.lstrip().startswith((b"{", b"[")):
        return f"{path.name} holds JSON text, not weights{_said(head)}. Download the file itself."
    if head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")):
        return (
            f"{path.name} is a zip, or a pickle of torch.save, under another name. A pickle can run code and is not "
            "opened; save it as safetensors first."
        )
    return _cut(path, size)


def pointer_or_page(path: Path) -> str | None:
    """Return that a file of any kind is a pointer, a web page or empty, and what to do; None where it is neither."""
    try:
        head = _head(path)
    except OSError:
        return None
    if head.startswith(_POINTER):
        return (
            f"{path.name} is a Git LFS pointer, not the file itself{_of_size(head)}. In its repository: git lfs pull. "
            "From the hub: hf download."
        )
    if head.lstrip()[:200].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            f"{path.name} is a web page, not the file: an error page, or the page of its download. "
            "Download the file itself."
        )
    return None if head else f"{path.name} is empty. Download it again."


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _cut(path: Path, size: int) -> str | None:
    """Say how much of a safetensors file is there, where its head is whole enough to tell."""
    again = "Download or copy it again."
    if size < 8:
        return f"{path.name} is cut short: {size} bytes, of at least 8. {again}"
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _MOST_HEADER:
            return None
        text = file.read(length)
    if not text.lstrip().startswith(b"{"):
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


def _of_size(head: bytes) -> str:
    """Return how large the file behind a pointer is, as its third line says."""
    for line in head.split(b"\n"):
        word, _, value = line.partition(b" ")
        if word == b"size" and value.strip().isdigit():
            return f" ({int(value):,} bytes)"
    return ""


def _said(head: bytes) -> str:
    """Return what a saved answer of a server says went wrong."""
    try:
        found = json.loads(head)
    except (ValueError, RecursionError):
        return ""
    said = found.get("error") or found.get("message") if isinstance(found, dict) else None
    return f" ({' '.join(said.split())[:100]})" if isinstance(said, str) else ""
