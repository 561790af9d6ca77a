"""The pieces of a log: what each line of ``crc.jsonl`` vouches for, and whether it holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
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
        fault: one line for a person, with {} for which records, as ``faults`` tells; None = intact.
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
        return f"{chunk.file} is cut: {{}} missing."
    if checksum(data) != chunk.crc32:
        return f"{chunk.file} is damaged: {{}} left out."
    if chunk.offset < end:
        return f"{CHECKSUMS} vouches twice for bytes of {chunk.file}: {{}} read once."
    return None


def faults(pieces: Iterable[Piece]) -> Iterator[str]:
    """Yield one line for each stretch of a file that has the same fault throughout, and for each damaged line."""
    # Sorting keeps the order of a file's pieces.
    by_file = sorted(pieces, key=lambda piece: piece.chunk.file if piece.chunk else "")
    for (fault, _), stretch in groupby(by_file, lambda piece: (piece.fault, piece.chunk and piece.chunk.file)):
        if fault is not None:
            yield fault.format(_extent([piece.chunk for piece in stretch if piece.chunk]))


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


def _extent(chunks: Sequence[Chunk]) -> str:
    steps = [(c.first_step, c.last_step) for c in chunks if c.kind in ("batch", "lines") and c.first_step is not None]
    if steps:
        return f"records of steps {min(first for first, _ in steps)} to {max(last or 0 for _, last in steps)} are"
    told = {"schema": "the description of its columns is", "close": "the end of an earlier stream is"}
    return told.get(chunks[0].kind if chunks else "", "records without a step are")
