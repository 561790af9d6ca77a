"""The pieces of a log: what each line of ``crc.jsonl`` vouches for, and whether it holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from flexlora.run_log import disk
from flexlora.run_log.format import CHECKSUMS, LINES, SCALARS, SPECTRA, Chunk, checksum

DATA = (SCALARS, SPECTRA, LINES)


class Piece(NamedTuple):
    """One line of ``crc.jsonl`` and what it vouches for.

    Attributes:
        line: as it stands in the file.
        chunk: what it says; None = the line is damaged.
        data: the bytes; None = they are not what was written, or are only checked.
        fault: one line for a person; None = intact.
    """

    line: bytes
    chunk: Chunk | None
    data: memoryview | None
    fault: str | None

    @property
    def intact(self) -> bool:
        """True when the line and what it vouches for are as they were written."""
        return self.chunk is not None and self.fault is None


def survey(folder: Path, keep: Collection[str] = DATA) -> Iterator[Piece]:
    """Yield the pieces of a log in the order they were written.

    Args:
        folder: the run.
        keep: the files whose bytes are wanted; of the others every byte is checked and only schemas are given.
    """
    # Checksums first: the writer appends data before its line, so every line read here has its data by now.
    complete, _, _torn = disk.content(folder / CHECKSUMS).rpartition(b"\n")
    contents = {name: memoryview(disk.content(folder / name)) for name in DATA if name in keep}
    ends = dict.fromkeys(DATA, 0)
    for number, line in enumerate(complete.split(b"\n") if complete else [], 1):
        chunk = Chunk.parse(line)
        if chunk is None:
            yield Piece(
                line, None, None, f"{CHECKSUMS} line {number} is damaged: the records it vouches for are left out."
            )
        elif chunk.file in ends:
            kept = contents.get(chunk.file)
            data = (
                _part(folder / chunk.file, chunk) if kept is None else kept[chunk.offset : chunk.offset + chunk.length]
            )
            fault = _fault(chunk, data, ends[chunk.file])
            if fault is None:
                ends[chunk.file] = chunk.offset + chunk.length
            wanted = fault is None and (kept is not None or chunk.kind == "schema")
            yield Piece(line, chunk, memoryview(data) if wanted else None, fault)


def _fault(chunk: Chunk, data: bytes | memoryview, end: int) -> str | None:
    if len(data) < chunk.length:
        return f"{chunk.file} is cut: {_extent(chunk)} missing."
    if checksum(data) != chunk.crc32:
        return f"{chunk.file} is damaged: {_extent(chunk)} left out."
    if chunk.offset < end:
        return f"{CHECKSUMS} vouches twice for bytes of {chunk.file}: {_extent(chunk)} read once."
    return None


def rewind(folder: Path, resume_from: int) -> int:
    """Cut every file after its last intact chunk, to go on from a step; return the number of the next segment.

    Nobody else writes into the folder. Records of steps after ``resume_from`` are void.
    """
    pieces = list(survey(folder, keep=()))
    for name in DATA:
        ends = [p.chunk.offset + p.chunk.length for p in pieces if p.chunk and p.chunk.file == name and p.intact]
        path = folder / name
        if path.exists():
            end = max(ends, default=0)
            if path.stat().st_size > end:
                disk.truncate(path, end)
    # What is damaged among the records that stay in force keeps its line, or the reader would no longer tell of it.
    kept = [
        p.line
        for p in pieces
        if p.chunk is None or p.intact or (p.chunk.first_step is not None and p.chunk.first_step <= resume_from)
    ]
    disk.put_bytes(folder / CHECKSUMS, b"".join(line + b"\n" for line in kept))
    return max((p.chunk.segment for p in pieces if p.chunk), default=-1) + 1


def _part(path: Path, chunk: Chunk) -> bytes:
    try:
        # A length that is not in the file is not asked of the memory either.
        length = min(chunk.length, max(0, path.stat().st_size - chunk.offset))
        with path.open("rb") as file:
            file.seek(chunk.offset)
            return file.read(length)
    except FileNotFoundError:
        return b""


def _extent(chunk: Chunk) -> str:
    if chunk.kind == "schema":
        return "the description of its columns is"
    if chunk.kind == "close":
        return "the end of an earlier stream is"
    if chunk.first_step is None:
        return "records without a step are"
    return f"records of steps {chunk.first_step} to {chunk.last_step} are"
