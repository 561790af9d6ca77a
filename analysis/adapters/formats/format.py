"""The record of a format: how it is known, read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from analysis.adapters.adapter import Adapter
from analysis.adapters.formats.plan import Plan, Ranks
from analysis.adapters.formats.record import Contents, Opened


class Writer(NamedTuple):
    """How a format is written.

    Attributes:
        told: what of it is written smaller.
        plan: f(adapter, ranks, dtype or None) → its files, of an adapter that ``check`` lets through.
        check: f(adapter, ranks) raises ``AdapterError`` where an adapter, or these ranks of it, cannot be written.
        one_rank: the format has one rank for all matrices.
    """

    told: str
    plan: Callable[[Adapter, Ranks, str | None], Plan]
    check: Callable[[Adapter, Ranks], None]
    one_rank: bool = False


class Format(NamedTuple):
    """One way in which adapters are stored.

    Attributes:
        key: as ``Adapter.format`` says it.
        label: whose it is.
        files: what they look like.
        holds: what of it is read.
        aside: what of it is told and not read.
        detect: f(opened) → whether it is this one; the first of the table that says so reads it.
        read: f(opened) → its contents, or ``AdapterError``.
        writer: how it is written at other ranks.
    """

    key: str
    label: str
    files: str
    holds: str
    aside: str
    detect: Callable[[Opened], bool]
    read: Callable[[Opened], Contents]
    writer: Writer
