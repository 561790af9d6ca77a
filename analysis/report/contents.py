"""What of a run goes into a report: everything where that fits, spectra at events only where it does not."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.payload import MAX_BYTES, pack_matrix, pack_run
from analysis.payload.container import read_arrays, read_header
from analysis.runs import Run
from analysis.why import why_cards

WHOLE_BYTES = 9_000_000
"""Payload up to which every λ is in the file, which rounds and compresses it to about half."""
MAX_CARDS = 10_000
"""Cards up to which every matrix has one at every event; beyond it, only those that moved."""
_ROUNDED = ("lam", "sigma", "energy")
_DROPPED_BITS = 11
"""Of the 23 of a float32's fraction: the rest is exact to 1 in 8,000, and compresses to half."""


@dataclass(frozen=True)
class Contents:
    """What the script of a report finds in its page.

    Attributes:
        payload: of ``analysis.payload.pack_run``.
        parcels: of ``analysis.payload.pack_matrix``, each after its uint32 length; empty where the payload has all λ.
        cards: step of an event → matrix → card of ``analysis.why``.
        notes: what was left out or rounded, in words.
    """

    payload: bytes
    parcels: bytes
    cards: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def report_contents(run: Run, *, whole_bytes: int = WHOLE_BYTES, max_cards: int = MAX_CARDS) -> Contents:
    """Choose what a report of a run holds.

    Every λ is in the file up to a payload of ``whole_bytes``; all have their card up to ``max_cards`` events ×
    matrices.
    """
    cards, notes = _cards(run, max_cards)
    payload = pack_run(run, whole_bytes)
    header, _ = read_header(payload)
    if not header["onDemand"]:
        return Contents(rounded(payload), b"", cards, notes)
    payload = pack_run(run, min(whole_bytes, MAX_BYTES))
    steps = [event["step"] for event in run.events]
    parcels = [rounded(pack_matrix(run, matrix.name, payload, only=steps)) for matrix in run.matrices]
    note = "Spectra are shown at events only: with those of every record this file would be too large."
    return Contents(
        rounded(payload), b"".join(struct.pack("<I", len(one)) + one for one in parcels), cards, (note, *notes)
    )


def rounded(payload: bytes) -> bytes:
    """Return a payload whose λ, σ and energies are rounded to about four digits, all else as it was."""
    data = bytearray(payload)
    half = np.uint32(1 << (_DROPPED_BITS - 1))
    mask = np.uint32(0xFFFFFFFF << _DROPPED_BITS & 0xFFFFFFFF)
    for name, values in read_arrays(data).items():
        if name in _ROUNDED and values.dtype == np.float32:
            bits = values.view(np.uint32)
            finite = np.isfinite(values)
            bits[finite] = (bits[finite] + half) & mask
    return bytes(data)


def _cards(run: Run, most: int) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    few = len(run.events) * len(run.matrices) <= most
    found: dict[str, dict[str, Any]] = {}
    for number, event in enumerate(run.events):
        moved = {move["matrix"] for move in (*event["prune"], *event["extend"])}
        own = {card["matrix"]: card for card in why_cards(run, number) if few or card["matrix"] in moved}
        found[str(event["step"])] = own
    return found, () if few else ("Why? has a card for the matrices that an event moved, not for all.",)
