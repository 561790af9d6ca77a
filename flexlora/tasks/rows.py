"""Rows of data files, each of which knows where it is from. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pandas as pd

from flexlora.errors import FlexLoRAError
from flexlora.tasks.source import SourceOptions

PLACE = "place"
"""Column of a cleaned table that says where each row is from, for a later refusal."""
SHOWN_LETTERS = 60


@dataclass(frozen=True)
class Rows:
    """The rows of one file, or of the shards of one split laid end to end.

    Attributes:
        table: one column for each name, stripped of spaces around it; values as the file has them.
        places: where each row is, such as ``train.tsv, line 41``.
        files: what people call the file or files.
        repeated: names that more than one column has: which one ``table`` holds is not to be relied on.
    """

    table: pd.DataFrame
    places: Sequence[str]
    files: str
    repeated: frozenset[str] = field(default=frozenset())

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return [str(name) for name in self.table.columns]


def joined(shards: Sequence[Rows], source: SourceOptions) -> Rows:
    """Return the rows of all shards, one after the other.

    Raises:
        FlexLoRAError: a shard has other columns than the first.
    """
    held = [shard for shard in shards if len(shard.table)] or list(shards[:1])
    first = held[0]
    if len(held) == 1:
        return first
    for shard in held[1:]:
        if set(shard.names) != set(first.names):
            raise FlexLoRAError(
                f"data={source.data}: {shard.files} has columns {', '.join(shard.names)}, "
                f"{first.files} has {', '.join(first.names)}: "
                "shards of one split have the same columns."
            )
    return Rows(
        pd.concat([shard.table for shard in held], ignore_index=True),
        [place for shard in held for place in shard.places],
        f"{first.files} to {held[-1].files}",
        frozenset().union(*(shard.repeated for shard in held)),
    )


def refuse(source: SourceOptions, place: str, column: str, told: str) -> NoReturn:
    """Raise the refusal of one cell: which file, row and column, what was got, what is allowed."""
    raise FlexLoRAError(f"data={source.data}: {place}, column {column}: {told}")


def brief(text: str) -> str:
    """Return a name as a message shows it: in one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_LETTERS else f"{line[:SHOWN_LETTERS]}…"


def shown(value: Any) -> str:
    """Return a value as a message shows it: in quotes, in one line, not too long."""
    text = repr(value).replace("\n", " ")
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"
