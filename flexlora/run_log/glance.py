"""``glance_run``: what a run folder tells without its arrays, for lists of many runs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexlora.run_log import disk
from flexlora.run_log.format import CHECKSUMS, LINES, SCALARS, SPECTRA, Chunk, checksum, read_header, reading
from flexlora.run_log.reader import Found, lines_in_force, segment_limits
from flexlora.run_log.records import read_line

_EVENT, _PRUNE, _EXTEND = b'{"record": "event", "step": ', b'"prune": ', ', "extend": '
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Glance:
    """The light half of a run log.

    Attributes:
        header: the content of ``run.json``.
        step: the last step that was recorded, 0 before the first.
        evals: evaluation records in order.
        notes: what happened, in order; edits also of steps that are made anew, where they are made again.
        end: the end record in force, or None.
        net_moves: directions that the matrices gained or lost in the end, whichever is more: a pair counts once. None
            for an imported log that does not tell moves.
        notices: one line for each thing that is missing or odd in what was read.
    """

    header: dict[str, Any]
    step: int
    evals: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    end: dict[str, Any] | None
    net_moves: int | None
    notices: list[str]


def glance_run(folder: str | Path) -> Glance:
    """Read header, checksums and lines of a run; the Arrow files are not opened.

    Records that their checksum does not vouch for are left out, as ``read_run`` does.

    Raises:
        RunLogError: the folder is no run, its header is damaged, or it is from a newer version.
    """
    folder = Path(folder)
    header, notices = read_header(folder)
    with reading(folder):
        sealed, _, _torn = disk.content(folder / CHECKSUMS).rpartition(b"\n")
        listed = sealed.split(b"\n")
        records = _records(disk.content(folder / LINES), listed, notices)
        for name in (SCALARS, SPECTRA):
            found = (chunk for line in reversed(listed) if name.encode() in line and (chunk := Chunk.parse(line)))
            last = next(found, None)
            if last is not None and disk.size(folder / name) < last.offset + last.length:
                notices.append(f"{name} is cut: records at its end are missing.")
        evals, notes, ends = (
            [record for record in records if record["record"] == kind] for kind in ("eval", "note", "end")
        )
        end = ends[-1] if ends else None
        step = max(_last_step(name.encode(), listed) for name in (SCALARS, SPECTRA))
        return Glance(header, step, evals, notes, end, _net(header, records), notices)


def _records(content: bytes, listed: list[bytes], notices: list[str]) -> list[dict[str, Any]]:
    """Return the lines that are intact and in force; an edit that was accepted is."""
    mark = LINES.encode()
    found: list[Found] = []
    end = damaged = 0
    for line in listed:
        # Parsing a line costs more than looking at it, and most of them are about Arrow files.
        if mark not in line and b'"schema"' not in line:
            continue
        chunk = Chunk.parse(line)
        if chunk is None or chunk.file != LINES:
            if chunk is not None and chunk.kind == "schema":
                found.append((chunk, memoryview(b"")))
            continue
        data = content[chunk.offset : chunk.offset + chunk.length]
        if len(data) < chunk.length or checksum(data) != chunk.crc32 or chunk.offset < end:
            damaged += 1
            continue
        end = chunk.offset + chunk.length
        found.append((chunk, memoryview(data)))
    if damaged:
        notices.append(f"{LINES} is cut or damaged: {damaged} of its pieces are left out.")
    return list(lines_in_force(found, segment_limits(found), _record, always=("edited",)))


def _record(line: bytes) -> dict[str, Any]:
    """Return a record; of an event only its step and its moves.

    Importance and scores make up most of an event. Quotes within a text are escaped, so the marks are keys; anything
    that does not stand where the writer puts it is read in full.
    """
    place = line.find(_PRUNE) if line.startswith(_EVENT) else -1
    if place < 0:
        return read_line(line)
    step = line[len(_EVENT) : line.index(b",", len(_EVENT))]
    text = line[place + len(_PRUNE) :].decode()
    try:
        prune, place = _DECODER.raw_decode(text)
        if not text.startswith(_EXTEND, place):
            return read_line(line)
        extend, _ = _DECODER.raw_decode(text, place + len(_EXTEND))
        return {"record": "event", "step": int(step), "prune": prune, "extend": extend}
    except ValueError:
        return read_line(line)


def _last_step(mark: bytes, listed: list[bytes]) -> int:
    """Return the last step of a table that the checksums vouch for, in the latest start."""
    for line in reversed(listed):
        chunk = Chunk.parse(line) if mark in line else None
        if chunk is None or chunk.kind not in ("batch", "schema"):
            continue
        step = chunk.last_step if chunk.kind == "batch" else chunk.first_step
        if step is not None:
            return max(step, 0)
    return 0


def _net(header: dict[str, Any], records: list[dict[str, Any]]) -> int | None:
    change: Counter[str] = Counter()
    told = "source" not in header
    for record in records:
        if record["record"] == "event":
            told = True
            change.update(move["matrix"] for move in record["extend"])
            change.subtract(move["matrix"] for move in record["prune"])
        elif record["record"] == "note" and record.get("kind") == "reallocated":
            told = True
            change.update(record["gained"] or {})
            change.subtract(record["lost"] or {})
    up = sum(count for count in change.values() if count > 0)
    return max(up, up - sum(change.values())) if told else None
