"""What a file is that stands in the place of another: a pointer of Git LFS, a web page, an archive. Torch-free."""

from __future__ import annotations

import re
from pathlib import Path

HEAD_BYTES = 4096
_POINTER = re.compile(rb"version https://\S+\s+oid sha256:|version https://(?:git-lfs|hawser)\.github\.com/spec/")
_ANNEX = re.compile(rb"(?:[^\n]{0,400}/)?annex/objects/[^\n]{4,}")
_XET = b"# xet version"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--", b"<error", b"<body")
BOM = b"\xef\xbb\xbf"
"""A mark in front of text that is UTF-8."""
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh91AY": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def pointer_or_page(path: Path) -> str | None:
    """Return that a file of any kind is a pointer, a web page or empty, and what to do; None where it is neither."""
    try:
        head = read_head(path)
    except OSError:
        return None
    text = head.removeprefix(BOM)
    if _POINTER.match(text):
        return (
            f"{path.name} is a Git LFS pointer, not the file itself{_of_size(head)}. In its repository: git lfs pull. "
            "From the hub: hf download."
        )
    if _ANNEX.match(text):
        return f"{path.name} is a pointer of git-annex, not the file itself. In its repository: git annex get."
    if text.startswith(_XET):
        return f"{path.name} is a pointer of Xet, not the file itself. From the hub: hf download."
    if text.lstrip()[:200].lower().startswith(_PAGES):
        return (
            f"{path.name} is a web page, not the file: an error page, or the page of its download. "
            "Download the file itself."
        )
    return None if head else f"{path.name} is empty. Download it again."


def packed(path: Path) -> str | None:
    """Return that a file is an archive under another name, and what to do; None where it is none."""
    head = read_head(path)
    kind = next((kind for mark, kind in _PACKED.items() if head.startswith(mark)), None)
    return None if kind is None else f"{path.name} is compressed ({kind}). Unpack it first."


def _of_size(head: bytes) -> str:
    """Return how large the file behind a pointer is, as its third line says."""
    for line in head.split(b"\n"):
        word, _, value = line.partition(b" ")
        if word == b"size" and value.strip().isdigit():
            return f" ({int(value):,} bytes)"
    return ""
