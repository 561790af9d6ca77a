"""``Spectra``: the spectra of a run, whole in memory when they are small and read when asked for when they are not."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flexlora.ragged import ragged_places
from flexlora.run_log.digest import Block, Digest, digest
from flexlora.run_log.format import SPECTRA, Chunk, RunLogError, checksum, reading
from flexlora.run_log.tables import block_of, table_of

BLOCK_BYTES = 4 << 20
"""Compressed bytes that are decoded at once while a large log is read through."""


class MatrixSpectra(NamedTuple):
    """One matrix in every record, T of them.

    Attributes:
        values: λ, flat float32, record by record.
        offsets: (T + 1,) int64, where the values of each record begin.
        gates: flat float32, one a value; None for a run without gates.
        true_values: true singular values of the records that have them, flat float32.
        true_offsets: (K + 1,) int64, where those of each of these records begin.
    """

    values: np.ndarray
    offsets: np.ndarray
    gates: np.ndarray | None
    true_values: np.ndarray
    true_offsets: np.ndarray


class Segment(NamedTuple):
    """One start of a run in a file: its number, the description of its columns (None = lost), its intact batches."""

    number: int
    schema: memoryview | None
    chunks: list[Chunk]


@dataclass(frozen=True)
class Whole:
    """Every value of a run; see ``RunLog`` for the layout."""

    values: np.ndarray
    offsets: np.ndarray
    true_values: np.ndarray
    gates: np.ndarray | None


class Spectra:
    """The spectra of a run in memory.

    Args:
        block: all of its records.
        matrices: how many there are.

    Attributes:
        digest: what every view needs of them.
    """

    def __init__(self, block: Block, matrices: int) -> None:
        self.matrices = matrices
        self._block = block
        self.digest = digest([block] if len(block.steps) else [], matrices)
        self._all = _whole(block)

    @property
    def whole(self) -> Whole:
        """Every value."""
        return self._all

    @cached_property
    def true_index(self) -> np.ndarray:
        """Where the true values of each record begin in ``whole.true_values``, (T,) int64; −1 = none."""
        lengths = np.where(self.digest.has_true, self.digest.stored.sum(axis=1), 0)
        starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
        return np.where(self.digest.has_true, starts, -1).astype(np.int64)

    def record(self, index: int) -> Block:
        """Return one record."""
        return _row(self._block, index)

    def matrix(self, index: int) -> MatrixSpectra:
        """Return one matrix in every record."""
        return _column([self._block], index, self.digest)


class StoredSpectra(Spectra):
    """The spectra of a large run: read from its file, a few records at a time, whenever somebody asks.

    Args:
        path: the file.
        segments: the starts of the run, in order.
        limits: segment → last step that counts.
        matrices: how many there are.
        known: their digest.
    """

    def __init__(
        self, path: Path, segments: Sequence[Segment], limits: Mapping[int, float], matrices: int, known: Digest
    ) -> None:
        self.matrices = matrices
        self._path = path
        self._segments = segments
        self._limits = limits
        self.digest = known
        self._last_read: tuple[Chunk, Block] | None = None
        self._whole: weakref.ref[Whole] | None = None

    @classmethod
    def read_through(
        cls, path: Path, segments: Sequence[Segment], limits: Mapping[int, float], matrices: int
    ) -> StoredSpectra:
        """Return them after reading every record once, or those that came since the same file was last read."""
        pieces = [(chunk, limits[segment.number]) for segment in segments for chunk in segment.chunks]
        seen, before = _GROWING.get(path, ([], None))
        if not seen or pieces[: len(seen)] != seen:
            seen, before = [], None
        self = cls(path, segments, limits, matrices, digest([], matrices))
        self.digest = digest(self._blocks(after=len(seen)), matrices, before)
        _GROWING.clear()
        _GROWING[path] = (pieces, self.digest)
        return self

    @property
    def whole(self) -> Whole:
        """Every value; kept only while somebody holds it, or until another large run is asked for all of its own."""
        found = self._whole() if self._whole is not None else None
        if found is None:
            found = _whole(Block(*(np.concatenate(parts) for parts in zip(*self._blocks(), strict=True))))
            self._whole = weakref.ref(found)
        _KEPT[:] = [found]
        return found

    def record(self, index: int) -> Block:
        """Return one record.

        Raises:
            RunLogError: the file is no longer what it was.
        """
        step = int(self.digest.steps[index])
        for place, segment in enumerate(self._segments):
            limit = self._limits[segment.number]
            for chunk in segment.chunks:
                first, last = chunk.first_step, chunk.last_step
                if first is not None and last is not None and first <= step <= min(last, limit):
                    # The last one read stays, as records are asked for one after another.
                    if self._last_read is None or self._last_read[0] != chunk:
                        self._last_read = (chunk, self._read(place, (chunk,)))
                    block = self._last_read[1]
                    row = int(np.searchsorted(block.steps, step))
                    if row < len(block.steps) and block.steps[row] == step:
                        return _row(block, row)
        raise RunLogError(f"{self._path} no longer holds the spectra of step {step}. Open the run again.")

    def matrix(self, index: int) -> MatrixSpectra:
        """Return one matrix in every record.

        Raises:
            RunLogError: the file is no longer what it was.
        """
        return _column(self._blocks(), index, self.digest)

    def _blocks(self, after: int = 0) -> Iterator[Block]:
        """Yield the records in order, a few at a time, without those of the first ``after`` chunks."""
        for place, segment in enumerate(self._segments):
            chunks = segment.chunks[after:]
            after = max(0, after - len(segment.chunks))
            waiting: list[Chunk] = []
            for number, chunk in enumerate(chunks, 1):
                waiting.append(chunk)
                if number == len(chunks) or sum(piece.length for piece in waiting) >= BLOCK_BYTES:
                    block = self._read(place, tuple(waiting))
                    if len(block.steps):
                        yield block
                    waiting = []

    def _read(self, place: int, chunks: tuple[Chunk, ...]) -> Block:
        """Return the records of some chunks of one segment."""
        segment = self._segments[place]
        with reading(self._path):
            parts = [read_chunk(self._path, chunk) for chunk in chunks]
            return block_of(table_of(SPECTRA, segment.schema, parts, self._limits[segment.number]), self.matrices)


def read_chunk(path: Path, chunk: Chunk) -> bytes:
    """Return the bytes of a chunk that was intact when its log was opened.

    Raises:
        RunLogError: they are no longer what they were, as when the run was resumed and its file cut.
    """
    with path.open("rb") as file:
        file.seek(chunk.offset)
        data = file.read(chunk.length)
    if len(data) != chunk.length or checksum(data) != chunk.crc32:
        raise RunLogError(f"{path} was changed since it was opened. Open the run again.")
    return data


_GROWING: dict[Path, tuple[list[tuple[Chunk, float]], Digest]] = {}
"""The large run that was last read through: while it grows, only what is new has to be."""

_KEPT: list[Whole] = []
"""The values of the one large run that was last asked for all of them."""


def _whole(block: Block) -> Whole:
    return Whole(block.values, block.offsets, block.true_values, block.all_gates)


def _row(block: Block, place: int) -> Block:
    sizes = block.stored.sum(axis=1)

    def part(flat: np.ndarray, present: np.ndarray) -> np.ndarray:
        ends = np.concatenate([[0], np.cumsum(np.where(present, sizes, 0))])
        return flat[ends[place] : ends[place + 1]]

    rows = slice(place, place + 1)
    return Block(
        block.steps[rows],
        block.stored[rows],
        part(block.values, np.ones(len(sizes), bool)),
        block.has_true[rows],
        part(block.true_values, block.has_true),
        block.has_gates[rows],
        part(block.gates, block.has_gates),
    )


def _column(blocks: Iterable[Block], index: int, known: Digest) -> MatrixSpectra:
    values, true_values, gates = [], [], []
    for block in blocks:
        own = block.offsets
        starts = own[:-1].reshape(block.stored.shape)[:, index]
        counts = block.stored[:, index]
        places = ragged_places(starts, counts)
        values.append(block.values[places])
        if known.gated:
            all_gates = block.all_gates
            gates.append(np.ones(len(places), np.float32) if all_gates is None else all_gates[places])
        stored = block.stored[block.has_true]
        true_starts = np.concatenate([[0], np.cumsum(stored, dtype=np.int64)])[:-1].reshape(stored.shape)
        true_values.append(block.true_values[ragged_places(true_starts[:, index], stored[:, index])])
    return MatrixSpectra(
        _flat(values),
        np.concatenate([[0], np.cumsum(known.stored[:, index], dtype=np.int64)]),
        _flat(gates) if known.gated else None,
        _flat(true_values),
        np.concatenate([[0], np.cumsum(known.stored[known.has_true, index], dtype=np.int64)]),
    )


def _flat(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.float32)
